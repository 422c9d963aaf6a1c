"""The data that crosses folders: frozen dataclasses, and the protocols of what is handed around.

N images, C classes, S the crop of the model in pixels. Two image contracts, never mixed:

* **pixels**: (N, S, S, 3) uint8, RGB, exactly as decoded, resized and cropped. What scoring moves.
* **images**: (N, 3, S, S) float32 in [0, 1]. What gradients need; normalisation is in the model.

Rates are fractions, lengths pixels, time seconds. Nothing here opens a file or imports a framework.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    from torch import nn

Interpolation = Literal["bilinear", "bicubic"]
InputKind = Literal["pixels", "images"]
Precision = Literal["fp32", "fp16", "bf16"]
Backend = Literal["torch", "onnxruntime"]
WeightsKind = Literal["package", "download", "file", "random", "factory", "onnx"]
OnnxInput = Literal["normalized", "images", "pixels"]
Layout = Literal["nchw", "nhwc"]


# ---------------------------------------------------------------------------------------- models


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


# --------------------------------------------------------------------------------------- engines


@dataclass(frozen=True)
class EngineSpec:
    """What an engine computes; where it computes is ``Device``.

    Attributes:
        backend: The runtime.
        model_sha256: ONNX: graph and data. PyTorch: architecture, weights and preprocessing.
        precision: Of the arithmetic.
        tf32: Whether float32 products may be rounded to TF32.
        input_kind: What ``Engine.stream`` takes.
    """

    backend: Backend
    model_sha256: str
    precision: Precision = "fp32"
    tf32: bool = False
    input_kind: InputKind = "pixels"


@dataclass(frozen=True)
class Device:
    """A device that computes.

    Attributes:
        name: As the command line says it: ``cpu``, ``cuda:0``.
        model: Of the processor or GPU.
        details: The driver of a GPU, the instruction set of a processor: what results depend on.
    """

    name: str
    model: str
    details: str

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to score.

    Attributes:
        id: The same in every condition, so that images can be paired: ``<wnid>/<file>``.
        label: Class index, or none.
        location: Where its bytes are, in words that a user can act on.
        attributes: What a benchmark needs beside the label.
        frames: 1 for an image.
    """

    id: str
    label: int | None
    location: str
    attributes: tuple[tuple[str, str], ...] = ()
    frames: int = 1


@dataclass(frozen=True)
class ImageBatch:
    """What an engine takes: rows, and the item and frame that each row shows.

    Attributes:
        data: pixels (N, S, S, 3) uint8, or images (N, 3, S, S) float32.
        kind: Which of the two.
        items: N of them.
        frames: The frame of each row; empty where every item is one image.
    """

    data: "npt.NDArray[Any]"
    kind: InputKind
    items: tuple[Item, ...]
    frames: tuple[int, ...] = ()


class Engine(Protocol):
    """A loaded model that gives logits. Use it as a context manager."""

    @property
    def spec(self) -> EngineSpec:
        """What it computes."""

    @property
    def device(self) -> Device:
        """What it really runs on."""

    @property
    def versions(self) -> Mapping[str, str]:
        """The runtime that computes, by package."""

    @property
    def max_batch(self) -> int:
        """The largest N that ``allocate`` and ``stream`` take."""

    @property
    def callers(self) -> int:
        """How many threads can call ``stream`` at once to some use."""

    def allocate(self, n: int) -> "npt.NDArray[Any]":
        """A buffer for n inputs to decode into."""

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> "Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]":
        """Each batch with its logits (N, C), in order."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Gate:
    """One bound that an engine must keep.

    Attributes:
        name: What is measured.
        value: As measured; none where it could not be.
        bound: The largest value that passes.
        passed: The verdict.
        note: What a reader needs to act on a failure.
    """

    name: str
    value: float | None
    bound: float
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Flip:
    """An image whose predicted class differs between reference and candidate.

    Attributes:
        id: Of the image.
        reference: Its class under the reference.
        candidate: Its class under the candidate.
        margin: The reference's logit for its own class less that for the candidate's.
    """

    id: str
    reference: int
    candidate: int
    margin: float


ONNX_REFERENCE = "ONNX Runtime on the original file"
"""The reference of a model that exists only as ONNX."""

PASSED_AGAINST_ONNX = "passed, the reference being ONNX Runtime"
"""The parity of such a model, where another's is ``passed``."""


@dataclass(frozen=True)
class ParityResult:
    """How far a candidate is from its reference, gate by gate.

    Attributes:
        model: The name of the model.
        reference: What is believed.
        reference_device: Where it ran.
        candidate: What was measured.
        candidate_device: Where it ran.
        versions: The candidate's runtime.
        images: What was compared, in words.
        images_sha256: Over ids and pixels.
        n: How many images.
        batch_size: Of the candidate's main pass.
        gates: Each with bound, value and verdict.
        agreement: The fraction of images with the same top-1 class.
        agreement_low: Lower end of its 95 % Wilson interval.
        agreement_high: Upper end.
        kl: Mean Kullback-Leibler divergence of the candidate from the reference, in nats; none
            where it is not finite.
        flips: The images whose class differs.
        labelled: How many of the clean photos have a label.
        reference_correct: How many of those the reference gets right.
        candidate_correct: How many of those the candidate gets right.
        reference_versions: The reference's runtime, and what decoded the photos.
    """

    model: str
    reference: EngineSpec
    reference_device: Device
    candidate: EngineSpec
    candidate_device: Device
    versions: Mapping[str, str]
    images: str
    images_sha256: str
    n: int
    batch_size: int
    gates: tuple[Gate, ...]
    agreement: float
    agreement_low: float
    agreement_high: float
    kl: float | None
    flips: tuple[Flip, ...]
    labelled: int
    reference_correct: int
    candidate_correct: int
    reference_versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def reference_name(self) -> str:
        """The reference in words; it is PyTorch wherever a model exists as a network."""
        return "PyTorch" if self.reference.backend == "torch" else ONNX_REFERENCE


# ------------------------------------------------------------------------------------ benchmarks


@dataclass(frozen=True)
class Condition:
    """What a set of items was put through, as ordered key-value pairs; none for clean images.

    Example:
        >>> fog = Condition((("corruption", "fog"), ("severity", 3)))
        >>> str(fog), fog.folder
        ('corruption=fog, severity=3', 'corruption=fog/severity=3')
    """

    values: tuple[tuple[str, str | int | float], ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.values) or "clean"

    @property
    def folder(self) -> str:
        """Its place in a run: Hive partitions, empty for a benchmark without conditions."""
        return "/".join(f"{key}={value}" for key, value in self.values)

    def __getitem__(self, key: str) -> str | int | float:
        return dict(self.values)[key]


class Source(Protocol):
    """Where the bytes of a benchmark's items come from."""

    def conditions(self) -> Sequence[Condition]:
        """Those of the benchmark's conditions that are there."""

    def items(self, condition: Condition) -> Sequence[Item]:
        """The items of one condition, sorted by id."""

    def read(self, item: Item) -> bytes:
        """The encoded bytes of one item."""

    @property
    def generated(self) -> Mapping[str, Any] | None:
        """How the data were made, where the tool made them itself."""


@dataclass(frozen=True)
class Score:
    """One number, with everything that says what it is; a row of the report's JSON.

    The first block says which run it came from, the second which condition, the third the number.
    ``value`` is none where the number is refused, and ``reason`` says why. Rates are fractions.
    """

    run: str = ""
    model: str = ""
    weights: str = ""
    engine: str = ""
    devices: tuple[str, ...] = ()
    precision: str = ""
    crop_px: int = 0
    benchmark: str = ""

    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    epsilon: float | None = None
    steps: int | None = None
    restarts: int | None = None
    source: str | None = None
    protocol: str | None = None
    rule: str | None = None
    stimuli: int | None = None
    normalize_by: str | None = None

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    simulated: bool = False
    parity: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as data: what is scored, what is recorded of an image, what is made of it.

    Attributes:
        name: As the command line says it.
        title: As its authors say it.
        conditions: All that the published benchmark has, in its order.
        published_items: The number of items in each condition.
        stimuli_px: The side at which the stimuli are stored; none for photos, which are resized.
        protocol: Changes whenever the same model and data could give another number.
        schema: The columns of a record.
        record: (logits (N, C), items) to N records.
        scores: From the finished records of each condition, and those of the clean images of the
            same model where they are at hand, to the numbers.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    published_items: int
    stimuli_px: int | None
    protocol: str
    schema: "pa.Schema"
    record: "Callable[[npt.NDArray[np.float32], Sequence[Item]], pa.RecordBatch]"
    scores: "Callable[[Mapping[Condition, pa.Table], pa.Table | None], Iterable[Score]]"


# ------------------------------------------------------------------------------------------ runs


@dataclass(frozen=True)
class Shard:
    """A range of one condition's sorted items: the unit of work, of resume and of sharing."""

    condition: Condition
    index: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of items."""
        return self.stop - self.start


@dataclass(frozen=True)
class RunKey:
    """What a run *is*. Work under another key never enters it.

    Attributes:
        benchmark: The name of the benchmark.
        protocol: Its version.
        weights_sha256: Over the tensors, whatever file they came in.
        engine: What computes.
        preprocessing: All of it.
        ids_sha256: Over the list of ids that all conditions share; never over paths.
        generated: The content of ``generated.json``, where there is one.
        limit: Items a condition, where only some are scored.
        seed: Of the work, where it draws random numbers.
    """

    benchmark: str
    protocol: str
    weights_sha256: str
    engine: EngineSpec
    preprocessing: Preprocessing
    ids_sha256: str
    generated: Mapping[str, Any] | None = None
    limit: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Provenance:
    """Under which circumstances a shard was made.

    Attributes:
        host: The machine's name.
        device: What computed.
        versions: Packages and Python.
        parity: A copy of the parity result; none for the reference itself, or where it was waived.
        parity_status: ``passed``, ``reference`` or ``not checked``; ``PASSED_AGAINST_ONNX``.
        batch_size: As it really was.
        data: Where the bytes were read.
        data_sha256: Over (id, bytes) of what was read.
        started: UTC, ISO 8601.
        seconds: How long the shard took.
        command: What was run.
        plan: The serialised engine that was used, if any.
    """

    host: str
    device: Device
    versions: Mapping[str, str]
    parity: ParityResult | None
    parity_status: str
    batch_size: int
    data: str
    data_sha256: str
    started: str
    seconds: float
    command: str
    plan: str | None = None


RUN_FORMAT = 2
"""Of the files of a run; 2: each shard says which one it is, and has digests."""


@dataclass(frozen=True)
class RunManifest:
    """``run.json``: written once, never changed.

    Attributes:
        key: What the run is.
        model: The model, for people.
        items: The number of items in each condition.
        shard_size: Items in a shard.
        batch_size: Nominal; a batch never crosses a shard's border.
        created: UTC, ISO 8601.
        schema: Version of the format.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
    """

    key: RunKey
    model: ModelSpec
    items: int
    shard_size: int
    batch_size: int
    created: str
    schema: int = RUN_FORMAT
    seal: str = ""


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    manifest: RunManifest

    @property
    def key(self) -> RunKey:
        """What the run is."""
        return self.manifest.key


# -------------------------------------------------------------------------------------- progress


class Progress(Protocol):
    """How a job tells what it does; called by one thread at a time."""

    def note(self, text: str) -> None:
        """One line that a user should read."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """So much of a step is done; the first call of a step gives its starting point."""


@dataclass(frozen=True)
class Silence:
    """Progress that nobody listens to."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep the line."""
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Say nothing."""
