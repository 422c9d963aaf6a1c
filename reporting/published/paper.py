"""Published results of the paper's models, for comparison with a user's.

Source: Orhan, "Robustness properties of Facebook's ResNeXt WSL models", arXiv 1907.07640: its
tables, and the raw result files of https://github.com/eminorhan/resnext-wsl, from which mCE,
relative mCE and mFR were computed as ``data/paper_results.json`` describes.
"""

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...contracts import (
    PAPERS_EPSILON,
    PAPERS_SOURCE,
    Score,
    TransferredImage,
    protocol_name,
)
from ..attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX

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
    table = published_data("paper_results.json")["printed_tables"][name]
    rows = {
        row: tuple(values) if isinstance(values, list) else (values,)
        for row, values in table["rows"].items()
    }
    return PrintedTable(table["caption"], tuple(table["columns"]), rows)


def published_models() -> tuple[str, ...]:
    """Names in the zoo of the models that the paper evaluates."""
    return tuple(published_data("paper_results.json")["models"])


def published_scores(model: str) -> Iterator[Score]:
    """The paper's numbers for a model, as fractions; none for a model that it does not have."""
    if model in published_models():
        results = published_data("paper_results.json")
        yield from _Numbers(model, results["raw"][model], results["derived"]["values"][model]).all()


@dataclass(frozen=True)
class _Numbers:
    """The paper's numbers for a model.

    Attributes:
        model: Name of the model in the zoo.
        raw: Numbers of its raw result files.
        derived: Numbers that were computed from them.
    """

    model: str
    raw: Any
    derived: Any

    def all(self) -> Iterator[Score]:
        """The scores of every benchmark and attack."""
        clean = round(self.raw["clean_top1_accuracy_pct_as_printed"] / 100, 6)
        yield self._score("imagenet", "top1_error", round(1 - clean, 6))
        yield from self._corrupted()
        yield from self._perturbed()
        yield from self._cue_conflict()
        yield from self._imagenet_a()
        yield from self._whitebox(clean)
        yield from self._transfer(clean)

    def _score(self, benchmark: str, metric: str, value: float, **fields: Any) -> Score:
        facts = {"model": self.model, "weights": "as published", "source": SOURCE, "n": 50_000}
        keys = {"benchmark": benchmark, "metric": metric, "value": value, **fields}
        return Score(**{**facts, **keys}, complete=True)

    def _corrupted(self) -> Iterator[Score]:
        for metric, name in _SUMMARY.items():
            yield self._score("imagenet-c", metric, self.derived[name] / 100)
        for metric, name in (("ce", "CE_pct"), ("relative_ce", "relative_CE_pct")):
            for corruption, value in self.derived[name].items():
                yield self._score("imagenet-c", metric, value / 100, corruption=corruption)

    def _perturbed(self) -> Iterator[Score]:
        """Numbers on ImageNet-P; mT5D is the printed one, since its normaliser is not published."""
        printed = printed_table("table1")
        mt5d = dict(zip(printed.columns, printed.rows[self.model], strict=True))["mT5D"]
        yield self._score("imagenet-p", "mfr", self.derived["mFR"] / 100)
        if mt5d is not None:
            value = round(mt5d / 100, 6)
            yield self._score("imagenet-p", "mt5d", value, normalize_by=HENDRYCKS_ALEXNET)
        for metric, name in (("flip_probability", "flip_probability"), ("t5d", "top5_distance")):
            for perturbation, values in self.raw["imagenet_p"].items():
                yield self._score("imagenet-p", metric, values[name], perturbation=perturbation)

    def _cue_conflict(self) -> Iterator[Score]:
        """Shape bias by the paper's rule on its stimuli; how many were decided is not given."""
        raw = self.raw["shape_bias"]
        keys = {"rule": "argmax", "n": raw["n_images"], "stimuli": raw["n_images"]}
        for metric, name in (("shape_bias", "frac_shape"), ("frac_correct", "frac_correct")):
            yield self._score("cue-conflict", metric, raw[name], **keys)

    def _imagenet_a(self) -> Iterator[Score]:
        raw = self.raw["imagenet_a"]
        for metric, value in (
            ("accuracy", raw["top1_accuracy"]),
            ("rms_calibration_error", round(raw["rms_calibration_error_pct"] / 100, 8)),
            ("aurra", round(raw["aurra_pct"] / 100, 8)),
        ):
            yield self._score("imagenet-a", metric, value, n=raw["n_images"])

    def _whitebox(self, clean: float) -> Iterator[Score]:
        """Accuracy at 10 steps and each epsilon, and at epsilon 0.06 and each step count."""
        facts = {**_protocol(WHITE_BOX), "n": 25_000, "restarts": 1}
        yield self._score("whitebox", "clean_accuracy", clean, **facts)
        by_epsilon = self.raw["whitebox_top1_accuracy_pct_by_epsilon"]
        by_steps = self.raw["whitebox_top1_accuracy_pct_by_steps"]
        points = [(float(epsilon), 10, value) for epsilon, value in by_epsilon.items()]
        # What 10 steps reach at epsilon 0.06 is among the points of the epsilons.
        points += [(PAPERS_EPSILON, int(n), value) for n, value in by_steps.items() if n != "10"]
        for epsilon, steps, value in points:
            keys = {**facts, "epsilon": epsilon, "steps": steps}
            yield self._score("whitebox", UNDER_ATTACK, round(value / 100, 8), **keys)

    def _transfer(self, clean: float) -> Iterator[Score]:
        """Black-box accuracy at 10 steps and each epsilon; none of the source's is published."""
        facts = {**_protocol(TRANSFER, "first-hit"), "source_model": PAPERS_SOURCE}
        yield self._score("transfer", "clean_accuracy", clean, **facts)
        for epsilon, value in self.raw["blackbox_top1_accuracy_pct_by_epsilon"].items():
            keys = {**facts, "epsilon": float(epsilon), "steps": 10, "restarts": 1}
            yield self._score("transfer", UNDER_ATTACK, round(value / 100, 8), **keys)


def _protocol(kind: str, handed_image: TransferredImage | None = None) -> dict[str, Any]:
    """The paper's protocol of this kind of attack, in the fields of a score."""
    name = protocol_name(kind, "paper", handed_image)
    return {"protocol": name, "attack_protocol": "paper", "handed_image": handed_image}


@cache
def published_data(name: str) -> Any:
    """A JSON file of published numbers."""
    path = importlib.resources.files("evaluator.reporting").joinpath(f"data/{name}")
    return json.loads(path.read_text("utf-8"))
