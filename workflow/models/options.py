"""Options that name a model; every command and function that takes a model takes these.

The command line has classes of the same names in ``cli.options``.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict


class WeightsOptions(TypedDict, total=False):
    """Keywords of functions that attack a model.

    Attributes:
        weights: ``default``, ``random``, or the path of a checkpoint.
        crop_px: Another crop than the training's; results are marked.
        test_size: Whether to prepare images at the test size that timm publishes.
        description: TOML file that describes a model of the user's own, or replaces the
            preprocessing of one that is known by name; then results are marked.
        classes: File that says what each output is, if that is not ImageNet's order.
        self_check: Whether the model's reference must have passed its self-check; otherwise
            results are marked.
    """

    weights: str
    crop_px: int | None
    test_size: bool
    description: str | Path | None
    classes: str | Path | None
    self_check: bool


class NetworkOptions(WeightsOptions, total=False):
    """Keywords of functions that run a network.

    Attributes:
        seed: Seed of random weights.
    """

    seed: int


class GraphOptions(NetworkOptions, total=False):
    """Keywords of functions that run a network or the graph that is exported from it.

    Attributes:
        precision: Precision that the graph computes in: ``fp32``, ``fp16`` or ``bf16``. ``None``
            is ``fp32``, or that of the bundle.
        input_kind: Input of the graph: ``pixels`` (N, S, S, 3) uint8, or ``images`` (N, 3, S, S)
            float32 in [0, 1]. ``None`` is ``pixels``, or that of the bundle.
    """

    precision: str | None
    input_kind: str | None


class PlanOptions(TypedDict, total=False):
    """Keywords of a TensorRT plan; see ``PlanChoice``."""

    tf32: bool
    max_batch: int | None
    opt_batch: int | None
    target: str | None


class EngineOptions(GraphOptions, PlanOptions, total=False):
    """Keywords of functions that run an engine."""


@dataclass(frozen=True)
class PlanChoice:
    """Choices of a user for a TensorRT plan.

    Attributes:
        tf32: Whether float32 products may be rounded to TF32, whose error is that of float16.
        max_batch: Largest batch that the plan takes. ``None`` is ``MAX_BATCH``.
        opt_batch: Batch that its kernels are chosen for. ``None`` is the largest.
        target: Compute capability that TensorRT-RTX builds for, such as ``sm89``. ``None`` is any
            GPU from Ampere on. TensorRT builds for the GPU of this machine.
    """

    tf32: bool = False
    max_batch: int | None = None
    opt_batch: int | None = None
    target: str | None = None


MAX_BATCH = 64
"""Default largest batch of a plan: the batch that engines on a GPU score with."""


@dataclass(frozen=True)
class ModelOptions:
    """The model that a user names.

    Attributes:
        model: Name of the zoo, ``torchvision:NAME``, ``timm:NAME``, factory
            (``package.module:callable``), path of an ONNX file, or folder of a bundle.
        weights: See ``WeightsOptions``.
        seed: See ``NetworkOptions``.
        crop_px: See ``WeightsOptions``.
        precision: See ``GraphOptions``.
        input_kind: See ``GraphOptions``.
        description: See ``WeightsOptions``.
        classes: See ``WeightsOptions``.
        self_check: See ``WeightsOptions``.
        tf32: See ``PlanChoice``.
        max_batch: See ``PlanChoice``.
        opt_batch: See ``PlanChoice``.
        target: See ``PlanChoice``.
        test_size: See ``WeightsOptions``.
    """

    model: str
    weights: str = "default"
    seed: int = 0
    crop_px: int | None = None
    precision: str | None = None
    input_kind: str | None = None
    description: str | Path | None = None
    classes: str | Path | None = None
    self_check: bool = True
    tf32: bool = False
    max_batch: int | None = None
    opt_batch: int | None = None
    target: str | None = None
    test_size: bool = False

    def updated(self, **options: Any) -> "ModelOptions":
        """These options with others in their place, as far as they are not the defaults.

        Example:
            >>> options = ModelOptions("resnet50", weights="a.pt")
            >>> options.updated(weights="default", seed=3) == replace(options, seed=3)
            True
        """
        plain = asdict(ModelOptions(self.model))
        return replace(self, **{key: v for key, v in options.items() if v != plain[key]})

    @property
    def plan(self) -> PlanChoice:
        """The choices for a plan."""
        return PlanChoice(self.tf32, self.max_batch, self.opt_batch, self.target)

    @property
    def has_network_options(self) -> bool:
        """Whether an option is given that changes the network or its weights."""
        others = {"precision": None, "input_kind": None, "self_check": True}
        fixed = replace(self, model="", **others, **asdict(PlanChoice()))  # type: ignore[arg-type]
        return fixed != ModelOptions("")
