"""Attacks that really ran: on a linear network, whose worst case is known, and on masked ones."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
import torch

from evaluator.attacks.reliability import AttackAssessment, Probes, assess_attack
from evaluator.tests.attacks.reliability.attacked import Asked, Network, at, noise, pgd

ASKED = Asked(steps=(50,))
SMALL, LARGE = 0.003, 0.01
IMAGES = torch.rand((200, 3, 12, 12), generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
WEIGHT = torch.randn(3 * 12 * 12, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # The networks are so small that threads only wait for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def margin(images: torch.Tensor) -> torch.Tensor:
    return (images - 0.5).flatten(1) @ WEIGHT


def linear(images: torch.Tensor) -> torch.Tensor:
    return torch.stack([-margin(images), margin(images)], 1)


def quantised(images: torch.Tensor) -> torch.Tensor:
    return linear((images * 32).round() / 32)


def saturated(images: torch.Tensor) -> torch.Tensor:
    return linear(images) * 1e4


def curved(images: torch.Tensor) -> torch.Tensor:
    hidden = torch.nn.functional.softplus(8 * (images - 0.5).flatten(1) @ MIXED)
    return hidden @ OUT


MIXED = torch.randn((432, 32), generator=torch.Generator().manual_seed(3)) / 432**0.5
OUT = torch.randn((32, 5), generator=torch.Generator().manual_seed(4))


def trust(network: Network) -> tuple[AttackAssessment, dict[float, pa.Table]]:
    labels = network(IMAGES).argmax(1)
    tables = {e: pgd(network, IMAGES, labels, e, asked=ASKED) for e in (SMALL, LARGE)}
    longer = Asked(steps=(100,))
    probes = Probes(
        noise={e: noise(network, IMAGES, labels, e) for e in tables},
        twice_the_steps={e: pgd(network, IMAGES, labels, e, asked=longer) for e in tables},
        unbounded=pgd(network, IMAGES, labels, 1.0, asked=ASKED),
    )
    return assess_attack(ASKED, tables, probes), tables


def failed(found: AttackAssessment) -> set[str]:
    return {diagnostic.name for diagnostic in found.failed}


def test_a_linear_network_falls_where_its_margin_says_and_raises_nothing() -> None:
    found, tables = trust(linear)
    for epsilon, table in tables.items():
        falls = margin(IMAGES).abs() < epsilon * WEIGHT.abs().sum()
        hit = {row["id"] for row in table.to_pylist() if row["changed_step"] is not None}
        assert hit == {f"{i:04}" for i in torch.nonzero(falls).flatten().tolist()}
        assert 0 < len(hit) < len(IMAGES)
    assert failed(found) == set()
    assert {d.name for d in at(found, LARGE).diagnostics if d.verdict == "undecided"} == {
        "transfer_finds_more",
        "gradient_free_finds_more",
    }


def test_a_curved_network_raises_nothing() -> None:
    assert failed(trust(curved)[0]) == set()


@pytest.mark.parametrize("network", [quantised, pytest.param(saturated, marks=pytest.mark.slow)])
def test_masked_gradients_are_seen(network: Network) -> None:
    # Nothing moves from the random start: nothing reaches the bound, no epsilon is enough, and
    # noise, which tries a hundred corners, does better.
    found, _ = trust(network)
    assert failed(found) == {
        *("zero_gradient", "dead_steps", "at_bound", "unbounded"),
        *("noise_as_strong", "noise_finds_more"),
    }
    assert found.sentence.startswith("The attack is blind: ")
