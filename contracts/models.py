"""Descriptions of models: preprocessing, weights, graphs, bundles."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from ..errors import InputError
from .documents import ADDED_LATER
from .network_fingerprint import NetworkFingerprint

if TYPE_CHECKING:
    from torch import nn

Interpolation = Literal["bilinear", "bicubic"]
InputKind = Literal["pixels", "images"]
Precision = Literal["fp32", "fp16", "bf16"]
WeightsKind = Literal["package", "download", "file", "random", "factory", "onnx"]
OnnxInput = Literal["normalized", "images", "pixels"]
Layout = Literal["nchw", "nhwc"]
ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class PublishedSizes:
    """How a publisher resizes for a crop: it gives the crop as a fraction of the short side.

    Attributes:
        crop_fraction: Fraction at the size of the training and at all sizes but the test size.
        test_crop_px: Crop of the published accuracy.
        test_crop_fraction: Fraction at that crop.
    """

    crop_fraction: float
    test_crop_px: int
    test_crop_fraction: float

    def resize_px(self, crop_px: int) -> int:
        """Short side for a crop, rounded down."""
        at_test_size = crop_px == self.test_crop_px
        return int(crop_px / (self.test_crop_fraction if at_test_size else self.crop_fraction))


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of a photo: resize the short side, crop the centre, normalise.

    Attributes:
        resize_px: Short side after resizing.
        crop_px: Side of the square that is cropped from the centre.
        interpolation: Pillow's filter for resizing.
        mean: Mean of each channel, R, G, B, in [0, 1] units.
        std: Standard deviation of each channel, R, G, B, in [0, 1] units.
        channels: Order in which the network takes the channels. Images are R, G, B everywhere
            else; they are normalised first and reordered afterwards.
        sizes: How the publisher of the weights resizes for other crops; `None` if in proportion.
            Not part of the identity.
    """

    resize_px: int
    crop_px: int
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: ChannelOrder = field(default="rgb", metadata=ADDED_LATER)
    sizes: PublishedSizes | None = field(
        default=None, compare=False, repr=False, metadata=ADDED_LATER
    )

    def __post_init__(self) -> None:
        if not 1 <= self.crop_px <= self.resize_px:
            raise InputError(
                f"A crop of {self.crop_px} px does not fit into a short side of {self.resize_px} "
                "px, and images are never padded. Expected a crop of at most the short side."
            )

    def with_crop(self, crop_px: int) -> Self:
        """This preprocessing with another crop, and the short side that its publisher takes for it.

        If the publisher gives none, the short side is scaled with the crop.
        """
        if crop_px == self.crop_px:
            resize_px = self.resize_px
        elif self.sizes is None:
            resize_px = round(self.resize_px * crop_px / self.crop_px)
        else:
            resize_px = self.sizes.resize_px(crop_px)
        return replace(self, resize_px=resize_px, crop_px=crop_px, sizes=None)

    @property
    def at_test_size(self) -> Self:
        """The preprocessing of the published accuracy; this one if its publisher has no other."""
        if self.sizes is None:
            return self
        crop_px = self.sizes.test_crop_px
        return replace(self, resize_px=self.sizes.resize_px(crop_px), crop_px=crop_px, sizes=None)

    @property
    def is_bgr(self) -> bool:
        """Whether the network takes the channels in the order B, G, R."""
        return self.channels == "bgr"

    def __str__(self) -> str:
        """All of it, for notes."""
        mean, std = (
            f"({', '.join(f'{v:.4g}' for v in values)})" for values in (self.mean, self.std)
        )
        order = ", channels B, G, R" if self.is_bgr else ""
        return f"{self.size_text}, {self.interpolation}, mean {mean}, std {std}{order}"

    @property
    def size_text(self) -> str:
        """Crop and short side, for notes."""
        return f"crop {self.crop_px} px of a short side of {self.resize_px} px"


@dataclass(frozen=True)
class PreprocessingOrigin:
    """Where a model's preprocessing is from; it changes neither the model nor its identity.

    Attributes:
        text: Which preprocessing was taken and why, in sentences; empty if there is only one.
        description: TOML file that replaces the published preprocessing of a model that is known
            by name; empty if none does. Reports mark such a model.
        test_size: Whether the publisher's test size was taken instead of that of the training.
        top1: Top-1 accuracy that is published for the weights in this preprocessing, a fraction;
            `None` if it is not known.
    """

    text: str = ""
    description: str = ""
    test_size: bool = False
    top1: float | None = None


@dataclass(frozen=True)
class WeightsOrigin:
    """Origin of weights.

    Attributes:
        kind: Kind of origin: ``factory`` is a user's code that returns a trained network, ``onnx``
            an ONNX file that contains the weights.
        reference: ``package==version``, an address, a path, a factory, or ``seed 0``.
        sha256: SHA-256 of the file, as pinned for an address, or of a factory's tensors; empty for
            random weights.
    """

    kind: WeightsKind
    reference: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"random, {self.reference}" if self.kind == "random" else self.reference


@dataclass(frozen=True)
class ClassOrder:
    """Classes of a model's outputs, if they are not ImageNet's classes in their order.

    Attributes:
        outputs: Class index of each output, -1 if it is not a class of ImageNet; each class once.
        path: Path that it was read from. Reported, but not part of the identity.
    """

    outputs: tuple[int, ...]
    path: str = ""

    @property
    def indices(self) -> tuple[int, ...]:
        """The index of the output of each class.

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
        sources_sha256: SHA-256 over the source files of the callable and of the network's layers.
        state_sha256: SHA-256 over the sorted names and shapes of the network's state.
        description: TOML file that names it. Reported, but not part of the identity.
    """

    factory: str
    sources_sha256: str
    state_sha256: str
    description: str = ""


@dataclass(frozen=True)
class ReadyOnnx:
    """A user's ONNX file, for a model that exists only as a graph.

    Attributes:
        input: Input of the graph: normalised images, images in [0, 1], or pixels 0..255.
        layout: Layout of the input: (N, 3, S, S) or (N, S, S, 3).
        output: Name of the tensor with the logits.
        softmax: Whether the graph applies a softmax to the logits, which is left out.
        description: TOML file that names it. Reported, but not part of the identity.
    """

    input: OnnxInput
    layout: Layout
    output: str
    softmax: bool = False
    description: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """Identity of a model, known before any weight is read.

    Attributes:
        name: Name on the command line: ``resnet50``, ``torchvision:vit_b_16``.
        architecture: Name of the network without its weights.
        weights: Origin of the weights.
        preprocessing: Preprocessing of the training, with the crop that the user chose.
        trained_crop_px: Crop of the training; reports mark another ``preprocessing.crop_px``.
        classes: Number of classes, in ImageNet's order.
        source: Page of the network or its paper.
        licence: Licence of the weights.
        class_order: Classes of the outputs; ``None`` if they are in ImageNet's order.
        own: Code or ONNX file of a user's own model; ``None`` for models with a known name.
        prepared: Where the preprocessing is from. Reported, but not part of the identity.
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
    prepared: PreprocessingOrigin = field(default=PreprocessingOrigin(), metadata=ADDED_LATER)

    @property
    def has_network(self) -> bool:
        """Whether it has a PyTorch network, which gradients and other precisions need."""
        return not isinstance(self.own, ReadyOnnx)

    @property
    def needs_fingerprint(self) -> bool:
        """Whether it is known by what it answers as well: code that its hashes do not cover."""
        return isinstance(self.own, FactoryCode) or self.name.startswith("timm:")

    @property
    def normalizes_itself(self) -> bool:
        """Whether it is an ONNX file whose graph normalises its input."""
        return isinstance(self.own, ReadyOnnx) and self.own.input != "normalized"

    @property
    def asked_as(self) -> str:
        """The model as a user names it: by its name, its factory, or the path of its ONNX file."""
        if self.own is None:
            return self.name
        return self.weights.reference if isinstance(self.own, ReadyOnnx) else self.own.factory


@dataclass(frozen=True)
class LoadedNetwork:
    """A PyTorch network that takes normalised images, with its weights.

    Attributes:
        spec: Identity of the model.
        network: Network in evaluation mode, in float32.
        weights_sha256: SHA-256 over the sorted names, dtypes, shapes and bytes of all tensors
            except batch normalisation's counters, which evaluation never reads.
        left_out: ``softmax`` or ``sigmoid`` at the end of a user's network that was left out, so
            that it gives logits; empty if none was.
    """

    spec: ModelSpec
    network: "nn.Module"
    weights_sha256: str
    left_out: str = ""


@dataclass(frozen=True)
class GraphKind:
    """Variant of a model's deployable graph.

    Attributes:
        precision: Precision of the arithmetic; normalisation and logits are always float32.
        input_kind: Kind of input.
    """

    precision: Precision = "fp32"
    input_kind: InputKind = "pixels"

    def __str__(self) -> str:
        return f"{self.precision}, taking {self.input_kind}"


FLOAT32_PIXELS = GraphKind()
"""Default variant."""


@dataclass(frozen=True)
class OnnxModel:
    """Manifest of a bundle: the deployable graph and its origin; JSON next to the graph.

    Attributes:
        spec: Identity of the model.
        weights_sha256: SHA-256 of the weights, as in ``LoadedNetwork``.
        sha256: SHA-256 over the bytes of the graph and of its external data.
        opset: ONNX opset of the graph.
        precision: Precision of the arithmetic.
        input_kind: Kind of input.
        versions: Versions of the packages that made it. Reported, but not part of the identity.
        largest_activation: Largest activation of the float32 network on the sample photos;
            ``None`` unless the graph computes in float16, whose largest number is 65504.
        schema: Version of the format.
        seal: SHA-256 over all the above and the fingerprint, so that an edit by hand is noticed.
        fingerprint: Fingerprint of the network that it was exported from; ``None`` if that is
            known by its hash.
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
    fingerprint: NetworkFingerprint | None = field(default=None, metadata=ADDED_LATER)

    @property
    def kind(self) -> GraphKind:
        """The variant of the model's graph."""
        return GraphKind(self.precision, self.input_kind)


@dataclass(frozen=True)
class Bundle:
    """A deployable model on disk."""

    folder: Path
    model: OnnxModel

    @property
    def graph(self) -> Path:
        """The ONNX file; its external data is next to it."""
        return self.folder / "model.onnx"
