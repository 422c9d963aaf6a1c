"""The bundle of a model: opened, or exported first in a process of its own."""

import itertools
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...contracts import Bundle, Progress
from ...errors import printable
from ...exporter.bundle import (
    is_bundle,
    open_matching_bundle,
    read_manifest,
    refuse_occupied_folder,
    write_bundle,
)
from ...exporter.ready_bundle import write_ready_bundle
from ...exporter.ready_onnx import onnx_notes
from ...exporter.weights.weights import load_network
from ...storage.atomic import remove_leftovers
from ...storage.cache import cache_folder
from ...storage.documents import document_sha256
from ...storage.lock import locked
from ...system.child_process import in_child
from .parity_images import parity_images
from .resolve import ResolvedModel

LOCKS = "locks"


@dataclass(frozen=True)
class _Export:
    """Argument of the child process.

    Attributes:
        subject: Model to export.
        photos: Folder of the photos on which activations are measured; ``None`` for the sample
            photos.
    """

    subject: ResolvedModel
    photos: Path | None


def ensure_bundle(
    subject: ResolvedModel, progress: Progress, *, photos: Path | None = None
) -> tuple[Bundle, bool]:
    """Open the bundle of a model, and export it first if it does not exist.

    Args:
        subject: Model.
        progress: Progress callback.
        photos: Folder of the photos on which a float16 export measures activations. If not given,
            the sample photos.

    Returns:
        The bundle, and whether it was exported now.

    Raises:
        InputError: If the model cannot be exported, or the folder holds the bundle of another.
        UnavailableError: If the weights are neither stored nor available for download.
        OutputError: If the bundle cannot be written.
    """
    subject = replace(subject, folder=_folder(subject, progress))
    spec, kind, folder = subject.spec, subject.kind, subject.folder
    if is_bundle(folder):
        return open_matching_bundle(spec, kind, folder), False
    refuse_occupied_folder(folder)
    waiting = f"Another process is exporting {spec.name}; waiting for it."
    with locked(bundle_lock(folder), waiting=partial(progress.note, waiting)):
        missing = not is_bundle(folder)  # another process may have exported it meanwhile
        if missing:
            remove_leftovers(folder)
            progress.note(f"Exporting {spec.name} ({spec.weights}) to ONNX: {kind}.")
            for note in onnx_notes(spec):
                progress.note(note)
            in_child(_export, _Export(subject, photos), progress)
    return open_matching_bundle(spec, kind, folder), missing


def _folder(subject: ResolvedModel, progress: Progress) -> Path:
    """Folder of the bundle; in the cache, each network of a user's code has one of its own."""
    fingerprint, first = subject.fingerprint, subject.folder
    if fingerprint is None or not subject.is_in_cache:
        return first
    numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    for folder in itertools.chain([first], numbered):
        if not is_bundle(folder):
            break
        exported_from = read_manifest(folder).fingerprint
        if exported_from is not None and fingerprint.agrees(exported_from):
            break
    if folder != first and not is_bundle(folder):
        progress.note(
            f"{printable(first)} is of a network that answers otherwise than {subject.spec.name} "
            "does now, so it is not used."
        )
    return folder


def bundle_lock(folder: Path) -> Path:
    """File that is locked while a bundle is written.

    It lies in the cache: users do not expect a lock file next to their bundle.
    """
    return cache_folder(LOCKS) / document_sha256(str(folder.absolute()))[:32]


def _export(export: _Export, progress: Progress) -> None:
    """Export in the child process."""
    spec, kind, folder = export.subject.spec, export.subject.kind, export.subject.folder
    if not spec.has_network:
        write_ready_bundle(spec, folder, kind)
        return
    photos = None
    if kind.precision == "fp16":
        images = parity_images(spec, export.photos)
        photos = images.data[: images.clean]
    network, fingerprint = load_network(spec, progress), export.subject.fingerprint
    bundle = write_bundle(network, folder, kind, photos, fingerprint)
    if bundle.model.largest_activation is not None:
        progress.note(
            f"The largest activation on {0 if photos is None else len(photos)} photos is "
            f"{bundle.model.largest_activation:.3g}; the largest float16 is 65504."
        )
