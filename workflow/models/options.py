"""Options that name a model; every command and function that takes a model takes these.

The command line has classes of the same names in ``cli.options``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class WeightsOptions(TypedDict, total=False):
    """Keywords of functions that attack a model.

    Attributes:
        weights: ``default``, ``random``, or the path of a checkpoint.
        crop_px: Another crop than the training's; results are marked.
        description: TOML file that describes a model of the user's own.
        classes: File that says what each output is, if that is not ImageNet's order.
    """

    weights: str
    crop_px: int | None
    description: str | Path | None
    classes: str | Path | None


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
    """

    model: str
    weights: str = "default"
    seed: int = 0
    crop_px: int | None = None
    precision: str | None = None
    input_kind: str | None = None
    description: str | Path | None = None
    classes: str | Path | None = None
