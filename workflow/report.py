"""From runs on disk to a report: every number with its provenance."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Beside, Progress, Run, Score, Silence
from ..errors import shown
from ..evaluate.benchmarks.top5 import ALL_SKIPPED
from ..evaluate.report.entries import Entry
from ..evaluate.report.markdown import markdown_of
from ..evaluate.report.published import published_models, published_scores
from ..evaluate.report.table import Table
from ..evaluate.report.tables import report_tables
from ..records.run import MANIFEST, lost_records
from ..storage.documents import document_differences, plain
from .completing import completing_command
from .report_rows import report_rows
from .scored_runs import (
    CLEAN_BENCHMARK,
    ScoredRun,
    changed_crop,
    facts_of,
    read_runs,
    unique_names,
)

if TYPE_CHECKING:
    from .figures import Figures

_OWN_FIELDS = (
    *("metric", "corruption", "perturbation", "severity", "rule", "stimuli", "category"),
    *("value", "low", "high", "n", "skipped"),
)
"""What a benchmark says of a score; the rest says which run it came from."""


@dataclass(frozen=True)
class Report:
    """What runs add up to.

    Attributes:
        entries: A model on an engine each, with its scores.
        all_published: Whether tables show all the paper's models.
        notes: What was found and left out, a line each.
    """

    entries: tuple[Entry, ...]
    all_published: bool = False
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every number of every run, each once."""
        return tuple(dict.fromkeys(score for entry in self.entries for score in entry.scores))

    def tables(self) -> list[Table]:
        """Text in cells."""
        return report_tables(self.entries, all_published=self.all_published, left_out=self.notes)

    def markdown(self) -> str:
        """The tables as a Markdown document."""
        return markdown_of(self.tables(), "Robustness report")

    def write_figures(self, folder: str | Path, progress: Progress | None = None) -> "Figures":
        """Draw what there are numbers for, as PNG and SVG in a folder.

        Raises:
            UnavailableError: If matplotlib, of the extra ``figures``, is not installed.
            OutputError: If a file cannot be written.
        """
        from .figures import write_figures

        return write_figures(self.entries, Path(folder), progress or Silence())

    def document(self) -> dict[str, Any]:
        """The report for programs: ``schema``; lists of ``scores``, ``published`` and ``notes``."""
        names = {entry.model for entry in self.entries}
        published = [
            score
            for model in published_models()
            if self.all_published or model in names
            for score in published_scores(model)
        ]
        return {
            "schema": 1,
            "scores": [plain(score) for score in self.scores],
            "published": [plain(score) for score in published],
            "notes": list(self.notes),
        }


def report(runs: str | Path | Sequence[str | Path], *, all_published: bool = False) -> Report:
    """Read runs and compute every number that they hold.

    Args:
        runs: A run or a folder of runs, or several.
        all_published: Show the paper's numbers for all its models, not only for those at hand.

    Raises:
        InputError: If a folder holds no run, or a run is damaged.
    """
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    scored = read_runs(folders)
    return Report(
        tuple(_entries(scored)), all_published, tuple(_left_out(scored, lost_records(folders)))
    )


def _left_out(scored: Sequence[ScoredRun], lost: Sequence[Path]) -> Iterator[str]:
    empty = [shown(one.run.folder) for one in scored if one.records.empty]
    if empty:
        yield (
            f"begun, and nothing finished yet: {', '.join(empty)}. The command that began a run "
            "continues it; a run that is not wanted can be removed."
        )
    for folder in lost:
        yield f"left out: {shown(folder)} holds records but no {MANIFEST}, which says of what."


def _entries(scored: Sequence[ScoredRun]) -> Iterator[Entry]:
    """A row for each model on each engine, with its numbers on all benchmarks."""
    rows = report_rows(scored)
    names = unique_names([row.first.run for row in rows])
    for row, name in zip(rows, names, strict=True):
        scores = [score for one in row.runs for score in _scores(one, row.clean, scored)]
        if row.clean is not None and not row.clean.records.empty:
            scores = [*_scores(row.clean, None, scored), *scores]
        marks = "^" if changed_crop(row.first.run) else ""
        model = row.first.run.manifest.model.name
        yield Entry(name, model, tuple(scores), marks)


def _scores(
    one: ScoredRun, partner: ScoredRun | None, scored: Sequence[ScoredRun]
) -> Iterator[Score]:
    facts = facts_of(one)
    clean = partner.clean if partner is not None else None
    for score in one.benchmark.scores(one.records.finished, Beside(clean=clean)):
        yield replace(
            facts,
            **{name: getattr(score, name) for name in _OWN_FIELDS},
            complete=score.complete and not facts.generated,
            reason=_with_advice(score, one, partner, scored),
        )


def _with_advice(
    score: Score, one: ScoredRun, partner: ScoredRun | None, scored: Sequence[ScoredRun]
) -> str | None:
    """A reason, with the command that helps."""
    if score.reason is None:
        return None
    if score.reason.startswith(ALL_SKIPPED):
        return score.reason  # which no scoring of other cells changes
    if one.missing:
        return f"{score.reason}. Complete the run with: {completing_command(one)}"
    if score.metric != "relative_mce" or (partner is not None and partner.clean is not None):
        return score.reason
    if partner is None and (other := _almost_partner(one, scored)) is not None:
        differs = next(document_differences(_comparable(other.run), _comparable(one.run)))
        return f"{score.reason}; {shown(other.run.folder)} is another: {differs}"
    if partner is None:
        words = ["evaluator", "report", "RUN_IMAGENET", str(one.run.folder)]
        return f"{score.reason}: {shlex.join(words)}"
    done, items = sum(partner.records.begun.values()), partner.run.manifest.items
    reason = f"the imagenet run {shown(partner.run.folder)} is not finished ({done} of {items})"
    if partner.records.empty:
        return reason
    return f"{reason}. Complete it with: {completing_command(partner)}"


def _almost_partner(one: ScoredRun, scored: Sequence[ScoredRun]) -> ScoredRun | None:
    """A clean run of the same weights that is not of the same engine or preprocessing."""
    for other in scored:
        clean = other.benchmark.name == CLEAN_BENCHMARK and not other.run.key.generated
        if clean and other.run.key.weights_sha256 == one.run.key.weights_sha256:
            return other
    return None


def _comparable(run: Run) -> dict[str, object]:
    """What a clean run and a run on corruptions must share, the graph's hash last."""
    engine, key = run.key.engine, run.key
    return {
        "engine": engine.backend,
        "input": engine.input_kind,
        "precision": engine.precision,
        "preprocessing": plain(key.preprocessing),
        "the graph": engine.model_sha256,
        "TF32": engine.tf32,
    }
