"""Comparison of two models on the same images, with paired intervals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...contracts import AuxiliaryRecords, Difference, Score
from ...errors import InputError, printable
from ...evaluate.benchmarks.cue_conflict import NOT_THERE
from ...evaluate.benchmarks.imagenet_c import NO_CLEAN
from ...reporting.footnotes import united_marks
from ...reporting.model_results import ModelResults
from ...reporting.table import Table, markdown_of
from ...reporting.tables.comparison import Compared, comparison_tables
from ...reporting.tables.report import provenance_table
from ...storage.documents import plain
from ..runs.scored_run import (
    ScoredRun,
    differing_files_note,
    read_runs,
    resume_command,
    unique_names,
)
from .hints import needs_leftover


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a model on an engine.

    Attributes:
        letter: ``A`` or ``B``.
        runs: Runs by benchmark.
        name: Name in the tables.
    """

    letter: str
    runs: Mapping[str, ScoredRun]
    name: str = ""

    @property
    def statuses(self) -> tuple[str, ...]:
        """Parity of the engine, and self-check of its reference, in each run."""
        facts = [run.facts for run in self.runs.values()]
        return tuple(status for each in facts for status in (each["parity"], each["self_check"]))

    @property
    def marks(self) -> str:
        """Marks of all numbers of the model."""
        return united_marks(run.marks for run in self.runs.values())

    def clean(self, benchmark: str) -> ScoredRun | None:
        """The run with the clean errors that numbers of a benchmark need; ``None`` if not there."""
        others = (run for name, run in self.runs.items() if name != benchmark)
        return next((run for run in others if run.is_clean), None)

    def document(self) -> dict[str, Any]:
        """The model and its runs, for programs."""
        facts = [plain(dict(run.facts)) for run in self.runs.values()]
        model_fields = ("model", "weights", "engine", "precision", "crop_px")
        run_fields = ("run", "benchmark", "devices", "parity", "self_check", "generated")
        return {
            "name": self.name,
            **{key: facts[0][key] for key in model_fields},
            "runs": [{key: of_run[key] for key in run_fields} for of_run in facts],
        }


@dataclass(frozen=True)
class Comparison:
    """Differences of two models.

    Attributes:
        a: Model that is subtracted.
        b: The other model.
        differences: b - a of the numbers that are compared (docs/protocols.md lists them).
        notes: Notes, a line each.
    """

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """All tables, each with its notes."""
        a, b = self.a, self.b
        compared = Compared(
            a.name, b.name, self.differences, (a.statuses, b.statuses), (a.marks, b.marks)
        )
        results = [
            ModelResults(side.name, run.facts["model"], (_number_of_items(run),))
            for side in (a, b)
            for run in side.runs.values()
        ]
        return [*comparison_tables(compared), provenance_table(results, self.notes)]

    def markdown(self) -> str:
        """The tables as a Markdown document."""
        return markdown_of(self.tables(), "Robustness comparison")

    def document(self) -> dict[str, Any]:
        """The comparison for programs: ``schema``, ``a``, ``b``, ``differences``, ``notes``."""
        return {
            "schema": 1,
            "a": self.a.document(),
            "b": self.b.document(),
            "differences": [plain(difference) for difference in self.differences],
            "notes": list(self.notes),
        }


def compare(a: str | Path, b: str | Path) -> Comparison:
    """Subtract one model's numbers from another's on the same images, with paired intervals.

    Args:
        a: A run, or a folder with the runs of one model: that of imagenet, which relative mCE
            needs, together with that of imagenet-c.
        b: The same for another model, or for the same model on another engine.

    Raises:
        InputError: If a folder holds no run, or those of several models; if both have no
            benchmark in common, or other images; if they are the same run.
    """
    first, second = (side_of(letter, Path(folder)) for letter, folder in (("A", a), ("B", b)))
    return compare_sides(first, second)


def compare_sides(first: Side, second: Side) -> Comparison:
    """Subtract the numbers of one side from the other's.

    Raises:
        InputError: As for ``compare``, but for the folders.
    """
    sides = [first, second]
    common = [name for name in first.runs if name in second.runs]
    if not common:
        benchmarks = (f"{side.letter} has {' and '.join(side.runs)}" for side in sides)
        raise InputError(
            f"A and B have no benchmark in common: {', '.join(benchmarks)}. Give two "
            "runs of the same one."
        )
    for name in common:
        _check_alike(first.runs[name], second.runs[name])
    names = unique_names([side.runs[common[0]].run for side in sides])
    first, second = (replace(s, name=n) for s, n in zip(sides, names, strict=True))
    differences = tuple(d for name in common for d in _differences(name, first, second))
    return Comparison(first, second, differences, tuple(_notes(first, second, common)))


def side_of(letter: str, folder: Path) -> Side:
    """The runs of one model in a folder.

    Raises:
        InputError: If it holds no run of a benchmark, or those of several models.
    """
    runs, place = read_runs([folder]), f"{letter}, {printable(folder)},"
    scored = [run for run in runs if not run.records.empty and run.key.attack is None]
    if not scored and any(run.key.attack is not None for run in runs):
        raise InputError(
            f"{place} is an attack, and attacks are not compared here: `evaluator report` shows "
            "several side by side."
        )
    if not scored:
        raise InputError(
            f"{place} was started, but nothing is finished yet. To continue it, repeat the command "
            "that started it."
        )
    if not all(run.shares_model(scored[0]) for run in scored):
        folders = ", ".join(run.place for run in scored)
        raise InputError(
            f"{place} holds runs of several models or engines: {folders}. Give one of them, or a "
            "folder with the runs of one."
        )
    by_benchmark: dict[str, ScoredRun] = {}
    for run in scored:
        other = by_benchmark.setdefault(run.key.benchmark, run)
        if other is not run:
            raise InputError(
                f"{place} holds two runs of {run.benchmark.title}: {other.place} and {run.place}. "
                "Give one of them."
            )
    return Side(letter, dict(sorted(by_benchmark.items())))


def _check_alike(a: ScoredRun, b: ScoredRun) -> None:
    """Refuse runs that differ in more than the model."""
    if a.run.folder.resolve() == b.run.folder.resolve():
        raise InputError(f"A and B are the same run, {a.place}. Give two.")
    if a.key.protocol != b.key.protocol:
        raise InputError(
            f"A was scored by protocol {a.key.protocol}, B by {b.key.protocol}. Score the "
            "older one again."
        )
    if a.key.generated != b.key.generated:
        names = [f"{n} (generated)" if r.key.generated else n for n, r in (("A", a), ("B", b))]
        raise InputError(
            f"{names[0]} and {names[1]} hold different images under the same names: their "
            "generated.json differ. Score both on the same data."
        )


def _differences(name: str, a: Side, b: Side) -> Iterator[Difference]:
    """Differences on one benchmark that both have."""
    ours, theirs = a.runs[name], b.runs[name]
    clean_a, clean_b = a.clean(name), b.clean(name)
    generated = bool(ours.key.generated)
    for number in ours.benchmark.numbers(
        (ours.records.finished, AuxiliaryRecords(clean=clean_a and clean_a.clean)),
        (theirs.records.finished, AuxiliaryRecords(clean=clean_b and clean_b.clean)),
    ):
        reason = number.reason
        if reason == NO_CLEAN:
            reason = _no_clean(name, a, b)
        if reason == NOT_THERE:
            reason = needs_leftover(ours)  # both runs have the same limit
        complete = number.fields["complete"] and not generated
        yield number.difference(
            benchmark=name, generated=generated, complete=complete, reason=reason
        )


def _no_clean(name: str, a: Side, b: Side) -> str:
    """Why a number that needs the clean errors is refused, by the side that lacks them."""
    cleans = {side.letter: side.clean(name) for side in (a, b)}
    lacking = [letter for letter, clean in cleans.items() if clean is None or clean.missing]
    return (
        f"it needs the clean errors, and {' and '.join(lacking)} came without a finished run of "
        "imagenet: give folders that hold it beside the run of imagenet-c"
    )


def _notes(a: Side, b: Side, common: list[str]) -> Iterator[str]:
    for side in (a, b):
        for name, scored_run in side.runs.items():
            if name not in common:
                yield f"only {side.letter} has a run of {scored_run.benchmark.title}"
            elif scored_run.missing:
                yield (
                    f"{side.letter} is not finished on {scored_run.benchmark.title}: "
                    f"{len(scored_run.missing)} of {len(scored_run.benchmark.conditions)} "
                    f"conditions are missing. Complete it with: {resume_command(scored_run)}"
                )
    for name in common:
        if note := differing_files_note(b.runs[name], a.runs[name], ("B", "A")):
            yield f"{note}: the difference is not of the models alone"
        elif not (a.runs[name].run.has_fingerprints and b.runs[name].run.has_fingerprints):
            yield (
                f"whether A and B read the same files of {a.runs[name].benchmark.title} is not "
                "known: one of them was started by a version that did not record their "
                "content"
            )


def _number_of_items(scored_run: ScoredRun) -> Score:
    """A score with the facts of a run, for the table of the runs."""
    return Score(**scored_run.facts, n=scored_run.run.manifest.items)
