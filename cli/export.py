"""``evaluator export``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Classes, CropPx, Description, InputKind, Model, Precision, Seed, Weights


def export(
    model: Model,
    weights: Weights = "default",
    seed: Seed = 0,
    crop_px: CropPx = None,
    precision: Precision = None,
    input_kind: InputKind = None,
    description: Description = None,
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder. Default: one in the cache.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Photos for the parity check. Default: sample photos.")
    ] = None,
) -> None:
    """Export a model to ONNX, and prove that it agrees with PyTorch."""
    from ..workflow.models.export import export_model
    from .console import progress
    from .parity import print_parity

    with progress() as display:
        exported = export_model(
            model,
            weights=weights,
            seed=seed,
            crop_px=crop_px,
            precision=precision,
            input_kind=input_kind,
            description=description,
            classes=classes,
            out=out,
            data=data,
            progress=display,
        )
        if not exported.created:
            display.note("The same model was exported before; it is kept as it is.")
    print(f"{exported.bundle.folder}")
    print_parity(exported.parity)
    if exported.warning is not None:
        print(f"warning: {exported.warning}")
    if not exported.parity.passed:
        raise typer.Exit(3)
