"""Parity of an engine with its reference: measured, and stored in the cache."""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from ...contracts import (
    Device,
    Engine,
    EngineSpec,
    Gate,
    ModelSpec,
    NullProgress,
    ParityResult,
    Progress,
    WeightsOrigin,
    reference_name,
    wilson_interval,
)
from ...engine.devices import cpu
from ...engine.parity import (
    Logits,
    ParityImages,
    flips,
    gates,
    logits_in_other_batches,
    logits_of,
    mean_kl,
)
from ...engine.tolerances import tolerance_of
from ...errors import InputError, printable
from ...evaluate.jpeg import decoder_versions
from ...storage.atomic import atomic_write
from ...storage.cache import cache_folder
from ...storage.documents import document_sha256, plain, read_document, write_document
from ...system.malloc import give_back_freed_memory
from .engines import PreparedModel, model_candidates, open_reference, prepare, reference_spec
from .options import EngineOptions, ModelOptions
from .parity_images import parity_images
from .resolve import ResolvedModel, resolve_model
from .self_check import check_reference

REFERENCE_BATCH = 4
"""Images in a batch of the reference. Its activations need memory as well as the weights: sixteen
images of ResNeXt-101 32x48d take 3 GB of them, and are no faster."""

FEW_CORRECT = 0.25
"""Below this accuracy on labelled photos the preprocessing of trained weights is likely wrong."""


def check_parity(
    model: str,
    *,
    data: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[EngineOptions],
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
        options: Options of the model and the plan; see ``GraphOptions`` and ``PlanChoice``.

    Returns:
        The result, passed or not. It is stored, and scores use it.

    Raises:
        InputError: If the engine is the reference itself, or the images cannot be used.
        UnavailableError: If the engine, the device or the weights are not available.
    """
    progress = progress or NullProgress()
    subject = check_reference(resolve_model(ModelOptions(model, **options), progress), progress)
    candidate = prepare(subject, model_candidates(subject, engine, device)[0], progress)
    if candidate.is_reference:
        raise InputError(
            "PyTorch on the CPU in float32 is the reference, which is not compared with itself. "
            "Choose --engine onnxruntime, or --device cuda:0."
        )
    images = parity_images(subject.spec, None if data is None else Path(data))
    return measure_parity(subject, candidate, images, batch_size=batch_size, progress=progress)


def measure_parity(
    subject: ResolvedModel,
    candidate: PreparedModel,
    images: ParityImages,
    *,
    batch_size: int | None = None,
    progress: Progress,
) -> ParityResult:
    """Measure a candidate that is not the reference on these images, and store the result."""
    model, placement = subject.spec, candidate.placement
    reference = replace(reference_spec(model, candidate.weights_sha256), input_kind=images.kind)
    progress.note(f"Parity of {placement} with {reference_name(reference)}: {images.description}.")
    if candidate.notice:
        progress.note(candidate.notice)
    batch = batch_size or placement.kind.batch_size(placement.device)
    expected, versions = _reference_logits(model, candidate.weights_sha256, images, progress)
    give_back_freed_memory()  # of the reference; the candidate may be as large
    logits, regrouped = _candidate_logits(candidate, images, batch, progress)
    tolerance, preprocessing = tolerance_of(candidate.spec), candidate.preprocessing
    verdicts = gates(expected, logits, regrouped, tolerance, preprocessing, images.items)
    differing = tuple(flips(expected, logits, images.items))
    kl = mean_kl(expected, logits)
    n = len(images.items)
    agreement = 1 - len(differing) / n
    low, high = wilson_interval(agreement, n)
    result = ParityResult(
        model=model.name,
        reference=reference,
        reference_device=cpu(),
        candidate=candidate.spec,
        candidate_device=placement.device,
        versions=placement.kind.versions(),
        images=images.description,
        images_sha256=_sha256(images),
        n=n,
        batch_size=batch,
        gates=verdicts,
        agreement=agreement,
        agreement_low=low,
        agreement_high=high,
        kl=kl if np.isfinite(kl) else None,
        flips=differing,
        labelled=sum(item.label is not None for item in images.items[: images.clean]),
        reference_correct=_correct(expected, images),
        candidate_correct=_correct(logits, images),
        reference_versions=versions,
        plan=candidate.plan_key,
        fingerprint=_fingerprint_sha256(subject),
    )
    write_document(_result_path(result), result)
    if not result.passed:
        ids = np.array([item.id for item in images.items])
        with atomic_write(evidence_path(result)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, ids=ids, reference=expected, candidate=logits)
    return result


def stored_parity(
    subject: ResolvedModel, candidate: PreparedModel, images: str | None = None
) -> ParityResult | None:
    """The stored result for this engine, runtime and device; ``None`` if there is none.

    A result of a network with another fingerprint is none.

    Args:
        subject: Model.
        candidate: Candidate, prepared.
        images: Description of the images; ``None`` for photos.
    """
    path = _path(
        reference_spec(subject.spec, candidate.weights_sha256),
        candidate.spec,
        candidate.placement.kind.versions(),
        candidate.placement.device,
        images,
        candidate.plan_key,
        _fingerprint_sha256(subject),
    )
    return read_document(path, ParityResult) if path.is_file() else None


def suspect_preprocessing(result: ParityResult, weights: WeightsOrigin) -> str | None:
    """Warning about likely wrong preprocessing or classes, which no gate detects; else ``None``."""
    if weights.kind == "random" or result.reference_correct >= FEW_CORRECT * result.labelled:
        return None
    return (
        f"Only {result.reference_correct} of {result.labelled} labelled photos are classified "
        "right. If the weights are trained, the preprocessing (order of the channels, mean and "
        "std, resize) or the order of the classes is wrong."
    )


def disagreement(result: ParityResult) -> str:
    """What a parity that failed says: its gates, and the file with the logits."""
    return (
        f"{result.candidate.backend} on {result.candidate_device} does not agree with "
        f"{result.reference_name} on {result.model}: {failed_gates(result.gates)}. "
        f"The logits of both are in {printable(evidence_path(result))}."
    )


def failed_gates(gates: Iterable[Gate]) -> str:
    """The gates that failed, each with its value and bound."""
    return ", ".join(str(gate) for gate in gates if not gate.passed)


def evidence_path(result: ParityResult) -> Path:
    """File of a parity that failed: ids, and logits of reference and candidate."""
    return _result_path(result).with_suffix(".npz")


def _result_path(result: ParityResult) -> Path:
    images = result.images if result.reference.input_kind == "images" else None
    spec = replace(result.reference, input_kind="pixels")
    return _path(
        spec,
        result.candidate,
        result.versions,
        result.candidate_device,
        images,
        result.plan,
        result.fingerprint,
    )


def _fingerprint_sha256(subject: ResolvedModel) -> str | None:
    return None if subject.fingerprint is None else subject.fingerprint.sha256


def _path(
    reference: EngineSpec,
    candidate: EngineSpec,
    versions: Mapping[str, str],
    device: Device,
    images: str | None,
    plan: str | None,
    fingerprint: str | None,
) -> Path:
    """A result is valid for one version of the runtime, one device and one plan only.

    That of a network that is not known by its hash is valid for one fingerprint only.
    """
    parts = {
        "reference": plain(reference),
        "candidate": plain(candidate),
        "runtime": dict(versions),
        "device": [device.model, device.details],
    }
    if images is not None:
        parts["images"] = images
    if plan is not None:
        parts["plan"] = plan
    if fingerprint is not None:
        parts["fingerprint"] = fingerprint
    return cache_folder("parity") / f"{document_sha256(parts)[:32]}.json"


def _reference_logits(
    model: ModelSpec, weights_sha256: str, images: ParityImages, progress: Progress
) -> tuple[Logits, Mapping[str, str]]:
    """Logits of the reference, and versions of its runtime and of the photos' decoder.

    The reference is closed again: two large models may not fit in memory.
    """
    with open_reference(model, weights_sha256, images.kind, progress) as engine:
        logits = _logits(engine, images, REFERENCE_BATCH, "reference", progress)
        versions = {name: importlib.metadata.version(name) for name in ("numpy", "Pillow")}
        return logits, {**versions, **decoder_versions(), **engine.versions}


def _candidate_logits(
    candidate: PreparedModel, images: ParityImages, batch_size: int, progress: Progress
) -> tuple[Logits, Mapping[int, Logits]]:
    """Logits of all images, and of some images in other batches."""
    kind = candidate.spec.input_kind
    with candidate.open(threads=os.cpu_count(), input_kind=kind) as engine:
        logits = _logits(engine, images, batch_size, "candidate", progress)
        return logits, logits_in_other_batches(engine, images, batch_size)


def _logits(
    engine: Engine, images: ParityImages, batch_size: int, step: str, progress: Progress
) -> Logits:
    rows: list[Logits] = []
    for part in logits_of(engine, images, batch_size):
        rows.append(part)
        progress.advance(f"parity, {step}", sum(map(len, rows)), len(images.items), "images")
    return np.concatenate(rows)


def _correct(logits: Logits, images: ParityImages) -> int:
    """Number of correct clean photos; a photo without a label does not count."""
    classes = logits[: images.clean].argmax(axis=1)
    return sum(int(index) == item.label for index, item in zip(classes, images.items, strict=False))


def _sha256(images: ParityImages) -> str:
    digest = hashlib.sha256(images.data.tobytes())
    digest.update("\0".join(item.id for item in images.items).encode())
    return digest.hexdigest()
