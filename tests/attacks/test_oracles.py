"""The attack against foolbox, against a plain loop, and where the worst case is known."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from evaluator.attacks.attack_counts import attack_counts
from evaluator.attacks.pgd.attempts import CleanImage
from evaluator.attacks.pgd.pgd_step import Descent
from evaluator.attacks.randomness import start_noise, wrong_class
from evaluator.contracts import AttackSettings, Item
from evaluator.tests.attacks.attacked_networks import (
    CLASSES,
    SIDE_PX,
    Linear,
    Network,
    attempts_on,
    paper,
    photos,
    rounded,
    stacked,
    standard,
    table,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox


def noise_of(images: list[CleanImage], seed: int = 0, restart: int = 0) -> torch.Tensor:
    shape = images[0].image.shape
    rows = [start_noise(seed, image.item.id, restart, shape) for image in images]
    return torch.from_numpy(np.stack(rows))


def targets_of(images: list[CleanImage], seed: int = 0) -> list[int]:
    return [
        wrong_class(seed, image.item.id, 0, label=image.label, classes=CLASSES) for image in images
    ]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("epsilon", [0.002, 0.03, 0.3])
def test_the_last_iterate_is_bitwise_that_of_foolbox(targeted: bool, epsilon: float) -> None:
    network = Network()
    images = photos(network, 12)
    # All of the sample are traced and none succeeds in a way that ends it: the last one is judged.
    options: dict[str, Any] = {"targeted": targeted, "steps": (9,), "clip_start": True}
    if targeted:
        settings = paper(step_size=0.007, **options)
    else:
        settings = standard(step_size=0.007, losses=("cross_entropy",), restarts=1, **options)
    attack = Descent(noise_of(images), abs_stepsize=0.007, steps=9, random_start=True)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    criterion: Any = foolbox.criteria.Misclassification(torch.tensor([i.label for i in images]))
    if targeted:
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor(targets_of(images)))
    # foolbox's own loop over its own hooks; the start is all that is given.
    expected = attack.run(model, stacked(images), criterion, epsilon=epsilon)
    found = last_iterates(network, images, settings, epsilon)
    assert torch.equal(found, expected)
    assert not torch.equal(expected, stacked(images))


def last_iterates(
    network: torch.nn.Module, images: list[CleanImage], settings: AttackSettings, epsilon: float
) -> torch.Tensor:
    """What the last pass of a traced attempt is over; seen by the network itself."""
    seen: list[torch.Tensor] = []

    def watched(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        seen.append(inputs[0].detach())

    handle = network.register_forward_pre_hook(watched)
    traced = frozenset(image.item.id for image in images)
    attempts = attempts_on(network, images, settings, epsilon, batch=99, traced=traced)
    handle.remove()
    assert [attempt.steps for attempt in attempts] == [settings.steps[-1]] * len(images)
    return seen[-1]


def by_hand(
    network: torch.nn.Module, image: CleanImage, settings: AttackSettings, epsilon: float
) -> dict[str, Any]:
    """The paper's attack on one image, as a plain loop: what its code and foolbox 1.8 do."""
    clean = torch.from_numpy(image.image)[None]
    predicted = int(network(clean).argmax())
    target = targets_of([image], settings.seed)[0]
    scored, hit, changed, losses = clean, None, None, []
    if predicted == image.label:
        now = clean + noise_of([image], settings.seed) * epsilon  # never clipped, never tested
        for step in range(1, settings.steps[-1] + 1):
            now = now.clone().requires_grad_()
            loss = functional.cross_entropy(network(now), torch.tensor([target]))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            assert now.grad is not None
            moved = now.detach() - settings.step_px(epsilon) * now.grad.sign()
            now = (clean + (moved - clean).clamp(-epsilon, epsilon)).clamp(0, 1)
            found = int(network(now).argmax())
            if changed is None and found != image.label:
                changed = step
            if found == target:
                hit, scored = step, now
                break
    return {
        "target": target,
        "hit": hit,
        "changed": 0 if predicted != image.label else changed,
        "right": int(network(scored).argmax()) == image.label,  # a failure is scored as clean
        "losses": losses,
    }


@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.2])
def test_the_papers_attack_is_the_plain_loop(epsilon: float) -> None:
    network = Network(seed=3)
    images = photos(network, 40, wrong=(5, 17))
    settings = paper(steps=(3, 6, 25), step_size=0.01, seed=11)
    attempts = attempts_on(network, images, settings, epsilon, batch=7, keep_images=True)
    expected = [by_hand(network, image, settings, epsilon) for image in images]
    assert len(attempts) == 40
    for attempt, other in zip(attempts, expected, strict=True):
        assert attempt.target == other["target"]
        assert attempt.target_step == other["hit"]
        assert attempt.changed_step == other["changed"]
        assert rounded(attempt.loss) == rounded(other["losses"])
    counts = attack_counts(table(images, attempts), settings)
    assert counts.under_attack[-1] == sum(other["right"] for other in expected)
    assert counts.n == 40
    assert counts.clean == 38


def test_the_plain_loop_had_all_kinds_of_outcomes() -> None:
    # What the test above compares would be nothing if all failed, or all succeeded at once.
    network = Network(seed=3)
    images = photos(network, 40, wrong=(5, 17))
    settings = paper(steps=(3, 6, 25), step_size=0.01, seed=11)
    attempts = attempts_on(network, images, settings, 0.05)
    hits = {attempt.target_step for attempt in attempts}
    assert None in hits
    assert len(hits) > 5
    assert any(a.changed_step and a.target_step is None for a in attempts)


def test_the_start_is_clipped_only_where_that_is_asked_for() -> None:
    network = Network()
    images = photos(network, 6)
    for clip in (False, True):
        seen: list[torch.Tensor] = []
        handle = network.register_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
        attempts_on(network, images, paper(clip_start=clip), 0.3, batch=6)
        handle.remove()
        start = seen[1].detach()  # the first pass is over the clean images
        expected = stacked(images) + 0.3 * noise_of(images)
        assert expected.min() < 0
        assert torch.equal(start, expected.clamp(0, 1) if clip else expected)


def test_a_linear_models_worst_case_is_reached_and_never_passed() -> None:
    # Two classes, margin m = (w0 - w1) x. Within epsilon it falls by epsilon |w0 - w1|_1 at most.
    chance = np.random.default_rng(5)
    weights = chance.normal(size=(2, 3 * SIDE_PX**2))
    difference = weights[0] - weights[1]
    network = Linear(weights)
    epsilon = 0.02
    worst = epsilon * np.abs(difference).sum()
    images = []
    # Far from 0 and 1, so that the range of pixels holds nothing back.
    for number, margin in enumerate(np.linspace(0.5, 1.5, 21) * worst):
        pixels = np.full(len(difference), 0.5)
        pixels += difference * (margin - difference @ pixels) / (difference @ difference)
        assert 0.05 < pixels.min() < pixels.max() < 0.95
        item = Item(f"{number}", 0, "")
        images.append(CleanImage(item, pixels.reshape(3, SIDE_PX, SIDE_PX)))
    settings = standard(steps=(10,), step_size=epsilon / 4, losses=("cross_entropy",), restarts=1)
    attempts = attempts_on(network, images, settings, epsilon)
    changed = [attempt.changed_step is not None for attempt in attempts]
    assert changed == [True] * 10 + [False] * 11
    for attempt in attempts[10:]:
        assert attempt.linf == pytest.approx(epsilon)
        assert attempt.at_bound == 1
        assert attempt.turned == 0
        # cross-entropy of two classes at margin m - worst
        left = np.linspace(0.5, 1.5, 21)[int(attempt.item.id)] * worst - worst
        assert attempt.loss[-1] == pytest.approx(np.log1p(np.exp(-left)))


def test_relative_epsilon_is_a_share_of_the_largest_value() -> None:
    network = Network(seed=3)
    images = photos(network, 6)
    dim = [CleanImage(image.item, image.image * 0.5) for image in images]
    dim = [
        CleanImage(Item(i.item.id, int(network(stacked([i])).argmax()), ""), i.image) for i in dim
    ]
    settings = paper(step_size=0.5)
    relative = attempts_on(network, dim, paper(step_size=0.5, relative_epsilon=True), 0.04)
    halved = [
        attempts_on(network, [image], settings, 0.04 * float(image.image.max()))[0] for image in dim
    ]
    assert [rounded(a.loss) for a in relative] == [rounded(a.loss) for a in halved]
    assert [a.linf for a in relative] == [a.linf for a in halved]


def test_a_step_may_depend_on_epsilon() -> None:
    network = Network()
    images = photos(network, 3)
    one = standard(step_size=None, relative_step=2.5, steps=(10,))
    other = standard(step_size=2.5 * 0.02 / 10, steps=(10,))
    losses = [[a.loss for a in attempts_on(network, images, s, 0.02)] for s in (one, other)]
    assert losses[0] == losses[1]
    half = standard(step_size=2.5 * 0.01 / 10, steps=(10,))
    relative = standard(step_size=None, relative_step=2.5, steps=(10,), relative_epsilon=True)
    dim = [CleanImage(i.item, i.image * 0.5 / i.image.max()) for i in images]
    losses = [
        [a.loss for a in attempts_on(network, dim, s, e)]
        for s, e in ((half, 0.01), (relative, 0.02))
    ]
    np.testing.assert_allclose(losses[0][0], losses[1][0])
