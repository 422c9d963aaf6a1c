"""From runs on disk to a report: every number with its provenance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts import SCORE_KEYS, AuxiliaryRecords, NullProgress, Progress, Score
from ...errors import printable
from ...records.run import MANIFEST, lost_records
from ...reporting.entries import ModelResults, ReportContents
from ...reporting.markdown import markdown_of
from ...reporting.published.published import published_models, published_scores
from ...reporting.table import Table
from ...reporting.tables.tables import published_beside, report_tables
from ...storage.documents import plain
from ..runs.scored_run import (
    ScoredRun,
    changed_crop,
    changed_source_crop,
    facts_of,
    read_runs,
    unique_names,
)
from .attack_reliability import AssessedAttack, assessed_attacks, assessment_tables
from .baseline import normalized, read_baseline, told_baseline, told_other_videos
from .hints import RelatedRuns, advised
from .rows import ReportRow, notes_on_clean_runs, report_rows

if TYPE_CHECKING:
    from .figures import Figures

_OWN_FIELDS = (
    *("metric", *SCORE_KEYS, "restarts", "step_size", "relative_epsilon"),
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
        attacks: What is to be said of the attacks among the runs.
    """

    entries: tuple[ModelResults, ...]
    all_published: bool = False
    notes: tuple[str, ...] = ()
    attacks: tuple[AssessedAttack, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every number of every run, each once."""
        return tuple(dict.fromkeys(score for entry in self.entries for score in entry.scores))

    def tables(self) -> list[Table]:
        """Text in cells."""
        return report_tables(
            self.entries,
            all_published=self.all_published,
            left_out=self.notes,
            besides=assessment_tables(self.attacks),
        )

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

        of = ReportContents(self.entries, published_beside(self.entries, self.all_published))
        return write_figures(of, Path(folder), progress or NullProgress())

    def document(self) -> dict[str, Any]:
        """The report for programs: ``schema`` and lists of what it shows.

        These are ``scores``, ``published`` ones, ``attacks``, whether they can be believed, and
        ``notes``.
        """
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
            "attacks": [attack.document() for attack in self.attacks],
            "notes": list(self.notes),
        }


def report(
    runs: str | Path | Sequence[str | Path],
    *,
    all_published: bool = False,
    normalize_by: str | Path | None = None,
) -> Report:
    """Read runs and compute every number that they hold.

    Args:
        runs: A run or a folder of runs, or several.
        all_published: Show the paper's numbers for all its models, not only for those at hand.
        normalize_by: A finished run of ImageNet-P, AlexNet's as a rule, by which mT5D and a second
            mFR are normalised. It may be one of the runs.

    Raises:
        InputError: If a folder holds no run, or a run is damaged; if there is nothing to normalise
            or to normalise by.
    """
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    scored = read_runs(folders)
    baseline = None if normalize_by is None else read_baseline(Path(normalize_by), scored)
    rows = report_rows(scored)
    named = list(zip(unique_names([row.first.run for row in rows]), rows, strict=True))
    found = Report(
        tuple(_entries(named, scored, baseline)),
        all_published,
        attacks=tuple(assessed_attacks([(name, one) for name, row in named for one in row.runs])),
    )
    notes = [*_left_out(scored, lost_records(folders)), *notes_on_clean_runs(scored)]
    if baseline is not None:
        told = told_baseline(baseline, found.scores)
        notes += [*([told] if told else []), *told_other_videos(baseline, scored)]
    return replace(found, notes=tuple(notes))


def _left_out(scored: Sequence[ScoredRun], lost: Sequence[Path]) -> Iterator[str]:
    empty = [printable(one.run.folder) for one in scored if one.records.empty]
    if empty:
        yield (
            f"begun, and nothing finished yet: {', '.join(empty)}. The command that began a run "
            "continues it; a run that is not wanted can be removed."
        )
    for one in scored:
        if one.run.key.attack is not None and one.records.begun:
            begun = ", ".join(
                f"{condition} ({done:,} of {one.run.manifest.items:,} images)"
                for condition, done in one.records.begun.items()
            )
            yield f"left out of {printable(one.run.folder)}, since it is not finished: {begun}"
    for folder in lost:
        yield f"left out: {printable(folder)} holds records but no {MANIFEST}, which says of what."


def _entries(
    named: Sequence[tuple[str, ReportRow]],
    scored: Sequence[ScoredRun],
    baseline: ScoredRun | None,
) -> Iterator[ModelResults]:
    """A row for each model on each engine, with its numbers on all benchmarks."""
    for name, row in named:
        near = RelatedRuns(row.clean, baseline, scored)
        scores = [score for one in row.runs for score in _scores(one, near)]
        if row.clean is not None and not row.clean.records.empty:
            scores = [*_scores(row.clean, RelatedRuns(others=scored)), *scores]
        marks = "^" if changed_crop(row.first.run) else ""
        of_source = "^" if any(changed_source_crop(one.run) for one in row.runs) else ""
        model = row.first.run.manifest.model.name
        yield ModelResults(name, model, tuple(scores), marks, of_source)


def _scores(one: ScoredRun, near: RelatedRuns) -> Iterator[Score]:
    """Every number of a run, those that need another run with it."""
    facts = facts_of(one)
    baseline = near.baseline if near.baseline is not None and near.can_normalize(one) else None
    beside = AuxiliaryRecords(
        clean=None if near.clean is None else near.clean.clean,
        baseline=None if baseline is None else baseline.records.finished,
    )
    for score in one.benchmark.scores(one.records.finished, beside):
        found = replace(
            facts,
            **{name: getattr(score, name) for name in _OWN_FIELDS},
            complete=score.complete and not facts.generated,
            reason=advised(score.reason, one, near),
        )
        if score.normalize_by is not None and baseline is not None:
            found = normalized(found, facts_of(baseline))
        yield found
