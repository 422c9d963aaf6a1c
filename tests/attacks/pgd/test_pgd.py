"""What an attack does with its images, its steps and its batch, and what it notes of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evaluator.attacks.attack_counts import attack_counts
from evaluator.attacks.pgd.attempts import CleanImage
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.attacks.randomness import start_noise, wrong_class
from evaluator.contracts import Item
from evaluator.system.batch_limit import BatchLimit
from evaluator.tests.attacks.attacked_networks import (
    CLASSES,
    SIDE_PX,
    Counted,
    Network,
    Quantised,
    attempts_on,
    paper,
    photos,
    rounded,
    standard,
    table,
)
from evaluator.tests.examples import examples


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


@hypothesis_settings(max_examples=examples(6))
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


def test_a_restart_begins_elsewhere_and_each_loss_at_the_same_place() -> None:
    network = Network()
    images = photos(network, 1)
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    attempts = attempts_on(network, images, standard(steps=(1,), restarts=2), 1e-4, batch=1)
    assert [(a.restart, a.loss_name) for a in attempts] == [
        (0, "cross_entropy"),
        (0, "dlr"),
        (1, "cross_entropy"),
        (1, "dlr"),
    ]
    starts = seen[1::2]  # each attempt has a pass with a gradient, and one for its last iterate
    for attempt, start in zip(attempts, starts, strict=True):
        image = images[0].image
        noise = start_noise(0, images[0].item.id, attempt.restart, image.shape)
        assert np.array_equal(start[0].numpy(), np.clip(image + 1e-4 * noise, 0, 1))


def test_a_restart_has_a_target_of_its_own() -> None:
    network = Network(seed=3)
    images = photos(network, 6)
    attempts = attempts_on(network, images, paper(restarts=3), 1e-4)
    expected = [
        wrong_class(0, image.item.id, restart, label=image.label, classes=CLASSES)
        for image in images
        for restart in range(3)
    ]
    assert [attempt.target for attempt in attempts] == expected
    assert expected[0] != expected[1]


def test_what_the_range_of_pixels_holds_back_is_at_its_bound() -> None:
    class Uphill(torch.nn.Module):
        """The label is left only far beyond white."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            brightness = images.mean((1, 2, 3))
            return torch.stack([torch.full_like(brightness, 2), brightness], dim=1)

    # White cannot become brighter; what is less than white has not arrived at epsilon yet.
    for level, share in ((1.0, 1.0), (0.5, 0.0)):
        images = [CleanImage(Item("a", 0, ""), np.full((3, SIDE_PX, SIDE_PX), level))]
        settings = standard(steps=(3,), step_size=1e-4, losses=("cross_entropy",), restarts=1)
        (attempt,) = attempts_on(Uphill(), images, settings, 2e-4 if share else 0.02)
        assert attempt.steps == 3
        assert attempt.at_bound == pytest.approx(share, abs=0.05)  # some starts are there
        assert attempt.linf == (0 if share else pytest.approx(0.02, abs=1e-3))


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
    # So are the passes over last iterates: what failed waits for others.
    failed = sum(a.target_step in (None, 25) for a in attempts)
    alone = [size for size, with_gradient in network.passes if not with_gradient]
    assert sum(alone) == 60 + failed
    assert failed > 6
    assert len(alone) <= 10 + 3
    # Once images have run out the batch empties, an attempt of 25 steps at most.
    assert sizes[:-25] == [6] * (len(sizes) - 25)
    # A success costs the pass that found it, a failure none of that kind.
    assert sum(sizes) == sum(a.steps + (a.target_step is not None) for a in attempts if a.steps) - (
        sum(a.target_step == 25 for a in attempts)
    )


def test_the_traced_sample_goes_on_and_is_otherwise_the_same() -> None:
    network = Network(seed=5)
    images = photos(network, 20, wrong=(3,))
    settings = paper(steps=(25,), step_size=1)  # far too large: a success is lost again
    plain = attempts_on(network, images, settings, 0.06, keep_images=True)
    traced = frozenset(image.item.id for image in images[1::2])
    attempts = attempts_on(network, images, settings, 0.06, traced=traced, keep_images=True)
    for number, (one, other) in enumerate(zip(plain, attempts, strict=True)):
        assert not one.traced
        assert other.traced == (number % 2 == 1 and number != 3)
        assert other.steps == (25 if other.traced else one.steps)
        assert len(other.loss) == len(other.gradient_norm) == other.steps
        for name in ("target", "target_step", "changed_step", "linf", "l2"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.adversarial, other.adversarial)  # type: ignore[arg-type]
        assert rounded(other.loss)[: one.steps] == rounded(one.loss)
    assert any(a.target_step and a.last != a.target for a in attempts if a.traced)  # lost again


def test_progress_is_told_after_each_pass_and_each_image_once() -> None:
    network = Counted(Network())
    images = photos(network.network, 9, wrong=(2,))
    told: list[int] = []
    job = AttackJob(network, 0.03, BatchLimit(4), settings=paper())
    assert len(list(run_pgd(job, images, told.append))) == 9
    assert sum(told) == 9
    # Several passes may follow each other, to find out what images are without an attack.
    passes = sum(with_gradient for _, with_gradient in network.passes)
    assert told.count(0) >= passes > 12


def test_nothing_to_attack_is_nothing() -> None:
    assert attempts_on(Network(), [], paper()) == []
