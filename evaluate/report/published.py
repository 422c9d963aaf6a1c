"""The published results of the paper's models, to stand beside a user's.

Source: Orhan, "Robustness properties of Facebook's ResNeXt WSL models", arXiv 1907.07640: its
tables, and the raw result files of https://github.com/eminorhan/resnext-wsl, from which mCE and
relative mCE were computed; ``data/paper_results.json`` says how.
"""

import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from ...contracts import Score

SOURCE = "arXiv 1907.07640"

_SUMMARY = {
    "mean_error": "mean_error_pct_unnormalised",
    "mce": "mCE",
    "relative_mce": "relative_mCE",
}


def published_models() -> tuple[str, ...]:
    """The models that the paper is about, by their names in the zoo."""
    return tuple(_results()["models"])


def published_scores(model: str) -> Iterator[Score]:
    """The paper's numbers for a model, as fractions; none for a model that it does not have."""
    if model not in published_models():
        return
    raw, derived = _results()["raw"][model], _results()["derived"]["values"][model]
    facts = Score(model=model, weights="as published", source=SOURCE, n=50_000, complete=True)
    clean = round(1 - raw["clean_top1_accuracy_pct_as_printed"] / 100, 6)
    yield replace(facts, benchmark="imagenet", metric="top1_error", value=clean)
    corrupted = replace(facts, benchmark="imagenet-c")
    for metric, name in _SUMMARY.items():
        yield replace(corrupted, metric=metric, value=derived[name] / 100)
    for metric, name in (("ce", "CE_pct"), ("relative_ce", "relative_CE_pct")):
        for corruption, value in derived[name].items():
            yield replace(corrupted, metric=metric, corruption=corruption, value=value / 100)


@cache
def _results() -> Any:
    text = (
        importlib.resources.files("evaluator.evaluate")
        .joinpath("data/paper_results.json")
        .read_text("utf-8")
    )
    return json.loads(text)
