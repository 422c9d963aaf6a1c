"""Metrics of the cue-conflict stimuli: by two rules, on two sets of them, with their intervals.

The headline number is by the rule ``mean`` over the 1200, as Geirhos et al. recommend; the one by
``argmax`` over the 1201 is comparable with the paper's models.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import AuxiliaryRecords, Difference, Score
from ..metrics.shape_bias import RULES, Matches, decided, frac_correct, shape_bias
from ..metrics.two_way import Crossed, Ratio, crossed, difference_interval, ratio_interval
from .categories import CATEGORIES
from .pairs import check_same_images
from .plain_images import CLEAN, UNFINISHED
from .score_fields import ScoredItems, count_fields, difference_fields, interval_fields
from .top5 import ALL_SKIPPED, Records

Flags = npt.NDArray[np.bool_]
Metric = Callable[[Matches], Ratio]

LEFTOVER = "bicycle6-bicycle3.png"
"""The one image of the paper's 1201 whose shape and texture are of the same category."""

STANDARD, PAPERS = 1200, 1201
"""Number of stimuli without non-conflict images, and with the one that the paper has."""

NOT_THERE = (
    f"{LEFTOVER} is not there, the one non-conflict image among the paper's 1201: score a tree "
    "that has it"
)
UNDECIDED = "no image was decided for its shape or its texture"

METRICS: Mapping[str, Metric] = {
    "shape_bias": shape_bias,
    "decided": decided,
    "frac_correct": frac_correct,
}
"""Metrics of a whole set."""

CATEGORY_METRICS: Mapping[str, Metric] = {
    "category_shape_bias": shape_bias,
    "category_decided": decided,
}
"""Metrics of the stimuli whose shapes are of one category."""


@dataclass(frozen=True)
class _Decisions(ScoredItems):
    """The decisions of one rule for the N stimuli of a set.

    Attributes:
        rule: Name of the rule.
        stimuli: Number of stimuli that the complete set has.
        ids: Ids of the stimuli: (N,).
        shape: Category of each stimulus by its shape: (N,).
        matches: What the decisions match; neither if a stimulus was skipped.
        refusal: Why there are no numbers; `None` if there are.
    """

    rule: str
    stimuli: int
    ids: npt.NDArray[np.object_]
    shape: npt.NDArray[np.object_]
    matches: Matches
    refusal: str | None = None

    def take(self, rows: Flags) -> Self:
        """The decisions of some of the stimuli."""
        matches = Matches(self.matches.shape[rows], self.matches.texture[rows])
        return replace(
            self,
            ids=self.ids[rows],
            shape=self.shape[rows],
            matches=matches,
            scored=self.scored[rows],
        )

    @property
    def only_scored(self) -> Self:
        """The decisions of the stimuli that were scored."""
        return self.take(self.scored)

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that all their scores share."""
        return {
            "rule": self.rule,
            "stimuli": self.stimuli,
            **count_fields([self], self.stimuli),
            "reason": self.refusal or (None if self.n else ALL_SKIPPED),
        }

    @property
    def exemplars(self) -> Crossed:
        """The shape and the texture that each stimulus shows, by name."""
        parts = [name.removesuffix(".png").split("-") for name in self.ids.tolist()]
        return crossed([shape for shape, _ in parts], [texture for _, texture in parts])


def shape_bias_scores(records: Records, auxiliary: AuxiliaryRecords) -> Iterator[Score]:
    """Three metrics by each rule on each set, then two of each category of shapes."""
    sets = _sets(records.get(CLEAN))
    for decisions in sets:
        yield from _scores(METRICS, Score(**decisions.facts), decisions)
    for decisions in sets:
        for category in CATEGORIES:
            subset = decisions.take(decisions.shape == category)
            facts = Score(**decisions.facts)
            facts = replace(facts, category=category, n=subset.n, skipped=subset.skipped)
            yield from _scores(CATEGORY_METRICS, facts, subset)


def _scores(metrics: Mapping[str, Metric], facts: Score, decisions: _Decisions) -> Iterator[Score]:
    scored = decisions.only_scored
    for name, metric in metrics.items():
        score, ratio = replace(facts, metric=name), metric(scored.matches)
        if facts.reason or not ratio.below.any():
            yield replace(score, reason=facts.reason or UNDECIDED)
        else:
            interval = interval_fields(ratio_interval(ratio, scored.exemplars))
            yield replace(score, value=ratio.value, **interval)


def shape_bias_differences(
    a: Records, b: Records, auxiliary_a: AuxiliaryRecords, auxiliary_b: AuxiliaryRecords
) -> Iterator[Difference]:
    """The same three metrics of two models, over the stimuli that both scored.

    Raises:
        InputError: If they are not of the same stimuli.
    """
    table_a, table_b = a.get(CLEAN), b.get(CLEAN)
    if table_a is None or table_b is None:
        table_a = table_b = None
    else:
        check_same_images(table_a, table_b)
    for set_a, set_b in zip(_sets(table_a), _sets(table_b), strict=True):
        both = set_a.scored & set_b.scored
        facts = replace(set_a, scored=both).facts
        scored_a, scored_b = set_a.take(both), set_b.take(both)
        for name, metric in METRICS.items():
            yield _difference(metric, Difference(metric=name, **facts), scored_a, scored_b)


def _difference(metric: Metric, facts: Difference, a: _Decisions, b: _Decisions) -> Difference:
    ratio_a, ratio_b = metric(a.matches), metric(b.matches)
    if facts.reason or not (ratio_a.below.any() and ratio_b.below.any()):
        return replace(facts, reason=facts.reason or UNDECIDED)
    interval = difference_interval(ratio_a, ratio_b, a.exemplars)
    return replace(facts, **difference_fields(ratio_a.value, ratio_b.value, interval))


def _sets(table: pa.Table | None) -> list[_Decisions]:
    """By each rule the decisions for the standard stimuli, then for the paper's."""
    sets = []
    for rule in RULES:
        papers = _no_decisions(rule) if table is None else _papers(table, rule)
        refusal = papers.refusal if table is None else None
        standard = replace(papers, stimuli=STANDARD, refusal=refusal)
        sets += [standard.take(papers.ids != LEFTOVER), papers]
    return sets


def _papers(table: pa.Table, rule: str) -> _Decisions:
    """The decisions for the paper's stimuli: all that are recorded."""
    ids, shape, texture, decision = (
        table[name].to_numpy() for name in ("id", "shape", "texture", rule)
    )
    scored = table["error"].is_null().to_numpy()
    matches = Matches(scored & (decision == shape), scored & (decision == texture))
    refusal = None if LEFTOVER in ids else NOT_THERE
    return _Decisions(scored, rule, PAPERS, ids, shape, matches, refusal)


def _no_decisions(rule: str) -> _Decisions:
    names, flags = np.array([], object), np.array([], bool)
    return _Decisions(flags, rule, PAPERS, names, names, Matches(flags, flags), UNFINISHED)
