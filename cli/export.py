"""``evaluator export``."""

from pathlib import Path
from typing import Any

import typer

from .config import ConfigOption, configured
from .options import GraphOptions, Model, option, takes_options
from .parity import FAILED, parity_table


class ExportOptions:
    """Options of ``export``."""

    out: Path | None = option(
        "Output", "Folder of the exported bundle. Default: a folder in the cache.", metavar="DIR"
    )
    data: Path | None = option(
        "Data",
        "Photos for the parity check, in class folders or flat. Default: sample photos.",
        metavar="DIR",
    )


@takes_options(ExportOptions, GraphOptions, ConfigOption)
@configured()
def export(model: Model, **options: Any) -> None:
    """Export a model to ONNX and check that it agrees with PyTorch."""
    from ..workflow.models.export import export_model
    from .console import print_tables, progress

    with progress() as display:
        exported = export_model(model, progress=display, **options)
        if not exported.created:
            display.note("The same model was exported before; the existing bundle is used.")
    print(f"{exported.bundle.folder}")
    print_tables([parity_table(exported.parity)])
    if exported.warning is not None:
        print(f"warning: {exported.warning}")
    if not exported.parity.passed:
        raise typer.Exit(FAILED)
