"""The self-check of a model's reference: made once, stored in the cache, and required.

A model that is known by a hash is not loaded if its result is stored. A user's own network is
loaded and asked once in each command: code can compute something else without any sign of it.
"""

import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...contracts import (
    NOT_CHECKED,
    Device,
    Engine,
    FactoryCode,
    Finding,
    Item,
    LoadedNetwork,
    ModelSpec,
    NetworkFingerprint,
    Progress,
    ReadyOnnx,
    SelfCheck,
    images_from_pixels,
)
from ...engine.devices import cpu
from ...engine.onnx_engine import onnx_versions
from ...engine.original_onnx import OriginalOnnx
from ...engine.parity import ParityImages
from ...engine.self_check import (
    PHOTOS,
    findings,
    first_pass,
    gradient_finding,
    output_notes,
)
from ...engine.torch_engine import TorchEngine, torch_versions
from ...errors import InputError, SelfCheckError, printable
from ...evaluate.generate.photos import shipped_photos
from ...exporter.bundle import is_bundle, read_manifest
from ...exporter.final_operator import final_operator
from ...exporter.graph.deployable import frozen_network
from ...exporter.ready_onnx import read_graph, unchanged_original
from ...exporter.spec import identity
from ...exporter.weights.weights import load_network
from ...storage.cache import cache_folder
from ...storage.documents import document_sha256, plain, read_document, write_document
from ...system.malloc import give_back_freed_memory
from .parity_images import clean_photos
from .resolve import ResolvedModel

SELF_CHECKS = "self-checks"


def check_reference(
    subject: ResolvedModel, progress: Progress, *, gradients: bool = False, needed: bool = True
) -> ResolvedModel:
    """The model with the self-check of its reference on the CPU, which must have passed.

    Args:
        subject: Model.
        progress: Progress callback.
        gradients: Whether gradients are needed.
        needed: Whether the reference is used; otherwise it is not loaded.

    Raises:
        SelfCheckError: If it failed, unless the user continues without.
        InputError: If the network cannot be built or does not run, or is not the one that a bundle
            which the user names was exported from.
        UnavailableError: If the weights are not available.
    """
    result = reference_check(subject, cpu(), progress, gradients=gradients, needed=needed)
    checked = replace(subject, checked=result)
    _refuse_bundle_of_another(checked)
    return checked


def _refuse_bundle_of_another(subject: ResolvedModel) -> None:
    fingerprint = subject.fingerprint
    if fingerprint is None or subject.is_in_cache or not is_bundle(subject.folder):
        return
    if not fingerprint.agrees(read_manifest(subject.folder).fingerprint):
        raise InputError(
            f"{printable(subject.folder)} was exported from another network: "
            f"{subject.spec.asked_as} answers otherwise now. Export it to another folder, or "
            "restore its code, configuration and weights."
        )


def uses_reference(subject: ResolvedModel, engine: str | None, *, parity: bool) -> bool:
    """Whether the reference is used: a bundle that the user names can be scored without."""
    return parity or engine == "torch" or subject.is_in_cache


def needs_network(subject: ResolvedModel) -> bool:
    """Whether a command that computes no numbers needs the network: to find its bundle."""
    return subject.spec.needs_fingerprint and subject.is_in_cache


def reference_check(
    subject: ResolvedModel,
    device: Device,
    progress: Progress,
    *,
    gradients: bool = False,
    needed: bool = True,
) -> SelfCheck | None:
    """The self-check of a reference on a device; see ``check_reference``.

    Returns:
        The result; ``None`` if it is neither stored nor needed.
    """
    spec = subject.spec
    result = None if _asked_each_time(spec) else _stored(spec, device, None)
    if result is None or (gradients and not result.asks("gradients")):
        if not needed or not (subject.self_check or spec.needs_fingerprint):
            return result
        result = _measured(spec, device, progress, gradients=gradients)
    result = result.of(gradients=gradients)
    for note in result.notes:
        progress.note(note)
    if any(finding.final for finding in result.faults) or (result.faults and subject.self_check):
        raise SelfCheckError(failure(result))
    if result.faults:
        progress.note(f"warning: {_text(result)}")
    return result


def self_check_status(*results: SelfCheck | None) -> str:
    """Status of the weakest of several self-checks, for provenance."""
    statuses = [NOT_CHECKED if result is None else result.status for result in results]
    return max(statuses, key=lambda status: (status != "passed", status != NOT_CHECKED))


def failure(result: SelfCheck) -> str:
    """What a self-check that failed says, with what to do about it."""
    if any(finding.final for finding in result.faults):
        return _text(result)
    return f"{_text(result)} --no-self-check continues and marks every number."


def _text(result: SelfCheck) -> str:
    first, *others = result.faults
    also = f" It also fails: {', '.join(other.question for other in others)}." if others else ""
    fault = first.fault if first.fault.endswith((".", "?")) else f"{first.fault}."
    return f"{result.model} fails its self-check ({first.question}): {fault}{also}"


def _asked_each_time(spec: ModelSpec) -> bool:
    return isinstance(spec.own, FactoryCode)


def _measured(spec: ModelSpec, device: Device, progress: Progress, *, gradients: bool) -> SelfCheck:
    """Ask the reference, unless the answers of a network with these logits are stored."""
    photos = _photos(spec)
    if not spec.has_network:
        return _store(spec, _onnx_result(spec, device, photos))
    loaded = load_network(spec, progress)
    try:
        return _asked(loaded, device, photos, progress, gradients=gradients)
    finally:
        del loaded
        give_back_freed_memory()


def _onnx_result(spec: ModelSpec, device: Device, photos: ParityImages) -> SelfCheck:
    assert isinstance(spec.own, ReadyOnnx)
    path = unchanged_original(spec)
    end = final_operator(read_graph(path), spec.own.output)
    with OriginalOnnx(path, spec, device) as engine:
        first = first_pass(engine, photos, nullcontext)
        result = _result(spec, engine, tuple(findings(engine, photos, first, end, None)))
    return replace(result, notes=tuple(output_notes(first.logits, end)))


def _asked(
    loaded: LoadedNetwork,
    device: Device,
    photos: ParityImages,
    progress: Progress,
    *,
    gradients: bool,
) -> SelfCheck:
    import torch

    from ...engine.network_watch import NetworkWatch

    spec = loaded.spec
    # A network that draws random numbers leaves the caller's generator as it was.
    with TorchEngine(loaded, device) as engine, torch.random.fork_rng(devices=[]):
        watch = NetworkWatch(loaded.network)
        first = first_pass(engine, photos, watch.watching)
        fingerprint = NetworkFingerprint.of(first.logits)
        stored = _stored(spec, device, fingerprint) if _asked_each_time(spec) else None
        if stored is not None and (stored.asks("gradients") or not gradients):
            return stored
        answers = tuple(findings(engine, photos, first, watch.end, watch))
        if gradients:
            images = torch.from_numpy(images_from_pixels(photos.data[:1])).to(device.torch_name)
            answers = (*answers, gradient_finding(frozen_network(loaded, device), images))
        result = replace(
            _result(spec, engine, answers),
            notes=(*_left_out_notes(loaded), *output_notes(first.logits, watch.end)),
            left_out=loaded.left_out,
            fingerprint=fingerprint,
        )
    if any(finding.question == "same answer twice" for finding in result.faults):
        return replace(result, fingerprint=None)  # not stored: it is another one each time
    return _store(spec, result)


def _left_out_notes(loaded: LoadedNetwork) -> Iterator[str]:
    if loaded.left_out:
        yield (
            f"{loaded.spec.name} ends in a {loaded.left_out}, which is left out: its logits are "
            "what that layer reads."
        )


def _result(spec: ModelSpec, engine: Engine, answers: tuple[Finding, ...]) -> SelfCheck:
    return SelfCheck(spec.name, engine.device, _versions(spec), answers)


def _photos(spec: ModelSpec) -> ParityImages:
    shipped = shipped_photos()[:PHOTOS]
    photos = [Item(photo.id, photo.label, str(photo.path)) for photo in shipped]
    items, pixels = zip(*clean_photos(spec.preprocessing, photos), strict=True)
    return ParityImages(items, np.stack(pixels), len(items), f"{len(items)} sample photos")


def _store(spec: ModelSpec, result: SelfCheck) -> SelfCheck:
    asked = result.fingerprint if _asked_each_time(spec) else None
    write_document(_path(spec, result.device, asked), result)
    return result


def _stored(
    spec: ModelSpec, device: Device, fingerprint: NetworkFingerprint | None
) -> SelfCheck | None:
    path = _path(spec, device, fingerprint)
    return read_document(path, SelfCheck) if path.is_file() else None


def _path(spec: ModelSpec, device: Device, fingerprint: NetworkFingerprint | None) -> Path:
    """A result is valid for one version of the runtime, one device and one network only."""
    parts = {
        "model": plain(identity(spec)),
        "runtime": dict(_versions(spec)),
        "device": [device.model, device.details],
        "fingerprint": None if fingerprint is None else fingerprint.sha256,
    }
    return cache_folder(SELF_CHECKS) / f"{document_sha256(parts)[:32]}.json"


def _versions(spec: ModelSpec) -> Mapping[str, str]:
    """Versions of what computes the reference; nothing is imported."""
    if not spec.has_network:
        return onnx_versions()
    timm = {"timm": importlib.metadata.version("timm")} if spec.name.startswith("timm:") else {}
    return {**torch_versions(), **timm}
