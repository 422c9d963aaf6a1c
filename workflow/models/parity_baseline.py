"""Parity regression tests: an engine against its reference, and against an earlier result."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts import Gate, ParityResult
from ...engine.parity_regression import changes, regression_gates
from ...errors import InputError, ParityError, printable
from ...storage.documents import document_sha256, plain, read_document
from .parity import check_parity, disagreement, failed_gates

FORMAT = 1
"""Version of the JSON format."""


@dataclass(frozen=True)
class Regression:
    """A parity result compared with an earlier one.

    Attributes:
        gates: Each error, with the largest value that is not worse.
        changes: Differences between the two measurements, one a line.
    """

    gates: tuple[Gate, ...]
    changes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no error got worse."""
        return all(gate.passed for gate in self.gates)


def parity_document(result: ParityResult, regression: Regression | None) -> dict[str, Any]:
    """A result as ``evaluator parity --json`` writes it, with its comparison if there is one."""
    against = regression and {"passed": regression.passed, **plain(regression)}
    body = {"schema": FORMAT, "passed": result.passed, **plain(result), "against": against}
    return {**body, "seal": document_sha256(body)}


def previous_parity(path: str | Path) -> ParityResult:
    """A result that ``evaluator parity --json FILE`` wrote.

    Raises:
        InputError: If the file is missing, was edited, or is not a parity result.
    """
    path = Path(path)
    result = read_document(path, ParityResult)
    body = json.loads(path.read_bytes())
    advice = "Measure again with `evaluator parity MODEL --json FILE`."
    if body.get("schema") != FORMAT:
        raise InputError(
            f"{printable(path)} has format {body.get('schema')}, this version reads {FORMAT}. "
            f"{advice}"
        )
    seal = body.pop("seal", None)
    if seal != document_sha256(body):
        raise InputError(
            f"{printable(path)} was edited: its SHA-256 is not the one that it was written with. "
            f"{advice}"
        )
    return result


def compare_parity(previous: ParityResult, now: ParityResult) -> Regression:
    """Compare a result with an earlier one.

    Raises:
        InputError: If the two have different images or weights.
    """
    return Regression(regression_gates(previous, now), tuple(changes(previous, now)))


def assert_parity(model: str, *, against: str | Path | None = None, **choices: Any) -> ParityResult:
    """Measure an engine's parity, and raise an error if it fails; for tests.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, or a bundle's folder.
        against: File that ``evaluator parity MODEL --json FILE`` wrote. If not given, only the
            bounds are checked.
        choices: Arguments of ``check_parity``: ``engine``, ``device``, ``precision``, ``data``.

    Returns:
        The result, which passed.

    Raises:
        ParityError: If a gate failed, or the agreement got worse.
        InputError: If ``against`` is not a parity result of this model and these images.

    Example:
        def test_the_release_agrees_with_pytorch():
            evaluator.assert_parity("resnet50", engine="onnxruntime", against="parity.json")
    """
    previous = None if against is None else previous_parity(against)
    result = check_parity(model, **choices)
    if not result.passed:
        raise ParityError(disagreement(result))
    if previous is not None:
        regression = compare_parity(previous, result)
        if not regression.passed:
            raise ParityError(worse(result, regression))
    return result


def worse(now: ParityResult, regression: Regression) -> str:
    """One line on an agreement that got worse: the errors, and the changes since."""
    changed = "; ".join(regression.changes) or "nothing that is recorded"
    return (
        f"{now.candidate.backend} agrees less with PyTorch on {now.model} "
        f"than it did: {failed_gates(regression.gates)}. Changed since: {changed}."
    )
