"""Which runs of a report share a row: one model on one engine, one run of each benchmark.

An attack needs gradients, which only PyTorch has, so it is in the row of its model, whatever
engine the benchmarks were scored on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...evaluate.benchmarks.imagenet import IMAGENET
from ...records.fingerprints import different_files
from ..runs.scored_run import CLEAN_BENCHMARK, ScoredRun


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
        if one.benchmark.name in names:
            return False
        if one.key.attack is None:
            same = one.shares_model(self.first) and clean is self.clean
            return same and CLEAN_BENCHMARK not in names
        ours, theirs = self.first.key, one.key
        if (ours.weights_sha256, ours.preprocessing) != (
            theirs.weights_sha256,
            theirs.preprocessing,
        ) or not one.run.shares_network(self.first.run):
            return False
        return not any(_differ_in_photos(one, run) for run in (*self.runs, self.clean) if run)

    def resembles(self, one: ScoredRun) -> bool:
        """Whether a run has the limit of the row, and generated data if the row has."""
        ours, theirs = self.first.key, one.key
        return ours.limit == theirs.limit and bool(ours.generated) == bool(theirs.generated)


def report_rows(scored: Sequence[ScoredRun]) -> list[ReportRow]:
    """The rows, in the order of their first runs, attacks last; runs without records are left out.

    Of two runs of one benchmark, the second has a row of its own. A run that fits into several
    rows is in the one whose runs it resembles, else in the first.
    """
    cleans = {id(one): clean_run_of(one, scored) for one in scored if not one.records.empty}
    used = {id(clean) for clean in cleans.values() if clean is not None}
    rows: list[ReportRow] = []
    for one in sorted(scored, key=lambda one: one.key.attack is not None):
        if id(one) not in cleans or id(one) in used:
            continue
        clean = cleans[id(one)]
        fitting = [row for row in rows if row.takes(one, clean)]
        if fitting and one.benchmark.name != CLEAN_BENCHMARK:
            max(fitting, key=lambda row: row.resembles(one)).runs.append(one)
        else:
            rows.append(ReportRow([one], clean))
    return rows


def clean_run_of(one: ScoredRun, scored: Sequence[ScoredRun]) -> ScoredRun | None:
    """The clean run whose weights, engine and preprocessing are the same.

    Of several, one that is finished, of the same limit, and the largest, in this order.
    """

    def rank(other: ScoredRun) -> tuple[bool, bool, int]:
        same_limit = other.key.limit == one.key.limit
        return other.clean is not None, same_limit, other.run.manifest.items

    return max(_fitting_clean_runs(one, scored), key=rank, default=None)


def notes_on_clean_runs(scored: Sequence[ScoredRun]) -> Iterator[str]:
    """Which clean run is used if there are several, of different images."""
    for one in scored:
        clean = clean_run_of(one, scored)
        if clean is None or one.key.attack is not None:
            continue
        fitting = _fitting_clean_runs(one, scored)
        if others := [other.place for other in fitting if _differ_in_photos(other, clean)]:
            yield (
                f"the clean errors that {one.place} is compared with are those of {clean.place}; "
                f"of other images are {', '.join(others)}. Give the runs that belong together."
            )


def _fitting_clean_runs(one: ScoredRun, scored: Sequence[ScoredRun]) -> list[ScoredRun]:
    if one.benchmark.name == CLEAN_BENCHMARK:
        return []
    return [other for other in scored if other.is_clean and other.shares_model(one)]


def _differ_in_photos(one: ScoredRun, other: ScoredRun) -> bool:
    """Whether two runs of clean photos, or attacks on them, have different images."""
    return bool(different_files(one.run, other.run, IMAGENET.conditions))
