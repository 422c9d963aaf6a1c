"""The run by whose numbers others are normalised: ``evaluator report --normalize-by RUN``."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ...contracts import PASSED_AGAINST_ONNX, Run, Score
from ...errors import InputError, printable
from ...evaluate.benchmarks.imagenet_p import NO_BASELINE
from ...exporter.zoo.rows import Download
from ...exporter.zoo.table import find_model
from ..runs.scored_run import ScoredRun, differing_files_note, read_runs, resume_command

BASELINE_BENCHMARK = "imagenet-p"
"""Benchmark whose numbers are normalised: no T5D of AlexNet has been published."""

BASELINE_MODEL = "alexnet"


def read_baseline(folder: Path, scored: Sequence[ScoredRun]) -> ScoredRun:
    """The finished run in this folder, to normalise others by.

    Raises:
        InputError: If it is of another benchmark or lacks something, or there are several; if none
            of the others is to be normalised.
    """
    if all(run.benchmark.name != BASELINE_BENCHMARK for run in scored):
        raise InputError(
            f"--normalize-by is for runs of {BASELINE_BENCHMARK}, and none of the runs is one."
        )
    runs, place = read_runs([folder]), printable(folder)
    fitting = [run for run in runs if run.benchmark.name == BASELINE_BENCHMARK]
    if not fitting:
        other = dict.fromkeys(run.benchmark.name for run in runs)
        raise InputError(
            f"--normalize-by needs a run of {BASELINE_BENCHMARK}, and {place} holds one of "
            f"{' and '.join(other)}."
        )
    if len(fitting) > 1:
        raise InputError(
            f"--normalize-by needs one run of {BASELINE_BENCHMARK}, and {place} holds several: "
            f"{', '.join(run.place for run in fitting)}. Name one of them."
        )
    (run,) = fitting
    if run.missing:
        hint = "To continue it, repeat the command that started it."
        if not run.records.empty:
            hint = f"Complete it with: {resume_command(run)}"
        raise InputError(
            f"--normalize-by needs a finished run, and {place} lacks {len(run.missing)} of "
            f"{len(run.benchmark.conditions)} perturbations. {hint}"
        )
    return run


def difference_of_videos(baseline: Run, run: Run) -> str | None:
    """Why a run's numbers cannot be divided by the baseline's; ``None`` if they can."""
    theirs, ours = baseline.key, run.key
    if theirs.protocol != ours.protocol:
        return f"it was scored by protocol {theirs.protocol}, this run by {ours.protocol}"
    if theirs.generated != ours.generated:
        return "it has different videos under the same names: the generated.json differ"
    if theirs.limit != ours.limit:
        limits = [f"--limit {n}" if n else "no --limit" for n in (theirs.limit, ours.limit)]
        return f"it was scored with {limits[0]}, this run with {limits[1]}"
    if theirs.ids_sha256 != ours.ids_sha256:
        return "it is of other videos: their names differ"
    return None


def normalizes(baseline: ScoredRun | None, one: ScoredRun) -> bool:
    """Whether there is a baseline, and the numbers of a run can be divided by its numbers."""
    if baseline is None or baseline.benchmark is not one.benchmark:
        return False
    return difference_of_videos(baseline.run, one.run) is None


def baseline_hint(one: ScoredRun, baseline: ScoredRun | None, others: Sequence[ScoredRun]) -> str:
    """Why numbers of a run that need a measured baseline are refused, with the command that helps.

    Args:
        one: The run.
        baseline: Run that the user gave to normalise by; ``None`` if not given.
        others: All runs of the report.
    """
    if baseline is not None:
        difference = difference_of_videos(baseline.run, one.run)
        return f"{baseline.place} cannot normalise it: {difference}"
    if is_alexnet(one.run):
        return f"{NO_BASELINE}. This is one: {_normalize_command('RUN', one.run.folder)}"
    for other in others:
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


def notes_on_other_videos(baseline: ScoredRun, scored: Sequence[ScoredRun]) -> Iterator[str]:
    """A line for each run that is normalised although its videos have other bytes."""
    for one in [one for one in scored if normalizes(baseline, one)]:
        if note := differing_files_note(one, baseline, (one.place, baseline.place)):
            yield f"{note}: what is normalised is not of the models alone"


def normalized(score: Score, by: ScoredRun) -> Score:
    """A number that was divided by another run's, with that run and the weaker parity of both."""
    weaker_parity = max(score.parity, by.facts["parity"], key=_parity_rank)
    self_check = max(score.self_check, by.facts["self_check"], key=_is_unproved)
    run = by.facts["run"]
    return replace(score, normalize_by=run, parity=weaker_parity, self_check=self_check)


def _parity_rank(parity: str) -> int:
    """Rank of a parity status: the higher, the less it proves."""
    statuses = ("reference", "passed", PASSED_AGAINST_ONNX)
    return statuses.index(parity) if parity in statuses else len(statuses)


def _is_unproved(self_check: str) -> bool:
    return self_check not in ("passed", "")


def is_alexnet(run: Run) -> bool:
    """Whether a run's weights are those of the AlexNet that the literature uses as baseline."""
    published = find_model(BASELINE_MODEL).weights
    assert isinstance(published, Download)
    return run.manifest.model.weights.sha256.startswith(published.sha256_prefix)


def baseline_notes(baseline: ScoredRun, scores: Sequence[Score]) -> list[str]:
    """Which run numbers are normalised by, and whether that run is AlexNet's.

    Args:
        baseline: Run that the user gave to normalise by.
        scores: All numbers of the report.

    Returns:
        One line; none if nothing could be normalised and a refused number says why.
    """
    run, spec, folder = baseline.run, baseline.run.manifest.model, baseline.place
    metrics = {score.metric for score in scores if score.normalize_by and score.value is not None}
    if not metrics:
        if any(score.reason and folder in score.reason for score in scores):
            return []
        return [f"nothing could be normalised by {folder}: see the numbers that are refused"]
    engine = run.key.engine
    note = (
        f"{_metrics_text(metrics)} normalised by {folder}: {spec.name} ({spec.weights}), "
        f"{spec.preprocessing.crop_px} px, {engine.backend} {engine.precision}"
    )
    if is_alexnet(run):
        return [f"{note}, the weights that torchvision calls IMAGENET1K_V1"]
    return [f"{note}; these are not AlexNet's weights, so no mFR or mT5D by it is a published one"]


def _metrics_text(metrics: Collection[str]) -> str:
    """Metrics, with their verb.

    Example:
        >>> _metrics_text({"mfr", "mt5d"}), _metrics_text({"mt5d"})
        ('mT5D and the second mFR are', 'mT5D is')
    """
    named = {"mt5d": "mT5D", "mfr": "the second mFR"}
    titles = [title for metric, title in named.items() if metric in metrics]
    return f"{' and '.join(titles)} {'are' if len(titles) > 1 else 'is'}"
