"""Writing the deployable graph as ONNX.

What the exporter adds beside the graph (stack traces, source paths) is stripped, so that the same
export has the same bytes wherever it is made.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..contracts import LoadedNetwork
from ..errors import InputError, reason_of
from .batchnorm import fold_batchnorm
from .graph import INPUT, OUTPUT, deployable

OPSET = 20


def write_onnx(loaded: LoadedNetwork, path: Path) -> None:
    """Export to ``path`` and ``path`` + ".data". Batch normalisation is folded in ``loaded``.

    Raises:
        InputError: If the network does not run at its crop, or cannot be exported.
    """
    import torch

    crop_px = loaded.spec.preprocessing.crop_px
    try:
        fold_batchnorm(loaded.network, torch.zeros(1, 3, crop_px, crop_px))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"{loaded.spec.name} does not run on images of {crop_px} px: {reason_of(error)}."
        ) from error
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
    except torch.onnx.errors.OnnxExporterError as e:
        raise InputError(f"{loaded.spec.name} cannot be exported to ONNX: {reason_of(e)}") from e
    assert program is not None
    program.save(str(path), external_data=True)
    _strip(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own deprecations and logs what it optimises: no news to a user."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
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
