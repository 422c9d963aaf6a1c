"""Why a number is refused, with the command that helps."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...contracts import Run
from ...errors import printable
from ...evaluate.benchmarks.cue_conflict import LEFTOVER, NOT_THERE
from ...evaluate.benchmarks.imagenet_c import NO_CLEAN
from ...evaluate.benchmarks.imagenet_p import EVERY_VIDEO_SKIPPED, NO_BASELINE
from ...evaluate.benchmarks.top5 import ALL_SKIPPED
from ...storage.documents import document_differences, plain
from ..runs.scored_run import CLEAN_BENCHMARK, ScoredRun, resume_command
from .baseline import (
    BASELINE_BENCHMARK,
    BASELINE_MODEL,
    difference_of_videos,
    is_alexnet,
    normalizes,
)


@dataclass(frozen=True)
class RelatedRuns:
    """Runs that numbers of another run may need.

    Attributes:
        clean: Clean run of the same model and engine, finished or not.
        baseline: Run that the user gave to normalise by, whether it fits or not.
        others: All runs of the report.
    """

    clean: ScoredRun | None = None
    baseline: ScoredRun | None = None
    others: Sequence[ScoredRun] = ()

    def can_normalize(self, one: ScoredRun) -> bool:
        """Whether the baseline can normalise a run."""
        return self.baseline is not None and normalizes(self.baseline, one)


def reason_with_hint(reason: str | None, one: ScoredRun, related: RelatedRuns) -> str | None:
    """Why a number is refused, with the command that helps if there is one."""
    if reason is None or reason.startswith((ALL_SKIPPED, EVERY_VIDEO_SKIPPED)):
        return reason  # scoring other conditions does not change it
    if reason in _HINTS:
        return _HINTS[reason](one, related)
    if one.missing:
        return f"{reason}. Complete the run with: {resume_command(one)}"
    return reason


def _clean_hint(scored_run: ScoredRun, related: RelatedRuns) -> str:
    clean = related.clean
    if clean is None and (other := _other_clean_run(scored_run, related.others)) is not None:
        difference = next(document_differences(_comparable(other.run), _comparable(scored_run.run)))
        return f"{NO_CLEAN}; {printable(other.run.folder)} is another: {difference}"
    if clean is None:
        command = ["evaluator", "report", "RUN_IMAGENET", str(scored_run.run.folder)]
        return f"{NO_CLEAN}: {shlex.join(command)}"
    done, items = sum(clean.records.begun.values()), clean.run.manifest.items
    reason = f"the imagenet run {printable(clean.run.folder)} is not finished ({done} of {items})"
    if clean.records.empty:
        return reason
    return f"{reason}. Complete it with: {resume_command(clean)}"


def _baseline_hint(scored_run: ScoredRun, related: RelatedRuns) -> str:
    if related.baseline is not None:
        difference = difference_of_videos(related.baseline.run, scored_run.run)
        return f"{printable(related.baseline.run.folder)} cannot normalise it: {difference}"
    run = str(scored_run.run.folder)
    if is_alexnet(scored_run.run):
        report_command = ["evaluator", "report", "RUN", "--normalize-by", run]
        return f"{NO_BASELINE}. This is one: {shlex.join(report_command)}"
    baselines = [other.run for other in related.others if _is_baseline_of(other, scored_run)]
    report_command = ["evaluator", "report", run, "--normalize-by"]
    if baselines:
        return f"{NO_BASELINE}: {shlex.join([*report_command, str(baselines[0].folder)])}"
    score_command = ["evaluator", "score", BASELINE_MODEL, BASELINE_BENCHMARK]
    score_command += [
        word for path in scored_run.records.provenance[0].data for word in ("--data", path)
    ]
    if scored_run.run.key.limit is not None:
        score_command += ["--limit", str(scored_run.run.key.limit)]
    if scored_run.skipped:
        score_command += ["--on-error", "skip"]
    next_command = shlex.join([*report_command, "RUN_ALEXNET"])
    return f"{NO_BASELINE}. Make it with: {shlex.join(score_command)} and then: {next_command}"


def needs_leftover(one: ScoredRun) -> str:
    """Why numbers over the paper's 1201 stimuli are refused: the limit may be the reason."""
    limit = one.run.key.limit
    if limit is None or one.run.manifest.items < limit:
        return NOT_THERE
    return (
        f"{LEFTOVER}, the one non-conflict image among the paper's 1201, is not among the {limit} "
        "stimuli that --limit chose: score a tree that has it without --limit"
    )


_HINTS: Mapping[str, Callable[[ScoredRun, RelatedRuns], str]] = {
    NO_CLEAN: _clean_hint,
    NO_BASELINE: _baseline_hint,
    NOT_THERE: lambda one, related: needs_leftover(one),
}
"""Function that gives the hint, for each reason that has one."""


def _is_baseline_of(other: ScoredRun, scored_run: ScoredRun) -> bool:
    return normalizes(other, scored_run) and not other.missing and is_alexnet(other.run)


def _other_clean_run(scored_run: ScoredRun, others: Sequence[ScoredRun]) -> ScoredRun | None:
    """A clean run of the same weights, whatever its engine and preprocessing."""
    for other in others:
        is_clean = other.benchmark.name == CLEAN_BENCHMARK and not other.run.key.generated
        if is_clean and other.run.key.weights_sha256 == scored_run.run.key.weights_sha256:
            return other
    return None


def _comparable(run: Run) -> dict[str, object]:
    """Properties that a clean run and a run on corruptions must share, the graph's hash last."""
    engine, key = run.key.engine, run.key
    return {
        "engine": engine.backend,
        "input": engine.input_kind,
        "precision": engine.precision,
        "preprocessing": plain(key.preprocessing),
        "the graph": engine.model_sha256,
        "TF32": engine.tf32,
    }
