"""Trying an engine on this machine: a graph of one layer is loaded, and classifies three images."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import (
    Bundle,
    Engine,
    ImageBatch,
    Item,
    LoadedNetwork,
    ModelSpec,
    NullProgress,
    OnnxModel,
    Preprocessing,
    WeightsOrigin,
)
from ..errors import EngineError, EvaluatorError, reason_of
from ..storage.digest import file_sha256
from .engine_io import bundle_spec
from .plans.build import PlanOrder, build_plan
from .plans.builder import BuildJob
from .plans.plan import Profile
from .plans.tensorrt_engine import TensorRTEngine
from .plans.toolchain import find_toolchain
from .table import Placement
from .torch_engine import open_torch

if TYPE_CHECKING:
    import onnx

SIDE_PX, CLASSES, IMAGES = 32, 10, 3

_SPEC = ModelSpec(
    name="trial",
    architecture="trial",
    weights=WeightsOrigin("random", "seed 0"),
    preprocessing=Preprocessing(SIDE_PX, SIDE_PX, "bilinear", (0.0,) * 3, (1.0,) * 3),
    trained_crop_px=SIDE_PX,
    classes=CLASSES,
    source="",
    licence="",
)


def try_engine(placement: Placement) -> None:
    """Load an engine on a device, and compute with it.

    Raises:
        EvaluatorError: If that fails, with the reason and what to do.
    """
    kind, device = placement.kind, placement.device
    kind.check("fp32", device)
    try:
        with TemporaryDirectory() as folder, _opened(placement, Path(folder)) as engine:
            data = engine.allocate(IMAGES)
            data[:] = 127
            items = tuple(Item(str(i), None, "a grey image") for i in range(IMAGES))
            ((_, logits),) = engine.stream([ImageBatch(data, "pixels", items)])
    except EvaluatorError:
        raise
    except Exception as error:  # of a runtime, whose exceptions share no public class
        raise EngineError(f"{placement} does not work: {reason_of(error)}.") from error
    # Written so that a logit that is not a number fails too.
    if logits.shape != (IMAGES, CLASSES) or not np.ptp(logits, axis=0).max() <= 1e-3:
        raise EngineError(f"{placement} computes different logits for equal images.")


def _opened(placement: Placement, folder: Path) -> Engine:
    kind, device = placement.kind, placement.device
    if not kind.runs_onnx:
        return open_torch(_network(), device)
    bundle = _bundle(folder)
    if kind.open_bundle is not None:
        return kind.open_bundle(bundle, device, threads=1)
    assert kind.plans is not None
    toolchain = find_toolchain(kind.plans, device=device)
    key = toolchain.key_of(bundle, Profile(IMAGES, IMAGES), tf32=False)
    job = BuildJob(kind.plans, key, bundle.graph, _SPEC.name)
    plan = build_plan(PlanOrder(job, folder / "trial.plan"), NullProgress())
    return TensorRTEngine(plan, bundle_spec(kind.backend, bundle), device, SIDE_PX)


def _network() -> LoadedNetwork:
    from torch import nn

    network = nn.Sequential(nn.Conv2d(3, CLASSES, SIDE_PX), nn.Flatten()).eval()
    return LoadedNetwork(_SPEC, network, "")


def _bundle(folder: Path) -> Bundle:
    import onnx

    model = Bundle(folder, OnnxModel(_SPEC, "", "", 20, "fp32", "pixels", {}))
    onnx.save(_graph(), model.graph)
    sha256 = file_sha256(model.graph)
    return Bundle(folder, OnnxModel(_SPEC, sha256, sha256, 20, "fp32", "pixels", {}))


def _graph() -> "onnx.ModelProto":
    """A convolution as large as the image."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(CLASSES, 3, SIDE_PX, SIDE_PX)) / 255
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["images"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["images", "weights"], ["maps"]),
            helper.make_node("Flatten", ["maps"], ["logits"]),
        ],
        "trial",
        [value("pixels", TensorProto.UINT8, ["N", SIDE_PX, SIDE_PX, 3])],
        [value("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
