"""Published results of the paper's models, for comparison with a user's.

Source: Orhan, "Robustness properties of Facebook's ResNeXt WSL models", arXiv 1907.07640: its
tables, and the raw result files of https://github.com/eminorhan/resnext-wsl, from which mCE,
relative mCE and mFR were computed as ``data/paper_results.json`` describes.
"""

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ...contracts import PAPERS_EPSILON, PAPERS_SOURCE, Score

SOURCE = "arXiv 1907.07640"

HENDRYCKS_ALEXNET = "AlexNet of Hendrycks & Dietterich (2019)"
"""Model by which the paper normalised mT5D. Its T5D is not published."""

_SUMMARY = {
    "mean_error": "mean_error_pct_unnormalised",
    "mce": "mCE",
    "relative_mce": "relative_mCE",
}


@dataclass(frozen=True)
class PrintedTable:
    """A table of the paper, to the digits that it prints.

    Attributes:
        caption: Caption of the table.
        columns: Headers of the columns.
        rows: Numbers in % of each row, by the paper's name of the row; ``None`` for an empty cell.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]


def printed_table(name: str) -> PrintedTable:
    """A table of the paper: ``table1``, ``table2`` or ``table3``.

    Example:
        >>> printed_table("table3").rows["Humans (Geirhos et al., 2019)"]
        (95.9,)
    """
    table = _results()["printed_tables"][name]
    rows = {
        row: tuple(values) if isinstance(values, list) else (values,)
        for row, values in table["rows"].items()
    }
    return PrintedTable(table["caption"], tuple(table["columns"]), rows)


def published_models() -> tuple[str, ...]:
    """Names in the zoo of the models that the paper evaluates."""
    return tuple(_results()["models"])


def published_scores(model: str) -> Iterator[Score]:
    """The paper's numbers for a model, as fractions; none for a model that it does not have."""
    if model not in published_models():
        return
    for scores in (_clean, _corrupted, _perturbed, _cue_conflict, _imagenet_a):
        yield from scores(model)
    yield from _whitebox(model)
    yield from _transfer(model)


def _facts(model: str, benchmark: str, n: int = 50_000) -> Score:
    return Score(
        model=model,
        weights="as published",
        source=SOURCE,
        benchmark=benchmark,
        n=n,
        complete=True,
    )


def _clean(model: str) -> Iterator[Score]:
    accuracy = _raw(model)["clean_top1_accuracy_pct_as_printed"] / 100
    yield replace(_facts(model, "imagenet"), metric="top1_error", value=round(1 - accuracy, 6))


def _corrupted(model: str) -> Iterator[Score]:
    facts, derived = _facts(model, "imagenet-c"), _derived(model)
    for metric, name in _SUMMARY.items():
        yield replace(facts, metric=metric, value=derived[name] / 100)
    for metric, name in (("ce", "CE_pct"), ("relative_ce", "relative_CE_pct")):
        for corruption, value in derived[name].items():
            yield replace(facts, metric=metric, corruption=corruption, value=value / 100)


def _perturbed(model: str) -> Iterator[Score]:
    """Numbers on ImageNet-P; mT5D is the printed one, since its normaliser is not published."""
    facts = _facts(model, "imagenet-p")
    printed = printed_table("table1")
    mt5d = dict(zip(printed.columns, printed.rows[model], strict=True))["mT5D"]
    yield replace(facts, metric="mfr", value=_derived(model)["mFR"] / 100)
    if mt5d is not None:
        baseline = HENDRYCKS_ALEXNET
        yield replace(facts, metric="mt5d", value=round(mt5d / 100, 6), normalize_by=baseline)
    for metric, name in (("flip_probability", "flip_probability"), ("t5d", "top5_distance")):
        for perturbation, values in _raw(model)["imagenet_p"].items():
            yield replace(facts, metric=metric, perturbation=perturbation, value=values[name])


def _cue_conflict(model: str) -> Iterator[Score]:
    """Shape bias by the paper's rule on its stimuli; it does not give how many were decided."""
    raw = _raw(model)["shape_bias"]
    n = raw["n_images"]
    facts = replace(_facts(model, "cue-conflict", n), rule="argmax", stimuli=n)
    yield replace(facts, metric="shape_bias", value=raw["frac_shape"])
    yield replace(facts, metric="frac_correct", value=raw["frac_correct"])


def _imagenet_a(model: str) -> Iterator[Score]:
    raw = _raw(model)["imagenet_a"]
    facts = _facts(model, "imagenet-a", raw["n_images"])
    yield replace(facts, metric="accuracy", value=raw["top1_accuracy"])
    error = round(raw["rms_calibration_error_pct"] / 100, 8)
    yield replace(facts, metric="rms_calibration_error", value=error)
    yield replace(facts, metric="aurra", value=round(raw["aurra_pct"] / 100, 8))


def _whitebox(model: str) -> Iterator[Score]:
    """White-box accuracy at 10 steps and each epsilon, and at epsilon 0.06 and each step count."""
    raw = _raw(model)
    facts = replace(_facts(model, "whitebox", 25_000), protocol="whitebox-1-paper", restarts=1)
    clean = raw["clean_top1_accuracy_pct_as_printed"] / 100
    yield replace(facts, metric="clean_accuracy", value=round(clean, 6))
    attacked = replace(facts, metric="accuracy_under_attack")
    for epsilon, value in raw["whitebox_top1_accuracy_pct_by_epsilon"].items():
        yield replace(attacked, epsilon=float(epsilon), steps=10, value=round(value / 100, 8))
    for steps, value in raw["whitebox_top1_accuracy_pct_by_steps"].items():
        if steps != "10":  # which the loop over epsilons gives
            yield replace(
                attacked, epsilon=PAPERS_EPSILON, steps=int(steps), value=round(value / 100, 8)
            )


def _transfer(model: str) -> Iterator[Score]:
    """Black-box accuracy at 10 steps and each epsilon; the paper has no numbers of the source."""
    raw = _raw(model)
    facts = replace(
        _facts(model, "transfer"), protocol="transfer-1-paper", source_model=PAPERS_SOURCE
    )
    clean = raw["clean_top1_accuracy_pct_as_printed"] / 100
    yield replace(facts, metric="clean_accuracy", value=round(clean, 6))
    attacked = replace(facts, metric="accuracy_under_attack", steps=10, restarts=1)
    for epsilon, value in raw["blackbox_top1_accuracy_pct_by_epsilon"].items():
        yield replace(attacked, epsilon=float(epsilon), value=round(value / 100, 8))


def _raw(model: str) -> Any:
    return _results()["raw"][model]


def _derived(model: str) -> Any:
    return _results()["derived"]["values"][model]


@cache
def _results() -> Any:
    text = (
        importlib.resources.files("evaluator.reporting")
        .joinpath("data/paper_results.json")
        .read_text("utf-8")
    )
    return json.loads(text)
