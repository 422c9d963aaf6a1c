"""How far an engine is from its reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .engines import Device, EngineSpec


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
