"""The paper's claims, tested on the numbers at hand.

Each claim is a margin d that is above 0 if the claim is right. The 95 % interval of d follows from
those of its numbers, taken as independent:

    d = sum of a_i x_i        half(d)^2 = sum of (a_i half(x_i))^2

It holds if the whole interval is above 0, does not hold if the whole interval is below, and is
undecided otherwise. docs/paper.md has the formula of each claim.

Source of the claims: Orhan, arXiv 1907.07640.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..contracts import PAPERS_EPSILON, PAPERS_SOURCE, Score
from .attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX
from .metric_info import quantity_of
from .model_results import ModelResults, NumberKey
from .published.paper import printed_table, published_models
from .published.paper_deviations import is_like_papers
from .table import Table

TITLE = "Claims of the paper"
REFERENCE = "resnext101_32x8d"
"""The paper's model that is trained on ImageNet only."""

Outcome = Literal["holds", "does not hold", "undecided", "not measured"]

CLEAN: NumberKey = ("imagenet", "top1_error", {})
MCE: NumberKey = ("imagenet-c", "mce", {})
MFR: NumberKey = ("imagenet-p", "mfr", {})
BIAS: NumberKey = ("cue-conflict", "shape_bias", {"rule": "argmax", "stimuli": 1201})
TEN: NumberKey = (WHITE_BOX, UNDER_ATTACK, {"epsilon": PAPERS_EPSILON, "steps": 10})
FIFTY: NumberKey = (WHITE_BOX, UNDER_ATTACK, {"epsilon": PAPERS_EPSILON, "steps": 50})
BLACK_BOX: NumberKey = (
    TRANSFER,
    UNDER_ATTACK,
    {"epsilon": PAPERS_EPSILON, "steps": 10, "source_model": PAPERS_SOURCE},
)
_WORDS = {id(TEN): "at 10 steps", id(FIFTY): "at 50 steps"}


@dataclass(frozen=True)
class Term:
    """A number in a margin.

    Attributes:
        factor: Its factor.
        number: Which number.
        of_reference: Whether it is that of the reference; otherwise of the WSL model.
    """

    factor: float
    number: NumberKey
    of_reference: bool = False


@dataclass(frozen=True)
class Claim:
    """A claim about a WSL model.

    Attributes:
        text: The claim.
        terms: Terms of its margin.
        constant: Constant of the margin.
    """

    text: str
    terms: tuple[Term, ...]
    constant: Callable[[], float] = lambda: 0.0


def _outpaces(number: NumberKey) -> tuple[Term, ...]:
    """More than twice the gain on clean images: (r - w) - 2 (e_r - e_w)."""
    return (Term(1, number, True), Term(-1, number), Term(-2, CLEAN, True), Term(2, CLEAN))


def human_shape_bias() -> float:
    """Shape bias of humans as the paper prints it, as a fraction."""
    (percent,) = printed_table("table3").rows["Humans (Geirhos et al., 2019)"]
    return (percent or 0) / 100


CLAIMS = (
    Claim("the gain on ImageNet-C far outpaces the clean gain", _outpaces(MCE)),
    Claim("the gain on ImageNet-P far outpaces the clean gain", _outpaces(MFR)),
    Claim("white-box robustness at 10 steps collapses at 50", (Term(1, TEN), Term(-10, FIFTY))),
    Claim("more shape bias than by ImageNet training", (Term(1, BIAS), Term(-1, BIAS, True))),
    Claim(
        "far less shape bias than humans",
        (Term(1, BIAS, True), Term(-2, BIAS)),
        human_shape_bias,
    ),
    Claim("better black-box accuracy", (Term(1, BLACK_BOX), Term(-1, BLACK_BOX, True))),
)


@dataclass(frozen=True)
class ClaimResult:
    """A claim, tested on a model.

    Attributes:
        claim: The claim.
        model: Name of the WSL model in the report.
        outcome: The outcome.
        numbers: Numbers of the margin, in words; if it is not measured, what is missing.
        margin: The margin, as a fraction; ``None`` if it is not measured.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    claim: str
    model: str
    outcome: Outcome
    numbers: str
    margin: float | None = None
    low: float | None = None
    high: float | None = None


def claim_results(models: Sequence[ModelResults]) -> list[ClaimResult]:
    """Every claim on every WSL model among these; empty if there are none."""
    papers = published_models()
    reference = next((m for m in models if m.model == REFERENCE), None)
    subjects = [m for m in models if m.model in papers and m.model != REFERENCE]
    return [_result(claim, subject, reference) for claim in CLAIMS for subject in subjects]


def claim_tables(models: Sequence[ModelResults]) -> list[Table]:
    """The table of the claims; empty without a WSL model."""
    results = claim_results(models)
    if not results:
        return []
    rows = tuple((r.claim, r.model, r.outcome, r.numbers, _margin(r)) for r in results)
    notes = (
        "margin: above 0 if the claim is right, with its 95 % interval; the formulas are in "
        "docs/paper.md",
        "the claim that maximizing images of all models look alike is not computed: compare the "
        "grids that `evaluator maximize` makes",
    )
    header = ("claim", "model", "outcome", "numbers", "margin")
    return [Table(TITLE, header, rows, notes, words=(0, 1, 2, 3))]


def _margin(result: ClaimResult) -> str:
    if result.margin is None:
        return ""
    return quantity_of("margin").text(result.margin, result.low, result.high, sign="+")


def _result(claim: Claim, subject: ModelResults, reference: ModelResults | None) -> ClaimResult:
    found = list(_scores(claim, subject, reference))
    if missing := [what for _, score, what in found if score is None]:
        text = f"missing: {', '.join(dict.fromkeys(missing))}"
        return ClaimResult(claim.text, subject.name, "not measured", text)
    numbers = {what: _text(score) for _, score, what in found if score is not None}
    words = "; ".join(f"{what} {value}" for what, value in numbers.items())
    margin, half = claim.constant(), 0.0
    for term, score, _ in found:
        assert score is not None
        assert score.value is not None
        margin += term.factor * score.value
        ends = (score.low, score.high)
        width = math.inf if None in ends else (score.high or 0) - (score.low or 0)
        half = math.hypot(half, term.factor * width / 2)
    if math.isinf(half):
        words += "; a number has no interval"
        return ClaimResult(claim.text, subject.name, "undecided", words, margin)
    low, high = margin - half, margin + half
    outcome: Outcome = "holds" if low > 0 else "does not hold" if high < 0 else "undecided"
    return ClaimResult(claim.text, subject.name, outcome, words, margin, low, high)


def _scores(
    claim: Claim, subject: ModelResults, reference: ModelResults | None
) -> Iterator[tuple[Term, Score | None, str]]:
    """Each term with its number, ``None`` if it cannot be used, and the number in words."""
    for term in claim.terms:
        benchmark, metric, keys = term.number
        owner = reference if term.of_reference else subject
        title = f"{quantity_of(metric).title} {_WORDS.get(id(term.number), '')}".rstrip()
        name = REFERENCE if owner is None else owner.name
        score = None if owner is None else owner.find(benchmark, metric, **keys)
        usable = score is not None and score.value is not None
        if benchmark in (WHITE_BOX, TRANSFER) and score is not None:
            usable = usable and is_like_papers([score])
        yield term, score if usable else None, f"{title} of {name}"


def _text(score: Score) -> str:
    assert score.value is not None
    return f"{quantity_of(score.metric).text(score.value)} %"


def claims_document(models: Sequence[ModelResults]) -> list[Mapping[str, object]]:
    """The claims for programs."""
    return [dict(vars(result)) for result in claim_results(models)]
