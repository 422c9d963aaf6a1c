"""The attack against foolbox, against a plain loop, and where the worst case is known."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.nn import functional

from evaluator.attacks.attempts import Attempt, CleanImage
from evaluator.attacks.descent import Descent
from evaluator.attacks.outcomes import attack_counts
from evaluator.attacks.pgd import AttackJob, attacked
from evaluator.attacks.randomness import start_noise, wrong_class
from evaluator.attacks.records import attack_records
from evaluator.attacks.room import Room
from evaluator.contracts import AttackSettings, Item
from evaluator.errors import EngineError, InputError
from evaluator.tests.attacks.attacked_networks import (
    CLASSES,
    SIDE_PX,
    Counted,
    Linear,
    Network,
    Quantised,
    attempts_on,
    paper,
    photos,
    standard,
)
from evaluator.tests.small import one_line

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox


def noise_of(images: list[CleanImage], seed: int = 0, restart: int = 0) -> torch.Tensor:
    shape = images[0].image.shape
    rows = [start_noise(seed, image.item.id, restart, shape) for image in images]
    return torch.from_numpy(np.stack(rows))


def stacked(images: list[CleanImage]) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.image for image in images]))


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
        np.testing.assert_array_equal(np.float32(attempt.loss), np.float32(other["losses"]))
    counts = attack_counts(table(images, attempts), settings)
    assert counts.under_attack[-1] == sum(other["right"] for other in expected)
    assert counts.n == 40
    assert counts.clean == 38


def rounded(attempt: Attempt) -> list[float]:
    """Its losses as they are recorded: sums over other batches differ in the last bits."""
    return [float(np.float32(loss)) for loss in attempt.loss]


def table(images: list[CleanImage], attempts: list[Attempt]) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([attack_records([image.item for image in images], attempts)])


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


def test_gradients_that_are_masked_show_as_zero() -> None:
    network = Quantised(Network())
    images = photos(network, 5)
    settings = standard(steps=(6,), losses=("cross_entropy",), restarts=1)
    for attempt in attempts_on(network, images, settings, 0.01):
        assert attempt.zero_share == 1
        assert attempt.dead_steps == attempt.steps == 6
        assert attempt.gradient_norm == [0.0] * 6
        assert attempt.turned == 0
        assert len(set(attempt.loss)) == 1
    for attempt in attempts_on(Network(), images, settings, 0.01):
        assert attempt.zero_share == 0
        assert attempt.dead_steps == 0


def test_a_partly_dead_gradient_is_counted_in_parts() -> None:
    class HalfBlind(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :1].flatten(1)[:, :CLASSES] * 3

    images = photos(HalfBlind(), 4)
    for attempt in attempts_on(HalfBlind(), images, paper(), 0.01):
        assert attempt.zero_share == pytest.approx(1 - CLASSES / (3 * SIDE_PX**2))
        assert attempt.dead_steps == 0


def test_steps_that_go_back_and_forth_are_counted_as_turns() -> None:
    class Valley(torch.nn.Module):
        """The loss rises away from the start on both sides, as steps of a valley's width do."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            away = (images - 0.5).abs().sum((1, 2, 3))
            return torch.stack([away, torch.zeros_like(away)], dim=1)

    image = CleanImage(Item("a", 0, ""), np.full((3, 2, 2), 0.5))
    settings = standard(steps=(8,), step_size=0.09, losses=("cross_entropy",), restarts=1)
    (attempt,) = attempts_on(Valley(), [image], settings, 0.04)
    # From one end of the ball to the other: the first step goes inwards, then all of them turn.
    assert attempt.turned == 1


@given(
    seed=st.integers(0, 999),
    epsilon=st.floats(2**-12, 1, width=32),
    step=st.floats(2**-12, 2, width=32),
    relative=st.booleans(),
    clip=st.booleans(),
)
def test_nothing_leaves_epsilon_or_the_range_of_pixels(
    seed: int, epsilon: float, step: float, relative: bool, clip: bool
) -> None:
    network = Network(seed, torch.float32)
    images = photos(network, 3, seed=seed, dtype=np.float32)
    choices: dict[str, Any] = {"relative_epsilon": relative, "clip_start": clip, "steps": (2, 4)}
    settings = paper(step_size=step, seed=seed, **choices)
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    attempts = attempts_on(network, images, settings, epsilon, batch=1, keep_images=True)
    of = {image.item.id: image.image for image in images}
    for attempt in attempts:
        assert attempt.adversarial is not None
        within = epsilon * (of[attempt.item.id].max() if relative else 1)
        assert attempt.adversarial.min() >= 0
        assert attempt.adversarial.max() <= 1
        moved = np.abs(attempt.adversarial - of[attempt.item.id]).max()
        assert moved <= within + 1e-6
        assert attempt.linf == pytest.approx(moved, abs=1e-7)
        assert attempt.l2 == pytest.approx(
            np.linalg.norm((attempt.adversarial - of[attempt.item.id]).ravel()), rel=1e-5
        )
    for iterate in seen[2:] if clip else []:
        assert iterate.min() >= 0
        assert iterate.max() <= 1


@hypothesis_settings(max_examples=25)
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0.005, 0.1))
def test_more_steps_or_restarts_never_raise_accuracy(seed: int, epsilon: float) -> None:
    network = Network(seed % 7)
    images = photos(network, 12, seed=seed, wrong=(2,))
    for settings_of in (paper, standard):
        counted = {}
        for steps in ((2, 4), (2, 4, 6)):
            for restarts in (1, 2):
                settings = settings_of(steps=steps, restarts=restarts, step_size=0.01, seed=seed)
                attempts = attempts_on(network, images, settings, epsilon)
                counts = attack_counts(table(images, attempts), settings)
                counted[steps, restarts] = counts
                assert list(counts.under_attack) == sorted(counts.under_attack, reverse=True)
                assert list(counts.unchanged) == sorted(counts.unchanged, reverse=True)
                assert all(
                    few <= paper_count
                    for few, paper_count in zip(counts.unchanged, counts.under_attack, strict=True)
                )
        for steps in ((2, 4), (2, 4, 6)):
            one, two = counted[steps, 1], counted[steps, 2]
            assert all(b <= a for a, b in zip(one.under_attack, two.under_attack, strict=True))
            assert all(b <= a for a, b in zip(one.unchanged, two.unchanged, strict=True))
        # What is asked beyond does not change what was asked before.
        for restarts in (1, 2):
            few, many = counted[(2, 4), restarts], counted[(2, 4, 6), restarts]
            assert few.under_attack == many.under_attack[:2]


def test_only_what_survives_gets_another_attempt() -> None:
    network = Network(seed=3)
    images = photos(network, 30, wrong=(4,))
    settings = standard(steps=(3, 6, 9), restarts=3)
    attempts = attempts_on(network, images, settings, 0.02, batch=5)
    per_image = Counter(attempt.item.id for attempt in attempts)
    assert set(per_image.values()) >= {1, settings.attempts}
    for image in images:
        own = [attempt for attempt in attempts if attempt.item.id == image.item.id]
        order = [(attempt.restart, attempt.loss_name) for attempt in own]
        every = [(r, name) for r in range(3) for name in ("cross_entropy", "dlr")]
        assert order == every[: len(order)]
        limit = 9
        for attempt in own[:-1]:
            # Undecided for some count: those below the first success.
            assert attempt.changed_step is None or attempt.changed_step > 3
            assert attempt.steps == (attempt.changed_step or limit)
            if attempt.changed_step is not None:
                limit = max(count for count in (3, 6, 9) if count < attempt.changed_step)
    assert any(0 < attempt.steps < 9 and attempt.changed_step is None for attempt in attempts)


def test_images_that_are_wrong_cost_one_forward_pass_and_no_step() -> None:
    network = Counted(Network())
    images = photos(network.network, 6, wrong=range(6))
    for settings in (paper(), standard()):
        network.passes.clear()
        attempts = attempts_on(network, images, settings, batch=6)
        assert network.passes == [(6, False)]
        assert [a.changed_step for a in attempts] == [0] * 6
        assert [a.steps for a in attempts] == [0] * 6
        assert {(a.linf, a.at_bound, a.zero_share) for a in attempts} == {(0.0, None, None)}
        assert all(a.target_step == (0 if a.clean == a.target else None) for a in attempts)


def test_images_that_are_wrong_are_attacked_where_transfer_needs_it() -> None:
    network = Network(seed=3)
    images = photos(network, 20, wrong=range(20))
    plain = attempts_on(network, images, paper(steps=(25,)), 0.2)
    attempts = attempts_on(network, images, paper(steps=(25,), attack_wrong=True), 0.2)
    assert all(a.changed_step == 0 for a in attempts)
    driven = [a for a in attempts if a.target_step]
    assert len(driven) > 5
    for attempt in attempts:
        # The clean image may be of the target's class already: nothing is to be done.
        assert (attempt.target_step == 0) == (attempt.clean == attempt.target)
        assert (attempt.steps == 0) == (attempt.target_step == 0)
    assert {a.target for a in plain} == {a.target for a in attempts}


def test_one_backward_pass_a_step_and_one_forward_pass_at_the_end() -> None:
    network = Counted(Network())
    images = photos(network.network, 8)
    traced = frozenset(image.item.id for image in images)
    attempts_on(network, images, paper(steps=(5,)), batch=8, traced=traced)
    assert network.passes == [(8, False), *[(8, True)] * 5, (8, False)]


def test_the_batch_is_kept_full() -> None:
    network = Counted(Network(seed=3))
    images = photos(network.network, 60)
    attempts = attempts_on(network, images, paper(steps=(25,), step_size=0.01), 0.1, batch=6)
    sizes = [size for size, with_gradient in network.passes if with_gradient]
    # Once images have run out the batch empties, an attempt of 25 steps at most.
    assert sizes[:-25] == [6] * (len(sizes) - 25)
    # A success costs the pass that found it, a failure none of that kind.
    assert sum(sizes) == sum(a.steps + (a.target_step is not None) for a in attempts if a.steps) - (
        sum(a.target_step == 25 for a in attempts)
    )


def test_the_traced_sample_goes_on_and_is_otherwise_the_same() -> None:
    network = Network(seed=3)
    images = photos(network, 20, wrong=(3,))
    settings = paper(steps=(25,), step_size=0.15)  # far too large: some successes are lost again
    plain = attempts_on(network, images, settings, 0.15, keep_images=True)
    traced = frozenset(image.item.id for image in images[::2])
    attempts = attempts_on(network, images, settings, 0.15, traced=traced, keep_images=True)
    for number, (one, other) in enumerate(zip(plain, attempts, strict=True)):
        assert not one.traced
        assert other.traced == (number % 2 == 0 and number != 3)
        assert other.steps == (25 if other.traced else one.steps)
        assert len(other.loss) == len(other.gradient_norm) == other.steps
        for name in ("target", "target_step", "changed_step", "linf", "l2"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.adversarial, other.adversarial)  # type: ignore[arg-type]
        assert rounded(other)[: one.steps] == rounded(one)
    assert any(a.target_step and a.last != a.target for a in attempts if a.traced)  # lost again


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
    assert [rounded(a) for a in relative] == [rounded(a) for a in halved]
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


class Failing(torch.nn.Module):
    """Not a number once an image is brighter than at first."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.network, self.what, self.passes = Network(), what, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        self.passes += 1
        if self.passes < 4:
            return logits
        if self.what == "gradient":  # sqrt(0) has an infinite derivative, whatever comes after
            return logits + 0 * torch.sqrt((images[:, 0, 0, :1] * 0).abs())
        logits = logits.clone()
        logits[2] = torch.nan
        return logits


@pytest.mark.parametrize("what", ["logit", "gradient"])
def test_what_is_not_finite_is_told_with_its_image_and_step(what: str) -> None:
    images = photos(Network(), 4)
    with pytest.raises(EngineError) as caught:
        attempts_on(Failing(what), images, paper(), 1e-6)
    name = images[2 if what == "logit" else 0].item.id
    # The passes: clean, start, step 1, step 2.
    assert one_line(caught).startswith(
        f"PyTorch gave a {what} that is not finite for {name} at step 2: "
    )


def test_a_network_without_a_gradient_is_refused_in_one_line() -> None:
    class Detached(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.detach())

    with pytest.raises(EngineError, match="no gradient") as caught:
        attempts_on(Detached(), photos(Network(), 2), paper())
    one_line(caught)


@pytest.mark.parametrize("epsilon", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    job = AttackJob(Network(), paper(), epsilon, Room(4))
    with pytest.raises(InputError, match=r"outside \(0, 1\]") as caught:
        list(attacked(job, []))
    one_line(caught)


def test_an_image_without_a_label_is_refused_by_name() -> None:
    (image,) = photos(Network(), 1)
    with pytest.raises(InputError, match=r"DATA/0\.JPEG has no label"):
        attempts_on(Network(), [CleanImage(Item("0", None, "DATA/0.JPEG"), image.image)], paper())


def test_nothing_to_attack_is_nothing() -> None:
    assert attempts_on(Network(), [], paper()) == []
