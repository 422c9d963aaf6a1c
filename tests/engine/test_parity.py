"""Each gate catches the fault it is for, on a network with real weights."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.contracts import Bundle, EngineSpec, Gate, ImageBatch, Item
from evaluator.engine.devices import cpu
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.engine.parity import (
    Logits,
    ParityImages,
    PreprocessingPair,
    flips,
    gates,
    logits_in_other_batches,
    logits_of,
    mean_kl,
    other_batches,
)
from evaluator.engine.tolerances import TOLERANCES, tolerance_of
from evaluator.engine.torch_engine import TorchEngine
from evaluator.errors import InputError
from evaluator.exporter.graph.deployable import scale_and_bias
from evaluator.exporter.weights.weights import load_network
from evaluator.workflow.models.parity_images import parity_images

BATCH = 8


class Faulty(OnnxEngine):
    """ONNX Runtime with a fault in what goes in or comes out.

    Most faults are in what comes out: what the graph gives for a batch is computed once for all.
    """

    answers: ClassVar[dict[bytes, Logits]] = {}

    def __init__(
        self,
        bundle: Bundle,
        *,
        before: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None = None,
        after: Callable[[Logits], Logits] | None = None,
    ) -> None:
        super().__init__(bundle, cpu(), threads=2)
        self._before, self._after = before, after

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        for batch in batches:
            data = batch.data if self._before is None else self._before(batch.data)
            key = hashlib.sha256(data.tobytes()).digest()
            if key not in self.answers:
                ((_, self.answers[key]),) = super().stream([replace(batch, data=data)])
            logits = self.answers[key].copy()
            yield batch, logits if self._after is None else self._after(logits)


def bgr(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[..., ::-1])


def two_classes_swapped(logits: Logits) -> Logits:
    swapped = logits.copy()
    swapped[:, [243, 609]] = logits[:, [609, 243]]
    return swapped


def rows_shifted(logits: Logits) -> Logits:
    return np.roll(logits, 1, axis=0)


def images_mixed(logits: Logits) -> Logits:
    return np.asarray(logits + np.float32(0.01) * logits.mean(axis=0), np.float32)


class OnceStale:
    """One image's row is another's, once: a buffer that was read too early."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, logits: Logits) -> Logits:
        self.batches += 1
        if self.batches == 2:
            logits = logits.copy()
            logits[3] = logits[4]
        return logits


class OnceNan(OnceStale):
    def __call__(self, logits: Logits) -> Logits:
        self.batches += 1
        if self.batches == 2:
            logits = logits.copy()
            logits[3, 17] = np.nan
        return logits


@pytest.fixture(scope="module")
def images(bundle: Bundle) -> ParityImages:
    return parity_images(bundle.model.spec)


@pytest.fixture(scope="module")
def reference(bundle: Bundle, images: ParityImages) -> Logits:
    with TorchEngine(load_network(bundle.model.spec), cpu()) as engine:
        return np.concatenate(list(logits_of(engine, images, 16)))


def measured(
    engine: Faulty,
    reference: Logits,
    images: ParityImages,
    precision: str,
    pair: PreprocessingPair | None = None,
) -> dict[str, Gate]:
    found = np.concatenate(list(logits_of(engine, images, BATCH)))
    moved = logits_in_other_batches(engine, images, BATCH)
    verdicts = gates(reference, found, moved, TOLERANCES[precision], pair, images.items)
    return {gate.name: gate for gate in verdicts}


def failed(verdicts: dict[str, Gate]) -> set[str]:
    return {name for name, gate in verdicts.items() if not gate.passed}


@pytest.fixture(scope="module")
def pair(bundle: Bundle) -> PreprocessingPair:
    good = scale_and_bias(bundle.model.spec.preprocessing)
    return PreprocessingPair(good, good)


def test_a_sound_engine_passes_every_gate(
    bundle: Bundle, reference: Logits, images: ParityImages, pair: PreprocessingPair
) -> None:
    verdicts = measured(Faulty(bundle), reference, images, "fp32", pair)
    assert list(verdicts) == [
        "preprocessing",
        "finite",
        "all",
        "worst image",
        "worst class",
        "batch independence",
    ]
    assert failed(verdicts) == set()
    assert verdicts["all"].value is not None
    assert verdicts["all"].value < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("make", "gate"),
    [
        (lambda bundle: Faulty(bundle, before=bgr), "all"),
        (lambda bundle: Faulty(bundle, after=OnceStale()), "worst image"),
        (lambda bundle: Faulty(bundle, after=two_classes_swapped), "worst class"),
        (lambda bundle: Faulty(bundle, after=rows_shifted), "worst image"),
        (lambda bundle: Faulty(bundle, after=OnceNan()), "finite"),
    ],
    ids=["BGR", "one row is another's", "two classes swapped", "rows shifted", "NaN"],
)
def test_a_fault_is_caught_by_its_gate_under_the_tightest_and_the_widest_bounds(
    make: Callable[[Bundle], Faulty],
    gate: str,
    precision: str,
    bundle: Bundle,
    reference: Logits,
    images: ParityImages,
) -> None:
    assert gate in failed(measured(make(bundle), reference, images, precision))


def test_two_swapped_classes_hide_from_every_other_gate_of_half_precision(
    bundle: Bundle, reference: Logits, images: ParityImages
) -> None:
    verdicts = measured(Faulty(bundle, after=two_classes_swapped), reference, images, "bf16")
    assert failed(verdicts) == {"worst class"}


def test_a_graph_that_mixes_the_images_of_a_batch_is_caught(
    bundle: Bundle, reference: Logits, images: ParityImages
) -> None:
    verdicts = measured(Faulty(bundle, after=images_mixed), reference, images, "fp16")
    assert failed(verdicts) == {"batch independence"}


def test_a_deviation_that_is_2_percent_off_hides_from_every_gate_but_the_exact_one(
    bundle: Bundle, reference: Logits, images: ParityImages
) -> None:
    scale, bias = scale_and_bias(bundle.model.spec.preprocessing)
    off = PreprocessingPair((scale, bias), (scale / np.float32(1.02), bias / np.float32(1.02)))

    def wide(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # The same on pixels, to the nearest level: what the graph would see.
        shrunk = (pixels.astype(np.float64) - 127) / 1.02 + 127
        return shrunk.round().clip(0, 255).astype(np.uint8)

    verdicts = measured(Faulty(bundle, before=wide), reference, images, "bf16", off)
    assert failed(verdicts) == {"preprocessing"}
    assert "all" in failed(measured(Faulty(bundle, before=wide), reference, images, "fp32"))


def test_the_error_is_relative_to_the_centred_signal_by_hand() -> None:
    reference = np.zeros((8, 3), np.float32)
    reference[:, 0] = [1, -1] * 4  # centred already: the signal of each image is 1
    candidate = reference.copy()
    candidate[2, 1] = 0.5
    items = tuple(Item(f"image{i}", None, "") for i in range(8))
    moved = {2: candidate[2], 3: candidate[3] + np.float32(0.25) * np.eye(3, dtype=np.float32)[2]}
    verdicts = gates(reference, candidate, moved, TOLERANCES["bf16"], None, items)
    values = {gate.name: gate.value for gate in verdicts}
    assert values["all"] == pytest.approx(0.5 / np.sqrt(8))
    assert values["worst image"] == pytest.approx(0.5)
    assert values["batch independence"] == pytest.approx(0.25)
    # Class 1 has an error and no signal at all: no bound can excuse that.
    assert values["worst class"] is None
    notes = {gate.name: gate.note for gate in verdicts}
    assert notes["worst image"] == "image2"
    assert notes["worst class"] == "class 1"


def test_too_few_or_indistinguishable_images_are_refused() -> None:
    items = tuple(Item(str(i), None, "") for i in range(8))
    few = np.ones((7, 3), np.float32)
    with pytest.raises(InputError, match="at least 8 images, got 7"):
        gates(few, few, {0: few[0]}, TOLERANCES["fp32"], None, items[:7])
    same = np.ones((8, 3), np.float32)
    with pytest.raises(InputError, match="the same logits"):
        gates(same, same, {0: same[0]}, TOLERANCES["fp32"], None, items)
    broken = np.full((8, 3), np.nan, np.float32)
    with pytest.raises(InputError, match="reference itself"):
        gates(broken, same, {0: same[0]}, TOLERANCES["fp32"], None, items)


def test_other_batches_hold_each_chosen_image_once_in_other_company() -> None:
    for n, batch in ((100, 4), (20, 64), (8, 1), (9, 3)):
        rows = [index for group in other_batches(n, batch) for index in group]
        assert len(set(rows)) == len(rows) == min(n, 20)
        assert max(rows) == n - 1


def test_flips_tell_the_margin_of_the_reference() -> None:
    reference = np.array([[3, 1, 0], [0, 2, 1]], np.float32)
    candidate = np.array([[3, 1, 0], [0, 1, 2]], np.float32)
    items = (Item("a", None, ""), Item("b", None, ""))
    (flip,) = flips(reference, candidate, items)
    assert (flip.id, flip.reference, flip.candidate, flip.margin) == ("b", 1, 2, 1.0)


def test_divergence_by_hand() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2).
    p, q = np.log([[0.75, 0.25]]).astype(np.float32), np.zeros((1, 2), np.float32)
    assert mean_kl(p, q) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=1e-6)
    assert mean_kl(p, p) == 0


def test_tf32_has_bounds_of_its_own() -> None:
    assert tolerance_of(EngineSpec("onnxruntime", "")) == TOLERANCES["fp32"]
    assert tolerance_of(EngineSpec("onnxruntime", "", tf32=True)) == TOLERANCES["tf32"]
    assert tolerance_of(EngineSpec("onnxruntime", "", precision="bf16")) == TOLERANCES["bf16"]
