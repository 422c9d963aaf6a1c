"""Why a number is refused, with the command that helps."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...evaluate.benchmarks.cue_conflict import LEFTOVER, NOT_THERE
from ...evaluate.benchmarks.imagenet_c import NO_CLEAN
from ...evaluate.benchmarks.imagenet_p import EVERY_VIDEO_SKIPPED, NO_BASELINE
from ...evaluate.benchmarks.top5 import ALL_SKIPPED
from ...storage.documents import document_differences, plain
from ..runs.scored_run import ScoredRun, resume_command
from .baseline import baseline_hint


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
                differences = document_differences(_comparable(other), _comparable(one))
                difference = next(differences, "its network answers otherwise")
                return f"{NO_CLEAN}; {other.place} is another: {difference}"
        command = ["evaluator", "report", "RUN_IMAGENET", str(one.run.folder)]
        return f"{NO_CLEAN}: {shlex.join(command)}"
    done, items = sum(clean.records.begun.values()), clean.run.manifest.items
    reason = f"the imagenet run {clean.place} is not finished ({done} of {items})"
    if clean.records.empty:
        return reason
    return f"{reason}. Complete it with: {resume_command(clean)}"


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
    NO_BASELINE: lambda one, related: baseline_hint(one, related.baseline, related.others),
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
