"""Preparing a model for an engine: its bundle is exported, or its network is loaded."""

from ...contracts import Progress
from ...engine.engine_io import bundle_spec
from ...engine.table import ENGINES, Placement, candidates
from ...errors import InputError
from ...exporter.weights.weights import load_network
from ...system.malloc import keep_freed_memory
from .bundles import ensure_bundle
from .prepared_model import PreparedBundle, PreparedModel, prepared_network
from .reference import model_reference
from .resolve import ResolvedModel


def model_candidates(
    subject: ResolvedModel, engine: str | None, device: str | None
) -> list[Placement]:
    """Engines and devices to try on a model, best first; see ``engine.table.candidates``."""
    choices = candidates(engine, device)
    if engine is not None or model_reference(subject.spec).has_network:
        return choices
    return [placement for placement in choices if placement.kind.runs_onnx]


def prepare(subject: ResolvedModel, placement: Placement, progress: Progress) -> PreparedModel:
    """Prepare a model for an engine; on first use its bundle is exported.

    Raises:
        InputError: If the engine does not compute in the model's precision.
        EngineUnavailableError: If the engine does not run on this machine.
    """
    placement.kind.check(subject.kind.precision, placement.device)
    if placement.kind.runs_onnx:
        bundle, _ = ensure_bundle(subject, progress)
        sha256, spec = bundle.model.weights_sha256, bundle_spec(placement.kind.backend, bundle)
        return PreparedBundle(subject.spec.name, placement, spec, sha256, bundle)
    if subject.kind.precision != "fp32":
        bundle_engines = " or ".join(name for name, kind in ENGINES.items() if kind.runs_onnx)
        raise InputError(
            "The engine torch is the reference and computes in fp32 only, got "
            f"{subject.kind.precision}. Choose an engine that runs a bundle: "
            f"--engine {bundle_engines}."
        )
    if placement.device.name == "cpu":
        keep_freed_memory()  # before loading, whose threads would keep arenas of their own
    return prepared_network(load_network(subject.spec, progress), placement)
