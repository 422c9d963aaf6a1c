"""Attacks that were made on one model and are classified by others: what these still get right.

A number of a transferred attack says nothing where the attack did not fool the model that it was
made on. So beneath each model stands what the attack made of its source, and a note warns where
that is much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...contracts import Score, epsilon_text
from ..footnotes import TableCell, percent
from ..model_results import ModelResults, Number, ReportContents, refusals
from ..published.paper_deviations import deviation_notes
from ..table import Table
from ..table_layout import Row, table_of_rows
from .attack import CURVE_EPSILON

BENCHMARK = "transfer"
WEAK = 0.1
"""An attack that leaves its source right more often is weaker than the paper's.

Source: Orhan, arXiv 1907.07640: below 10 % at epsilon 0.01.
"""

COUNTS = {
    "accuracy_under_attack": "right on the transferred image",
    "label_unchanged": "right with and without the attack",
}
OF_SOURCE = {
    "paper": "under its own attack: target not reached",
    "standard": "under its own attack: label never left",
}
"""Of each protocol, what is counted of the model that was attacked."""

PROTOCOL = "transfer-1-"
OF_PROTOCOL = {
    "paper": "by the paper's count, where the drawn target was not reached on {source}, the clean "
    "image is classified: an attack that fails on its source leaves all others as they were",
    "last-paper": "unlike in the paper, the last iterate of every attempt is classified, whether "
    "or not the drawn target was reached on {source}",
    "standard": "by the standard count the attack leads away from the label, and the last iterate "
    "of every attempt is classified",
    "first-hit-standard": "the first iterate that leaves the label on {source} is classified, "
    "which hardly fools another model; where none does, the clean image",
}
"""Of each protocol, and where it hands on another image than its own, what is classified."""

PAPERS_SOURCE = (
    "as published: of its source the paper says only that it is right on fewer than 10 % at "
    "epsilon 0.01"
)


CLEAN = {
    "accuracy_under_attack": "clean_accuracy",
    "label_unchanged": "clean_accuracy",
    "source_accuracy": "source_clean_accuracy",
}
"""What each number is where there is no attack."""

EMPTY, NOT_KNOWN = TableCell(), TableCell("not known")

Place = dict[str, object]
"""Epsilon and count of steps of a number; empty without an attack."""


@dataclass(frozen=True)
class _Line:
    """A model's numbers from left to right.

    Attributes:
        model: Whose.
        word: What all of them have in common, the steps or the epsilon.
        places: Where they are.
    """

    model: ModelResults
    word: str
    places: Sequence[Place]


@dataclass(frozen=True)
class Transferred:
    """Attacks on one model, classified by others.

    Attributes:
        source: The model that was attacked.
        own_models: The user's models that classify the images.
        published: The paper's, where it attacked the same model.
    """

    source: str
    own_models: Sequence[ModelResults]
    published: Sequence[ModelResults]

    @property
    def models(self) -> list[ModelResults]:
        """The user's first."""
        return [*self.own_models, *self.published]

    def of(self, model: ModelResults, metric: str) -> Iterator[Score]:
        """All of a model's numbers of one metric."""
        for score in model.of(BENCHMARK, metric):
            if score.source_model == self.source:
                yield score

    def find(self, model: ModelResults, metric: str, **place: object) -> Score | None:
        """The number at an epsilon after a count of steps; without both, that of no attack."""
        benchmark, name, keys = self.number(metric, **place)
        return model.find(benchmark, name, **keys)

    def number(self, metric: str, **place: object) -> Number:
        """Which one that is."""
        name = metric if place else CLEAN[metric]
        return BENCHMARK, name, {**place, "source_model": self.source}

    def cells(self, line: _Line, metric: str, missing: TableCell = EMPTY) -> list[TableCell]:
        """A line of one metric; ``missing`` where a number is not there that should be."""
        cells = []
        for place in line.places:
            under = self.find(line.model, "accuracy_under_attack", **place)
            score = self.find(line.model, metric, **place)
            absent = score is None and under is not None
            cells.append(missing if absent else line.model.cell(score, interval=False))
        return cells

    def fewest_steps(self, model: ModelResults) -> int:
        """Of a model's attack, for what is shown over epsilon."""
        found = self.of(model, "accuracy_under_attack")
        return min((score.steps or 0 for score in found), default=0)

    def curve_epsilon(self, model: ModelResults) -> float:
        """Of a model's attack, for what is shown over steps: the paper's, or the largest."""
        found = {s.epsilon for s in self.of(model, "accuracy_under_attack") if s.epsilon}
        return CURVE_EPSILON if CURVE_EPSILON in found else max(found, default=0.0)

    def protocol(self, model: ModelResults) -> str:
        """``paper`` or ``standard``."""
        return next(
            (
                str(score.protocol).rpartition("-")[2]
                for score in self.of(model, "accuracy_under_attack")
            ),
            "",
        )


def transferred(contents: ReportContents) -> Iterator[Transferred]:
    """Each model that was attacked for others."""
    models = contents.with_number(BENCHMARK, "accuracy_under_attack")
    scores = [
        score for results in models for score in results.of(BENCHMARK, "accuracy_under_attack")
    ]
    for source in dict.fromkeys(score.source_model for score in scores):
        if source is not None:
            yield Transferred(source, _of(models, source), _of(contents.published, source))


def _of(models: Sequence[ModelResults], source: str) -> list[ModelResults]:
    return [
        results
        for results in models
        if any(s.source_model == source for s in results.of(BENCHMARK, "accuracy_under_attack"))
    ]


def transfer_tables(contents: ReportContents) -> list[Table]:
    """For each source a table over epsilon, and one over steps where there are several counts."""
    return [
        table for of in transferred(contents) for table in (*_over_epsilon(of), *_over_steps(of))
    ]


def _over_epsilon(of: Transferred) -> Iterator[Table]:
    scores = [s for model in of.models for s in of.of(model, "accuracy_under_attack")]
    epsilons = sorted({score.epsilon for score in scores if score.epsilon})
    lines = []
    for model in of.models:
        steps = of.fewest_steps(model)
        places: list[Place] = [{"epsilon": epsilon, "steps": steps} for epsilon in epsilons]
        lines.append(_Line(model, str(steps), [{}, *places]))
    if epsilons:
        header = ("steps", "clean %", *map(epsilon_text, epsilons))
        yield _table(of, "epsilon", header, lines)


def _over_steps(of: Transferred) -> Iterator[Table]:
    scores = [s for model in of.own_models for s in of.of(model, "accuracy_under_attack")]
    counts = sorted({score.steps for score in scores if score.steps})
    lines = []
    for model in of.models:
        epsilon = of.curve_epsilon(model)
        places: list[Place] = [{"epsilon": epsilon, "steps": steps} for steps in counts]
        lines.append(_Line(model, epsilon_text(epsilon), places))
    if len(counts) > 1:
        yield _table(of, "steps", ("epsilon", *map(str, counts)), lines)


def _table(of: Transferred, over: str, header: Sequence[str], lines: Sequence[_Line]) -> Table:
    return table_of_rows(
        f"Attack transferred from {of.source} over {over}: still right, %",
        ("model", "what is counted", *header),
        [row for line in lines for row in _rows(of, line)],
        (
            *_warnings(of, lines),
            *deviation_notes(of.own_models, BENCHMARK),
            *_notes(of),
            *_refusals(of, lines),
        ),
    )


def _rows(of: Transferred, line: _Line) -> Iterator[Row]:
    """What the model still gets right, by each count; beneath it its source, where it is known."""
    for metric, count in COUNTS.items():
        if any(of.of(line.model, metric)):
            yield Row((line.model.name, count, line.word), of.cells(line, metric))
    if line.model in of.own_models:
        count = OF_SOURCE.get(of.protocol(line.model), "under its own attack")
        cells = of.cells(line, "source_accuracy", NOT_KNOWN)
        yield Row((f"{of.source} itself", count, line.word), cells)


def _notes(of: Transferred) -> Iterator[str]:
    yield (
        f"all are shares of all images; the attack was made on {of.source}, whose own accuracy "
        "under it stands beneath each model"
    )
    scores = [score for m in of.models for score in of.of(m, "accuracy_under_attack")]
    for protocol in dict.fromkeys(str(score.protocol) for score in scores):
        if (name := protocol.removeprefix(PROTOCOL)) in OF_PROTOCOL:
            yield OF_PROTOCOL[name].format(source=of.source)
    if of.published:
        yield PAPERS_SOURCE


def _warnings(of: Transferred, lines: Sequence[_Line]) -> Iterator[str]:
    """Where the attack is weaker on its own source than the paper's, models that share it once."""
    models: dict[str, list[str]] = {}
    for line in lines:
        scores = [of.find(line.model, "source_accuracy", **place) for place in line.places if place]
        if text := weakness(of.source, [score for score in scores if score is not None]):
            models.setdefault(text, []).append(line.model.name)
    for text, names in models.items():
        yield f"{', '.join(names)}: {text}"


def weakness(source: str, scores: Sequence[Score]) -> str:
    """A warning of an attack that leaves its source right; empty where it does not.

    Args:
        source: The model that was attacked.
        scores: Its accuracy under its own attack, at some epsilons after some steps.
    """
    weak = [
        f"{percent(score.value, None, None)} % of the images at epsilon "
        f"{epsilon_text(score.epsilon or 0)} ({score.steps} steps)"
        for score in scores
        if score.value is not None and score.value > WEAK
    ]
    if not weak:
        return ""
    return (
        f"warning: the attack leaves {source} itself right on {', '.join(weak)} (the paper's "
        "source: below 10 % at epsilon 0.01): what does not fool its source cannot be expected to "
        "fool another model"
    )


def _refusals(of: Transferred, lines: Sequence[_Line]) -> Iterator[str]:
    """Why numbers were refused."""
    for line in lines:
        numbers = [of.number(metric, **place) for metric in CLEAN for place in line.places]
        yield from refusals([line.model], numbers)
