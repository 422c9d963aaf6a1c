"""The first part of the page: for each model the numbers that people ask for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...contracts import Score, epsilon_text
from ..attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX, curve_epsilon
from ..footnotes import interval_text, legend
from ..metric_info import quantity_of
from ..model_results import ModelResults, NumberKey, keys_of
from ..published.paper_deviations import is_like_papers
from ..tables.summary import COLUMNS
from .cells import Places, describe
from .contents import PageContents

ASKED: tuple[NumberKey, ...] = (
    *COLUMNS,
    ("cue-conflict", "shape_bias", {"rule": "argmax", "stimuli": 1201}),
    ("imagenet-a", "accuracy", {}),
)
"""Numbers of every model that are asked for; those of attacks depend on their epsilons."""

_ATTACKS = {WHITE_BOX: "white-box attack", TRANSFER: "attack made on"}


@dataclass(frozen=True)
class Fact:
    """A number of a model.

    Attributes:
        name: Name of the number.
        value: Value with its unit, or ``refused``.
        interval: Interval; empty if there is none.
        reason: Why the number is refused; empty if it is not.
        published: Published number; empty if there is none.
        marks: Meaning of each mark.
        panel: Id of the panel on its run.
        what: Description of the number.
    """

    name: str
    value: str
    interval: str
    reason: str
    published: str
    marks: tuple[str, ...]
    panel: str
    what: str


@dataclass(frozen=True)
class Card:
    """A model in the summary.

    Attributes:
        name: Name of the model in the report.
        index: Index of the model.
        details: Weights, engine and preprocessing.
        marks: Meaning of the marks that all its numbers share.
        facts: Numbers of the model, with the other marks.
    """

    name: str
    index: int
    details: str
    marks: tuple[str, ...]
    facts: tuple[Fact, ...]


def summary_cards(contents: PageContents, places: Places) -> list[Card]:
    """The models, each with the numbers that people ask for."""
    return [
        _card(contents, index, results, places) for index, results in enumerate(contents.models)
    ]


def _card(contents: PageContents, index: int, results: ModelResults, places: Places) -> Card:
    facts = list(_facts(contents, results, places))
    marked = [fact.marks for fact in facts if not fact.reason]
    shared = tuple(m for m in marked[0] if all(m in marks for marks in marked)) if marked else ()
    own = (replace(f, marks=tuple(m for m in f.marks if m not in shared)) for f in facts)
    return Card(results.name, index, _details(results), shared, tuple(own))


def _details(results: ModelResults) -> str:
    score = results.scores[0] if results.scores else Score()
    parts = [score.weights, f"{score.engine} {score.precision}", f"{score.crop_px} px"]
    return ", ".join(filter(str.strip, parts))


def _facts(contents: PageContents, results: ModelResults, places: Places) -> Iterator[Fact]:
    published = contents.published.get(results.name)
    scores = [results.find(benchmark, metric, **keys) for benchmark, metric, keys in ASKED]
    for score in (*filter(None, scores), *_under_attack(results)):
        yield _fact(contents, results, score, published, places)


def _under_attack(results: ModelResults) -> Iterator[Score]:
    """Accuracy at the paper's epsilon or the largest, at the fewest and at the most steps."""
    for benchmark in (WHITE_BOX, TRANSFER):
        sources = dict.fromkeys(s.source_model for s in results.of(benchmark, UNDER_ATTACK))
        for source in sources:
            scores = [
                s for s in results.of(benchmark, UNDER_ATTACK)
                if s.source_model == source and s.attack_protocol is not None
            ]  # fmt: skip
            epsilon = curve_epsilon(scores)
            at_epsilon = sorted(
                (s for s in scores if s.epsilon == epsilon), key=lambda s: s.steps or 0
            )
            yield from dict.fromkeys((*at_epsilon[:1], *at_epsilon[-1:]))


def _fact(
    contents: PageContents,
    results: ModelResults,
    score: Score,
    published: ModelResults | None,
    places: Places,
) -> Fact:
    quantity, cell = quantity_of(score.metric), results.cell(score)
    value, interval = "refused", ""
    if score.value is not None:
        value = f"{quantity.text(score.value)} {quantity.unit}".strip()
        if score.low is not None and score.high is not None:
            scale = 100 if quantity.unit == "%" else 1
            form = ".1f" if quantity.unit == "%" else ".2f"
            interval = " to ".join(
                interval_text(end, None, None, form, scale) for end in (score.low, score.high)
            )
    return Fact(
        _name(score),
        value,
        interval,
        score.reason or "" if score.value is None else "",
        _published(contents, score, published),
        tuple(line[2:].partition("; how they deviate")[0] for line in legend([cell])),
        places.panel(score),
        describe(score),
    )


def _name(score: Score) -> str:
    title = quantity_of(score.metric).title
    if score.epsilon is None:
        rule = f", rule {score.rule} over {score.stimuli:,}" if score.rule and score.stimuli else ""
        benchmark = " on ImageNet-A" if score.benchmark == "imagenet-a" else ""
        return f"{title}{rule}{benchmark}"
    source = f" {score.source_model}" if score.source_model else ""
    attack = f"{_ATTACKS[score.benchmark]}{source}"
    return f"accuracy under {attack}, epsilon {epsilon_text(score.epsilon)}, {score.steps} steps"


def _published(contents: PageContents, score: Score, published: ModelResults | None) -> str:
    """The published number of the same metric and keys, else that published with the weights.

    An attack that is not made as in the paper has none.
    """
    quantity = quantity_of(score.metric)
    is_attack = score.benchmark in _ATTACKS
    if published is not None and (not is_attack or is_like_papers([score])):
        for other in published.of(score.benchmark, score.metric):
            if keys_of(other) == keys_of(score) and other.value is not None:
                return f"{quantity.text(other.value)} {quantity.unit}".strip()
    top1 = contents.published_top1.get(score.run)
    if score.metric == "top1_error" and top1 is not None:
        return f"{quantity.text(top1)} {quantity.unit}".strip()
    return ""
