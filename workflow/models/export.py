"""Exporting a model into a bundle, and proving that the bundle is the model."""

from dataclasses import dataclass, replace
from pathlib import Path

from ...contracts import Bundle, NullProgress, ParityResult, Progress
from .bundles import bundle_of
from .engines import candidates, prepare
from .parity import measure_parity, stored_parity, suspect_preprocessing
from .resolve import ModelOptions, resolve_model


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
    weights: str = "default",
    seed: int = 0,
    crop_px: int | None = None,
    description: str | Path | None = None,
    classes: str | Path | None = None,
    precision: str | None = None,
    input_kind: str | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Export a model to ONNX, unless the same is there already, and check its parity.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, or a model of the user's own.
        weights: ``default``, ``random`` or a checkpoint's path.
        seed: Of random weights.
        crop_px: Another crop than the training's; the bundle is marked.
        description: A TOML file on a model of the user's own.
        classes: A file that says what each output is, where that is not ImageNet's order.
        precision: In which the graph computes: ``fp32`` (the default), ``fp16`` or ``bf16``.
        input_kind: What it takes: ``pixels`` (N, S, S, 3) uint8 (the default), or ``images``
            (N, 3, S, S) float32 in [0, 1].
        out: The bundle's folder; without it, one in the cache.
        data: Photos for the parity check, and for the largest activation of a float16 export;
            without it, the sample photos.
        progress: Is told what happens.

    Raises:
        InputError: If the model cannot be had as asked for, or not be exported.
        UnavailableError: If the weights are not here and cannot be fetched.
        OutputError: If the bundle cannot be written.
    """
    progress = progress or NullProgress()
    subject = resolve_model(
        ModelOptions(model, weights, seed, crop_px, precision, input_kind, description, classes),
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
