"""Exporting a model into a bundle, and proving that the bundle is the model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ...contracts import Bundle, NullProgress, ParityResult, Progress
from ...engine.table import candidates
from .bundles import bundle_of
from .engines import prepare
from .options import GraphOptions, ModelOptions
from .parity import measure_parity, stored_parity, suspect_preprocessing
from .resolve import resolve_model


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        bundle: The deployable model.
        created: Whether it was exported now; otherwise it was there.
        parity: Of the bundle with PyTorch; passed or not.
    """

    bundle: Bundle
    created: bool
    parity: ParityResult

    @property
    def warning(self) -> str | None:
        """Why the model is likely to be fed wrongly, if it is."""
        return suspect_preprocessing(self.parity, self.bundle.model.spec.weights)


def export_model(
    model: str,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[GraphOptions],
) -> Exported:
    """Export a model to ONNX, unless the same is there already, and check its parity.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, or a model of the user's own.
        out: The bundle's folder; without it, one in the cache.
        data: Photos for the parity check, and for the largest activation of a float16 export;
            without it, the sample photos.
        progress: Progress callback.
        options: Which model; see ``GraphOptions``.

    Raises:
        InputError: If the model cannot be had as asked for, or not be exported.
        UnavailableError: If the weights are not here and cannot be fetched.
        OutputError: If the bundle cannot be written.
    """
    progress = progress or NullProgress()
    subject = resolve_model(
        ModelOptions(model, **options),
        progress,
    )
    if out is not None:
        subject = replace(subject, folder=Path(out))
    photos = None if data is None else Path(data)
    bundle, created = bundle_of(subject, progress, photos=photos)
    # On the CPU: that is the engine that every machine has.
    loaded = prepare(subject, candidates("onnxruntime", "cpu")[0], progress)
    parity = stored_parity(subject, loaded) if not created and data is None else None
    if parity is None or not parity.passed:
        parity = measure_parity(subject, loaded, data=photos, progress=progress)
    return Exported(bundle, created, parity)
