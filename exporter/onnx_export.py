"""Writing the deployable graph as ONNX.

What the exporter adds beside the graph (stack traces, source paths) is stripped, so that the same
export has the same bytes wherever it is made.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..contracts import LoadedNetwork
from ..errors import InputError, reason_of
from .batchnorm import fold_batchnorm
from .class_order import output_count
from .graph import INPUT, OUTPUT, deployable

OPSET = 20

_ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def write_onnx(loaded: LoadedNetwork, path: Path) -> None:
    """Export to ``path`` and ``path`` + ".data". Batch normalisation is folded in ``loaded``.

    Raises:
        InputError: If the network does not run at its crop, cannot be exported, or its graph does
            not take any number of images to logits of its classes.
    """
    import torch

    crop_px = loaded.spec.preprocessing.crop_px
    images = torch.zeros(1, 3, crop_px, crop_px)
    classes = output_count(loaded.network, loaded.spec)
    fold_batchnorm(loaded.network, images)
    module = deployable(loaded.network, loaded.spec.preprocessing)
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, crop_px, crop_px, 3, dtype=torch.uint8)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"{loaded.spec.name} cannot be exported to ONNX: {_innermost(error)} "
            "The network must be one graph that torch.export can trace."
        ) from error
    assert program is not None
    program.save(str(path), external_data=True)
    _strip(path)
    _check_signature(loaded, classes, path)


def _check_signature(loaded: LoadedNetwork, classes: int, path: Path) -> None:
    """A network that looks at the size of the batch is exported for that size alone, in silence."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    crop_px = loaded.spec.preprocessing.crop_px
    expected = [["N", crop_px, crop_px, 3], ["N", classes]]
    found = [
        [(dim.dim_param and "N") or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    if found != expected:
        raise InputError(
            f"{loaded.spec.name} cannot be exported to ONNX: its graph is {found}, expected "
            f"{expected} for any number N of images. Its code decides by the size of the batch."
        )


def _innermost(error: BaseException) -> str:
    """The first line of what was at fault, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason_of(Exception(_ANSI_COLOUR.sub("", str(error)))).rstrip(".") + "."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own deprecations and logs what it optimises: no news to a user."""
    names = ("torch", "torch.onnx", "torch.fx", "torch.export", "onnxscript")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _strip(path: Path) -> None:
    """Remove what depends on where and by whom the graph was exported."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    model.producer_name = model.producer_version = model.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for values in (model.graph.value_info, model.graph.input, model.graph.output):
        for value in values:
            del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))
