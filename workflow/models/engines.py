"""Preparing a model for an engine, and the reference that its logits are compared with.

The reference is PyTorch on the CPU in float32; for a model that exists only as ONNX, ONNX Runtime
on its file.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from ...contracts import Bundle, Engine, EngineSpec, InputKind, LoadedNetwork, ModelSpec, Progress
from ...engine.devices import cpu
from ...engine.engine_io import bundle_spec
from ...engine.original_onnx import OriginalOnnx, original_spec
from ...engine.parity import PreprocessingPair
from ...engine.plans.cache import PlanRequest
from ...engine.plans.plan import Plan, Profile
from ...engine.plans.tensorrt_api import Flavour
from ...engine.plans.tensorrt_engine import TensorRTEngine
from ...engine.plans.toolchain import find_toolchain
from ...engine.table import ENGINES, Placement, candidates
from ...engine.torch_engine import TorchEngine, open_torch, torch_spec
from ...errors import EngineMemoryError, InputError
from ...exporter.graph.deployable import preprocessing_in_graph, scale_and_bias
from ...exporter.ready_onnx import unchanged_original
from ...exporter.weights.weights import load_network
from ...storage.documents import canonical_bytes
from ...system.malloc import keep_freed_memory
from .bundles import ensure_bundle
from .compile import build_if_missing, profile_of
from .options import PlanChoice
from .resolve import ResolvedModel

NORMALISES_ITSELF = "before the graph, which normalises by itself: that cannot be verified"


@dataclass(frozen=True)
class PreparedModel(ABC):
    """A model whose identity is known and whose engine is not yet opened.

    Attributes:
        placement: Engine and device.
        spec: Identity of what the engine computes.
        weights_sha256: SHA-256 of the model's tensors; see ``LoadedNetwork``.
    """

    placement: Placement
    spec: EngineSpec
    weights_sha256: str

    @property
    def is_reference(self) -> bool:
        """Whether this is PyTorch in float32 on the CPU, which needs no parity."""
        return self.spec.backend == "torch" and self.placement.device.name == "cpu"

    @property
    def notice(self) -> str:
        """Notice to the user on how the engine computes; may be empty."""
        return ""

    @property
    def plan_key(self) -> str | None:
        """Key of the plan that the engine runs, as canonical JSON; ``None`` if it runs none."""
        return None

    @property
    def preprocessing(self) -> PreprocessingPair | None:
        """Preprocessing to compare exactly; ``None`` if there is no graph that contains it."""
        return None

    @abstractmethod
    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Open the engine.

        Args:
            threads: Number of threads of a CPU session with a single caller.
            input_kind: Input of the engine; a bundle has an input of its own.
        """


@dataclass(frozen=True)
class PreparedBundle(PreparedModel):
    """A bundle, whose graph the engine runs."""

    bundle: Bundle

    @property
    def notice(self) -> str:
        """Notice of the engine on this bundle."""
        return self.placement.kind.notice(self.bundle, self.placement.device)

    @property
    def preprocessing(self) -> PreprocessingPair:
        """Preprocessing of the model, and that in the graph."""
        model, kind = self.bundle.model.spec, self.spec.input_kind
        expected = scale_and_bias(model.preprocessing, kind)
        channels = model.preprocessing.channels
        actual = preprocessing_in_graph(self.bundle.graph, kind, channels)
        pair = PreprocessingPair(expected, actual)
        return replace(pair, note=NORMALISES_ITSELF) if model.normalizes_itself else pair

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Load the graph."""
        open_bundle = self.placement.kind.open_bundle
        assert open_bundle is not None
        return open_bundle(self.bundle, self.placement.device, threads=threads)


@dataclass(frozen=True)
class PreparedPlan(PreparedBundle):
    """A plan that was compiled from a bundle.

    Attributes:
        request: Plan that was asked for.
        plans: That plan; behind it one for half of its batch, if there was no memory for it.
        progress: Progress callback of builds.
    """

    request: PlanRequest
    plans: list[Plan]
    progress: Progress

    @property
    def plan_key(self) -> str:
        """Key of the plan that runs."""
        return canonical_bytes(self.plans[-1].key).decode()

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Load the plan.

        If there is no memory for its largest batch, a plan for half of it is built, once.
        """
        try:
            return self._opened()
        except EngineMemoryError as error:
            profile = self.request.profile
            if len(self.plans) > 1 or profile.largest == 1:
                raise
            half = (profile.largest + 1) // 2
            self.progress.note(
                f"warning: {error} A plan for batches of {half} is used instead; --max-batch "
                f"{half} starts with it."
            )
            smaller = replace(self.request, profile=Profile(min(profile.best, half), half))
            self.plans.append(build_if_missing(smaller, self.progress)[0])
            return self._opened()

    def _opened(self) -> Engine:
        crop_px = self.bundle.model.spec.preprocessing.crop_px
        return TensorRTEngine(self.plans[-1], self.spec, self.placement.device, crop_px)


@dataclass(frozen=True)
class PreparedNetwork(PreparedModel):
    """A PyTorch network with its weights."""

    network: LoadedNetwork

    def open(self, *, threads: int | None = None, input_kind: InputKind = "pixels") -> Engine:
        """Move the network to its device; PyTorch chooses the threads."""
        return open_torch(self.network, self.placement.device, input_kind=input_kind)


def model_candidates(
    subject: ResolvedModel, engine: str | None, device: str | None
) -> list[Placement]:
    """Engines and devices to try on a model, best first; see ``engine.table.candidates``."""
    any_engine = engine is not None or subject.spec.has_network
    return [p for p in candidates(engine, device) if any_engine or p.kind.runs_onnx]


def prepare(subject: ResolvedModel, placement: Placement, progress: Progress) -> PreparedModel:
    """Prepare a model for an engine; on first use its bundle is exported.

    Raises:
        InputError: If the engine does not compute in the model's precision.
        EngineUnavailableError: If the engine does not run on this machine.
    """
    placement.kind.check(subject.kind.precision, placement.device)
    if placement.kind.plans is not None:
        return _prepared_plan(subject, placement, placement.kind.plans, progress)
    if subject.plan != PlanChoice():
        raise InputError(
            "--tf32, --max-batch, --opt-batch and --target are settings of a TensorRT plan, which "
            f"{placement.kind.backend} does not run. Add --engine tensorrt or --engine "
            "tensorrt-rtx, or leave them out."
        )
    if placement.kind.runs_onnx:
        bundle, _ = ensure_bundle(subject, progress)
        spec = bundle_spec(placement.kind.backend, bundle)
        return PreparedBundle(placement, spec, bundle.model.weights_sha256, bundle)
    if subject.kind.precision != "fp32":
        bundle_engines = " or ".join(name for name, kind in ENGINES.items() if kind.runs_onnx)
        raise InputError(
            "The engine torch is the reference and computes in fp32 only, got "
            f"{subject.kind.precision}. Choose an engine that runs a bundle: "
            f"--engine {bundle_engines}."
        )
    if placement.device.name == "cpu":
        keep_freed_memory()  # before loading, whose threads would keep arenas of their own
    network = load_network(subject.spec, progress)
    sha256 = network.weights_sha256
    return PreparedNetwork(placement, torch_spec(subject.spec, sha256), sha256, network)


def _prepared_plan(
    subject: ResolvedModel, placement: Placement, flavour: Flavour, progress: Progress
) -> PreparedPlan:
    profile, choice = profile_of(subject.plan), subject.plan
    toolchain = find_toolchain(flavour, choice.target, placement.device)
    if not toolchain.runs_here:
        raise InputError(
            f"A plan for --target {choice.target} does not run on {placement.device}, which is "
            f"{toolchain.compute_capability}. Leave out --target."
        )
    bundle, _ = ensure_bundle(subject, progress)
    request = PlanRequest(toolchain, bundle, profile, choice.tf32)
    plan, _ = build_if_missing(request, progress)
    spec = replace(bundle_spec(flavour.backend, bundle), tf32=choice.tf32)
    sha256 = bundle.model.weights_sha256
    return PreparedPlan(placement, spec, sha256, bundle, request, [plan], progress)


def reference_spec(model: ModelSpec, weights_sha256: str) -> EngineSpec:
    """Identity of what the reference of a model computes; nothing is loaded."""
    return torch_spec(model, weights_sha256) if model.has_network else original_spec(model)


def open_reference(
    model: ModelSpec, weights_sha256: str, input_kind: InputKind, progress: Progress
) -> Engine:
    """Open the reference for a candidate with these weights.

    Raises:
        InputError: If the model's weights have changed since.
    """
    if not model.has_network:
        return OriginalOnnx(unchanged_original(model), model, cpu(), input_kind=input_kind)
    network = load_network(model, progress)
    if network.weights_sha256 != weights_sha256:
        raise InputError(
            f"The weights of {model.name} ({model.weights}) changed since the bundle "
            "was exported. Remove the bundle and export again."
        )
    return TorchEngine(network, cpu(), input_kind=input_kind)
