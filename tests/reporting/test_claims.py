"""The paper's claims: its own numbers confirm them, reversed and uncertain ones do not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from evaluator.contracts import Score
from evaluator.reporting.claims import CLAIMS, REFERENCE, claim_results, claim_tables
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.paper import published_models, published_scores

WSL = [model for model in published_models() if model != REFERENCE]
Change = Callable[[Score], Score]


def unchanged(score: Score) -> Score:
    return score


def results(model: str, half: float, change: Change = unchanged) -> ModelResults:
    """The paper's numbers of a model, as if they were a user's, with intervals."""
    scores = []
    for score in map(change, published_scores(model)):
        if score.value is not None:
            score = replace(score, low=score.value - half, high=score.value + half)
        scores.append(score)
    return ModelResults(model, model, tuple(scores))


def all_models(half: float, change: Change = unchanged) -> list[ModelResults]:
    return [results(model, half, change) for model in published_models()]


def test_every_claim_holds_for_the_papers_numbers() -> None:
    outcomes = claim_results(all_models(0.003))
    assert len(outcomes) == len(CLAIMS) * len(WSL)
    assert {(r.claim, r.model): r.outcome for r in outcomes if r.outcome != "holds"} == {}


def test_wide_intervals_leave_them_undecided() -> None:
    assert {result.outcome for result in claim_results(all_models(0.6))} == {"undecided"}


def test_without_intervals_they_are_undecided() -> None:
    models = [ModelResults(m, m, tuple(published_scores(m))) for m in published_models()]
    assert {result.outcome for result in claim_results(models)} == {"undecided"}


def test_the_margins_are_those_of_the_formulas() -> None:
    by_claim = {r.claim: r for r in claim_results(all_models(0.001)) if r.model == WSL[-1]}
    collapse = by_claim["white-box robustness at 10 steps collapses at 50"]
    assert collapse.margin == pytest.approx(0.297 - 10 * 0.0004, abs=0.001)
    assert collapse.high is not None
    assert collapse.margin is not None
    assert collapse.high - collapse.margin == pytest.approx(0.001 * (1 + 100) ** 0.5)
    gain = by_claim["the gain on ImageNet-C far outpaces the clean gain"]
    assert gain.margin == pytest.approx((0.666 - 0.457) - 2 * (0.854 - 0.793), abs=0.002)


@pytest.mark.parametrize("claim", [claim.text for claim in CLAIMS])
def test_reversed_numbers_do_not_confirm_a_claim(claim: str) -> None:
    """Models in the place of each other: the reference has the numbers of the best model."""
    best = WSL[-1]

    def named(model: str, name: str, change: Change = unchanged) -> ModelResults:
        return replace(results(model, 0.0005, change), name=name, model=name)

    def never_collapses(score: Score) -> Score:
        is_fifty = score.benchmark == "whitebox" and score.steps == 50
        return replace(score, value=0.3) if is_fifty else score

    def human(score: Score) -> Score:
        return replace(score, value=0.96) if score.metric == "shape_bias" else score

    change = human if "humans" in claim else never_collapses
    outcomes = {
        r.claim: r for r in claim_results([named(best, REFERENCE), named(REFERENCE, best, change)])
    }
    assert outcomes[claim].outcome == "does not hold"


def test_what_is_missing_is_named() -> None:
    (collapse,) = [r for r in claim_results([results(WSL[0], 0.01)]) if "collapses" in r.claim]
    assert collapse.outcome == "holds"  # needs no reference
    (bias, *_) = [r for r in claim_results([results(WSL[0], 0.01)]) if "shape" in r.claim]
    assert (bias.outcome, bias.numbers) == ("not measured", f"missing: shape bias of {REFERENCE}")


def test_another_attack_says_nothing_of_the_claim() -> None:
    def larger_steps(score: Score) -> Score:
        return replace(score, step_size=0.1) if score.benchmark == "whitebox" else score

    outcomes = claim_results(all_models(0.003, larger_steps))
    assert {r.outcome for r in outcomes if "collapses" in r.claim} == {"not measured"}


def test_other_models_have_no_table() -> None:
    assert claim_tables([replace(results(WSL[0], 0.01), model="resnet50")]) == []
    (table,) = claim_tables([results(WSL[0], 0.01)])
    assert len(table.rows) == len(CLAIMS)
