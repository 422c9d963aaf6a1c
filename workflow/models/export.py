"""Exporting a model to a bundle, and checking that both give the same logits."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ...contracts import Bundle, NullProgress, ParityResult, Progress
from ...engine.table import candidates
from .bundles import ensure_bundle
from .engines import prepare
from .options import GraphOptions, ModelOptions
from .parity import measure_parity, stored_parity, suspect_preprocessing
from .parity_images import parity_images
from .resolve import resolve_model
from .self_check import check_reference


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        bundle: Deployable model.
        created: Whether the bundle was exported now, or existed already.
        parity: Parity of the bundle with its reference, passed or not.
    """

    bundle: Bundle
    created: bool
    parity: ParityResult

    @property
    def warning(self) -> str | None:
        """Warning about likely wrong preprocessing; ``None`` if there is no sign of it."""
        return suspect_preprocessing(self.parity, self.bundle.model.spec.weights)


def export_model(
    model: str,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[GraphOptions],
) -> Exported:
    """Export a model to ONNX, unless its bundle exists already, and check its parity.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, or a model of the user's own.
        out: Folder of the bundle. If not given, one in the cache.
        data: Photos for the parity check, and for the largest activation of a float16 export. If
            not given, the sample photos.
        progress: Progress callback.
        options: Options of the model; see ``GraphOptions``.

    Raises:
        InputError: If the model is unknown, or cannot be exported with these options.
        UnavailableError: If the weights are neither stored nor available for download.
        OutputError: If the bundle cannot be written.
    """
    progress = progress or NullProgress()
    subject = resolve_model(ModelOptions(model, **options), progress)
    if out is not None:
        subject = replace(subject, folder=Path(out))
    subject = check_reference(subject, progress)
    photos = None if data is None else Path(data)
    bundle, created = ensure_bundle(subject, progress, photos=photos)
    # On the CPU, which every machine has.
    candidate = prepare(subject, candidates("onnxruntime", "cpu")[0], progress)
    parity = stored_parity(subject, candidate) if not created and data is None else None
    if parity is None or not parity.passed:
        images = parity_images(subject.spec, photos)
        parity = measure_parity(subject, candidate, images, progress=progress)
    return Exported(bundle, created, parity)
