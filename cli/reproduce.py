"""``evaluator reproduce``."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UnavailableError, printable
from ..reporting.table import Table
from .config import ConfigOption
from .options import option, parse_words, takes_options

if TYPE_CHECKING:
    from ..contracts import Progress
    from ..workflow.reproduce.plan import PlannedStep
    from ..workflow.reproduce.reproduce import Outcome, Reproduction

REPORTS = ("report.md", "report.json", "report.html")
FAILED = 1
"""Exit code if a step failed; the others are done and reported."""


class ReproduceOptions:
    """Options of ``reproduce``."""

    out: Path = option(
        "Output",
        "Folder for the runs and the report. What it has already is not done again.",
        default=...,
        metavar="DIR",
    )
    models: list[str] | None = option(
        "Model",
        "Models: names of `evaluator models`, or of evaluator.toml. Default: the paper's five.",
        metavar="A,B,...",
        parse=parse_words,
    )
    only: list[str] | None = option(
        "Options",
        "Tables and figures to reproduce: table1 to table3, figure1 to figure4. Default: all.",
        metavar="table1,figure1,...",
        parse=parse_words,
    )
    limit: int | None = option(
        "Data",
        "Images or videos per condition, evenly spaced over all of them. Default: all.",
        metavar="N",
        min=1,
    )
    sample: bool = option(
        "Data",
        "Use sample photos, corrupted and perturbed here, and small attacks on the models of the "
        "extra demo: minutes on a laptop.",
        "--sample",
        default=False,
    )
    dry_run: bool = option(
        "Options",
        "Print the plan only: what exists, what is missing, and how long it takes.",
        "--dry-run",
        default=False,
    )


@takes_options(ReproduceOptions, ConfigOption)
def reproduce(
    out: Path,
    models: list[str] | None,
    only: list[str] | None,
    config: Path | None,
    limit: int | None,
    sample: bool,
    dry_run: bool,
) -> None:
    """Reproduce the paper's Tables 1-3 and Figures 1-4. Run the same command again to resume."""
    from ..workflow.reproduce.reproduce import reproduce as plan
    from .console import print_tables, progress, say

    with progress() as display:
        planned = plan(
            out,
            models=models,
            only=only,
            config=config,
            limit=limit,
            sample=sample,
        ).timed(display)
    print_tables([_plan_table(planned)])
    if dry_run:
        return
    with progress() as display:
        outcome = planned.run(display)
        files = _write_reports(planned, outcome, display)
    print_tables(outcome.report.terminal_tables())
    for path in files:
        say(f"Report: {printable(path)}")
    for step, error in outcome.failures:
        say(f"error: {step.title}: {error}")
    if outcome.failures:
        raise typer.Exit(FAILED)


def _write_reports(planned: "Reproduction", outcome: "Outcome", display: "Progress") -> list[Path]:
    """Write the report in each format, and its figures if matplotlib is installed."""
    from .console import show

    report, folder = outcome.report, planned.out
    maximized = [path.parent for path in folder.glob("maximized/*/*/maximized.json")]
    contents = (report.markdown(), report.document(), report.html(maximized, display))
    files = [folder / name for name in REPORTS]
    show([], *zip(files, contents, strict=True))
    try:
        figures = report.write_figures(folder / "figures", display)
    except UnavailableError as error:
        display.note(f"No figures as files: {error}")
        return files
    for note in figures.notes:
        display.note(note)
    return [*files, *figures.files]


def _plan_table(planned: "Reproduction") -> Table:
    rows = tuple(_row(step) for step in planned.steps)
    missing = [step for step in planned.steps if step.is_open]
    obstacles = {
        f"{step.step.work} of {step.step.name}: {step.obstacle or step.seconds_unknown}": None
        for step in planned.steps
        if step.obstacle or step.seconds_unknown
    }
    notes = [
        f"{len(missing)} of {len(rows)} steps to do: {_duration(planned.seconds)}, "
        f"{_megabytes(planned.bytes_on_disk)} of records",
        "time: measured on a few batches here; of an attack, if no image ends early",
        *obstacles,
    ]
    header = ("step", "model", "state", "images", "time", "disk")
    return Table("Plan", header, rows, tuple(notes), words=(0, 1, 2))


def _row(planned: "PlannedStep") -> tuple[str, ...]:
    size, missing = planned.size, planned.is_open
    return (
        planned.step.work,
        planned.step.name,
        planned.state,
        "" if size is None else f"{size.passes:,}",
        ("?" if planned.seconds is None else _duration(planned.seconds)) if missing else "",
        _megabytes(planned.bytes_on_disk) if missing else "",
    )


def _duration(seconds: float) -> str:
    """Time in the unit in which a person thinks of it.

    Example:
        >>> [_duration(s) for s in (4, 100, 10_000, 500_000)]
        ['4 s', '1.7 min', '2.8 h', '5.8 days']
    """
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
