"""Selecting an engine whose parity has passed on this runtime and device."""

from dataclasses import dataclass

from ...contracts import ParityResult, Progress, SelfCheck
from ...engine.table import Placement
from ...errors import EngineError, EngineUnavailableError, ParityError
from .engines import PreparedModel, model_candidates, prepare
from .parity import disagreement, measure_parity, stored_parity, suspect_preprocessing
from .parity_images import parity_images
from .resolve import ResolvedModel
from .self_check import reference_check, self_check_status


@dataclass(frozen=True)
class VerifiedEngine:
    """An engine whose parity is known, or waived.

    Attributes:
        loaded: Model, prepared for the engine.
        parity: Parity result; ``None`` for the reference itself, or if it was not measured.
        self_checks: Self-check of the model's reference, and of PyTorch on a GPU if that is the
            engine; ``None`` in place of one that is not known.
    """

    loaded: PreparedModel
    parity: ParityResult | None
    self_checks: tuple[SelfCheck | None, ...] = ()

    @property
    def status(self) -> str:
        """``reference``, the status of the parity, or ``not checked``."""
        if self.loaded.is_reference:
            return "reference"
        return "not checked" if self.parity is None else self.parity.status

    @property
    def self_check(self) -> str:
        """``passed``, ``failed`` with what failed, or ``not checked``."""
        return self_check_status(*self.self_checks)


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
        subject: Model, with the self-check of its reference.
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


def failure(result: ParityResult) -> str:
    """What a parity that failed says, with what to do about it."""
    return (
        f"{disagreement(result)} "
        "`evaluator parity` shows the details; --no-parity scores anyway and marks the run."
    )


def _verify(
    subject: ResolvedModel, placement: Placement, *, parity: bool, progress: Progress
) -> VerifiedEngine:
    loaded, result, checks = prepare(subject, placement, progress), None, [subject.checked]
    if placement.kind.backend == "torch" and not loaded.is_reference:
        gradients = subject.checked is not None and subject.checked.asks("gradients")
        checks.append(reference_check(subject, placement.device, progress, gradients=gradients))
    if not loaded.is_reference:
        result = stored_parity(subject, loaded)
        if result is None and parity:
            images = parity_images(subject.spec)
            result = measure_parity(subject, loaded, images, progress=progress)
    if result is not None and not result.passed and parity:
        raise ParityError(failure(result))
    verified = VerifiedEngine(loaded, result, tuple(checks))
    progress.note(f"Engine: {placement}, parity {verified.status}.")
    if result is not None and (warning := suspect_preprocessing(result, subject.spec.weights)):
        progress.note(f"warning: {warning}")
    return verified
