"""Selecting an engine whose parity has passed on this runtime and device."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...contracts import Gate, ParityResult, Progress
from ...engine.table import Placement
from ...errors import EngineError, EngineUnavailableError, ParityError, printable
from .engines import model_candidates, prepare
from .parity import evidence_path, measure_parity, stored_parity, suspect_preprocessing
from .prepared_model import PreparedModel
from .reference import model_reference
from .resolve import ResolvedModel


@dataclass(frozen=True)
class VerifiedEngine:
    """An engine whose parity is known, or waived.

    Attributes:
        loaded: Model, prepared for the engine.
        parity: Parity result; ``None`` for the reference itself, or if it was not measured.
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
    """Select the engine that the user names, or else the best one that passes parity.

    Args:
        subject: Model.
        engine: Name of the engine; ``None`` if the user names none.
        device: Name of the device; ``None`` if the user names none.
        parity: Whether parity must have passed; it is measured if there is no result yet.
        progress: Progress callback.

    Raises:
        ParityError: If no engine passes parity.
        EngineUnavailableError: If the engine or the device is not available.
    """
    *others, last = model_candidates(subject, engine, device)
    for placement in others:
        # Only an engine that the user did not name is skipped, and always with a note.
        try:
            return _verify(subject, placement, parity=parity, progress=progress)
        except (ParityError, EngineError, EngineUnavailableError) as error:
            progress.note(f"{placement} is not used: {error}")
    return _verify(subject, last, parity=parity, progress=progress)


def failure(result: ParityResult, loaded: PreparedModel) -> str:
    """One line on a parity that failed: its gates, and the file with the logits."""
    return (
        f"{loaded.placement} does not agree with {result.reference_name} on {result.model}: "
        f"{failed_gates(result.gates)}. "
        f"The logits of both are in {printable(evidence_path(result))}. "
        "`evaluator parity` shows the details; --no-parity scores anyway and marks the run."
    )


def _verify(
    subject: ResolvedModel, placement: Placement, *, parity: bool, progress: Progress
) -> VerifiedEngine:
    loaded = prepare(subject, placement, progress)
    verified = _with_parity(subject, loaded, parity=parity, progress=progress)
    progress.note(f"Engine: {placement}, parity {verified.status}.")
    if verified.parity is not None:
        warning = suspect_preprocessing(verified.parity, subject.spec.weights)
        if warning is not None:
            progress.note(f"warning: {warning}")
    return verified


def _with_parity(
    subject: ResolvedModel, loaded: PreparedModel, *, parity: bool, progress: Progress
) -> VerifiedEngine:
    if loaded.is_reference:
        return VerifiedEngine(loaded, None, "reference")
    result = stored_parity(subject, loaded)
    if result is None and parity:
        result = measure_parity(subject, loaded, progress=progress)
    if result is None:
        return VerifiedEngine(loaded, None, "not checked")
    if not result.passed and parity:
        raise ParityError(failure(result, loaded))
    status = model_reference(subject.spec).passed if result.passed else "failed"
    return VerifiedEngine(loaded, result, status)


def failed_gates(gates: Iterable[Gate]) -> str:
    """The gates that failed, each with its value and bound."""
    return ", ".join(_gate_text(gate) for gate in gates if not gate.passed)


def _gate_text(gate: Gate) -> str:
    value = "not finite" if gate.value is None else f"{gate.value:.2g}"
    return f"{gate.name} {value} (at most {gate.bound:.2g})"
