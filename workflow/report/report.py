"""Reports on runs: every number with its provenance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts import AuxiliaryRecords, NullProgress, Progress, Score
from ...errors import printable
from ...records.run import MANIFEST, lost_records
from ...reporting.attack_numbers import unknown_protocol_notes
from ...reporting.claims import claims_document
from ...reporting.csv_files import SCORES, csv_files
from ...reporting.footnotes import united_marks
from ...reporting.latex import latex_of
from ...reporting.model_results import ModelResults, ReportContents
from ...reporting.notes_at_end import notes_at_end
from ...reporting.table import Table, markdown_of
from ...reporting.tables.report import published_beside, report_tables
from ...reporting.tables.shape_bias import BENCHMARK as CUE_CONFLICT
from ...storage.atomic import atomic_write_bytes, check_place
from ...storage.documents import plain
from ..runs.scored_run import ScoredRun, read_runs, unique_names
from .attack_reliability import (
    AssessedAttack,
    assessed_attacks,
    assessment_summary,
    assessment_tables,
)
from .baseline import baseline_notes, normalized, normalizes, notes_on_other_videos, read_baseline
from .hints import RelatedRuns, reason_with_hint
from .rows import ReportRow, notes_on_clean_runs, report_rows
from .suspicions import accuracy_warnings, preprocessing_notes

if TYPE_CHECKING:
    from .figures import Figures


@dataclass(frozen=True)
class Report:
    """The numbers of runs.

    Attributes:
        entries: Results of each model on each engine.
        all_published: Whether tables show all the paper's models.
        notes: Notes on what the report leaves out, and others, a line each.
        preprocessing: Which preprocessing each model got and why, if there was a choice.
        attacks: Assessments of the attacks among the runs.
        cue_conflict_runs: The run of cue conflict of each model that has one, by the name that
            the report gives the model.
        runs: All runs of the report.
    """

    entries: tuple[ModelResults, ...]
    all_published: bool = False
    notes: tuple[str, ...] = ()
    preprocessing: tuple[str, ...] = ()
    attacks: tuple[AssessedAttack, ...] = ()
    cue_conflict_runs: Mapping[str, ScoredRun] = field(
        default_factory=dict, repr=False, compare=False
    )
    runs: tuple[ScoredRun, ...] = field(default=(), repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every number of every run, each once."""
        return tuple(dict.fromkeys(score for results in self.entries for score in results.scores))

    @property
    def contents(self) -> ReportContents:
        """Results of the user's models, and the paper's results to show beside them."""
        return ReportContents(self.entries, published_beside(self.entries, self.all_published))

    def tables(self, *, reliability: Sequence[Table] | None = None) -> list[Table]:
        """All tables, each with its notes.

        Args:
            reliability: Tables of whether the attacks are reliable; if not given, those with every
                diagnostic.
        """
        return report_tables(
            self.entries,
            all_published=self.all_published,
            left_out=(*self.notes, *self.preprocessing),
            besides=assessment_tables(self.attacks) if reliability is None else reliability,
        )

    def terminal_tables(self, *, verbose: bool = False) -> list[Table]:
        """Tables that are short enough for a terminal, with all notes at the end.

        Args:
            verbose: Show every diagnostic of the attacks, and not one line per attack.
        """
        reliability = assessment_tables if verbose else assessment_summary
        return notes_at_end(self.tables(reliability=reliability(self.attacks)))

    def markdown(self) -> str:
        """The tables as a Markdown document."""
        return markdown_of(self.tables(), "Robustness report")

    def latex(self) -> str:
        """The tables as LaTeX, for an article that includes them."""
        return latex_of(self.tables())

    def write_csv(self, folder: str | Path) -> list[Path]:
        """Write each table as CSV, and every number, as a fraction, into ``scores.csv``.

        Raises:
            OutputError: If a file cannot be written.
        """
        files = csv_files(self.tables(), self.scores)
        paths = {Path(folder) / name: text for name, text in files.items()}
        for path, text in paths.items():
            atomic_write_bytes(path, text.encode())
        return list(paths)

    def write_figures(self, folder: str | Path, progress: Progress | None = None) -> "Figures":
        """Draw the figures that there are numbers for, as PNG and SVG in a folder.

        Raises:
            UnavailableError: If matplotlib, of the extra ``figures``, is not installed.
            OutputError: If a file cannot be written.
        """
        from .figures import write_figures

        progress = progress or NullProgress()
        return write_figures(self.contents, self.cue_conflict_runs, Path(folder), progress)

    def html(self, maximized: Sequence[str | Path] = (), progress: Progress | None = None) -> str:
        """The report as one HTML page that needs no other file and no network.

        Args:
            maximized: Folders of maximizing images to show.
            progress: Progress callback, called while a tar file is indexed.

        Raises:
            InputError: If a folder is damaged.
            OutputError: If the page would be larger than 5 MB.
        """
        from .page import html_page

        return html_page(
            self.contents,
            self.tables(),
            self.runs,
            self.attacks,
            [Path(folder) for folder in maximized],
            progress or NullProgress(),
        )

    def document(self) -> dict[str, Any]:
        """The report for programs: ``schema`` and six lists.

        These are ``scores``, ``published`` scores, ``attacks``, with the diagnostics of their
        reliability, ``claims`` of the paper, ``notes``, and those on ``preprocessing``.
        """
        published = self.contents.published
        return {
            "schema": 1,
            "scores": [plain(score) for score in self.scores],
            "published": [plain(s) for results in published for s in results.scores],
            "attacks": [attack.document() for attack in self.attacks],
            "claims": claims_document(self.entries),
            "notes": list(self.notes),
            "preprocessing": list(self.preprocessing),
        }


def check_csv(folder: Path) -> None:
    """Check, before the work, that tables can be written as CSV.

    Raises:
        OutputError: If nothing can be written into the folder.
    """
    check_place(folder / SCORES)


def report(
    runs: str | Path | Sequence[str | Path],
    *,
    all_published: bool = False,
    normalize_by: str | Path | None = None,
) -> Report:
    """Read runs and compute every number that they hold.

    Args:
        runs: A run or a folder of runs, or several.
        all_published: Show the paper's numbers for all its models, not only for those of the runs.
        normalize_by: A finished run of ImageNet-P, AlexNet's as a rule, by which mT5D and a second
            mFR are normalised. It may be one of the runs.

    Raises:
        InputError: If a folder holds no run, or a run is damaged; if there is nothing to normalise
            or to normalise by.
    """
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    return report_of_runs(
        folders, read_runs(folders), all_published=all_published, normalize_by=normalize_by
    )


def report_of_runs(
    folders: list[Path],
    scored: Sequence[ScoredRun],
    *,
    all_published: bool = False,
    normalize_by: str | Path | None = None,
) -> Report:
    """The same for runs that were read from these folders.

    Raises:
        InputError: If there is nothing to normalise or to normalise by.
    """
    baseline = None if normalize_by is None else read_baseline(Path(normalize_by), scored)
    rows = report_rows(scored)
    names = unique_names([row.first.run for row in rows])
    named_rows = list(zip(names, rows, strict=True))
    models = tuple(_models(named_rows, scored, baseline))
    named_runs = [(name, one) for name, row in named_rows for one in row.runs]
    notes = [*_left_out(scored, lost_records(folders)), *notes_on_clean_runs(scored)]
    notes += unknown_protocol_notes(models)
    notes += accuracy_warnings(models, scored)
    if baseline is not None:
        scores = [score for results in models for score in results.scores]
        notes += [*baseline_notes(baseline, scores), *notes_on_other_videos(baseline, scored)]
    return Report(
        models,
        all_published,
        tuple(notes),
        tuple(preprocessing_notes(named_runs)),
        tuple(assessed_attacks(named_runs)),
        {name: one for name, one in named_runs if one.benchmark.name == CUE_CONFLICT},
        tuple(scored),
    )


def _left_out(scored: Sequence[ScoredRun], lost: Sequence[Path]) -> Iterator[str]:
    if empty := [scored_run.place for scored_run in scored if scored_run.records.empty]:
        yield (
            f"started, but nothing is finished yet: {', '.join(empty)}. To continue a run, repeat "
            "the command that started it; a run that is not needed can be removed."
        )
    for scored_run in scored:
        if scored_run.key.attack is not None and scored_run.records.begun:
            unfinished = ", ".join(
                f"{condition} ({done:,} of {scored_run.run.manifest.items:,} images)"
                for condition, done in scored_run.records.begun.items()
            )
            yield f"left out of {scored_run.place}, since it is not finished: {unfinished}"
    for folder in lost:
        yield (
            f"left out: {printable(folder)} holds records but no {MANIFEST}, which describes them."
        )


def _models(
    named_rows: Sequence[tuple[str, ReportRow]],
    scored: Sequence[ScoredRun],
    baseline: ScoredRun | None,
) -> Iterator[ModelResults]:
    """Results of each model on each engine, over all benchmarks."""
    for name, row in named_rows:
        related = RelatedRuns(row.clean, baseline, scored)
        scores = [score for scored_run in row.runs for score in _scores(scored_run, related)]
        if row.clean is not None and not row.clean.records.empty:
            scores = [*_scores(row.clean, RelatedRuns(others=scored)), *scores]
        model, marks = row.first.run.manifest.model.name, row.first.marks
        source_marks = united_marks(scored_run.source_marks for scored_run in row.runs)
        yield ModelResults(name, model, tuple(scores), marks, source_marks)


def _scores(scored_run: ScoredRun, related: RelatedRuns) -> Iterator[Score]:
    """Every number of a run, including numbers that need a related run."""
    baseline = related.baseline if normalizes(related.baseline, scored_run) else None
    auxiliary = AuxiliaryRecords(
        clean=None if related.clean is None else related.clean.clean,
        baseline=None if baseline is None else baseline.records.finished,
    )
    for number in scored_run.benchmark.numbers((scored_run.records.finished, auxiliary)):
        score = number.score(
            **scored_run.facts,
            complete=number.fields["complete"] and not scored_run.key.generated,
            reason=reason_with_hint(number.reason, scored_run, related),
        )
        if score.normalize_by is not None and baseline is not None:
            score = normalized(score, baseline)
        yield score
