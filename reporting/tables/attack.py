"""White-box attacks: what is still right over epsilon, and over the number of steps.

What is counted stands in every row: the paper's count, that a target drawn at random was not
reached, is far above the share of images whose label was never left. Beside both stands how often
the target was reached at all.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from ...contracts import Score, epsilon_text
from ..footnotes import TableCell
from ..model_results import ModelResults, Number, ReportContents, refusals
from ..published.paper_deviations import deviation_notes
from ..table import Table
from ..table_layout import Row, table_of_rows

BENCHMARK = "whitebox"
CURVE_EPSILON = 0.06
"""Of the paper's curve over steps; where it is not there, the largest that is stands for it."""

COUNTS = {
    "paper": {
        "accuracy_under_attack": "target not reached",
        "label_unchanged": "label never left",
        "target_reached": "target reached, of those right",
    },
    "standard": {"accuracy_under_attack": "label never left, the worst case of all attempts"},
}
"""Of each protocol, what its numbers count beside that an image is right without an attack."""

NOTES = (
    "target not reached, label never left: of all images, right without an attack, and this by no "
    "iterate so far; clean: right without an attack",
    "the paper counts that its target was not reached, a wrong class drawn at random: that is no "
    "accuracy against an adversary",
    "how the attack was made, and whether it can be believed, stands below",
)


def attack_tables(contents: ReportContents) -> list[Table]:
    """A table over epsilon, and one over steps."""
    attacked = contents.with_number(BENCHMARK, "clean_accuracy")
    if not attacked:
        return []
    models = [*attacked, *contents.published_with(BENCHMARK, "accuracy_under_attack")]
    return [*_over_epsilon(models), *_over_steps(models)]


def _over_epsilon(models: Sequence[ModelResults]) -> Iterator[Table]:
    epsilons = sorted({s.epsilon for m in models for s in _under_attack(m) if s.epsilon})
    rows, refused = [], []
    for model in models:
        steps = min((score.steps or 0 for score in _under_attack(model)), default=0)
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
            _notes(models, refused),
        )


def _over_steps(models: Sequence[ModelResults]) -> Iterator[Table]:
    counts = sorted({s.steps for m in models for s in _under_attack(m) if s.steps})
    rows, refused = [], []
    for model in models:
        found = sorted({s.epsilon for s in _under_attack(model) if s.epsilon})
        epsilon = CURVE_EPSILON if CURVE_EPSILON in found else max(found, default=0.0)
        for metric, count in _counts(model):
            cells = [_cell(model, metric, epsilon, steps) for steps in counts]
            if any(map(str, cells)):
                rows.append(Row((model.name, count, epsilon_text(epsilon)), cells))
        refused += _refused(model, [epsilon], counts)
    if rows and len(counts) > 1:
        header = ("model", "what is counted", "epsilon")
        yield table_of_rows(
            "White-box attack over steps: still right, %",
            (*header, *map(str, counts)),
            rows,
            _notes(models, refused),
        )


def _notes(models: Sequence[ModelResults], refused: Sequence[str]) -> list[str]:
    """What is counted, in what attacks are not the paper's, and why numbers were refused."""
    return [*NOTES, *deviation_notes(models, BENCHMARK), *refused]


def _refused(model: ModelResults, epsilons: Sequence[float], counts: Sequence[int]) -> list[str]:
    numbers: list[Number] = [(BENCHMARK, "clean_accuracy", {})]
    for metric in COUNTS["paper"]:
        for epsilon, steps in product(epsilons, counts):
            numbers.append((BENCHMARK, metric, {"epsilon": epsilon, "steps": steps}))
    return refusals([model], numbers)


def _under_attack(model: ModelResults) -> Iterator[Score]:
    yield from model.of(BENCHMARK, "accuracy_under_attack")


def _counts(model: ModelResults) -> Iterator[tuple[str, str]]:
    """The metrics of a model's attack, and what they count."""
    protocol = next((str(score.protocol) for score in _under_attack(model)), "")
    for metric, count in COUNTS.get(protocol.rpartition("-")[2], {}).items():
        if any(model.of(BENCHMARK, metric)):
            yield metric, count


def _cell(model: ModelResults, metric: str, epsilon: float, steps: int) -> TableCell:
    return model.cell(model.find(BENCHMARK, metric, epsilon=epsilon, steps=steps), interval=False)
