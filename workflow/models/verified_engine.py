"""Which engine may be believed: one whose parity has passed, on this runtime and device."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...contracts import PASSED_AGAINST_ONNX, Gate, ParityResult, Progress
from ...engine.table import Placement, candidates
from ...errors import EngineError, EngineUnavailableError, ParityError, printable
from .engines import prepare, supporting
from .parity import evidence_path, measure_parity, stored_parity, suspect_preprocessing
from .prepared_model import PreparedModel
from .resolve import ResolvedModel


@dataclass(frozen=True)
class VerifiedEngine:
    """An engine whose parity is known, or waived.

    Attributes:
        loaded: The model, ready for it.
        parity: The result; none for the reference itself, or where there is none.
        status: ``passed`` or ``PASSED_AGAINST_ONNX``, ``reference``, and with parity waived
            ``failed`` or ``not checked``.
    """

    loaded: PreparedModel
    parity: ParityResult | None
    status: str


def select_engine(
    subject: ResolvedModel,
    engine: str | None,
    device: str | None,
    *,
    parity: bool,
    progress: Progress,
) -> VerifiedEngine:
    """The best engine that is here and passes parity; the one that is named, if one is.

    Args:
        subject: The model.
        engine: The user's choice, or none.
        device: The user's choice, or none.
        parity: Whether parity must have passed; it is measured if it never was.
        progress: Is told which engine it is, and which was passed over and why.

    Raises:
        ParityError: If none passes.
        EngineUnavailableError: If what is asked for is not here.
    """
    choices = supporting(subject, candidates(engine, device))
    for place in choices[:-1]:
        # Only an engine that nobody named may be passed over, and never in silence.
        try:
            believed = _believed(subject, place, parity=parity, progress=progress)
            return _told(subject, believed, progress)
        except (ParityError, EngineError, EngineUnavailableError) as error:
            progress.note(f"{place} is not used: {error}")
    believed = _believed(subject, choices[-1], parity=parity, progress=progress)
    return _told(subject, believed, progress)


def failure(result: ParityResult, loaded: PreparedModel) -> str:
    """One line on a parity that failed: which gates, and where the evidence is."""
    return (
        f"{loaded.placement} does not agree with {result.reference_name} on {result.model}: "
        f"{failed_gates(result.gates)}. "
        f"The logits of both are kept in {printable(evidence_path(result))}. "
        "Look with `evaluator parity`; --no-parity scores all the same and marks the run."
    )


def _believed(
    subject: ResolvedModel, placement: Placement, *, parity: bool, progress: Progress
) -> VerifiedEngine:
    loaded = prepare(subject, placement, progress)
    if loaded.is_reference:
        return VerifiedEngine(loaded, None, "reference")
    result = stored_parity(subject, loaded)
    if result is None and parity:
        result = measure_parity(subject, loaded, progress=progress)
    if result is None:
        return VerifiedEngine(loaded, None, "not checked")
    if not result.passed and parity:
        raise ParityError(failure(result, loaded))
    passed = "passed" if result.reference.backend == "torch" else PASSED_AGAINST_ONNX
    return VerifiedEngine(loaded, result, passed if result.passed else "failed")


def _told(subject: ResolvedModel, believed: VerifiedEngine, progress: Progress) -> VerifiedEngine:
    progress.note(f"Engine: {believed.loaded.placement}, parity {believed.status}.")
    if believed.parity is not None:
        warning = suspect_preprocessing(believed.parity, subject.spec.weights)
        if warning is not None:
            progress.note(f"warning: {warning}")
    return believed


def failed_gates(gates: Iterable[Gate]) -> str:
    """The gates that failed, each with its value and bound."""
    return ", ".join(_missed(gate) for gate in gates if not gate.passed)


def _missed(gate: Gate) -> str:
    value = "not finite" if gate.value is None else f"{gate.value:.2g}"
    return f"{gate.name} {value} (at most {gate.bound:.2g})"
