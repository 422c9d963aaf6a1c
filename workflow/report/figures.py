"""The figures of a report, as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import Condition, Progress
from ...errors import InputError, printable
from ...evaluate.benchmarks.categories import CATEGORIES
from ...evaluate.benchmarks.cue_conflict import CUE_CONFLICT
from ...evaluate.classes import class_names
from ...evaluate.sources.open_source import open_source
from ...reporting.entries import ModelResults, ReportContents
from ...reporting.figures.attack_curves import TRANSFER, WHITE_BOX
from ...reporting.figures.attack_figure import attack_figure
from ...reporting.figures.drawing import check_drawing, files_of, style
from ...reporting.figures.shape_bias_figure import shape_bias_figure
from ...reporting.figures.stimulus_examples import Classes, Example, Record, answers_of, chosen
from ...reporting.figures.stimulus_figure import MOST_MODELS, stimulus_figure
from ...reporting.tables.shape_bias_tables import BENCHMARK, OF_CATEGORIES
from ...storage.atomic import atomic_write_bytes, check_place
from ..runs.scored_run import ScoredRun, read_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 8
EXAMPLES_NAME = "shape-bias-examples"
ATTACKS_NAME = "attacks"
DRAWN = (
    (BENCHMARK, "shape_bias"),
    (WHITE_BOX, "accuracy_under_attack"),
    (TRANSFER, "accuracy_under_attack"),
)
"""Which numbers figures are of."""

NO_EXAMPLES = "No figure of examples"
CLEAN = Condition()


@dataclass(frozen=True)
class Figures:
    """What was drawn.

    Attributes:
        files: That were written.
        notes: What was not drawn and why, a line each.
    """

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def write_figures(of: ReportContents, folder: Path, progress: Progress) -> Figures:
    """Draw what there are numbers for, as PNG and SVG.

    Args:
        of: The models of a report.
        folder: Where the files go; it is made.
        progress: Is told where an index of a tar is made.

    Raises:
        UnavailableError: If matplotlib is not installed.
        OutputError: If a file cannot be written.
        InputError: If a run is damaged.
    """
    check_drawing()
    with style():
        drawn, note = _bias_figures(of.entries, progress)
        attacks = attack_figure(of)
        if attacks is not None:
            drawn[ATTACKS_NAME] = attacks
        if not drawn:
            return Figures(notes=(_why_no_figure(of.entries),))
        files = {
            folder / f"{name}{suffix}": data
            for name, figure in drawn.items()
            for suffix, data in files_of(figure).items()
        }
    for path, data in files.items():
        atomic_write_bytes(path, data)
    return Figures(tuple(files), () if note is None else (note,))


def check_figures(folder: Path) -> None:
    """Find out before the work that figures can be drawn and written.

    Raises:
        UnavailableError: If matplotlib is not installed.
        OutputError: If nothing can be written into the folder.
    """
    check_drawing()
    check_place(folder / f"{EXAMPLES_NAME}.png")


def _bias_figures(
    entries: Sequence[ModelResults], progress: Progress
) -> "tuple[dict[str, Figure], str | None]":
    """By the recommended protocol and by the paper's; examples, and what is not shown of them."""
    drawn = {}
    for rule, stimuli in OF_CATEGORIES:
        figure = shape_bias_figure(entries, rule, stimuli)
        if figure is not None:
            drawn[f"shape-bias-{rule}-{stimuli}"] = figure
    if not drawn:
        return {}, None
    examples, note = _examples_figure(entries, progress)
    if examples is not None:
        drawn[EXAMPLES_NAME] = examples
    return drawn, note


def _why_no_figure(entries: Sequence[ModelResults]) -> str:
    scores = [
        score
        for entry in entries
        for benchmark, metric in DRAWN
        for score in entry.of(benchmark, metric)
    ]
    reasons = dict.fromkeys(score.reason for score in scores if score.reason is not None)
    if not reasons:
        return "No figure: they are of shape bias and of attacks, and no run has either."
    return f"No figure: they are of shape bias and of attacks; refused: {'; '.join(reasons)}."


def _examples_figure(
    entries: Sequence[ModelResults], progress: Progress
) -> "tuple[Figure | None, str | None]":
    """Examples for the first models, and what is not shown or why there are none."""
    runs = {entry: run for entry in entries if (run := _run_of(entry)) is not None}
    shown_runs = dict(list(runs.items())[:MOST_MODELS])
    records = [_records_of(run) for run in shown_runs.values()]
    classes = Classes(class_names(), CATEGORIES)
    common = set.intersection(*(set(rows) for rows in records))
    if not common:
        return None, f"{NO_EXAMPLES}: no stimulus was scored by all of the first models."
    examples = chosen([row for id, row in records[0].items() if id in common], EXAMPLES, classes)
    try:
        pixels = _pixels(list(shown_runs.values()), [row["id"] for row in examples], progress)
    except InputError as error:
        return None, f"{NO_EXAMPLES}: the stimuli cannot be read again. {error}"
    figure = stimulus_figure(
        list(shown_runs),
        [
            Example(
                row["id"], row["shape"], row["texture"], pixels[row["id"]],
                [answers_of(rows[row["id"]], classes) for rows in records],
            )
            for row in examples
        ],
    )  # fmt: skip
    return figure, _left_out(len(runs) - len(shown_runs))


def _left_out(models: int) -> str | None:
    if models == 0:
        return None
    return f"The examples show the first {MOST_MODELS} models; {models} more are not in them."


def _run_of(entry: ModelResults) -> ScoredRun | None:
    """Where its shape bias comes from."""
    for score in entry.of(BENCHMARK, "shape_bias"):
        if score.value is not None:
            return read_runs([Path(score.run)])[0]
    return None


def _records_of(one: ScoredRun) -> dict[str, Record]:
    """The stimuli that were not skipped, by id."""
    rows: list[dict[str, Any]] = one.records.finished[CLEAN].to_pylist()
    return {row["id"]: row for row in rows if row["error"] is None}


def _pixels(
    runs: Sequence[ScoredRun], ids: Sequence[str], progress: Progress
) -> dict[str, npt.NDArray[np.uint8]]:
    """Stimuli from where the first of the runs that still has them read them.

    Raises:
        InputError: If none has; the first one's error.
    """
    errors: list[InputError] = []
    for run in runs:
        places = list(
            dict.fromkeys(place for made in run.records.provenance for place in made.data)
        )
        try:
            return _read(run, [Path(place) for place in places], ids, progress)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _read(
    run: ScoredRun, places: Sequence[Path], ids: Sequence[str], progress: Progress
) -> dict[str, npt.NDArray[np.uint8]]:
    benchmark = CUE_CONFLICT
    source = open_source(
        places, benchmark.conditions, progress=progress, tree=benchmark.tree, damaged_ok=True
    )
    items = {item.id: item for item in source.items(CLEAN)}
    missing = [id for id in ids if id not in items]
    if missing:
        raise InputError(
            f"{', '.join(printable(place) for place in places)} no longer has {missing[0]}. Put "
            "the stimuli back, and ask for the figures again."
        )
    side = run.run.key.preprocessing.crop_px
    found = {id: np.empty((side, side, 3), np.uint8) for id in ids}
    for id, pixels in found.items():
        item = items[id]
        benchmark.decode(source.read(item), item, run.run.key.preprocessing, [pixels])
    return found
