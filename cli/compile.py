"""``evaluator compile``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from ..workflow.models.options import GraphOptions
from .command_help import ENGINE, OUTPUT, option
from .options import Json, Model, takes_model_options

if TYPE_CHECKING:
    from ..workflow.models.compile import Compiled


@takes_model_options(GraphOptions)
def compile_(
    model: Model,
    engine: Annotated[
        str,
        option(ENGINE, "Library that will run the plan.", metavar="tensorrt|tensorrt-rtx"),
    ],
    max_batch: Annotated[
        int,
        option(ENGINE, "Largest batch of the plan.", metavar="N", min=1),
    ] = 64,
    opt_batch: Annotated[
        int | None,
        option(
            ENGINE,
            "Batch size that the plan is optimised for. Default: the largest batch.",
            metavar="N",
            min=1,
        ),
    ] = None,
    tf32: Annotated[
        bool,
        option(ENGINE, "Whether float32 products may be rounded to TF32."),
    ] = False,
    target: Annotated[
        str | None,
        option(
            ENGINE,
            "Compute capability of the GPU to build for, e.g. sm89. Only with tensorrt-rtx. "
            "Default: any GPU from Ampere on; on a machine with a Turing GPU, that GPU.",
            metavar="smNN",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "File for a copy of the plan. Default: the plan is only in the cache.",
            metavar="FILE",
        ),
    ] = None,
    json: Json = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Build a TensorRT plan of a model. A plan that was built before comes from the cache."""
    from ..workflow.models.compile import compile_model
    from .console import check_outputs, is_stdout, progress, write_json

    check_outputs(json)
    with progress() as display:
        compiled = compile_model(
            model,
            engine,
            max_batch=max_batch,
            opt_batch=opt_batch,
            tf32=tf32,
            target=target,
            out=out,
            progress=display,
            **options,
        )
    if not is_stdout(json):
        _print(compiled)
    if json is not None:
        write_json(json, _document(compiled))


def _document(compiled: "Compiled") -> dict[str, object]:
    from ..storage.documents import plain

    return {
        "schema": 1,
        "plan": str(compiled.plan.path),
        "bundle": str(compiled.bundle.folder),
        "built": compiled.built,
        **plain(compiled.plan.manifest),
    }


def _print(compiled: "Compiled") -> None:
    from ..errors import printable
    from ..reporting.table import Table
    from .console import print_tables

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
    title = f"Plan of {manifest.model}"
    print_tables([Table(title, ("what", "value"), rows, words=(0, 1))])
