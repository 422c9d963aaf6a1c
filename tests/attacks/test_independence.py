"""An outcome belongs to its image: no batch, order, resume, epsilon of others or lack of memory."""

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.contracts import AttackSettings
from evaluator.errors import EngineMemoryError, InputError
from evaluator.system.batch_limit import BatchLimit
from evaluator.tests.attacks.attacked_networks import (
    Counted,
    Network,
    attempts_on,
    paper,
    photos,
    standard,
    table,
)
from evaluator.tests.small import one_line

SETTINGS = [
    paper(steps=(5, 15), step_size=0.01),
    paper(steps=(5, 15), step_size=0.01, restarts=3, attack_wrong=True),
    standard(),
    standard(steps=(9,), relative_epsilon=True, step_size=None, relative_step=2.5),
]


NETWORK = Network(seed=3)
IMAGES = photos(NETWORK, 25, wrong=(0, 9))
TRACED = frozenset({IMAGES[4].item.id, IMAGES[9].item.id, IMAGES[20].item.id})


def slow(*values: int) -> list[Any]:
    """Values for the slow tier alone."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@functools.cache
def records_of(settings: AttackSettings, batch: int, traced: frozenset[str]) -> pa.Table:
    """The attack's records, with which others are compared."""
    attempts = attempts_on(NETWORK, IMAGES, settings, 0.03, batch=batch, traced=traced)
    return table(IMAGES, attempts)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("batch", [1, 7, 40, *slow(2, 3)])
def test_records_are_the_same_for_any_batches(settings: AttackSettings, batch: int) -> None:
    found = attempts_on(NETWORK, IMAGES, settings, 0.03, batch=batch, traced=TRACED)
    assert table(IMAGES, found).equals(records_of(settings, 5, TRACED))


@pytest.mark.parametrize("settings", SETTINGS)
def test_records_are_the_same_in_any_order_and_after_a_resume(settings: AttackSettings) -> None:
    expected = records_of(settings, 4, frozenset())
    shuffled = [IMAGES[n] for n in np.random.default_rng(1).permutation(len(IMAGES))]
    assert table(IMAGES, attempts_on(NETWORK, shuffled, settings, 0.03)).equals(expected)
    # Two shards, the second in another process, as it may be.
    halves = [attempts_on(NETWORK, part, settings, 0.03) for part in (IMAGES[13:], IMAGES[:13])]
    assert table(IMAGES, halves[0] + halves[1]).equals(expected)


def test_adversarial_images_are_the_same_for_any_batches() -> None:
    network = Network(seed=3)
    images = photos(network, 20)
    one, other = (
        attempts_on(network, images, paper(), 0.05, batch=batch, keep_images=True)
        for batch in (3, 8)
    )
    for a, b in zip(one, other, strict=True):
        assert a.adversarial is not None
        assert np.array_equal(a.adversarial, b.adversarial)  # type: ignore[arg-type]


def test_in_float32_the_same_batches_give_the_same_bits() -> None:
    network = Network(seed=3, dtype=torch.float32)
    images = photos(network, 25, wrong=(0, 9), dtype=np.float32)
    runs = [
        attempts_on(network, images, standard(), 0.03, batch=7, keep_images=True) for _ in range(2)
    ]
    for a, b in zip(*runs, strict=True):
        assert a.loss == b.loss
        assert a.gradient_norm == b.gradient_norm
        assert (a.adversarial is None) == (b.adversarial is None)
        if a.adversarial is not None and b.adversarial is not None:
            assert a.adversarial.dtype == np.float32
            assert np.array_equal(a.adversarial, b.adversarial)
    assert table(images, runs[0]).equals(table(images, runs[1]))


def test_start_and_target_do_not_depend_on_epsilon() -> None:
    network = Network(seed=3)
    images = photos(network, 5)
    starts = {}
    for epsilon in (0.01, 0.04):
        seen: list[torch.Tensor] = []
        handle = network.register_forward_pre_hook(lambda _, g, to=seen: to.append(g[0].detach()))
        attempts = attempts_on(network, images, paper(), epsilon, batch=5)
        handle.remove()
        starts[epsilon] = (seen[1] - seen[0]) / epsilon, [a.target for a in attempts]
    torch.testing.assert_close(starts[0.01][0], starts[0.04][0])
    assert starts[0.01][1] == starts[0.04][1]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("room", [1, 3, *slow(2, 5)])
def test_want_of_memory_halves_the_batch_and_loses_nothing(
    settings: AttackSettings, room: int
) -> None:
    heard: list[str] = []
    network, limit = Counted(NETWORK, room=room), BatchLimit(11)
    done: list[int] = []
    job = AttackJob(network, 0.03, limit, settings=settings, note=heard.append)
    found = list(run_pgd(job, IMAGES, done.append))
    assert table(IMAGES, found).equals(records_of(settings, 4, frozenset()))
    assert sum(done) == 25
    assert limit.size == {1: 1, 2: 2, 3: 3, 5: 3}[room]
    assert max(size for size, _ in network.passes) <= room
    assert heard[0] == (
        "Out of memory with 11 images per batch; continuing with 6. Use --batch-size 6 to start "
        "there."
    )
    assert len(heard) == {1: 4, 2: 3, 3: 2, 5: 2}[room]


def test_memory_that_is_lacking_for_gradients_alone_halves_the_batch_on_the_way() -> None:
    class Tight(Counted):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.requires_grad and len(self.passes) > 5 and len(images) > 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
            return super().forward(images)

    images = photos(Network(seed=3), 25, wrong=(0, 9))
    expected = table(images, attempts_on(Network(seed=3), images, paper(), 0.03))
    limit = BatchLimit(8)
    network = Tight(Network(seed=3))
    found = list(run_pgd(AttackJob(network, 0.03, limit, settings=paper()), images))
    assert table(images, found).equals(expected)
    assert limit.size == 2
    assert (8, True) in network.passes


def test_where_not_even_one_image_fits_it_is_named() -> None:
    images = photos(Network(), 3)
    for network in (Counted(Network(), room=0), OnlyForward(Network())):
        with pytest.raises(
            EngineMemoryError, match=r"single image, n0/0\.JPEG: .*--device"
        ) as told:
            attempts_on(network, images, paper())
        one_line(told)


class OnlyForward(Counted):
    """It has no memory for what a gradient keeps."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.room = 0 if images.requires_grad else None
        return super().forward(images)


def test_other_failures_are_told_with_their_place() -> None:
    class Broken(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

    with pytest.raises(InputError, match=r"raises ZeroDivisionError.* \(.*test_independence\.py"):
        attempts_on(Broken(), photos(Network(), 2), paper())


def test_images_are_asked_for_only_as_places_become_free() -> None:
    network = Network(seed=3)
    images = photos(network, 40)
    asked: list[Any] = []

    def stream() -> Any:
        for image in images:
            asked.append(image)
            yield image

    ended = 0
    for _ in run_pgd(AttackJob(network, 0.05, BatchLimit(4), settings=paper()), stream()):
        ended += 1
        assert len(asked) <= ended + 3 * 4
    assert ended == 40


def test_progress_counts_every_image_once() -> None:
    network = Network(seed=3)
    images = photos(network, 30, wrong=(1, 2))
    for settings in SETTINGS:
        done: list[int] = []
        attempts = list(
            run_pgd(AttackJob(network, 0.02, BatchLimit(4), settings=settings), images, done.append)
        )
        assert sum(done) == 30
        assert len(attempts) >= 30
