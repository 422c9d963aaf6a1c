"""Measuring an engine against its reference, keeping the result, and finding it again."""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from ...contracts import (
    Device,
    EngineSpec,
    Gate,
    ModelSpec,
    NullProgress,
    ParityResult,
    Progress,
    ReadyOnnx,
    WeightsOrigin,
    wilson_interval,
)
from ...engine.parity import (
    Logits,
    ParityImages,
    PreprocessingPair,
    flips,
    gates,
    logits_in_other_batches,
    logits_of,
    mean_kl,
)
from ...engine.table import candidates
from ...engine.tolerances import tolerance_of
from ...errors import InputError
from ...evaluate.jpeg import decoder_versions
from ...exporter.graph.deployable import affine_of, preprocessing_in_graph
from ...storage.atomic import atomic_write
from ...storage.cache import cache_folder
from ...storage.documents import document_sha256, plain, read_document, write_document
from ...system.malloc import give_back_freed_memory
from .engines import (
    prepare,
    reference_name,
    reference_of,
    reference_spec,
    supporting,
)
from .options import GraphOptions, ModelOptions
from .parity_images import parity_images
from .prepared_model import PreparedBundle, PreparedModel
from .resolve import ResolvedModel, resolve_model

REFERENCE_BATCH = 4
"""Images in a batch of the reference. Its activations lie beside gigabytes of weights: sixteen
images of ResNeXt-101 32x48d take 3 GB of them, and are no faster."""

FEW_CORRECT = 0.25
"""Trained weights that get less of the labelled photos right than this are fed wrongly."""

NORMALISES_ITSELF = "before the graph, which normalises by itself: that cannot be verified"


def check_parity(
    model: str,
    *,
    data: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[GraphOptions],
) -> ParityResult:
    """Compare an engine's logits with those of PyTorch on the CPU in float32.

    A model that exists only as ONNX has ONNX Runtime, on the original file, as its reference.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's
            own, or a bundle's folder.
        data: Photos to compare on, in class folders or flat; without it, twenty sample photos.
            Each is compared clean and corrupted.
        engine: Without it, the best that is here.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Of the candidate; without it, what the engine is scored with.
        progress: Progress callback.
        options: Which model; see ``GraphOptions``.

    Returns:
        The result, passed or not; it is kept, and scoring finds it.

    Raises:
        InputError: If the engine is the reference itself, or the images do not serve.
        UnavailableError: If the engine, the device or the weights are not here.
    """
    progress = progress or NullProgress()
    subject = resolve_model(
        ModelOptions(model, **options),
        progress,
    )
    loaded = prepare(subject, supporting(subject, candidates(engine, device))[0], progress)
    photos = None if data is None else Path(data)
    return measure_parity(subject, loaded, data=photos, batch_size=batch_size, progress=progress)


def measure_parity(
    subject: ResolvedModel,
    candidate: PreparedModel,
    *,
    data: Path | None = None,
    batch_size: int | None = None,
    progress: Progress,
) -> ParityResult:
    """Measure a candidate that is ready, and keep the result."""
    if candidate.is_reference:
        raise InputError(
            "PyTorch on the CPU in float32 is the reference: there is nothing to compare it with. "
            "Choose --engine onnxruntime, or --device cuda:0."
        )
    images = parity_images(subject.spec, data)
    return compared(subject, candidate, images, batch_size=batch_size, progress=progress)


def compared(
    subject: ResolvedModel,
    candidate: PreparedModel,
    images: ParityImages,
    *,
    batch_size: int | None = None,
    progress: Progress,
) -> ParityResult:
    """Measure a candidate that is not the reference on these images, and keep the result."""
    progress.note(
        f"Parity of {candidate.placement} with {reference_name(subject.spec)}: "
        f"{images.description}."
    )
    if candidate.notice:
        progress.note(candidate.notice)
    device = candidate.placement.device
    batch = batch_size or candidate.placement.kind.batch_size(device)
    reference = _reference(subject, candidate, images, progress)
    give_back_freed_memory()  # of the reference; the candidate may be as large
    found, moved = _candidate_logits(candidate, images, batch, progress)
    pair = _preprocessing(candidate, subject.spec)
    tolerance = tolerance_of(candidate.spec)
    verdicts = gates(reference.logits, found, moved, tolerance, pair, images.items)
    result = _result(reference, candidate, images, batch, found, verdicts)
    write_document(_kept_at(result), result)
    if not result.passed:
        _keep_evidence(evidence_path(result), images, (reference.logits, found))
    return result


def stored_parity(
    subject: ResolvedModel, candidate: PreparedModel, images: str | None = None
) -> ParityResult | None:
    """The kept result for this engine, runtime and device, if there is one.

    Args:
        subject: The model.
        candidate: What was measured.
        images: The description of the images, where they are no pixels of photos.
    """
    path = _path(
        reference_spec(subject.spec, candidate.weights_sha256),
        candidate.spec,
        candidate.placement.kind.versions(),
        candidate.placement.device,
        images,
    )
    return read_document(path, ParityResult) if path.is_file() else None


def suspect_preprocessing(result: ParityResult, weights: WeightsOrigin) -> str | None:
    """Why a model is likely to be fed wrongly, if it is: no engine's fault, so no gate sees it."""
    if weights.kind == "random" or result.labelled == 0:
        return None
    if result.reference_correct / result.labelled >= FEW_CORRECT:
        return None
    return (
        f"Only {result.reference_correct} of {result.labelled} labelled photos are classified "
        "right. If the weights are trained, the preprocessing or the order of the classes is wrong."
    )


def evidence_path(result: ParityResult) -> Path:
    """Where the logits of a parity that failed are kept: ids, reference and candidate."""
    return _kept_at(result).with_suffix(".npz")


def _kept_at(result: ParityResult) -> Path:
    images = result.images if result.reference.input_kind == "images" else None
    spec = replace(result.reference, input_kind="pixels")
    return _path(spec, result.candidate, result.versions, result.candidate_device, images)


def _path(
    reference: EngineSpec,
    candidate: EngineSpec,
    versions: Mapping[str, str],
    device: Device,
    images: str | None,
) -> Path:
    """Bound to the runtime's version and the device: a pass on one says nothing of another."""
    parts = {
        "reference": plain(reference),
        "candidate": plain(candidate),
        "runtime": dict(versions),
        "device": [device.model, device.details],
    }
    if images is not None:
        parts["images"] = images
    return cache_folder("parity") / f"{document_sha256(parts)[:32]}.json"


@dataclass(frozen=True)
class _Reference:
    """What the reference gave. It is not held itself: two large models do not fit side by side."""

    spec: EngineSpec
    device: Device
    versions: Mapping[str, str]
    logits: Logits


def _reference(
    subject: ResolvedModel, candidate: PreparedModel, images: ParityImages, progress: Progress
) -> _Reference:
    loaded = reference_of(subject, candidate.weights_sha256, progress)
    place = loaded.placement
    with loaded.open(input_kind=images.kind) as engine:
        parts = logits_of(engine, images, REFERENCE_BATCH)
        logits = _collected(parts, images, "reference", progress)
        versions = {name: importlib.metadata.version(name) for name in ("numpy", "Pillow")}
        versions |= {**decoder_versions(), **engine.versions}
    spec = replace(loaded.spec, input_kind=images.kind)
    return _Reference(spec, place.device, versions, logits)


def _candidate_logits(
    candidate: PreparedModel, images: ParityImages, batch_size: int, progress: Progress
) -> tuple[Logits, Mapping[int, Logits]]:
    """The candidate's logits, and those of some images in other batches."""
    kind = candidate.spec.input_kind
    with candidate.open(threads=os.cpu_count(), input_kind=kind) as engine:
        logits = _collected(logits_of(engine, images, batch_size), images, "candidate", progress)
        return logits, logits_in_other_batches(engine, images, batch_size)


def _collected(
    parts: Iterable[Logits], images: ParityImages, step: str, progress: Progress
) -> Logits:
    rows: list[Logits] = []
    for part in parts:
        rows.append(part)
        progress.advance(f"parity, {step}", sum(map(len, rows)), len(images.items), "images")
    return np.concatenate(rows)


def _preprocessing(candidate: PreparedModel, spec: ModelSpec) -> PreprocessingPair | None:
    if not isinstance(candidate, PreparedBundle):
        return None
    kind = candidate.spec.input_kind
    expected = affine_of(spec.preprocessing, kind)
    found = preprocessing_in_graph(candidate.bundle.graph, kind)
    if isinstance(spec.own, ReadyOnnx) and spec.own.input != "normalized":
        return PreprocessingPair(expected, found, NORMALISES_ITSELF)
    return PreprocessingPair(expected, found)


def _result(
    reference: _Reference,
    candidate: PreparedModel,
    images: ParityImages,
    batch_size: int,
    found: Logits,
    verdicts: tuple[Gate, ...],
) -> ParityResult:
    expected = reference.logits
    differ = tuple(flips(expected, found, images.items))
    n = len(images.items)
    agreement = 1 - len(differ) / n
    low, high = wilson_interval(agreement, n)
    labels = [item.label for item in images.items[: images.clean]]
    kl = mean_kl(expected, found)
    return ParityResult(
        model=candidate.name,
        reference=reference.spec,
        reference_device=reference.device,
        candidate=candidate.spec,
        candidate_device=candidate.placement.device,
        versions=candidate.placement.kind.versions(),
        images=images.description,
        images_sha256=_sha256(images),
        n=n,
        batch_size=batch_size,
        gates=verdicts,
        agreement=agreement,
        agreement_low=low,
        agreement_high=high,
        kl=kl if np.isfinite(kl) else None,
        flips=differ,
        labelled=sum(label is not None for label in labels),
        reference_correct=_correct(expected, labels),
        candidate_correct=_correct(found, labels),
        reference_versions=reference.versions,
    )


def _correct(logits: Logits, labels: Sequence[int | None]) -> int:
    """How many of the first images get their label; none where there is no label."""
    answers = logits[: len(labels)].argmax(axis=1)
    return sum(int(a) == label for a, label in zip(answers, labels, strict=True))


def _sha256(images: ParityImages) -> str:
    digest = hashlib.sha256(images.data.tobytes())
    digest.update("\0".join(item.id for item in images.items).encode())
    return digest.hexdigest()


def _keep_evidence(path: Path, images: ParityImages, logits: tuple[Logits, Logits]) -> None:
    """Both logits and the ids, so that a failure can be looked into without a second run."""
    ids = np.array([item.id for item in images.items])
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, ids=ids, reference=logits[0], candidate=logits[1])
