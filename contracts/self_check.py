"""The self-check of a reference: what it asks, and what it found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .engines import Device
from .network_fingerprint import NetworkFingerprint

Question = Literal[
    "same answer twice", "batch independence", "precision", "evaluation mode", "logits", "gradients"
]
"""What a self-check asks of a reference."""

NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """Answer to one question of a self-check.

    Attributes:
        question: Question that was asked.
        fault: What is wrong, with the likely cause; empty if nothing is.
        final: Whether no number can be computed despite it, so that the user cannot continue.
    """

    question: Question
    fault: str = ""
    final: bool = False


@dataclass(frozen=True)
class SelfCheck:
    """Result of the self-check of a reference.

    Attributes:
        model: Name of the model.
        device: Device that the reference ran on.
        versions: Versions of its runtime, by package.
        findings: Answer to each question that was asked.
        notes: What is unusual and no fault.
        left_out: Layer at the end of the network that was left out; see ``LoadedNetwork``.
        fingerprint: Fingerprint of the network; ``None`` if the model exists only as ONNX, or two
            passes over the photos differ.
    """

    model: str
    device: Device
    versions: Mapping[str, str]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    left_out: str = ""
    fingerprint: NetworkFingerprint | None = None

    def asks(self, question: Question) -> bool:
        """Whether a question was asked."""
        return any(finding.question == question for finding in self.findings)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Findings that are faults, the likeliest cause of the others first."""
        return tuple(finding for finding in self.findings if finding.fault)

    def of(self, *, gradients: bool) -> "SelfCheck":
        """The result without the question about gradients, where nobody needs them."""
        if gradients:
            return self
        findings = tuple(f for f in self.findings if f.question != "gradients")
        return replace(self, findings=findings)

    @property
    def status(self) -> str:
        """``passed``, or ``failed`` with the questions."""
        failed = ", ".join(finding.question for finding in self.faults)
        return f"failed: {failed}" if failed else "passed"
