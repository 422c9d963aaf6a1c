"""Parity of an engine with its reference: measured, and stored in the cache."""

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
    NullProgress,
    ParityResult,
    Progress,
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
from ...engine.tolerances import tolerance_of
from ...errors import InputError
from ...evaluate.jpeg import decoder_versions
from ...exporter.graph.deployable import preprocessing_in_graph, scale_and_bias
from ...storage.atomic import atomic_write
from ...storage.cache import cache_folder
from ...storage.documents import document_sha256, plain, read_document, write_document
from ...system.malloc import give_back_freed_memory
from .engines import model_candidates, prepare
from .options import GraphOptions, ModelOptions
from .parity_images import parity_images
from .prepared_model import PreparedBundle, PreparedModel
from .reference import Reference, model_reference
from .resolve import ResolvedModel, resolve_model

REFERENCE_BATCH = 4
"""Images in a batch of the reference. Its activations need memory as well as the weights: sixteen
images of ResNeXt-101 32x48d take 3 GB of them, and are no faster."""

FEW_CORRECT = 0.25
"""Below this accuracy on labelled photos the preprocessing of trained weights is likely wrong."""

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
        data: Folder of photos to compare on, in class folders or flat; each is compared clean and
            corrupted. If not given, the twenty sample photos.
        engine: Name of the engine. If not given, the best one available.
        device: Name of the device. If not given, the first GPU, or else the CPU.
        batch_size: Batch size of the candidate. If not given, the one that scores use.
        progress: Progress callback.
        options: Options of the model; see ``GraphOptions``.

    Returns:
        The result, passed or not. It is stored, and scores use it.

    Raises:
        InputError: If the engine is the reference itself, or the images cannot be used.
        UnavailableError: If the engine, the device or the weights are not available.
    """
    progress = progress or NullProgress()
    subject = resolve_model(ModelOptions(model, **options), progress)
    candidate = prepare(subject, model_candidates(subject, engine, device)[0], progress)
    photos = None if data is None else Path(data)
    return measure_parity(subject, candidate, data=photos, batch_size=batch_size, progress=progress)


def measure_parity(
    subject: ResolvedModel,
    candidate: PreparedModel,
    *,
    data: Path | None = None,
    batch_size: int | None = None,
    progress: Progress,
) -> ParityResult:
    """Measure a candidate on photos, and store the result."""
    if candidate.is_reference:
        raise InputError(
            "PyTorch on the CPU in float32 is the reference, which is not compared with itself. "
            "Choose --engine onnxruntime, or --device cuda:0."
        )
    images = parity_images(subject.spec, data)
    return compare_logits(subject, candidate, images, batch_size=batch_size, progress=progress)


def compare_logits(
    subject: ResolvedModel,
    candidate: PreparedModel,
    images: ParityImages,
    *,
    batch_size: int | None = None,
    progress: Progress,
) -> ParityResult:
    """Measure a candidate that is not the reference on these images, and store the result."""
    reference = model_reference(subject.spec)
    progress.note(f"Parity of {candidate.placement} with {reference.name}: {images.description}.")
    if candidate.notice:
        progress.note(candidate.notice)
    device = candidate.placement.device
    batch = batch_size or candidate.placement.kind.batch_size(device)
    expected = _reference_outputs(
        reference.prepare(candidate.weights_sha256, progress), images, progress
    )
    give_back_freed_memory()  # of the reference; the candidate may be as large
    logits, regrouped = _candidate_logits(candidate, images, batch, progress)
    pair = _preprocessing(candidate, reference)
    tolerance = tolerance_of(candidate.spec)
    verdicts = gates(expected.logits, logits, regrouped, tolerance, pair, images.items)
    result = _result(expected, candidate, images, batch, logits, verdicts)
    write_document(_result_path(result), result)
    if not result.passed:
        _write_evidence(evidence_path(result), images, (expected.logits, logits))
    return result


def stored_parity(
    subject: ResolvedModel, candidate: PreparedModel, images: str | None = None
) -> ParityResult | None:
    """The stored result for this engine, runtime and device; ``None`` if there is none.

    Args:
        subject: Model.
        candidate: Candidate, prepared.
        images: Description of the images; ``None`` for photos.
    """
    path = _path(
        model_reference(subject.spec).spec(candidate.weights_sha256),
        candidate.spec,
        candidate.placement.kind.versions(),
        candidate.placement.device,
        images,
    )
    return read_document(path, ParityResult) if path.is_file() else None


def suspect_preprocessing(result: ParityResult, weights: WeightsOrigin) -> str | None:
    """Warning about likely wrong preprocessing or classes, which no gate detects; else ``None``."""
    if weights.kind == "random" or result.labelled == 0:
        return None
    if result.reference_correct / result.labelled >= FEW_CORRECT:
        return None
    return (
        f"Only {result.reference_correct} of {result.labelled} labelled photos are classified "
        "right. If the weights are trained, the preprocessing or the order of the classes is wrong."
    )


def evidence_path(result: ParityResult) -> Path:
    """File of a parity that failed: ids, and logits of reference and candidate."""
    return _result_path(result).with_suffix(".npz")


def _result_path(result: ParityResult) -> Path:
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
    """A result is valid for one version of the runtime and one device only."""
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
class _ReferenceOutputs:
    """Logits of the reference.

    The reference itself has been closed: two large models may not fit in memory.
    """

    spec: EngineSpec
    device: Device
    versions: Mapping[str, str]
    logits: Logits


def _reference_outputs(
    prepared: PreparedModel, images: ParityImages, progress: Progress
) -> _ReferenceOutputs:
    with prepared.open(input_kind=images.kind) as engine:
        parts = logits_of(engine, images, REFERENCE_BATCH)
        logits = _collect(parts, images, "reference", progress)
        versions = {name: importlib.metadata.version(name) for name in ("numpy", "Pillow")}
        versions |= {**decoder_versions(), **engine.versions}
    spec = replace(prepared.spec, input_kind=images.kind)
    return _ReferenceOutputs(spec, prepared.placement.device, versions, logits)


def _candidate_logits(
    candidate: PreparedModel, images: ParityImages, batch_size: int, progress: Progress
) -> tuple[Logits, Mapping[int, Logits]]:
    """Logits of all images, and of some images in other batches."""
    kind = candidate.spec.input_kind
    with candidate.open(threads=os.cpu_count(), input_kind=kind) as engine:
        logits = _collect(logits_of(engine, images, batch_size), images, "candidate", progress)
        return logits, logits_in_other_batches(engine, images, batch_size)


def _collect(
    parts: Iterable[Logits], images: ParityImages, step: str, progress: Progress
) -> Logits:
    rows: list[Logits] = []
    for part in parts:
        rows.append(part)
        progress.advance(f"parity, {step}", sum(map(len, rows)), len(images.items), "images")
    return np.concatenate(rows)


def _preprocessing(candidate: PreparedModel, reference: Reference) -> PreprocessingPair | None:
    if not isinstance(candidate, PreparedBundle):
        return None
    kind = candidate.spec.input_kind
    expected = scale_and_bias(reference.model.preprocessing, kind)
    actual = preprocessing_in_graph(candidate.bundle.graph, kind)
    if reference.normalizes_itself:
        return PreprocessingPair(expected, actual, NORMALISES_ITSELF)
    return PreprocessingPair(expected, actual)


def _result(
    reference: _ReferenceOutputs,
    candidate: PreparedModel,
    images: ParityImages,
    batch_size: int,
    logits: Logits,
    verdicts: tuple[Gate, ...],
) -> ParityResult:
    expected = reference.logits
    differing = tuple(flips(expected, logits, images.items))
    n = len(images.items)
    agreement = 1 - len(differing) / n
    low, high = wilson_interval(agreement, n)
    labels = [item.label for item in images.items[: images.clean]]
    kl = mean_kl(expected, logits)
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
        flips=differing,
        labelled=sum(label is not None for label in labels),
        reference_correct=_correct(expected, labels),
        candidate_correct=_correct(logits, labels),
        reference_versions=reference.versions,
    )


def _correct(logits: Logits, labels: Sequence[int | None]) -> int:
    """Number of correct images among the first ones; an image without a label does not count."""
    classes = logits[: len(labels)].argmax(axis=1)
    return sum(int(index) == label for index, label in zip(classes, labels, strict=True))


def _sha256(images: ParityImages) -> str:
    digest = hashlib.sha256(images.data.tobytes())
    digest.update("\0".join(item.id for item in images.items).encode())
    return digest.hexdigest()


def _write_evidence(path: Path, images: ParityImages, logits: tuple[Logits, Logits]) -> None:
    """Write ids and logits, so that a failure can be inspected without measuring again."""
    ids = np.array([item.id for item in images.items])
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, ids=ids, reference=logits[0], candidate=logits[1])
