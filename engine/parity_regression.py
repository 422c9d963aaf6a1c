"""Whether an engine's agreement with its reference got worse since an earlier measurement.

A parity that passes can still degrade: each update of a runtime may double the error, far below the
bound. So each of the three errors may grow by half at most, and the agreement may not fall below
its earlier interval. Both measurements are on the same images and the same weights.
"""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from ..contracts import Gate, ParityResult
from ..errors import InputError
from ..storage.documents import document_differences

GROWTH = 1.5
"""Largest growth of an error."""

ROUNDING = float(np.finfo(np.float32).eps)
"""Rounding error of float32: smaller errors are not compared."""

_ERRORS = ("all", "worst image", "worst class")


def regression_gates(previous: ParityResult, now: ParityResult) -> tuple[Gate, ...]:
    """Gates on each error and on the agreement, relative to the earlier result.

    Raises:
        InputError: If the two have different images or references, or an earlier error is not
            finite.
    """
    _check_comparable(previous, now)
    before = _errors(previous)
    values = {gate.name: gate.value for gate in now.gates}
    errors = [_error_gate(name, before[name], values.get(name)) for name in _ERRORS]
    disagreement, bound = 1 - now.agreement, 1 - previous.agreement_low
    note = f"fraction of images with another class; {1 - previous.agreement:.2g} before"
    return (*errors, Gate("disagreement", disagreement, bound, disagreement <= bound, note))


def changes(previous: ParityResult, now: ParityResult) -> Iterator[str]:
    """Differences of graph, precision, versions, devices and batch size, one a line."""
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
            f"The previous parity has other weights, another architecture or preprocessing: "
            f"{previous.model} then, {now.model} now. Compare results of one model, or measure a "
            "new one to compare with."
        )
    if previous.images_sha256 != now.images_sha256:
        raise InputError(
            f"The previous parity is on other images ({previous.images}) than this one "
            f"({now.images}). Give the same --data, or measure a new result to compare with."
        )


def _errors(previous: ParityResult) -> dict[str, float]:
    """The three errors, all finite: nothing can be worse than an error that is not finite."""
    values = {gate.name: gate.value for gate in previous.gates}
    errors = {name: value for name in _ERRORS if (value := values.get(name)) is not None}
    if len(errors) < len(_ERRORS):
        missing = next(name for name in _ERRORS if name not in errors)
        raise InputError(
            f"The previous parity has no finite value of {missing!r}, so nothing can be worse. "
            "Compare with a result that passed."
        )
    return errors


def _error_gate(name: str, before: float, now: float | None) -> Gate:
    """The gate of one error; ``None`` is an error that is not finite, which fails."""
    bound = GROWTH * max(before, ROUNDING)
    return Gate(name, now, bound, now is not None and now <= bound, f"{before:.2g} before")
