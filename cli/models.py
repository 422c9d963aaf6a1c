"""``evaluator models``."""

from .options import Json


def models(json: Json = None) -> None:
    """List the models that are known by name."""
    from ..reporting.table import Table
    from ..workflow.models.listing import list_models
    from .console import is_stdout, print_tables, write_json

    rows = list_models()
    if json is not None:
        write_json(json, {"schema": 1, "models": [row.document() for row in rows]})
        if is_stdout(json):
            return
    header = ("model", "parameters M", "GMAC", "input px", "weights", "licence")
    cells = tuple(
        (
            row.name,
            f"{row.parameters / 1e6:.1f}",
            f"{row.gmac:.1f}",
            str(row.preprocessing.crop_px),
            row.weights_name,
            row.licence,
        )
        for row in rows
    )
    notes = (
        "Also every classifier of torchvision and timm: torchvision:NAME and timm:NAME.",
        "Also your own model: package.module:callable that returns a network, or FILE.onnx, with a "
        "description (docs/own-models.md).",
    )
    print_tables([Table("Models", header, cells, notes, words=(0, 4, 5))])
