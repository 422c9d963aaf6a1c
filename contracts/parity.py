"""Results of parity checks: the differences between an engine and its reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .engines import Device, EngineSpec


@dataclass(frozen=True)
class Gate:
    """A bound on one difference between an engine and its reference.

    Attributes:
        name: Name of the measured quantity.
        value: Measured value; ``None`` if it could not be measured.
        bound: Largest value that passes.
        passed: Whether the value passes.
        note: Advice for a failure.
    """

    name: str
    value: float | None
    bound: float
    passed: bool
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.value_text} (at most {self.bound:.2g})"

    @property
    def value_text(self) -> str:
        """The value for messages and tables."""
        return "not finite" if self.value is None else f"{self.value:.2g}"


@dataclass(frozen=True)
class Flip:
    """An image whose predicted class differs between reference and candidate.

    Attributes:
        id: Id of the image.
        reference: Class that the reference predicts.
        candidate: Class that the candidate predicts.
        margin: Logit of the reference for its own class minus that for the candidate's class.
    """

    id: str
    reference: int
    candidate: int
    margin: float


ONNX_REFERENCE = "ONNX Runtime on the original file"
"""Name of the reference of a model that exists only as ONNX."""

PASSED_AGAINST_ONNX = "passed, the reference being ONNX Runtime"
"""Parity status of such a model that passed; that of other models is ``passed``."""


@dataclass(frozen=True)
class ParityResult:
    """Differences between a candidate and its reference.

    Attributes:
        model: Name of the model.
        reference: Reference engine.
        reference_device: Device of the reference.
        candidate: Engine that is checked.
        candidate_device: Device of the candidate.
        versions: Versions of the candidate's runtime.
        images: Description of the images.
        images_sha256: SHA-256 over ids and pixels of the images.
        n: Number of images.
        batch_size: Batch size of the candidate's main pass.
        gates: Bounds, each with its measured value.
        agreement: Fraction of images with the same top-1 class.
        agreement_low: Lower end of its 95 % Wilson interval.
        agreement_high: Upper end of its 95 % Wilson interval.
        kl: Mean Kullback-Leibler divergence of the candidate from the reference, in nats; ``None``
            if it is not finite.
        flips: Images whose class differs.
        labelled: Number of clean photos with a label.
        reference_correct: Number of labelled photos that the reference classifies correctly.
        candidate_correct: Number of labelled photos that the candidate classifies correctly.
        reference_versions: Versions of the reference's runtime and of the photos' decoder.
        plan: Key of the TensorRT plan that the candidate ran, as canonical JSON; ``None`` if none.
        fingerprint: SHA-256 of the fingerprint of the reference; ``None`` if it is known by its
            hash.
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
    plan: str | None = None
    fingerprint: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def reference_name(self) -> str:
        """Name of the reference: PyTorch, unless the model exists only as ONNX."""
        return reference_name(self.reference)

    @property
    def status(self) -> str:
        """Status that runs record: ``passed``, ``PASSED_AGAINST_ONNX`` or ``failed``."""
        if not self.passed:
            return "failed"
        return "passed" if self.reference.backend == "torch" else PASSED_AGAINST_ONNX


def reference_name(reference: EngineSpec) -> str:
    """Name of a reference: PyTorch, unless the model exists only as ONNX."""
    return "PyTorch" if reference.backend == "torch" else ONNX_REFERENCE
