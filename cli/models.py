"""``evaluator models``."""

from pathlib import Path

from ..reporting.table import Table
from .options import JsonOption, takes_options


@takes_options(JsonOption)
def models(json: Path | None) -> None:
    """List the models that are known by name."""
    from ..workflow.models.listing import list_models
    from .console import check_outputs, show

    check_outputs(json)
    rows = list_models()
    header = ("model", "parameters M", "GMAC", "input px", "weights", "licence")
    cells = tuple(
        (
            row.name,
            f"{row.parameters / 1e6:.1f}",
            f"{row.gmac:.1f}",
            str(row.preprocessing.crop_px),
            row.weights.label,
            row.licence,
        )
        for row in rows
    )
    notes = (
        "Also every classifier of torchvision and timm: torchvision:NAME and timm:NAME.",
        "Also your own model: package.module:callable that returns a network, or FILE.onnx, with a "
        "description (docs/own-models.md).",
    )
    table = Table("Models", header, cells, notes, words=(0, 4, 5))
    show([table], (json, {"schema": 1, "models": [row.document() for row in rows]}))
