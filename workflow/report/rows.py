"""Which runs of a report share a row: one model on one engine, one run of each benchmark.

An attack needs gradients, which only PyTorch has, so it is in the row of its model, whatever
engine the benchmarks were scored on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...records.fingerprints import compare_runs
from ..runs.scored_run import CLEAN_BENCHMARK, ScoredRun, identity


@dataclass(frozen=True)
class ReportRow:
    """Runs of one row.

    Attributes:
        runs: One run of each benchmark.
        clean: Clean run that belongs to all of them.
    """

    runs: list[ScoredRun]
    clean: ScoredRun | None

    @property
    def first(self) -> ScoredRun:
        """The run that gives the row its name."""
        return self.runs[0]

    def takes(self, one: ScoredRun, clean: ScoredRun | None) -> bool:
        """Whether a run has the same model and engine, and a benchmark that the row lacks."""
        names = {run.benchmark.name for run in self.runs}
        if one.run.key.attack is not None:
            same = _model(one) == _model(self.first) and one.benchmark.name not in names
            return same and not any(_differ_in_photos(one, run) for run in [*self.runs, self.clean])
        same = identity(one.run) == identity(self.first.run) and clean is self.clean
        return same and one.benchmark.name not in names and CLEAN_BENCHMARK not in names

    def resembles(self, one: ScoredRun) -> bool:
        """Whether a run has the limit of the row, and generated data if the row has."""
        return _kind(one) == _kind(self.first)


def report_rows(scored: Sequence[ScoredRun]) -> list[ReportRow]:
    """The rows, in the order of their first runs, attacks last; runs without records are left out.

    Of two runs of one benchmark, the second has a row of its own. A run that fits into several
    rows is in the one whose runs it resembles, else in the first.
    """
    cleans = {
        id(scored_run): clean_run_of(scored_run, scored)
        for scored_run in scored
        if not scored_run.records.empty
    }
    used = {id(clean) for clean in cleans.values() if clean is not None}
    rows: list[ReportRow] = []
    for scored_run in sorted(scored, key=lambda scored_run: scored_run.run.key.attack is not None):
        if id(scored_run) not in cleans or id(scored_run) in used:
            continue
        clean = cleans[id(scored_run)]
        fitting = [row for row in rows if row.takes(scored_run, clean)]
        fitting.sort(key=lambda row: not row.resembles(scored_run))
        if fitting and scored_run.benchmark.name != CLEAN_BENCHMARK:
            fitting[0].runs.append(scored_run)
        else:
            rows.append(ReportRow([scored_run], clean))
    return rows


def clean_run_of(one: ScoredRun, scored: Sequence[ScoredRun]) -> ScoredRun | None:
    """The clean run whose weights, engine and preprocessing are the same.

    Of several, one that is finished, of the same limit, and the largest, in this order.
    """

    def rank(other: ScoredRun) -> tuple[bool, bool, int]:
        same_limit = other.run.key.limit == one.run.key.limit
        return other.clean is not None, same_limit, other.run.manifest.items

    return max(_fitting_clean_runs(one, scored), key=rank, default=None)


def notes_on_clean_runs(scored: Sequence[ScoredRun]) -> Iterator[str]:
    """Which clean run is used if there are several, of different images."""
    for scored_run in scored:
        clean = clean_run_of(scored_run, scored)
        if clean is None or scored_run.run.key.attack is not None:
            continue
        others = [
            printable(other.run.folder)
            for other in _fitting_clean_runs(scored_run, scored)
            if _differ_in_photos(other, clean)
        ]
        if others:
            yield (
                f"the clean errors that {printable(scored_run.run.folder)} is compared with are "
                f"those of {printable(clean.run.folder)}; of other images are "
                f"{', '.join(others)}. Give the runs that belong together."
            )


def _fitting_clean_runs(scored_run: ScoredRun, scored: Sequence[ScoredRun]) -> list[ScoredRun]:
    if scored_run.benchmark.name == CLEAN_BENCHMARK:
        return []
    return [
        other
        for other in scored
        if other.benchmark.name == CLEAN_BENCHMARK
        and not other.run.key.generated  # corrupted photos scored as if they were clean
        and identity(other.run) == identity(scored_run.run)
    ]


def _differ_in_photos(scored_run: ScoredRun, other: ScoredRun | None) -> bool:
    """Whether two runs of clean photos, or attacks on them, have different images."""
    if other is None:
        return False
    return bool(compare_runs(scored_run.run, other.run, IMAGENET.conditions).different)


def _model(scored_run: ScoredRun) -> tuple[object, ...]:
    return scored_run.run.key.weights_sha256, scored_run.run.key.preprocessing


def _kind(scored_run: ScoredRun) -> tuple[bool, int | None]:
    return bool(scored_run.run.key.generated), scored_run.run.key.limit
