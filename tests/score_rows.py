"""Rows of numbers as benchmarks give them, made up, for tables and figures."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluator.contracts import AuxiliaryRecords, Difference, Score
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.benchmarks.imagenet_p import PERTURBATIONS
from evaluator.evaluate.benchmarks.numbers import Records
from evaluator.reporting.model_results import ModelResults

FACTS: Mapping[str, Any] = {
    "run": "runs/m",
    "model": "m",
    "weights": "w",
    "engine": "onnxruntime",
    "devices": ("cpu",),
    "precision": "fp32",
    "crop_px": 224,
    "parity": "passed",
}
NOT_THERE = "bicycle6-bicycle3.png is not there"


def score(benchmark: str, metric: str, value: float | None = None, **more: Any) -> Score:
    return Score(**{**FACTS, "benchmark": benchmark, "metric": metric, "value": value, **more})


def scores_by(of: Any, records: Records, auxiliary: AuxiliaryRecords | None = None) -> list[Score]:
    """The numbers of one model, without facts of its run."""
    return [number.score() for number in of.numbers((records, auxiliary or AuxiliaryRecords()))]


def differences_by(of: Any, a: Records, b: Records) -> list[Difference]:
    """The numbers of two models, without facts of their runs."""
    models = [(records, AuxiliaryRecords()) for records in (a, b)]
    return [number.difference() for number in of.numbers(*models)]


def entry(*scores: Score, name: str = "m", marks: str = "") -> ModelResults:
    return ModelResults(name, name, scores, marks)


def flips(**more: Any) -> Iterator[Score]:
    """Flip probabilities of 0.02, 0.04 ... and T5D of 1, 1.25 ..., in their order."""
    for position, name in enumerate(PERTURBATIONS):
        place = {"perturbation": name, "n": 50_000, "complete": True, **more}
        yield score("imagenet-p", "flip_probability", 0.02 * (position + 1), **place)
        yield score("imagenet-p", "t5d", 1 + position / 4, **place)


def shape_bias(
    bias: float, rule: str = "mean", stimuli: int = 1200, **more: Any
) -> Iterator[Score]:
    """The numbers by one rule on one set; the category at position k has a bias of k / 16.

    Of the last category nothing was decided.
    """
    facts = {"rule": rule, "stimuli": stimuli, "n": 160, **more}
    ends = {"low": bias - 0.05, "high": bias + 0.1}
    yield score("cue-conflict", "shape_bias", bias, **facts, **ends)
    yield score("cue-conflict", "decided", 0.6, **facts)
    yield score("cue-conflict", "frac_correct", 0.61, **facts)
    for position, category in enumerate(CATEGORIES):
        last = position == len(CATEGORIES) - 1
        value, reason = (None, "nothing was decided") if last else (position / 16, None)
        of = {**facts, "n": 10, "category": category}
        yield score("cue-conflict", "category_shape_bias", value, reason=reason, **of)
        yield score("cue-conflict", "category_decided", position / 20, **of)


def refused_bias(rule: str = "argmax", stimuli: int = 1201) -> Iterator[Score]:
    for metric in ("shape_bias", "decided", "frac_correct"):
        yield score("cue-conflict", metric, rule=rule, stimuli=stimuli, reason=NOT_THERE)
