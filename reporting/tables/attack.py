"""White-box attacks: accuracy over epsilon, and over the number of steps.

Every row says what it counts. By the paper's count, that a target drawn at random is not reached,
accuracy is far above the share of images whose label no iterate leaves. A third row says how often
the target is reached.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from ...contracts import Score, epsilon_text
from ..attack_numbers import (
    PAPERS_COUNT,
    UNDER_ATTACK,
    attack_protocol,
    curve_epsilon,
    fewest_steps,
)
from ..attack_numbers import WHITE_BOX as BENCHMARK
from ..footnotes import TableCell
from ..model_results import ModelResults, Number, ReportContents, refusals
from ..published.paper_deviations import deviation_notes
from ..table import Table
from ..table_layout import Row, table_of_rows

COUNTS = {
    "paper": {
        UNDER_ATTACK: "target not reached",
        "label_unchanged": "label never left",
        "target_reached": "target reached, of those right",
    },
    "standard": {UNDER_ATTACK: "label never left, the worst case of all attempts"},
}
"""What the metrics of each protocol count of images that are right without an attack."""

NOTES = (
    "target not reached, label never left: of all images, right without an attack, and this by no "
    "iterate so far; clean: right without an attack",
    PAPERS_COUNT,
    "whether the attack is reliable: see below",
)


def attack_tables(contents: ReportContents) -> list[Table]:
    """A table over epsilon, and one over steps; empty if no model was attacked."""
    attacked = [
        model for model in contents.with_number(BENCHMARK, "clean_accuracy") if any(_counts(model))
    ]
    if not attacked:
        return []
    models = [*attacked, *contents.published_with(BENCHMARK, UNDER_ATTACK)]
    return [*_over_epsilon(models), *_over_steps(models)]


def _over_epsilon(models: Sequence[ModelResults]) -> Iterator[Table]:
    epsilons = sorted({s.epsilon for m in models for s in _under_attack(m) if s.epsilon})
    rows, refused = [], []
    for model in models:
        steps = fewest_steps(_under_attack(model))
        for metric, count in _counts(model):
            cells = [model.cell(model.find(BENCHMARK, "clean_accuracy"), interval=False)]
            cells += [_cell(model, metric, epsilon, steps) for epsilon in epsilons]
            rows.append(Row((model.name, count, str(steps)), cells))
        refused += _refused(model, epsilons, [steps])
    if rows and epsilons:
        header = ("model", "what is counted", "steps", "clean %")
        yield table_of_rows(
            "White-box attack over epsilon: still right, %",
            (*header, *map(epsilon_text, epsilons)),
            rows,
            [*NOTES, *deviation_notes(models, BENCHMARK), *refused],
        )


def _over_steps(models: Sequence[ModelResults]) -> Iterator[Table]:
    step_counts = sorted({s.steps for m in models for s in _under_attack(m) if s.steps})
    rows, refused = [], []
    for model in models:
        epsilon = curve_epsilon(_under_attack(model))
        for metric, count in _counts(model):
            cells = [_cell(model, metric, epsilon, steps) for steps in step_counts]
            if any(map(str, cells)):
                rows.append(Row((model.name, count, epsilon_text(epsilon)), cells))
        refused += _refused(model, [epsilon], step_counts)
    if rows and len(step_counts) > 1:
        header = ("model", "what is counted", "epsilon")
        yield table_of_rows(
            "White-box attack over steps: still right, %",
            (*header, *map(str, step_counts)),
            rows,
            [*NOTES, *deviation_notes(models, BENCHMARK), *refused],
        )


def _refused(model: ModelResults, epsilons: Sequence[float], counts: Sequence[int]) -> list[str]:
    numbers: list[Number] = [(BENCHMARK, "clean_accuracy", {})]
    for metric, epsilon, steps in product(COUNTS["paper"], epsilons, counts):
        numbers.append((BENCHMARK, metric, {"epsilon": epsilon, "steps": steps}))
    return refusals([model], numbers)


def _under_attack(model: ModelResults) -> Iterator[Score]:
    yield from model.of(BENCHMARK, UNDER_ATTACK)


def _counts(model: ModelResults) -> Iterator[tuple[str, str]]:
    """Metrics of a model's attack, and what they count; none of an unknown protocol."""
    protocol = attack_protocol(_under_attack(model))
    for metric, count in ({} if protocol is None else COUNTS[protocol.name]).items():
        if any(model.of(BENCHMARK, metric)):
            yield metric, count


def _cell(model: ModelResults, metric: str, epsilon: float, steps: int) -> TableCell:
    return model.cell(model.find(BENCHMARK, metric, epsilon=epsilon, steps=steps), interval=False)
