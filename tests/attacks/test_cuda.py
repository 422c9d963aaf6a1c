"""The attack on a GPU: what it does there is what it does on the CPU."""

import numpy as np
import pytest
import torch

from evaluator.contracts import AttackSettings, ProbeName
from evaluator.tests.attacks.attacked_networks import (
    Network,
    attempts_on,
    paper,
    photos,
    queried_on,
    standard,
    table,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
OUTCOMES = ["id", "restart", "loss_name", "target", "target_step", "changed_step", "last", "steps"]


@pytest.mark.parametrize("settings", [paper(), standard()])
def test_in_float64_outcomes_are_those_of_the_cpu(settings: AttackSettings) -> None:
    network = Network(seed=3)
    images = photos(network, 25, wrong=(0, 9))
    traced = frozenset({images[4].item.id})
    expected = attempts_on(network, images, settings, 0.03, traced=traced)
    network.to("cuda")
    found = attempts_on(
        network,
        images,
        settings,
        0.03,
        batch=7,
        traced=traced,
        device="cuda",
        keep_images=True,
    )
    assert table(images, found).select(OUTCOMES).equals(table(images, expected).select(OUTCOMES))
    assert all(a.adversarial is not None for a in found if a.steps)


def test_in_float32_the_same_batches_give_the_same_bits() -> None:
    network = Network(seed=3, dtype=torch.float32).to("cuda")
    on_cpu = Network(seed=3, dtype=torch.float32)
    images = photos(on_cpu, 25, wrong=(0, 9), dtype=np.float32)
    runs = [table(images, attempts_on(network, images, paper(), device="cuda")) for _ in range(2)]
    assert runs[0].equals(runs[1])


@pytest.mark.parametrize("probe", ["noise", "gradient-free"])
def test_what_is_asked_without_gradients_is_answered_as_on_the_cpu(probe: ProbeName) -> None:
    network = Network(seed=3)
    images = photos(network, 25, wrong=(0, 9))
    expected = queried_on(network, images, probe)
    found = queried_on(network.to("cuda"), images, probe, batch=7, device="cuda")
    for one, other in zip(found, expected, strict=True):
        for name in ("item", "clean", "changed_step", "last", "steps"):
            assert getattr(one, name) == getattr(other, name)
        assert one.linf == pytest.approx(other.linf)
        assert one.l2 == pytest.approx(other.l2)
