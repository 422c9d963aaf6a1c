"""What is asked about an image belongs to it alone, and costs what it must; failures are told."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from evaluator.attacks.pgd.attempts import CleanImage
from evaluator.attacks.queries.query_attacks import QueryJob, run_queries
from evaluator.contracts import Item, ProbeName, ProbeSettings
from evaluator.errors import EngineError, EngineMemoryError, InputError
from evaluator.system.batch_limit import BatchLimit
from evaluator.tests.attacks.attacked_networks import Counted, Linear, Network, photos, queried_on
from evaluator.tests.small import one_line

PROBES: list[ProbeName] = ["noise", "gradient-free"]


def job(
    network: torch.nn.Module,
    probe: ProbeName,
    room: BatchLimit,
    queries: int = 30,
    note: Callable[[str], None] = lambda text: None,
) -> QueryJob:
    settings = ProbeSettings(probe, images=1, queries=queries)
    return QueryJob(network, 0.03, room, probe=settings, seed=0, note=note)


@pytest.mark.parametrize("probe", PROBES)
def test_outcomes_are_the_same_in_any_order_and_after_a_resume(probe: ProbeName) -> None:
    network = Network(seed=3)
    images = photos(network, 25, wrong=(0, 9))
    expected = queried_on(network, images, probe)
    assert 2 < sum(one.changed_step is None for one in expected) < 25
    by_id = {one.item.id: one for one in expected}
    shuffled = [images[n] for n in np.random.default_rng(1).permutation(len(images))]
    for one in queried_on(network, shuffled, probe, batch=6):
        assert one == by_id[one.item.id]
    halves = [queried_on(network, part, probe, batch=9) for part in (images[13:], images[:13])]
    assert halves[1] + halves[0] == expected


@pytest.mark.parametrize("probe", PROBES)
def test_in_float32_the_same_batches_give_the_same_bits(probe: ProbeName) -> None:
    network = Network(seed=3, dtype=torch.float32)
    images = photos(network, 25, wrong=(0, 9), dtype=np.float32)
    runs = [queried_on(network, images, probe, batch=7) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("probe", PROBES)
def test_random_numbers_differ_by_seed_image_and_query(probe: ProbeName) -> None:
    network = Network(seed=3)
    (image,) = photos(network, 1)
    asked: list[Any] = []
    network.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    for seed, name in ((0, "a"), (1, "a"), (0, "b")):
        named = CleanImage(Item(name, image.label, ""), image.image)
        queried_on(network, [named], probe, 1e-6, queries=2, seed=seed)
    for one, two in ((1, 2), (4, 5), (1, 4), (1, 7), (2, 5), (2, 8)):
        assert not torch.equal(asked[one], asked[two])


@pytest.mark.parametrize("probe", PROBES)
def test_images_that_are_wrong_or_not_worth_it_cost_one_clean_pass(probe: ProbeName) -> None:
    network = Counted(Network())
    images = photos(network.network, 6, wrong=(0, 1))
    asked = frozenset({images[1].item.id})
    found = queried_on(network, images, probe, batch=6, asked=asked)
    assert network.passes == [(6, False)]
    assert [one.changed_step for one in found] == [0, 0, None, None, None, None]
    assert [one.clean for one in found] == [one.last for one in found]
    assert {(one.steps, one.linf, one.l2) for one in found} == {(0, 0.0, 0.0)}
    assert [one.clean == one.item.label for one in found] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("probe", PROBES)
def test_those_that_are_worth_it_fare_as_they_would_among_all(probe: ProbeName) -> None:
    network = Network(seed=3)
    images = photos(network, 25, wrong=(0, 9))
    every = queried_on(network, images, probe)
    asked = frozenset(image.item.id for image in images[::2])
    some = queried_on(network, images, probe, asked=asked)
    assert some[::2] == every[::2]
    assert {one.steps for one in some[1::2]} == {0}
    assert {one.steps for one in queried_on(network, images, probe, asked=frozenset())} == {0}


@pytest.mark.parametrize("probe", PROBES)
def test_the_batch_is_kept_full_and_a_query_is_a_row_of_one_pass(probe: ProbeName) -> None:
    network = Counted(Network(seed=3))
    images = photos(network.network, 40, wrong=(3,))
    found = queried_on(network, images, probe, 0.06, batch=5, queries=12)
    assert not any(with_gradient for _, with_gradient in network.passes)
    assert sum(size for size, _ in network.passes) == 40 + sum(one.steps for one in found)
    # Once images have run out the batch empties, within the queries of one at most.
    assert {size for size, _ in network.passes[:-12]} == {5}
    for one in found:
        assert one.steps == (12 if one.changed_step is None else one.changed_step)
        assert (one.last == one.item.label) == (one.changed_step is None)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("room", [1, 2, 3, 5])
def test_want_of_memory_halves_the_batch_and_loses_nothing(probe: ProbeName, room: int) -> None:
    images = photos(Network(seed=3), 25, wrong=(0, 9))
    expected = queried_on(Network(seed=3), images, probe)
    network, heard = Counted(Network(seed=3), room=room), list[str]()
    limit = BatchLimit(11)
    done: list[int] = []
    attack = job(network, probe, limit, note=heard.append)
    found = list(run_queries(attack, images, done.append))
    assert {one.item.id: one for one in found} == {one.item.id: one for one in expected}
    assert sum(done) == 25
    assert limit.size == {1: 1, 2: 2, 3: 3, 5: 3}[room]
    assert max(size for size, _ in network.passes) <= room
    assert len(heard) == {1: 4, 2: 3, 3: 2, 5: 2}[room]


@pytest.mark.parametrize("probe", PROBES)
def test_memory_that_is_lacking_on_the_way_loses_nothing(probe: ProbeName) -> None:
    class Tight(Counted):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.room = 2 if len(self.passes) > 5 else None
            return super().forward(images)

    images = photos(Network(seed=3), 25, wrong=(0, 9))
    expected = queried_on(Network(seed=3), images, probe)
    network, limit = Tight(Network(seed=3)), BatchLimit(8)
    found = list(run_queries(job(network, probe, limit), images))
    assert {one.item.id: one for one in found} == {one.item.id: one for one in expected}
    assert limit.size == 2
    assert (8, False) in network.passes


def test_where_not_even_one_image_fits_it_is_named() -> None:
    with pytest.raises(EngineMemoryError, match=r"single image, n0/0\.JPEG: .*--device") as told:
        queried_on(Counted(Network(), room=0), photos(Network(), 3), "noise")
    one_line(told)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("query", [0, 1, 3])
def test_what_is_not_finite_is_told_with_its_image_and_query(probe: ProbeName, query: int) -> None:
    class Late(Counted):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images).clone()
            if len(self.passes) > query:
                logits[2, 4] = torch.inf
            return logits

    with pytest.raises(EngineError) as caught:
        queried_on(Late(Network()), photos(Network(), 4), probe, 1e-6)
    assert one_line(caught).startswith(
        f"PyTorch gave a logit that is not finite for n0/2.JPEG at query {query}: "
    )


def test_images_are_asked_for_only_as_places_become_free() -> None:
    network = Network(seed=3)
    taken: list[CleanImage] = []

    def stream() -> Any:
        for image in photos(network, 40):
            taken.append(image)
            yield image

    ended = 0
    for _ in run_queries(job(network, "gradient-free", BatchLimit(4)), stream()):
        ended += 1
        assert len(taken) <= ended + 3 * 4
    assert ended == 40


@pytest.mark.parametrize("probe", PROBES)
def test_progress_is_told_after_each_pass_and_each_image_once(probe: ProbeName) -> None:
    network = Counted(Network())
    images = photos(network.network, 9, wrong=(2,))
    told: list[int] = []
    assert len(list(run_queries(job(network, probe, BatchLimit(4)), images, told.append))) == 9
    assert sum(told) == told.count(1) == 9
    assert told.count(0) >= len(network.passes) - 3 > 12


def test_nothing_to_ask_about_is_nothing() -> None:
    assert queried_on(Network(), [], "noise") == []


@pytest.mark.parametrize("epsilon", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(InputError, match=r"outside \(0, 1\]"):
        queried_on(Network(), [], "noise", epsilon)


@pytest.mark.parametrize(
    "probe", [ProbeSettings("unbounded", 3, 9), ProbeSettings("noise", 3, None)]
)
def test_a_probe_that_is_none_of_queries_is_refused(probe: ProbeSettings) -> None:
    with pytest.raises(InputError, match="expected noise or gradient-free") as caught:
        list(run_queries(QueryJob(Network(), 0.03, BatchLimit(4), probe=probe, seed=0), []))
    one_line(caught)


def test_what_has_no_label_or_no_other_class_is_refused() -> None:
    (image,) = photos(Network(), 1)
    unlabelled = CleanImage(Item("0", None, "DATA/0.JPEG"), image.image)
    with pytest.raises(InputError, match=r"DATA/0\.JPEG has no label"):
        queried_on(Network(), [unlabelled], "noise")
    with pytest.raises(InputError, match="a single class"):
        queried_on(Linear(np.ones((1, image.image.size))), [image], "noise")
