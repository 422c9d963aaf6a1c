"""Did an engine's agreement with its reference get worse since an earlier measurement?

A parity that only passes can still rot: an update of a runtime may double the error, and again,
far below the bound. So each of the three errors may grow by half at most, and the agreement may not
fall below the interval that it had. On the same images and the same weights, of course.
"""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from ..contracts import Gate, ParityResult
from ..errors import InputError
from ..storage.documents import document_differences

GROWTH = 1.5
"""How much an error may grow."""

ROUNDING = float(np.finfo(np.float32).eps)
"""Below one rounding of float32 an error says nothing."""

_ERRORS = ("all", "worst image", "worst class")


def regression_gates(previous: ParityResult, now: ParityResult) -> tuple[Gate, ...]:
    """Each error against what it was, and the agreement against its interval.

    Raises:
        InputError: If the two are not of the same images and the same reference, or the earlier
            one was not finite.
    """
    _check_comparable(previous, now)
    before = _errors(previous)
    found = {gate.name: gate.value for gate in now.gates}
    grown = [_error_gate(name, before[name], found.get(name)) for name in _ERRORS]
    lost, most = 1 - now.agreement, 1 - previous.agreement_low
    note = f"fraction of images with another class; {1 - previous.agreement:.2g} before"
    return (*grown, Gate("disagreement", lost, most, lost <= most, note))


def changes(previous: ParityResult, now: ParityResult) -> Iterator[str]:
    """What is not as it was: the graph, the precision, versions, devices, the batch."""
    yield from document_differences(_circumstances(previous), _circumstances(now))


def _circumstances(result: ParityResult) -> dict[str, object]:
    candidate = result.candidate
    return {
        "engine": candidate.backend,
        "graph": candidate.model_sha256,
        "precision": candidate.precision,
        "TF32": candidate.tf32,
        "input": candidate.input_kind,
        "device": asdict(result.candidate_device),
        "versions": {**result.reference_versions, **result.versions},
        "reference device": asdict(result.reference_device),
        "batch size": result.batch_size,
    }


def _check_comparable(previous: ParityResult, now: ParityResult) -> None:
    if previous.reference.model_sha256 != now.reference.model_sha256:
        raise InputError(
            f"The previous parity is of other weights, another architecture or preprocessing: "
            f"{previous.model} then, {now.model} now. Compare results of one model, or make a new "
            "one to compare with."
        )
    if previous.images_sha256 != now.images_sha256:
        raise InputError(
            f"The previous parity is on other images ({previous.images}) than this one "
            f"({now.images}). Give the same --data, or make a new result to compare with."
        )


def _errors(previous: ParityResult) -> dict[str, float]:
    """What the three errors were; nothing can be worse than what was not finite."""
    values = {gate.name: gate.value for gate in previous.gates}
    found = {name: value for name in _ERRORS if (value := values.get(name)) is not None}
    if len(found) < len(_ERRORS):
        lost = next(name for name in _ERRORS if name not in found)
        raise InputError(
            f"The previous parity has no finite value of {lost!r}, so nothing can be worse. "
            "Compare with a result that passed."
        )
    return found


def _error_gate(name: str, before: float, now: float | None) -> Gate:
    """A value that is none was not finite: the worst there is."""
    bound = GROWTH * max(before, ROUNDING)
    return Gate(name, now, bound, now is not None and now <= bound, f"{before:.2g} before")
