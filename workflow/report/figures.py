"""The figures of a report, as files."""

from collections.abc import Mapping, Sequence
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
from ...reporting.attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX
from ...reporting.figures.attack import attack_figure
from ...reporting.figures.drawing import check_drawing, files_of, style
from ...reporting.figures.shape_bias import shape_bias_figure
from ...reporting.figures.stimulus import MOST_MODELS, stimulus_figure
from ...reporting.figures.stimulus_examples import Classes, Example, Record, answers_of, chosen
from ...reporting.model_results import ModelResults, ReportContents
from ...reporting.tables.shape_bias import BENCHMARK, OF_CATEGORIES
from ...storage.atomic import atomic_write_bytes, check_place
from ..runs.scored_run import ScoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 8
EXAMPLES_NAME = "shape-bias-examples"
ATTACKS_NAME = "attacks"
FIGURE_METRICS = ((BENCHMARK, "shape_bias"), (WHITE_BOX, UNDER_ATTACK), (TRANSFER, UNDER_ATTACK))
"""Numbers that figures are drawn of."""

NO_EXAMPLES = "No figure of examples"
ALL_STIMULI = Condition()
"""The only condition of cue conflict."""


@dataclass(frozen=True)
class Figures:
    """Files of figures.

    Attributes:
        files: Paths of the files.
        notes: Notes on what is not drawn and why, a line each.
    """

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def write_figures(
    contents: ReportContents,
    cue_conflict_runs: Mapping[str, ScoredRun],
    folder: Path,
    progress: Progress,
) -> Figures:
    """Draw the numbers of a report as PNG and SVG.

    Args:
        contents: Models of the report.
        cue_conflict_runs: The run of cue conflict of each model that has one, by the name that the
            report gives the model.
        folder: Folder of the files; it is created.
        progress: Progress callback, called while a tar file is indexed.

    Raises:
        UnavailableError: If matplotlib is not installed.
        OutputError: If a file cannot be written.
        InputError: If a run is damaged.
    """
    check_drawing()
    with style():
        figures, note = _bias_figures(contents.models, cue_conflict_runs, progress)
        attacks = attack_figure(contents)
        if attacks is not None:
            figures[ATTACKS_NAME] = attacks
        if not figures:
            return Figures(notes=(_why_no_figure(contents.models),))
        files = {
            folder / f"{name}{suffix}": data
            for name, figure in figures.items()
            for suffix, data in files_of(figure).items()
        }
    for path, data in files.items():
        atomic_write_bytes(path, data)
    return Figures(tuple(files), () if note is None else (note,))


def check_figures(folder: Path) -> None:
    """Check, before the work, that figures can be drawn and written.

    Raises:
        UnavailableError: If matplotlib is not installed.
        OutputError: If nothing can be written into the folder.
    """
    check_drawing()
    check_place(folder / f"{EXAMPLES_NAME}.png")


def _bias_figures(
    models: Sequence[ModelResults], runs: Mapping[str, ScoredRun], progress: Progress
) -> "tuple[dict[str, Figure], str | None]":
    """Figures by the recommended protocol and by the paper's, with examples; and a note."""
    figures = {
        f"shape-bias-{rule}-{stimuli}": figure
        for rule, stimuli in OF_CATEGORIES
        if (figure := shape_bias_figure(models, rule, stimuli)) is not None
    }
    if not figures:
        return {}, None
    biased = [m for m in models if any(s.value is not None for s in m.of(BENCHMARK, "shape_bias"))]
    examples, note = _examples_figure(biased, [runs[m.name] for m in biased], progress)
    if examples is not None:
        figures[EXAMPLES_NAME] = examples
    return figures, note


def _why_no_figure(models: Sequence[ModelResults]) -> str:
    reasons = dict.fromkeys(
        score.reason
        for results in models
        for number in FIGURE_METRICS
        for score in results.of(*number)
        if score.reason is not None
    )
    if not reasons:
        return "No figure: figures show shape bias and attacks, and no run has either."
    return f"No figure: figures show shape bias and attacks; refused: {'; '.join(reasons)}."


def _examples_figure(
    models: Sequence[ModelResults], runs: Sequence[ScoredRun], progress: Progress
) -> "tuple[Figure | None, str | None]":
    """Examples for the first models, and a note on what is missing."""
    shown_runs = runs[:MOST_MODELS]
    records = [_records_by_id(run) for run in shown_runs]
    classes = Classes(class_names(), CATEGORIES)
    common = set.intersection(*(set(rows) for rows in records))
    if not common:
        return None, f"{NO_EXAMPLES}: no stimulus was scored by all of the first models."
    examples = chosen([row for id, row in records[0].items() if id in common], EXAMPLES, classes)
    try:
        pixels = _pixels(shown_runs, [row["id"] for row in examples], progress)
    except InputError as error:
        return None, f"{NO_EXAMPLES}: the stimuli cannot be read again. {error}"
    shown_examples = [
        Example(
            row["id"], row["shape"], row["texture"], pixels[row["id"]],
            [answers_of(rows[row["id"]], classes) for rows in records],
        )
        for row in examples
    ]  # fmt: skip
    figure = stimulus_figure(models[:MOST_MODELS], shown_examples)
    left_out = len(runs) - len(shown_runs)
    note = f"The examples show the first {MOST_MODELS} models; {left_out} more are not in them."
    return figure, note if left_out else None


def _records_by_id(run: ScoredRun) -> dict[str, Record]:
    """Records of the stimuli that were not skipped."""
    rows: list[dict[str, Any]] = run.records.finished[ALL_STIMULI].to_pylist()
    return {row["id"]: row for row in rows if row["error"] is None}


def _pixels(
    runs: Sequence[ScoredRun], ids: Sequence[str], progress: Progress
) -> dict[str, npt.NDArray[np.uint8]]:
    """Pixels of stimuli, read from the data of the first run whose data still exist.

    Raises:
        InputError: If no run's data exist; the error of the first run.
    """
    errors: list[InputError] = []
    for run in runs:
        try:
            return _read_pixels(run, ids, progress)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _read_pixels(
    run: ScoredRun, ids: Sequence[str], progress: Progress
) -> dict[str, npt.NDArray[np.uint8]]:
    data = dict.fromkeys(place for shard in run.records.provenance for place in shard.data)
    places, layout = [Path(place) for place in data], CUE_CONFLICT.layout
    source = open_source(
        places, CUE_CONFLICT.conditions, progress=progress, layout=layout, damaged_ok=True
    )
    items = {item.id: item for item in source.items(ALL_STIMULI)}
    missing = [id for id in ids if id not in items]
    if missing:
        raise InputError(
            f"{', '.join(printable(place) for place in places)} no longer has {missing[0]}. Put "
            "the stimuli back, and ask for the figures again."
        )
    preprocessing = run.key.preprocessing
    side = preprocessing.crop_px
    images = {id: np.empty((side, side, 3), np.uint8) for id in ids}
    for id, pixels in images.items():
        CUE_CONFLICT.decode(source.read(items[id]), items[id], preprocessing, [pixels])
    return images
