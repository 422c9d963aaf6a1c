"""``evaluator compile``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..reporting.table import Table
from .config import ConfigOption, configured
from .options import EngineOptions, JsonOption, Model, option, takes_options

if TYPE_CHECKING:
    from ..workflow.models.compile import Compiled


class CompileOptions:
    """Options of ``compile``."""

    engine: str = option(
        "Engine", "Library that will run the plan.", default=..., metavar="tensorrt|tensorrt-rtx"
    )
    out: Path | None = option(
        "Output",
        "File for a copy of the plan. Default: the plan is only in the cache.",
        metavar="FILE",
    )


@takes_options(CompileOptions, JsonOption, EngineOptions, ConfigOption)
@configured()
def compile_(model: Model, json: Path | None, **options: Any) -> None:
    """Build a TensorRT plan of a model. A plan that was built before comes from the cache."""
    from ..workflow.models.compile import compile_model
    from .console import check_outputs, progress, show

    check_outputs(json)
    with progress() as display:
        compiled = compile_model(model, progress=display, **options)
    show([_table(compiled)], (json, _document(compiled)))


def _document(compiled: "Compiled") -> dict[str, object]:
    from ..storage.documents import plain

    return {
        "schema": 1,
        "plan": str(compiled.plan.path),
        "bundle": str(compiled.bundle.folder),
        "built": compiled.built,
        **plain(compiled.plan.manifest),
    }


def _table(compiled: "Compiled") -> Table:
    manifest, key = compiled.plan.manifest, compiled.plan.key
    rows = (
        ("plan", printable(compiled.plan.path)),
        ("bytes", f"{manifest.plan_bytes:,}"),
        ("layers", str(manifest.layers)),
        ("for", key.made_for),
        ("version", f"{key.backend} {key.version}"),
        ("precision", key.precision),
        ("TF32", "on" if key.tf32 else "off"),
        ("input", key.input_kind),
        ("batches", str(key.profile)),
        ("build", f"{manifest.seconds:.1f} s"),
        ("from", "built now" if compiled.built else f"the cache, built {manifest.created}"),
    )
    return Table(f"Plan of {manifest.model}", ("what", "value"), rows, words=(0, 1))
