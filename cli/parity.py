"""``evaluator parity``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..reporting.table import Table
from .config import ConfigOption, configured
from .options import (
    BATCH_SIZE,
    DEVICE,
    ENGINE,
    EngineOptions,
    JsonOption,
    Model,
    option,
    takes_options,
)

if TYPE_CHECKING:
    from ..contracts import Gate, ParityResult
    from ..workflow.models.parity_baseline import Regression

FAILED = 3
MOST_FLIPS = 5


class ParityOptions:
    """Options of ``parity``."""

    data: Path | None = option(
        "Data",
        "Photos to compare on, in class folders or flat. Default: sample photos.",
        metavar="DIR",
    )
    engine: str | None = ENGINE
    device: str | None = DEVICE
    batch_size: int | None = BATCH_SIZE
    against: Path | None = option(
        "Data",
        "Result of an earlier call with --json. Fail if the agreement has got worse.",
        metavar="FILE",
    )


@takes_options(ParityOptions, JsonOption, EngineOptions, ConfigOption)
@configured()
def parity(model: Model, against: Path | None, json: Path | None, **options: Any) -> None:
    """Compare an engine's logits with those of PyTorch. The exit code is 3 if a gate fails."""
    from ..workflow.models.parity import check_parity
    from ..workflow.models.parity_baseline import (
        compare_parity,
        parity_document,
        previous_parity,
        worse,
    )
    from .console import check_outputs, is_stdout, progress, show

    check_outputs(json)
    previous = None if against is None else previous_parity(against)
    with progress() as display:
        result = check_parity(model, progress=display, **options)
    tables = [parity_table(result)]
    regression = None if previous is None else compare_parity(previous, result)
    if regression is not None:
        tables.append(_regression_table(regression))
        if is_stdout(json) and not regression.passed:
            print(worse(result, regression), file=sys.stderr)
    passed = result.passed and (regression is None or regression.passed)
    keeps_file = not passed and _is_same_file(json, against)
    show(tables, (None if keeps_file else json, parity_document(result, regression)))
    if keeps_file:
        print(f"{json} is not overwritten, since this result is worse.", file=sys.stderr)
    if not passed:
        raise typer.Exit(FAILED)


def _is_same_file(json: Path | None, against: Path | None) -> bool:
    return bool(json and against and json.exists() and json.samefile(against))


def _regression_table(regression: "Regression") -> Table:
    """Each error beside its bound from the earlier result, and what changed since."""
    title = "Against the earlier result: " + ("not worse" if regression.passed else "WORSE")
    notes = [f"changed: {line}" for line in regression.changes] or ["no version or setting changed"]
    rows = tuple(_row(gate) for gate in regression.gates)
    header = ("error", "value", "at most", "verdict", "of")
    return Table(title, header, rows, tuple(notes), words=(0, 3, 4))


def parity_table(result: "ParityResult") -> Table:
    """Every gate with its value, bound and verdict, and the agreement in notes."""
    notes = [
        f"{result.n} images: {result.images}; batches of {result.batch_size}",
        f"same top-1 class: {100 * result.agreement:.1f} % "
        f"[{100 * result.agreement_low:.1f}, {100 * result.agreement_high:.1f}]"
        + ("" if result.kl is None else f"; mean KL {result.kl:.1e} nats"),
    ]
    if result.labelled:
        notes.append(
            f"correct on {result.labelled} labelled clean photos: {result.reference_name} "
            f"{result.reference_correct}, {result.candidate.backend} {result.candidate_correct}"
        )
    if result.reference.backend != "torch":
        notes.append(f"the model exists only as ONNX: its reference is {result.reference_name}")
    notes += [
        f"flip: {flip.id} from class {flip.reference} to {flip.candidate}; the reference had a "
        f"margin of {flip.margin:.2g}"
        for flip in result.flips[:MOST_FLIPS]
    ]
    if len(result.flips) > MOST_FLIPS:
        notes.append(f"and {len(result.flips) - MOST_FLIPS} more flips")
    verdict = "passed" if result.passed else "FAILED"
    reference = "torch" if result.reference.backend == "torch" else result.reference_name
    title = (
        f"Parity of {result.model}: {result.candidate.backend} {result.candidate.precision} on "
        f"{result.candidate_device} against {reference} "
        f"{result.reference.precision} on {result.reference_device}: {verdict}"
    )
    rows = tuple(_row(gate) for gate in result.gates)
    header = ("gate", "value", "bound", "verdict", "of")
    return Table(title, header, rows, tuple(notes), words=(0, 3, 4))


def _row(gate: "Gate") -> tuple[str, ...]:
    verdict = "pass" if gate.passed else "FAIL"
    return (gate.name, gate.value_text, f"{gate.bound:.2g}", verdict, gate.note)
