"""Preparing a model for an engine: its bundle is exported, or its network is loaded."""

from collections.abc import Sequence

from ...contracts import (
    ONNX_REFERENCE,
    EngineSpec,
    ModelSpec,
    Progress,
    ReadyOnnx,
)
from ...engine.devices import cpu
from ...engine.engine_io import bundle_spec
from ...engine.original_onnx import original_spec
from ...engine.table import ENGINES, Placement
from ...engine.torch_engine import torch_spec
from ...errors import InputError
from ...exporter.ready_onnx import original_of
from ...exporter.weights.weights import load_network
from ...system.malloc import keep_freed_memory
from .bundles import bundle_of
from .prepared_model import PreparedBundle, PreparedModel, PreparedOnnxFile, prepared_network
from .resolve import ResolvedModel

_BUNDLE_ENGINES = " or ".join(name for name, kind in ENGINES.items() if kind.runs_onnx)


def prepare(subject: ResolvedModel, placement: Placement, progress: Progress) -> PreparedModel:
    """Make a model ready for an engine: export it on first use, or load its network.

    Raises:
        InputError: If the engine cannot compute what is asked for.
        EngineUnavailableError: If it cannot here.
    """
    placement.kind.check(subject.kind.precision, placement.device)
    if placement.kind.runs_onnx:
        bundle, _ = bundle_of(subject, progress)
        sha256, spec = bundle.model.weights_sha256, bundle_spec(placement.kind.backend, bundle)
        return PreparedBundle(subject.spec.name, placement, spec, sha256, bundle)
    if subject.kind.precision != "fp32":
        raise InputError(
            f"PyTorch is the reference and computes in float32; {subject.kind.precision} was "
            f"asked for. Choose an engine that runs a bundle: --engine {_BUNDLE_ENGINES}."
        )
    if placement.device.name == "cpu":
        keep_freed_memory()  # before loading, whose threads would keep arenas of their own
    return prepared_network(load_network(subject.spec, progress), placement)


def supporting(subject: ResolvedModel, choices: Sequence[Placement]) -> list[Placement]:
    """Those that can run the model; all of them where the user named the engine."""
    if not isinstance(subject.spec.own, ReadyOnnx) or len(choices) == 1:
        return list(choices)
    return [place for place in choices if place.kind.runs_onnx]


def reference_of(subject: ResolvedModel, weights_sha256: str, progress: Progress) -> PreparedModel:
    """The reference of a model whose candidate has these weights.

    Raises:
        InputError: If the weights are no longer those that the candidate was made from.
    """
    if isinstance(subject.spec.own, ReadyOnnx):
        return _of_original(subject.spec)
    network = load_network(subject.spec, progress)
    if network.weights_sha256 != weights_sha256:
        raise InputError(
            f"The weights of {subject.spec.name} ({subject.spec.weights}) changed since the "
            "bundle was exported. Remove the bundle and export again."
        )
    return prepared_network(network, Placement(ENGINES["torch"], cpu()))


def reference_name(model: ModelSpec) -> str:
    """The reference of a model, in words."""
    return ONNX_REFERENCE if isinstance(model.own, ReadyOnnx) else "PyTorch"


def reference_spec(model: ModelSpec, weights_sha256: str) -> EngineSpec:
    """What the reference of a model computes; nothing is loaded to say it."""
    if isinstance(model.own, ReadyOnnx):
        return original_spec(model)
    return torch_spec(model, weights_sha256)


def _of_original(model: ModelSpec) -> PreparedOnnxFile:
    return PreparedOnnxFile(
        model.name,
        Placement(ENGINES["onnxruntime"], cpu()),
        original_spec(model),
        model.weights.sha256,
        original_of(model),
        model,
    )
