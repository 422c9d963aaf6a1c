"""Attacks without gradients against plain loops, foolbox, and where the worst case is known."""

import functools
import hashlib
import math
import warnings
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attacks.pgd.attempts import CleanImage
from evaluator.attacks.queries.query_attacks import Queried
from evaluator.attacks.queries.square import square_side_px
from evaluator.contracts import Item, ProbeName
from evaluator.tests.attacks.attacked_networks import (
    CLASSES,
    SIDE_PX,
    Float,
    Linear,
    Network,
    Quantised,
    attempts_on,
    photos,
    queried_on,
    stacked,
    standard,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox

PROBES: list[ProbeName] = ["noise", "gradient-free"]
SEED, QUERIES, EPSILON = 11, 60, 1 / 32


def words(purpose: str, identity: str, query: int, count: int) -> list[int]:
    digest = hashlib.sha256(f"{SEED}\0{purpose}\0{query}\0{identity}".encode()).digest()
    key = int.from_bytes(digest[:16], "little")
    return [int(word) for word in np.random.Philox(key=key).random_raw(count)]


def signs(drawn: list[int]) -> Float:
    return np.array([1.0 if word >= 2**63 else -1.0 for word in drawn])


def share_at(iteration: int) -> float:
    """AutoAttack's schedule, as it is printed in its code, of 10000 iterations."""
    until = {10: 0.8, 50: 0.4, 200: 0.2, 500: 0.1, 1000: 0.05, 2000: 0.025, 4000: 0.0125}
    until |= {6000: 0.00625, 8000: 0.003125, 10000: 0.0015625}
    return next(share for last, share in until.items() if iteration <= last)


def within(changed: Float, clean: Float, epsilon: float) -> Float:
    nearby: Float = np.minimum(np.maximum(changed, clean - epsilon), clean + epsilon)
    return np.clip(nearby, 0, 1)


def squares_by_hand(image: CleanImage, epsilon: float) -> Generator[Float, bool, None]:
    """Square attack as the paper defines it; is sent whether an image was an improvement."""
    clean, name = image.image, image.item.id
    stripes = signs(words("square", name, 1, 3 * SIDE_PX)).reshape(3, 1, SIDE_PX)
    best = within(clean + epsilon * stripes, clean, epsilon)
    yield best
    for query in range(2, QUERIES + 1):
        share = share_at(int((query - 2) / QUERIES * 10000))
        side = max(round(math.sqrt(share * SIDE_PX * SIDE_PX)), 1)
        drawn = words("square", name, query, 5)
        row, column = (word % (SIDE_PX - side + 1) for word in drawn[:2])
        change = np.zeros_like(clean)
        square = 2 * epsilon * signs(drawn[2:])[:, None, None]
        change[:, row : row + side, column : column + side] = square
        proposed = within(best + change, clean, epsilon)
        if (yield proposed):
            best = proposed


def noise_by_hand(image: CleanImage, epsilon: float) -> Generator[Float, bool, None]:
    for query in range(1, QUERIES + 1):
        drawn = words("noise", image.item.id, query, image.image.size)
        uniform = np.array([2 * ((word >> 11) / 2**53) - 1 for word in drawn])
        yield np.clip(image.image + epsilon * uniform.reshape(image.image.shape), 0, 1)


BY_HAND: dict[ProbeName, Callable[[CleanImage, float], Any]] = {
    "noise": noise_by_hand,
    "gradient-free": squares_by_hand,
}


def by_hand(
    network: torch.nn.Module, image: CleanImage, probe: ProbeName, epsilon: float
) -> tuple[Queried, list[Float]]:
    """What becomes of an image by a plain loop, and the images that were asked about."""
    clean = int(network(stacked([image])).argmax())
    if clean != image.label:
        return Queried(image.item, clean, 0, clean, 0, 0.0, 0.0), []
    asked: list[Float] = []
    best, least, improved = image.image, np.inf, None
    proposals = BY_HAND[probe](image, epsilon)
    while len(asked) < QUERIES:
        proposed = proposals.send(improved)
        asked.append(proposed)
        logits = network(torch.from_numpy(proposed)[None])[0].numpy()
        margin = logits[image.label] - np.delete(logits, image.label).max()
        improved = margin < least
        if improved:
            best, least = proposed, margin
        if margin < 0:
            break
    fooled = least < 0
    moved = (best - image.image).ravel()
    return Queried(
        item=image.item,
        clean=clean,
        changed_step=len(asked) if fooled else None,
        last=int(network(torch.from_numpy(best)[None]).argmax()),
        steps=len(asked),
        linf=float(np.abs(moved).max()),
        l2=float(np.linalg.norm(moved)),
    ), asked


def exact_photos(network: torch.nn.Module, count: int) -> list[CleanImage]:
    """Photos whose sums with a power of 2 have no rounding; 0 and 1 are among their values."""
    pixels = np.random.default_rng(0).integers(-9, 265, (count, 3, SIDE_PX, SIDE_PX))
    images = np.clip(pixels, 0, 256) / 256
    labels = network(torch.from_numpy(images)).argmax(dim=1).tolist()
    labels[5] = (labels[5] + 1) % CLASSES
    return [
        CleanImage(Item(f"n/{number}.JPEG", label, ""), image)
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


@functools.cache
def outcomes_by_hand(probe: ProbeName) -> list[Queried]:
    """What becomes of 30 images by the plain loop."""
    network = Network(seed=3)
    return [by_hand(network, i, probe, EPSILON)[0] for i in exact_photos(network, 30)]


def same(found: Queried, expected: Queried) -> None:
    for name in ("item", "clean", "changed_step", "last", "steps", "linf"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.l2 == pytest.approx(expected.l2, rel=1e-14)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("batch", [1, 3, 7, 40])
def test_outcomes_are_those_of_a_plain_loop_for_any_batches(probe: ProbeName, batch: int) -> None:
    network = Network(seed=3)
    images = exact_photos(network, 30)
    found = queried_on(network, images, probe, EPSILON, queries=QUERIES, batch=batch, seed=SEED)
    for one, expected in zip(found, outcomes_by_hand(probe), strict=True):
        same(one, expected)


@pytest.mark.parametrize("probe", PROBES)
def test_the_plain_loop_had_all_kinds_of_outcomes(probe: ProbeName) -> None:
    # What the test above compares would be nothing if all failed, or all succeeded at once.
    found = outcomes_by_hand(probe)
    assert {one.changed_step for one in found} >= {None, 0}
    assert len({one.changed_step for one in found}) > (9 if probe == "gradient-free" else 4)


@pytest.mark.parametrize("probe", PROBES)
def test_every_image_that_is_asked_about_is_bitwise_that_of_the_plain_loop(
    probe: ProbeName,
) -> None:
    network = Network(seed=3)
    for image in exact_photos(network, 12):
        _, expected = by_hand(network, image, probe, EPSILON)
        seen: list[torch.Tensor] = []
        handle = network.register_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
        queried_on(network, [image], probe, EPSILON, queries=QUERIES, seed=SEED)
        handle.remove()
        assert torch.equal(seen[0], stacked([image]))
        assert len(seen) == 1 + len(expected)
        for given_, asked in zip(seen[1:], expected, strict=True):
            np.testing.assert_array_equal(given_[0].numpy(), asked)


@given(
    seed=st.integers(0, 999),
    epsilon=st.floats(2**-12, 1, width=32),
    probe=st.sampled_from(PROBES),
    relative=st.booleans(),
)
def test_nothing_leaves_epsilon_or_the_range_of_pixels(
    seed: int, epsilon: float, probe: ProbeName, relative: bool
) -> None:
    network = Network(seed, torch.float32)
    (image,) = photos(network, 1, seed=seed, dtype=np.float32)
    image = CleanImage(image.item, image.image * np.float32(0.9))
    image = CleanImage(Item("a", int(network(stacked([image])).argmax()), ""), image.image)
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    (found,) = queried_on(
        network, [image], probe, epsilon, queries=25, seed=seed, relative_epsilon=relative
    )
    bound = epsilon * (image.image.max() if relative else 1)
    distances = [np.abs(asked[0].numpy() - image.image).max() for asked in seen]
    assert max(distances) <= bound + 1e-6
    assert found.linf in [pytest.approx(distance) for distance in distances[1:]]
    for asked in seen:
        assert asked.dtype == torch.float32
        assert asked.min() >= 0
        assert asked.max() <= 1


def test_relative_epsilon_is_a_share_of_the_largest_value() -> None:
    network = Network(seed=3)
    dim = [CleanImage(i.item, i.image / 4) for i in exact_photos(network, 8)]
    dim = [
        CleanImage(Item(i.item.id, int(network(stacked([i])).argmax()), ""), i.image) for i in dim
    ]
    for probe in PROBES:
        relative = queried_on(network, dim, probe, 1 / 8, relative_epsilon=True)
        for one, image in zip(relative, dim, strict=True):
            (alone,) = queried_on(network, [image], probe, float(image.image.max()) / 8)
            assert one == alone


@pytest.mark.parametrize(
    ("queries", "sizes"),
    # By hand: 224 sqrt(.8 / 2^k), k halvings before iterations 0, 1000, ... or 0, 2500, 5000.
    [(10, [200, 50, 35, 25, 25, 18, 18, 13, 13]), (4, [200, 25, 18])],
)
def test_the_schedule_is_rescaled_to_the_queries(queries: int, sizes: list[int]) -> None:
    assert [square_side_px(query, queries, 224) for query in range(2, queries + 1)] == sizes


@pytest.mark.parametrize("image_px", [1, 2, 3, 32, 224])
def test_a_square_fits_and_is_never_nothing(image_px: int) -> None:
    for query in range(2, 10_001, 7):
        side = round(math.sqrt(share_at(query - 2) * image_px**2))
        assert square_side_px(query, 10_000, image_px) == max(1, side) <= image_px


def test_a_linear_models_worst_case_is_nearly_reached_and_never_passed() -> None:
    # Two classes, margin m = (w0 - w1) x. Within epsilon it falls by epsilon |w0 - w1|_1 at most.
    chance = np.random.default_rng(5)
    weights = chance.normal(size=(2, 3 * SIDE_PX**2))
    difference = weights[0] - weights[1]
    worst = 0.02 * np.abs(difference).sum()
    shares = [0.5, 0.8, 0.9, 0.95, 0.99, 1.001, 1.01, 1.1]
    images = []
    for share in shares:
        pixels = np.full(len(difference), 0.5)
        pixels += difference * (share * worst - difference @ pixels) / (difference @ difference)
        assert 0.05 < pixels.min() < pixels.max() < 0.95
        images.append(CleanImage(Item(str(share), 0, ""), pixels.reshape(3, SIDE_PX, SIDE_PX)))
    found = queried_on(Linear(weights), images, "gradient-free", 0.02, queries=1500)
    assert [one.changed_step is not None for one in found] == [True] * 5 + [False] * 3
    steps = [one.steps for one in found]
    assert steps == sorted(steps)
    for one in found:  # at the bound everywhere
        assert one.linf == pytest.approx(0.02)
        assert one.l2 == pytest.approx(0.02 * np.sqrt(len(difference)))
    # Random images come nowhere near: their margin falls by epsilon |w0 - w1|_2 / sqrt(3) or so.
    noise = queried_on(Linear(weights), images, "noise", 0.02, queries=300)
    assert not any(one.changed_step for one in noise)


def test_masked_gradients_stop_descent_and_not_the_search() -> None:
    class Masked(Quantised):
        """Its logits are rounded as well."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.round(super().forward(images) * 64) / 64

    network = Masked(Network(seed=3), levels=64)
    images = photos(network, 40)
    settings = standard(steps=(50,), step_size=0.004, restarts=1)
    attempts = attempts_on(network, images, settings, 0.05)
    assert {attempt.zero_share for attempt in attempts} == {1}
    descent = {attempt.item.id for attempt in attempts if attempt.changed_step}
    search = {
        one.item.id
        for one in queried_on(network, images, "gradient-free", 0.05, queries=100)
        if one.changed_step
    }
    assert len(search) > 2 * len(descent) + 10
    assert len(search - descent) > 15


@pytest.mark.parametrize("queries", [1, 8])
def test_noise_finds_as_much_as_that_of_foolbox(queries: int) -> None:
    network = Network(seed=3)
    images = photos(network, 400)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    labels = torch.tensor([image.label for image in images])
    attack: Any = foolbox.attacks.LinfAdditiveUniformNoiseAttack()
    if queries > 1:
        attack = foolbox.attacks.LinfRepeatedAdditiveUniformNoiseAttack(repeats=queries)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, fooled = attack(model, stacked(images), labels, epsilons=0.1)
    found = queried_on(network, images, "noise", 0.1, queries=queries, batch=50)
    ours, theirs = np.array([one.changed_step is not None for one in found]), fooled.numpy()
    assert 40 < theirs.sum() < 360
    # On the same images: those that only one of them fools are as many on either side.
    alone = (ours & ~theirs).sum(), (theirs & ~ours).sum()
    assert abs(alone[0] - alone[1]) <= 3 * np.sqrt(sum(alone))
