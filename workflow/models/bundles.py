"""Having the bundle of a model: finding it, or exporting it in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from ...contracts import Bundle, Progress, ReadyOnnx
from ...exporter.bundle import is_bundle, open_matching_bundle, refuse_occupied_folder, write_bundle
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
    """What the child is told.

    Attributes:
        subject: What to export.
        photos: The user's photos, on which activations are measured; none for the samples.
    """

    subject: ResolvedModel
    photos: Path | None


def bundle_of(
    subject: ResolvedModel, progress: Progress, *, photos: Path | None = None
) -> tuple[Bundle, bool]:
    """The subject's bundle, exported if it is not there; and whether it was exported now.

    Args:
        subject: The model.
        progress: Is told what happens.
        photos: On which a float16 export measures activations; without it, the sample photos.

    Raises:
        InputError: If the model cannot be exported, or the folder holds a bundle of another.
        UnavailableError: If the weights are not here and cannot be fetched.
        OutputError: If the bundle cannot be written.
    """
    spec, kind, folder = subject.spec, subject.kind, subject.folder
    if not is_bundle(folder):
        refuse_occupied_folder(folder)
        if _exported(_Export(subject, photos), progress):
            return open_matching_bundle(spec, kind, folder), True
    return open_matching_bundle(spec, kind, folder), False


def bundle_lock(folder: Path) -> Path:
    """What is locked while a bundle is written.

    Not the folder itself, which may be in a place where a user does not want a lock to lie.
    """
    return cache_folder(LOCKS) / document_sha256(str(folder.absolute()))[:32]


def _exported(export: _Export, progress: Progress) -> bool:
    """Export, unless another process does; whether it was this one."""
    subject = export.subject
    spec, kind, folder = subject.spec, subject.kind, subject.folder

    def waiting() -> None:
        progress.note(f"Another process exports {spec.name} just now; waiting for it.")

    with locked(bundle_lock(folder), waiting=waiting):
        if is_bundle(folder):
            return False
        remove_leftovers(folder)
        progress.note(f"Exporting {spec.name} ({spec.weights}) to ONNX: {kind}.")
        for note in onnx_notes(spec):
            progress.note(note)
        in_child(_export, export, progress)
    return True


def _export(export: _Export, progress: Progress) -> None:
    """In the child."""
    subject, photos = export.subject, None
    if isinstance(subject.spec.own, ReadyOnnx):
        write_ready_bundle(subject.spec, subject.folder, subject.kind)
        return
    if subject.kind.precision == "fp16":
        images = parity_images(subject.spec, export.photos)
        photos = images.data[: images.clean]
    bundle = write_bundle(
        load_network(subject.spec, progress), subject.folder, subject.kind, photos
    )
    if bundle.model.largest_activation is not None:
        progress.note(
            f"The largest activation on {0 if photos is None else len(photos)} photos is "
            f"{bundle.model.largest_activation:.3g}; float16 ends at 65504."
        )
