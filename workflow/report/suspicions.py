"""Notes on how the images of a model were prepared, and on models with too few right answers."""

from collections.abc import Iterator, Sequence

from ...contracts import ModelSpec, Score
from ...evaluate.metrics.plausibility import too_few_right
from ...reporting.model_results import ModelResults
from ..runs.scored_run import CLEAN_BENCHMARK, ScoredRun

TOLERANCE = 0.01
"""By how much an accuracy may differ from the published one: by decoders, filters and precision."""

FEWEST_RIGHT, TYPICAL_ACCURACY = 0.25, 0.5
"""Of weights without a published accuracy: the share of right answers below which they are
suspected, if a model of this accuracy cannot have it by chance."""

SUSPECTS = (
    'the order of the channels (channels = "bgr"), mean and std, the order of the classes '
    "(--classes), the size or the filter of the resize, or images or labels that are not those of "
    "ImageNet's validation set"
)


def preprocessing_notes(named_runs: Sequence[tuple[str, ScoredRun]]) -> list[str]:
    """Which preprocessing each model has and why, if there was a choice."""
    texts = ((name, one.run.manifest.model.prepared.text) for name, one in named_runs)
    return list(dict.fromkeys(f"{name}: {text}" for name, text in texts if text))


def accuracy_warnings(models: Sequence[ModelResults], scored: Sequence[ScoredRun]) -> Iterator[str]:
    """A warning for each model that has far fewer images right than its weights allow."""
    specs = {
        str(one.run.folder): one.run.manifest.model
        for one in scored
        if one.is_clean or one.key.benchmark == "whitebox"
    }
    for results in models:
        for score in results.scores:
            spec = specs.get(score.run)
            if spec is not None and (reason := _why_suspected(score, spec)) is not None:
                yield f"warning: {results.name}: {reason}. Usual causes: {SUSPECTS}."


def _why_suspected(score: Score, spec: ModelSpec) -> str | None:
    """Why the accuracy on clean images is suspected; `None` if it is not, or is another number."""
    metrics = {(CLEAN_BENCHMARK, "top1_error"), ("whitebox", "clean_accuracy")}
    if score.value is None or (score.benchmark, score.metric) not in metrics:
        return None
    if spec.weights.kind == "random":
        return None
    accuracy = 1 - score.value if score.metric == "top1_error" else score.value
    n, published = score.n, spec.prepared.top1
    right = round(n * accuracy)
    if published is not None:
        expected = f"which the published accuracy of {100 * published:.1f} % does not allow"
        is_suspect = too_few_right(right, n, published - TOLERANCE)
    else:
        expected = "which is not what trained weights give"
        is_suspect = accuracy < FEWEST_RIGHT and too_few_right(right, n, TYPICAL_ACCURACY)
    return (
        f"only {right:,} of {n:,} images are classified right, {expected}" if is_suspect else None
    )
