"""The numbers of the cue-conflict stimuli: by two rules, on two sets of them, with their intervals.

The first that is shown is by the mean over the 1200, as Geirhos et al. recommend; by the argmax
over the 1201 it stands beside the paper's models.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import AuxiliaryRecords, Condition, Difference, Score
from ..metrics.shape_bias import RULES, Matches, decided, frac_correct, shape_bias
from ..metrics.two_way import Crossed, Ratio, crossed, difference_interval, ratio_interval
from .categories import CATEGORIES
from .pairs import check_same_images
from .plain_images import CLEAN, UNFINISHED
from .score_fields import difference_fields, interval_fields
from .top5 import ALL_SKIPPED

Records = Mapping[Condition, pa.Table]
Flags = npt.NDArray[np.bool_]
Number = Callable[[Matches], Ratio]

LEFTOVER = "bicycle6-bicycle3.png"
"""The one image of the paper's 1201 whose shape and texture are of one category."""

STANDARD, PAPERS = 1200, 1201
"""The number of stimuli without non-conflict images, and with the one that the paper has."""

NOT_THERE = (
    f"{LEFTOVER} is not there, the one non-conflict image among the paper's 1201: score a tree "
    "that has it"
)
UNDECIDED = "no image was decided for its shape or its texture"

METRICS: Mapping[str, Number] = {
    "shape_bias": shape_bias,
    "decided": decided,
    "frac_correct": frac_correct,
}
"""Of a whole set."""

CATEGORY_METRICS: Mapping[str, Number] = {
    "category_shape_bias": shape_bias,
    "category_decided": decided,
}
"""Of the stimuli of one category of shapes."""


@dataclass(frozen=True)
class _Decisions:
    """What was decided by one rule for the N stimuli of a set.

    Attributes:
        of: The rule and the number of stimuli that the set has.
        ids: (N,).
        shape: Their category by shape: (N,).
        matches: What the decisions match; nothing where a stimulus was skipped.
        scored: Whether it was not: (N,).
        refusal: Why there are no numbers, if so.
    """

    of: tuple[str, int]
    ids: npt.NDArray[np.object_]
    shape: npt.NDArray[np.object_]
    matches: Matches
    scored: Flags
    refusal: str | None = None

    def take(self, rows: Flags) -> Self:
        """Some of them."""
        matches = Matches(self.matches.shape[rows], self.matches.texture[rows])
        return replace(
            self,
            ids=self.ids[rows],
            shape=self.shape[rows],
            matches=matches,
            scored=self.scored[rows],
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What any of their numbers says of itself."""
        rule, stimuli = self.of
        n = int(np.count_nonzero(self.scored))
        skipped = self.scored.size - n
        refusal = self.refusal or (None if n else ALL_SKIPPED)
        return {
            "rule": rule,
            "stimuli": stimuli,
            "n": n,
            "skipped": skipped,
            "complete": n == stimuli,
            "reason": refusal,
        }

    @property
    def exemplars(self) -> Crossed:
        """Which shape and which texture each shows, by its name."""
        parts = [name.removesuffix(".png").split("-") for name in self.ids.tolist()]
        return crossed([shape for shape, _ in parts], [texture for _, texture in parts])


def shape_bias_scores(records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
    """Three numbers by each rule on each set, then two of each category of shapes."""
    sets = _sets(records.get(CLEAN))
    for those in sets:
        facts, there = Score(**those.facts), those.take(those.scored)
        for metric, ratio in METRICS.items():
            yield replace(facts, metric=metric, **_value(facts.reason, ratio, there))
    for those in sets:
        for category in CATEGORIES:
            yield from _category_scores(category, those)


def _category_scores(category: str, those: _Decisions) -> Iterator[Score]:
    """The bias over the stimuli of one category of shapes, and how many of them were decided."""
    whole = Score(**those.facts)
    of_it = those.take(those.shape == category)
    facts = replace(
        whole,
        category=category,
        n=int(np.count_nonzero(of_it.scored)),
        skipped=int(np.count_nonzero(~of_it.scored)),
    )
    there = of_it.take(of_it.scored)
    for metric, number in CATEGORY_METRICS.items():
        yield replace(facts, metric=metric, **_value(facts.reason, number, there))


def _value(refusal: str | None, number: Number, there: _Decisions) -> dict[str, Any]:
    ratio = number(there.matches)
    if refusal or not ratio.below.any():
        return {"reason": refusal or UNDECIDED}
    return {"value": ratio.value, **interval_fields(ratio_interval(ratio, there.exemplars))}


def shape_bias_differences(
    a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
) -> Iterator[Difference]:
    """The same three numbers of two models, over the stimuli that both scored.

    Raises:
        InputError: If they are not of the same stimuli.
    """
    table_a, table_b = a.get(CLEAN), b.get(CLEAN)
    if table_a is None or table_b is None:
        table_a = table_b = None
    else:
        check_same_images(table_a, table_b)
    for of_a, of_b in zip(_sets(table_a), _sets(table_b), strict=True):
        both = of_a.scored & of_b.scored
        of_a, of_b = replace(of_a, scored=both), replace(of_b, scored=both)
        for metric, number in METRICS.items():
            yield replace(_difference(number, of_a, of_b), metric=metric)


def _difference(number: Number, a: _Decisions, b: _Decisions) -> Difference:
    facts = Difference(**a.facts)
    there_a, there_b = a.take(a.scored), b.take(b.scored)
    of_a, of_b = number(there_a.matches), number(there_b.matches)
    if facts.reason or not (of_a.below.any() and of_b.below.any()):
        return replace(facts, reason=facts.reason or UNDECIDED)
    interval = difference_interval(of_a, of_b, there_a.exemplars)
    return replace(facts, **difference_fields(of_a.value, of_b.value, interval))


def _sets(table: pa.Table | None) -> list[_Decisions]:
    """By each rule the standard stimuli, then the paper's."""
    found = []
    for rule in RULES:
        papers = _nothing(rule) if table is None else _papers(table, rule)
        refusal = papers.refusal if table is None else None
        standard = replace(papers, of=(rule, STANDARD), refusal=refusal)
        found += [standard.take(papers.ids != LEFTOVER), papers]
    return found


def _papers(table: pa.Table, rule: str) -> _Decisions:
    """The paper's stimuli: all that are recorded."""
    ids, shape, texture, decision = (
        table[name].to_numpy() for name in ("id", "shape", "texture", rule)
    )
    scored = table["error"].is_null().to_numpy()
    matches = Matches(scored & (decision == shape), scored & (decision == texture))
    refusal = None if LEFTOVER in ids else NOT_THERE
    return _Decisions((rule, PAPERS), ids, shape, matches, scored, refusal)


def _nothing(rule: str) -> _Decisions:
    names, flags = np.array([], object), np.array([], bool)
    return _Decisions((rule, PAPERS), names, names, Matches(flags, flags), flags, UNFINISHED)
