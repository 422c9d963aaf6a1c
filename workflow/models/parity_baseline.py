"""Backend-parity regression tests: an engine against its reference, and against what it was."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts import Gate, ParityResult
from ...engine.parity_regression import changes, regression_gates
from ...errors import InputError, ParityError, printable
from ...storage.documents import document_sha256, plain, read_document
from .parity import check_parity, evidence_path
from .verified_engine import failed_gates

FORMAT = 1
"""Of the JSON of a parity."""


@dataclass(frozen=True)
class Regression:
    """A parity beside an earlier one.

    Attributes:
        previous: The earlier one.
        now: This one.
        gates: Each error with the largest value that is not worse.
        changes: What differs between the two measurements, a line each.
    """

    previous: ParityResult
    now: ParityResult
    gates: tuple[Gate, ...]
    changes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing got worse."""
        return all(gate.passed for gate in self.gates)


def parity_document(result: ParityResult, regression: Regression | None) -> dict[str, Any]:
    """A result as ``evaluator parity --json`` writes it, with the comparison where there is one."""
    body = {"schema": FORMAT, "passed": result.passed, **plain(result), "against": None}
    if regression is not None:
        body["against"] = {
            "passed": regression.passed,
            "gates": [plain(gate) for gate in regression.gates],
            "changes": list(regression.changes),
        }
    return {**body, "seal": document_sha256(body)}


def previous_parity(path: str | Path) -> ParityResult:
    """A result that ``evaluator parity --json FILE`` wrote.

    Raises:
        InputError: If the file is missing, was edited, or holds something else.
    """
    path = Path(path)
    result = read_document(path, ParityResult)
    body = json.loads(path.read_bytes())
    advice = "Make it again with `evaluator parity MODEL --json FILE`."
    if body.get("schema") != FORMAT:
        raise InputError(
            f"{printable(path)} has format {body.get('schema')}, this version reads {FORMAT}. "
            f"{advice}"
        )
    seal = body.pop("seal", None)
    if seal != document_sha256(body):
        raise InputError(
            f"{printable(path)} was edited: it does not have the SHA-256 that it was written with. "
            f"{advice}"
        )
    return result


def compare_parity(previous: ParityResult, now: ParityResult) -> Regression:
    """Whether the agreement got worse.

    Raises:
        InputError: If the two are not of the same images and weights.
    """
    return Regression(previous, now, regression_gates(previous, now), tuple(changes(previous, now)))


def assert_parity(model: str, *, against: str | Path | None = None, **choices: Any) -> ParityResult:
    """Measure an engine's parity, and fail where a test should: three lines in a pytest of yours.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, or a bundle's folder.
        against: A file of ``evaluator parity MODEL --json FILE``; without it the bounds alone
            decide.
        choices: As ``check_parity`` takes them: ``engine``, ``device``, ``precision``, ``data``.

    Returns:
        The result, which passed.

    Raises:
        ParityError: If a gate failed, or the agreement is worse than it was.
        InputError: If ``against`` does not serve.

    Example:
        def test_the_release_agrees_with_pytorch():
            evaluator.assert_parity("resnet50", engine="onnxruntime", against="parity.json")
    """
    previous = None if against is None else previous_parity(against)
    result = check_parity(model, **choices)
    if not result.passed:
        raise ParityError(
            f"{result.candidate.backend} on {result.candidate_device} does not agree with "
            f"PyTorch on {result.model}: {failed_gates(result.gates)}. The logits of both are kept "
            f"in {printable(evidence_path(result))}."
        )
    if previous is not None:
        regression = compare_parity(previous, result)
        if not regression.passed:
            raise ParityError(worse(regression))
    return result


def worse(regression: Regression) -> str:
    """One line on an agreement that got worse: what, and what changed since."""
    changed = "; ".join(regression.changes) or "nothing that is recorded"
    return (
        f"{regression.now.candidate.backend} agrees less with PyTorch on {regression.now.model} "
        f"than it did: {failed_gates(regression.gates)}. Changed since: {changed}."
    )
