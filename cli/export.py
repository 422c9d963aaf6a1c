"""``evaluator export``."""

from pathlib import Path
from typing import Annotated, Unpack

import typer

from ..workflow.models.options import GraphOptions
from .options import Model, takes_model_options


@takes_model_options(GraphOptions)
def export(
    model: Model,
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder. Default: one in the cache.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Photos for the parity check. Default: sample photos.")
    ] = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Export a model to ONNX, and prove that it agrees with PyTorch."""
    from ..workflow.models.export import export_model
    from .console import progress
    from .parity import print_parity

    with progress() as display:
        exported = export_model(
            model,
            out=out,
            data=data,
            progress=display,
            **options,
        )
        if not exported.created:
            display.note("The same model was exported before; it is kept as it is.")
    print(f"{exported.bundle.folder}")
    print_parity(exported.parity)
    if exported.warning is not None:
        print(f"warning: {exported.warning}")
    if not exported.parity.passed:
        raise typer.Exit(3)
