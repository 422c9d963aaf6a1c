"""``evaluator export``."""

from pathlib import Path
from typing import Annotated, Unpack

import typer

from ..workflow.models.options import GraphOptions
from .command_help import DATA, OUTPUT, option
from .options import Model, takes_model_options


@takes_model_options(GraphOptions)
def export(
    model: Model,
    out: Annotated[
        Path | None,
        option(
            OUTPUT, "Folder of the exported bundle. Default: a folder in the cache.", metavar="DIR"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        option(
            DATA,
            "Photos for the parity check, in class folders or flat. Default: sample photos.",
            metavar="DIR",
        ),
    ] = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Export a model to ONNX and check that it agrees with PyTorch."""
    from ..workflow.models.export import export_model
    from .console import progress
    from .parity import FAILED, print_parity

    with progress() as display:
        exported = export_model(model, out=out, data=data, progress=display, **options)
        if not exported.created:
            display.note("The same model was exported before; the existing bundle is used.")
    print(f"{exported.bundle.folder}")
    print_parity(exported.parity)
    if exported.warning is not None:
        print(f"warning: {exported.warning}")
    if not exported.parity.passed:
        raise typer.Exit(FAILED)
