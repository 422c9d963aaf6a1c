"""What a model is, before it runs: preprocessing, weights, graphs, bundles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from ..errors import InputError

if TYPE_CHECKING:
    from torch import nn

Interpolation = Literal["bilinear", "bicubic"]
InputKind = Literal["pixels", "images"]
Precision = Literal["fp32", "fp16", "bf16"]
WeightsKind = Literal["package", "download", "file", "random", "factory", "onnx"]
OnnxInput = Literal["normalized", "images", "pixels"]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a network's input: resize the short side, crop the centre, normalise.

    Attributes:
        resize_px: The short side after resizing.
        crop_px: The side of the square that is cut from the centre.
        interpolation: Pillow's filter for resizing.
        mean: Of each channel, R, G, B, in [0, 1] units.
        std: Of each channel, in [0, 1] units.
    """

    resize_px: int
    crop_px: int
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 1 <= self.crop_px <= self.resize_px:
            raise InputError(
                f"A crop of {self.crop_px} px does not fit into a short side of {self.resize_px} "
                "px: nothing is ever padded. Expected a crop of at most the short side."
            )

    def with_crop(self, crop_px: int) -> Self:
        """The same for another crop; the short side keeps its proportion to the crop."""
        resize_px = round(self.resize_px * crop_px / self.crop_px)
        return type(self)(resize_px, crop_px, self.interpolation, self.mean, self.std)


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights come from; with ``kind`` random, ``reference`` is the seed.

    Attributes:
        kind: How they are had: ``factory`` is a user's code that gives a trained network, ``onnx``
            a ready graph that holds them.
        reference: ``package==version``, an address, a path, a factory, or ``seed 0``.
        sha256: Of the file, or of the address's promise, or of a factory's tensors; empty for
            random weights.
    """

    kind: WeightsKind
    reference: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"random, {self.reference}" if self.kind == "random" else self.reference


@dataclass(frozen=True)
class ClassOrder:
    """What the outputs of a model mean that has other classes than ImageNet, or another order.

    Attributes:
        outputs: For each output its class index, -1 for none of ImageNet's; each class once.
        path: Where it was read. Told, but no part of the identity.
    """

    outputs: tuple[int, ...]
    path: str = ""

    @property
    def indices(self) -> tuple[int, ...]:
        """The output that each class is read from.

        Example:
            >>> ClassOrder((2, -1, 0, 1)).indices
            (2, 3, 0)
        """
        positions = {index: output for output, index in enumerate(self.outputs) if index >= 0}
        return tuple(positions[index] for index in sorted(positions))


@dataclass(frozen=True)
class FactoryCode:
    """A user's code that builds a network.

    Attributes:
        factory: ``package.module:callable``.
        sources_sha256: Over the source files of the callable and of the network's layers.
        state_sha256: Over the sorted names and shapes of the network's state.
        description: The TOML file that it came with. Told, but no part of the identity.
    """

    factory: str
    sources_sha256: str
    state_sha256: str
    description: str = ""


@dataclass(frozen=True)
class ReadyOnnx:
    """A user's ONNX file: the model exists as a graph only.

    Attributes:
        input: What the graph takes: normalised images, images in [0, 1], or pixels 0..255.
        layout: Of its input: (N, 3, S, S) or (N, S, S, 3).
        output: The tensor in the graph that holds the logits.
        softmax: Whether the graph goes on with a softmax, which is left out.
        description: The TOML file that it came with. Told, but no part of the identity.
    """

    input: OnnxInput
    layout: Layout
    output: str
    softmax: bool = False
    description: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """Everything that says which model this is, before any weight is read.

    Attributes:
        name: As the command line takes it: ``resnet50``, ``torchvision:vit_b_16``.
        architecture: The network without its weights.
        weights: Where the weights come from.
        preprocessing: As the weights were trained, but for a crop that the user changed.
        trained_crop_px: The crop of the training; another ``preprocessing.crop_px`` is a mark.
        classes: How many, in ImageNet's order.
        source: Page of the network or its paper.
        licence: Of the weights.
        class_order: What the network's own outputs mean, where that is not ImageNet's order.
        own: What a user's own model is made from; none for models that are known by name.
    """

    name: str
    architecture: str
    weights: WeightsOrigin
    preprocessing: Preprocessing
    trained_crop_px: int
    classes: int
    source: str
    licence: str
    class_order: ClassOrder | None = None
    own: FactoryCode | ReadyOnnx | None = None

    @property
    def asked_as(self) -> str:
        """What a user says to get it: its name, its factory, or the path of its ONNX file."""
        if self.own is None:
            return self.name
        return self.weights.reference if isinstance(self.own, ReadyOnnx) else self.own.factory


@dataclass(frozen=True)
class LoadedNetwork:
    """A PyTorch network that takes normalised images, with its weights.

    Attributes:
        spec: The model.
        network: In evaluation mode, float32.
        weights_sha256: Over the sorted name, dtype, shape and bytes of all tensors but batch
            normalisation's counters, which evaluation never reads.
    """

    spec: ModelSpec
    network: "nn.Module"
    weights_sha256: str


@dataclass(frozen=True)
class GraphKind:
    """Which of a model's deployable graphs.

    Attributes:
        precision: In which it computes; normalisation and logits are float32 in each.
        input_kind: What it takes.
    """

    precision: Precision = "fp32"
    input_kind: InputKind = "pixels"

    def __str__(self) -> str:
        return f"{self.precision}, taking {self.input_kind}"


FLOAT32_PIXELS = GraphKind()
"""What is meant where nothing is said."""


@dataclass(frozen=True)
class OnnxModel:
    """A bundle's manifest: the deployable graph and where it came from; JSON beside the graph.

    Attributes:
        spec: The model.
        weights_sha256: As in ``LoadedNetwork``.
        sha256: Over the bytes of the graph and of its external data.
        opset: Of the graph.
        precision: In which the graph computes.
        input_kind: What the graph takes.
        versions: The packages that made it. Told, but no part of the identity.
        largest_activation: Of the float32 network on the sample photos, where the graph computes
            in float16, which ends at 65504.
        schema: Version of the format.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
    """

    spec: ModelSpec
    weights_sha256: str
    sha256: str
    opset: int
    precision: Precision
    input_kind: InputKind
    versions: Mapping[str, str]
    largest_activation: float | None = None
    schema: int = 2
    seal: str = ""

    @property
    def kind(self) -> GraphKind:
        """Which of the model's graphs it is."""
        return GraphKind(self.precision, self.input_kind)


@dataclass(frozen=True)
class Bundle:
    """A deployable model on disk."""

    folder: Path
    model: OnnxModel

    @property
    def graph(self) -> Path:
        """The ONNX file; its external data lies beside it."""
        return self.folder / "model.onnx"
