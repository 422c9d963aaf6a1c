"""Maximizing: a plain loop, foolbox, scripted activations, draws that are published."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evaluator.attacks.maximizing.maximizing import (
    NEVER,
    Maximized,
    MaximizingSettings,
    Pair,
    as_table,
    climbs,
    why_impossible,
)
from evaluator.attacks.maximizing.paper_random_state import drawn_noise, drawn_units
from evaluator.attacks.maximizing.penultimate import Bounds, find_penultimate
from evaluator.errors import EngineError, InputError

SIDE, WIDTH = 9, 6
EASY = MaximizingSettings(steps=30, step_size=1 / 255, epsilon=4, probability=0.26)


def tiny(seed: int = 3) -> nn.Sequential:
    """Two convolutions, a mean, and a head of four logits; its units are loud enough to pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loud = nn.Conv2d(8, WIDTH, 3)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), loud, nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 4),
        )  # fmt: skip
    with torch.no_grad():
        loud.weight *= 20
    return network.double().eval().requires_grad_(False)


def starts(count: int = 3, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).random((count, 3, SIDE, SIDE))


def pairs_of(count: int, units: Sequence[int]) -> list[Pair]:
    return [(start, unit) for start in range(count) for unit in units]


def run(
    network: nn.Module,
    begun: npt.NDArray[Any],
    units: Sequence[int],
    how: MaximizingSettings = EASY,
    batch_size: int = 4,
    **more: Any,
) -> Maximized:
    units_of = find_penultimate(network, SIDE, "tiny")
    pairs = pairs_of(len(begun), units)
    made = list(climbs(units_of, begun, pairs, how, batch_size=batch_size, **more))
    assert [pair for pair, _ in made] == pairs
    return as_table([row for _, row in made], len(begun), len(units))


def plain_loop(
    network: nn.Sequential, start: npt.NDArray[Any], unit: int, how: MaximizingSettings
) -> dict[str, Any]:
    """The method as a person would write it down: one image, every iterate kept, then a choice."""
    first = torch.from_numpy(start)[None]
    image, iterates, activations = first, [], []
    for step in range(how.steps + 1):
        image = image.detach().requires_grad_()
        features = network[:-1](image)
        iterates.append(image.detach())
        activations.append(features.detach()[0])
        if step == how.steps:
            break
        probabilities = torch.log_softmax(features, 1)
        gradient = torch.autograd.grad(-probabilities[0, unit], image)[0]
        change = image.detach() - how.step_size * torch.sign(gradient) - first
        image = torch.clip(first + torch.clip(change, -how.epsilon, how.epsilon), 0, 1)
    passing, best, best_p = [], 0, -1.0
    for step, units in enumerate(activations):
        p = float(torch.exp(units[unit]) / torch.exp(units).sum())
        if p > how.probability:
            passing.append((float((iterates[step] - first).abs().max()), step))
        if p > best_p:
            best, best_p = step, p
    chosen = min(passing)[1] if passing else best
    return {
        "images": iterates[chosen][0].numpy(),
        "last": iterates[-1][0].numpy(),
        "image_step": chosen,
        "first_step": min((step for _, step in passing), default=NEVER),
        "traces": [float(units[unit]) for units in activations],
    }


@pytest.mark.parametrize("epsilon", [4, 8 / 255])
def test_images_are_those_of_a_plain_loop_bit_for_bit(epsilon: float) -> None:
    network, begun, units = tiny(), starts(), [4, 0, 5]
    how = MaximizingSettings(EASY.steps, EASY.step_size, epsilon, EASY.probability)
    made = run(network, begun, units, how)
    for k, start in enumerate(begun):
        for u, unit in enumerate(units):
            expected = plain_loop(network, start, unit, how)
            for name in ("images", "last"):
                np.testing.assert_array_equal(getattr(made, name)[k, u], expected[name])
            assert made.image_step[k, u] == expected["image_step"]
            assert made.first_step[k, u] == expected["first_step"]
            np.testing.assert_allclose(made.traces[k, u], expected["traces"], rtol=1e-12)
    assert made.reached.any()
    assert not made.reached.all()  # so both answers were compared


@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def test_last_iterates_are_those_of_foolbox_bit_for_bit() -> None:
    from foolbox.attacks import LinfPGD
    from foolbox.criteria import TargetedMisclassification
    from foolbox.models.pytorch import PyTorchModel

    network, begun, units = tiny(), starts(), [4, 0]
    made = run(network, begun, units)
    features = PyTorchModel(network[:-1].eval(), bounds=(0, 1), device="cpu")
    attack = LinfPGD(abs_stepsize=EASY.step_size, steps=EASY.steps, random_start=False)
    images = torch.from_numpy(np.repeat(begun, len(units), 0))
    wanted = TargetedMisclassification(torch.tensor(units * len(begun)))
    theirs, _, _ = attack(features, images, wanted, epsilons=EASY.epsilon)
    np.testing.assert_array_equal(made.last.reshape(theirs.shape), theirs.numpy())


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_no_image_depends_on_its_batch(batch_size: int) -> None:
    network, begun, units = tiny(), starts(), [4, 0, 5]
    one, other = (run(network, begun, units, batch_size=size) for size in (3, batch_size))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.last, other.last)
    np.testing.assert_array_equal(one.image_step, other.image_step)


class Scripted(nn.Module):
    """Two units: one with an activation for each iterate, and a direction in which images go."""

    def __init__(self, activations: Sequence[float], directions: Sequence[int] = ()) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.script = list(zip(activations, [*directions, *(1 for _ in activations)], strict=False))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        activation, direction = self.script.pop(0)
        pull = direction * images.flatten(1).sum(1)
        own = activation + pull - pull.detach()
        return torch.stack([own, torch.zeros_like(own)], 1)


def follow(script: Scripted, step_size: float = 0.125) -> Maximized:
    how = MaximizingSettings(steps=len(script.script) - 1, step_size=step_size)
    begun = np.full((1, 3, 2, 2), 0.25)
    ((_, made),) = climbs(script, begun, [(0, 0)], how, batch_size=1)
    return made


def test_of_the_passing_iterates_the_closest_is_the_image_and_the_first_of_equals() -> None:
    # Iterates at .25 .375 .5 .375 .5: the third, fourth and fifth pass; the fourth is closest.
    made = follow(Scripted([0, 0, 20, 20, 20], [1, 1, -1, 1]))
    assert (made.first_step[0], made.image_step[0], made.linf[0]) == (2, 3, 0.125)
    assert (made.images[0] == 0.375).all()
    assert (made.last[0] == 0.5).all()
    again = follow(Scripted([0, 20, 20, 20], [1, -1, 1]))  # .25 .375 .25 .375
    assert (again.image_step[0], again.linf[0]) == (2, 0)
    equal = follow(Scripted([0, 20, 0, 20], [1, -1, 1]))  # the second and the fourth are equal
    assert (equal.image_step[0], equal.linf[0]) == (1, 0.125)


def test_a_start_that_passes_is_its_own_image() -> None:
    made = follow(Scripted([20, 20, 20]))
    assert (made.first_step[0], made.image_step[0], made.linf[0]) == (0, 0, 0)
    assert made.reached[0]


def test_where_none_passes_the_most_probable_iterate_is_the_image() -> None:
    made = follow(Scripted([0, 3, 13.8, 5]))
    assert not made.reached[0]
    assert (made.first_step[0], made.image_step[0]) == (NEVER, 2)
    assert made.probability[0] == pytest.approx(1 / (1 + np.exp(-13.8)), abs=1e-12)
    assert follow(Scripted([0, 3, 13.82, 5])).reached[0]  # log(999999) is 13.8155


def test_an_iterate_that_passes_stands_above_any_that_does_not() -> None:
    made = follow(Scripted([13.8, 13.9, 13.8]))
    assert (made.image_step[0], made.linf[0]) == (1, 0.125)


def test_steps_without_a_gradient_are_counted() -> None:
    made = follow(Scripted([0, 200, 200, 0]))  # 1 - exp(-200) is 1 for a computer
    assert made.dead_steps[0] == 2
    assert (made.last[0] == 0.375).all()


def test_traces_hold_the_activation_of_each_iterate() -> None:
    np.testing.assert_array_equal(follow(Scripted([1, 4, 2])).traces, [[1, 4, 2]])


def test_a_batch_without_memory_is_halved() -> None:
    network, begun, units = tiny(), starts(), [4, 0, 5]
    sizes: list[int] = []

    class Small(nn.Module):
        def __init__(self, room: int = 2, error: type[Exception] = MemoryError) -> None:
            super().__init__()
            self.units_of = find_penultimate(network, SIDE, "tiny")
            self.room, self.error = room, error

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            if len(images) > self.room:
                raise self.error
            activations: torch.Tensor = self.units_of(images)
            return activations

    told: list[int] = []
    made = list(
        climbs(
            Small(), begun, pairs_of(3, units), EASY, batch_size=9, advance=told.append
        )
    )  # fmt: skip
    assert list(dict.fromkeys(sizes)) == [9, 5, 3, 2, 1]
    assert told[-1] == 9 * EASY.steps
    found = as_table([rows for _, rows in made], 3, 3)
    np.testing.assert_array_equal(found.images, run(network, begun, units).images)
    # One image is as small as it gets, and other errors are reported.
    for small, error in ((Small(room=0), MemoryError), (Small(2, KeyError), InputError)):
        with pytest.raises(error):
            next(climbs(small, begun, pairs_of(3, units), EASY, batch_size=9))


def test_an_activation_that_is_not_finite_is_named() -> None:
    network = tiny()
    with torch.no_grad():
        network.get_parameter("2.bias")[1] = torch.nan
    with pytest.raises(EngineError, match="not finite at step 0 of unit 4 from start 1"):
        run(network, starts(), [4])


def test_rows_and_table_are_each_others_inverse() -> None:
    made = run(tiny(), starts(2), [4, 0], MaximizingSettings(steps=2))
    flat = [
        Maximized(*(getattr(made, f)[k, u][None] for f in Maximized.__dataclass_fields__))
        for k in range(2)
        for u in range(2)
    ]
    again = as_table(flat, 2, 2)
    np.testing.assert_array_equal(again.images, made.images)
    np.testing.assert_array_equal(again.traces, made.traces)


@given(
    seed=st.integers(0, 99),
    step_size=st.floats(1e-3, 2),
    epsilon=st.floats(1e-3, 2),
    steps=st.integers(1, 6),
)
def test_no_image_leaves_the_bounds(
    seed: int, step_size: float, epsilon: float, steps: int
) -> None:
    begun = starts(2, seed)
    made = run(tiny(), begun, [1, 2], MaximizingSettings(steps, step_size, epsilon))
    for images in (made.images, made.last):
        assert images.min() >= 0
        assert images.max() <= 1
        assert np.abs(images - begun[:, None]).max() <= epsilon + 1e-12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "Invalid number of steps: 0. Expected 1 or more"),
        ({"step_size": 0.0}, "Invalid step size: 0. Expected a number above 0"),
        ({"step_size": float("nan")}, "Invalid step size: nan"),
        ({"step_size": 1e-320}, "Invalid step size: 9.99989e-321"),
        ({"epsilon": 1e-320}, "Invalid epsilon: 9.99989e-321"),
        ({"epsilon": -1.0}, "Invalid epsilon: -1"),
        ({"epsilon": float("inf")}, "Invalid epsilon: inf"),
    ],
)
def test_settings_that_move_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MaximizingSettings(**wrong)


def test_the_defaults_are_the_papers() -> None:
    how = MaximizingSettings()
    assert (how.steps, how.step_size, how.epsilon, how.probability) == (500, 1 / 255, 4, 1 - 1e-6)


def test_bounded_units_are_told_apart_from_those_that_can_pass() -> None:
    how = MaximizingSettings()
    assert why_impossible(None, 2048, how) is None
    # exp(6) / (exp(6) + 2047)
    message = "units lie between 0 and 6, so none of 2048 can exceed p = 0.16"
    assert why_impossible(Bounds(0, 6), 2048, how) == message
    # 13.8155 above the log-sum-exp of 2047 zeros, which is 7.624: the edge is at 21.44.
    assert why_impossible(Bounds(0, 21.43), 2048, how) is not None
    assert why_impossible(Bounds(0, 21.45), 2048, how) is None


# ------------------------------------------------------------------------ the paper's draw


def test_units_and_noise_are_the_papers() -> None:
    assert drawn_units(2048) == (1062, 236, 1933, 1097, 1792, 906)
    noise = drawn_noise(224)
    assert noise.dtype == np.float32
    assert noise[0, 0, 0] == np.float32(0.30233258)
    # Written again as in the script: six of all but unit 0, then the noise.
    state = np.random.RandomState(1)
    assert drawn_units(2048) == tuple(state.choice(np.setdiff1d(np.arange(2048), 0), 6))
    np.testing.assert_array_equal(noise, np.float32(state.rand(3, 224, 224)))


@pytest.mark.parametrize("width", [2, 3, 512, 1280, 4096])
def test_other_layers_have_units_drawn_in_the_same_manner(width: int) -> None:
    units = drawn_units(width)
    assert len(set(units)) == len(units) <= 6
    assert all(1 <= unit < width for unit in units)
    state = np.random.RandomState(1)
    assert list(units) == list(dict.fromkeys(state.choice(np.arange(1, width), 6).tolist()))


def test_the_noise_of_another_crop_begins_alike() -> None:
    np.testing.assert_array_equal(drawn_noise(32).ravel(), drawn_noise(224).ravel()[: 3 * 32 * 32])
