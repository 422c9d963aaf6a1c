"""Why a number is refused, with the command that helps."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...evaluate.benchmarks.corruption_scores import NO_CLEAN
from ...evaluate.benchmarks.perturbation_scores import EVERY_VIDEO_SKIPPED, NO_BASELINE
from ...evaluate.benchmarks.shape_bias_scores import LEFTOVER, NOT_THERE
from ...evaluate.benchmarks.top5 import ALL_SKIPPED
from ...storage.documents import document_differences, plain
from ..runs.resume_command import resume_command
from ..runs.scored_run import ScoredRun
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


def _clean_hint(one: ScoredRun, related: RelatedRuns) -> str:
    clean = related.clean
    if clean is None:
        for other in related.others:  # of the same weights, whatever its engine and preprocessing
            if other.is_clean and other.key.weights_sha256 == one.key.weights_sha256:
                difference = next(document_differences(_comparable(other), _comparable(one)))
                return f"{NO_CLEAN}; {other.place} is another: {difference}"
        command = ["evaluator", "report", "RUN_IMAGENET", str(one.run.folder)]
        return f"{NO_CLEAN}: {shlex.join(command)}"
    done, items = sum(clean.records.begun.values()), clean.run.manifest.items
    reason = f"the imagenet run {clean.place} is not finished ({done} of {items})"
    if clean.records.empty:
        return reason
    return f"{reason}. Complete it with: {resume_command(clean)}"


def _baseline_hint(one: ScoredRun, related: RelatedRuns) -> str:
    if related.baseline is not None:
        difference = difference_of_videos(related.baseline.run, one.run)
        return f"{related.baseline.place} cannot normalise it: {difference}"
    if is_alexnet(one.run):
        return f"{NO_BASELINE}. This is one: {_normalize_command('RUN', one.run.folder)}"
    for other in related.others:
        if normalizes(other, one) and not other.missing and is_alexnet(other.run):
            return f"{NO_BASELINE}: {_normalize_command(one.run.folder, other.run.folder)}"
    command = ["evaluator", "score", BASELINE_MODEL, BASELINE_BENCHMARK]
    command += [word for path in one.records.provenance[0].data for word in ("--data", path)]
    if one.key.limit is not None:
        command += ["--limit", str(one.key.limit)]
    if one.skipped:
        command += ["--on-error", "skip"]
    next_command = _normalize_command(one.run.folder, "RUN_ALEXNET")
    return f"{NO_BASELINE}. Make it with: {shlex.join(command)} and then: {next_command}"


def _normalize_command(run: Path | str, baseline: Path | str) -> str:
    return shlex.join(["evaluator", "report", str(run), "--normalize-by", str(baseline)])


def needs_leftover(one: ScoredRun) -> str:
    """Why numbers over the paper's 1201 stimuli are refused: the limit may be the reason."""
    limit = one.key.limit
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


def _comparable(one: ScoredRun) -> dict[str, object]:
    """Properties that a clean run and a run on corruptions must share, the graph's hash last."""
    engine = one.key.engine
    return {
        "engine": engine.backend,
        "input": engine.input_kind,
        "precision": engine.precision,
        "preprocessing": plain(one.key.preprocessing),
        "the graph": engine.model_sha256,
        "TF32": engine.tf32,
    }
