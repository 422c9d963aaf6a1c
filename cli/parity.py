"""``evaluator parity``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import GraphOptions
from .command_help import DATA, option
from .options import BatchSize, Device, Engine, Json, Model, takes_model_options

if TYPE_CHECKING:
    from ..contracts import Gate, ParityResult
    from ..workflow.models.parity_baseline import Regression

FAILED = 3
MOST_FLIPS = 5


@takes_model_options(GraphOptions)
def parity(
    model: Model,
    data: Annotated[
        Path | None,
        option(
            DATA,
            "Photos to compare on, in class folders or flat. Default: sample photos.",
            metavar="DIR",
        ),
    ] = None,
    engine: Engine = None,
    device: Device = None,
    batch_size: BatchSize = None,
    against: Annotated[
        Path | None,
        option(
            DATA,
            "Result of an earlier call with --json. Fail if the agreement has got worse.",
            metavar="FILE",
        ),
    ] = None,
    json: Json = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Compare an engine's logits with those of PyTorch. The exit code is 3 if a gate fails."""
    from ..workflow.models.parity import check_parity
    from ..workflow.models.parity_baseline import (
        compare_parity,
        parity_document,
        previous_parity,
        worse,
    )
    from .console import check_outputs, is_stdout, progress, write_json

    check_outputs(json)
    previous = None if against is None else previous_parity(against)
    with progress() as display:
        result = check_parity(
            model,
            data=data,
            engine=engine,
            device=device,
            batch_size=batch_size,
            progress=display,
            **options,
        )
    regression = None if previous is None else compare_parity(previous, result)
    passed = result.passed and (regression is None or regression.passed)
    if not is_stdout(json):
        print_parity(result)
        if regression is not None:
            print_regression(regression)
    elif regression is not None and not regression.passed:
        print(worse(result, regression), file=sys.stderr)
    if json is not None and not passed and _is_same_file(json, against):
        print(f"{json} is not overwritten, since this result is worse.", file=sys.stderr)
    elif json is not None:
        write_json(json, parity_document(result, regression))
    if not passed:
        raise typer.Exit(FAILED)


def _is_same_file(json: Path, against: Path | None) -> bool:
    return against is not None and json.exists() and json.samefile(against)


def print_regression(regression: "Regression") -> None:
    """Print each error beside its bound from the earlier result, and what changed since."""
    from ..reporting.table import Table
    from .console import print_tables

    title = "Against the earlier result: " + ("not worse" if regression.passed else "WORSE")
    notes = [f"changed: {line}" for line in regression.changes] or ["no version or setting changed"]
    rows = tuple(_row(gate) for gate in regression.gates)
    header = ("error", "value", "at most", "verdict", "of")
    print_tables([Table(title, header, rows, tuple(notes), words=(0, 3, 4))])


def print_parity(result: "ParityResult") -> None:
    """Print every gate with its value, bound and verdict, and the agreement in notes."""
    from ..reporting.table import Table
    from .console import print_tables

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
    print_tables([Table(title, header, rows, tuple(notes), words=(0, 3, 4))])


def _row(gate: "Gate") -> tuple[str, ...]:
    verdict = "pass" if gate.passed else "FAIL"
    return (gate.name, gate.value_text, f"{gate.bound:.2g}", verdict, gate.note)
