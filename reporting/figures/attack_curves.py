"""What a figure of attacks is of: panels, and the curves of each.

The panels are the paper's Figure 1: accuracy over epsilon under attacks that were made on another
model, over epsilon under attacks on the model itself, and over the number of steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...contracts import Score, epsilon_text
from ..attack_numbers import (
    TRANSFER,
    UNDER_ATTACK,
    WHITE_BOX,
    attack_protocol,
    curve_epsilon,
    fewest_steps,
)
from ..model_results import ModelResults, ReportContents
from ..published.paper_deviations import is_like_papers

MOST_TICKS = 6
COUNTED = {
    (WHITE_BOX, "paper"): "right, target not reached",
    (WHITE_BOX, "standard"): "right, label never left",
    (TRANSFER, "paper"): "right on the transferred image",
    (TRANSFER, "standard"): "right on the transferred image",
}
"""What accuracy under attack is, by benchmark and protocol."""


@dataclass(frozen=True)
class Curve:
    """A model's numbers over epsilon or over steps.

    Attributes:
        results: The model, or of a source's curve the model that its attack was tried on.
        scores: By ascending epsilon or steps; over epsilon the one without an attack comes first.
        over_steps: Which of both.
    """

    results: ModelResults
    scores: tuple[Score, ...]
    over_steps: bool = False

    @property
    def protocol(self) -> str:
        """``paper`` or ``standard``; empty if the protocol is unknown."""
        protocol = attack_protocol(self.scores[-1:])
        return "" if protocol is None else protocol.name

    @property
    def counted(self) -> str:
        """What its accuracy under attack is."""
        return COUNTED.get((self.scores[-1].benchmark, self.protocol), "still right")

    @property
    def fixed(self) -> str:
        """What all its numbers have in common: their steps, or their epsilon."""
        last = self.scores[-1]
        return (
            f"epsilon {epsilon_text(last.epsilon or 0)}"
            if self.over_steps
            else f"{last.steps} steps"
        )

    @property
    def under_attack(self) -> list[Score]:
        """Without the one of no attack."""
        return [score for score in self.scores if score.epsilon]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Epsilon or steps, and %."""
        return [(x, 100 * score.value) for x, score in self._valued if score.value is not None]

    @property
    def band(self) -> list[tuple[float, float, float]]:
        """Epsilon or steps, and both ends of the interval in %, where there is one."""
        return [
            (x, 100 * score.low, 100 * score.high)
            for x, score in self._valued
            if score.low is not None and score.high is not None
        ]

    @property
    def _valued(self) -> list[tuple[float, Score]]:
        of = ((s.steps if self.over_steps else s.epsilon, s) for s in self.scores)
        return [(x or 0, score) for x, score in of if score.value is not None]


@dataclass(frozen=True)
class Panel:
    """One of a figure's axes.

    Attributes:
        attack: What it is.
        fixed: The steps or the epsilon of its curves.
        curves: Accuracy under attack, of the user's models.
        unchanged: How often no iterate left the label, of those of which something else is counted.
        sources: Of the models that the attack was made on; one a transferred attack.
        published: The paper's curves.
        source: The model that the attack was made on, where it is another one.
        over_steps: Whether it is over steps, and not over epsilon.
    """

    attack: str
    fixed: str
    curves: Sequence[Curve]
    unchanged: Sequence[Curve] = ()
    sources: Sequence[Curve] = ()
    published: Sequence[Curve] = ()
    source: str | None = None
    over_steps: bool = False

    @property
    def ticks(self) -> list[float]:
        """The counts of steps, where it is over them and they are few."""
        counts = sorted({x for curve in (*self.curves, *self.published) for x, _ in curve.points})
        return counts if self.over_steps and len(counts) <= MOST_TICKS else []

    @property
    def counted(self) -> str:
        """What all its curves count, or that they count different things."""
        found = {curve.counted for curve in self.curves}
        return found.pop() if len(found) == 1 else "still right, as counted by each"

    def own_words(self, curve: Curve) -> str:
        """What must be said of one of its curves, since it does not hold for all of them."""
        of_all = [{c.counted for c in self.curves}, {c.fixed for c in self.curves}]
        own = zip((curve.counted, curve.fixed), of_all, strict=True)
        return ", ".join(word for word, words in own if len(words) > 1)


def panels_of(contents: ReportContents) -> list[Panel]:
    """Those that there are numbers for."""
    sources = dict.fromkeys(
        score.source_model
        for results in contents.models
        for score in results.of(TRANSFER, UNDER_ATTACK)
    )
    panels = [_over_epsilon(contents, _Attack(TRANSFER, source)) for source in sources]
    panels += [
        _over_epsilon(contents, _Attack(WHITE_BOX)),
        _over_steps(contents, _Attack(WHITE_BOX)),
    ]
    return [panel for panel in panels if panel.curves]


@dataclass(frozen=True)
class _Attack:
    """Which numbers are of it."""

    benchmark: str
    source: str | None = None

    def of(self, results: ModelResults, metric: str) -> list[Score]:
        """All of a metric that have a value."""
        return [
            score
            for score in results.of(self.benchmark, metric)
            if score.source_model == self.source and score.value is not None
        ]

    def over_epsilon(
        self, models: Iterable[ModelResults], metric: str, clean: str = "clean_accuracy"
    ) -> list[Curve]:
        """By the fewest steps of each; those without an attack first."""
        curves = []
        for results in models:
            found = [score for score in self.of(results, metric) if score.epsilon]
            steps = fewest_steps(found)
            at = sorted((s for s in found if s.steps == steps), key=lambda s: s.epsilon or 0)
            if at:
                curves.append(Curve(results, (*self.of(results, clean)[:1], *at)))
        return curves

    def over_steps(self, models: Iterable[ModelResults], metric: str) -> list[Curve]:
        """At the paper's epsilon, or the largest; of one count of steps there is no curve."""
        curves = []
        for results in models:
            found = [score for score in self.of(results, metric) if score.epsilon]
            epsilon = curve_epsilon(found)
            at = sorted((s for s in found if s.epsilon == epsilon), key=lambda s: s.steps or 0)
            if len(at) > 1:
                curves.append(Curve(results, tuple(at), over_steps=True))
        return curves


def _over_epsilon(contents: ReportContents, attack: _Attack) -> Panel:
    drawn = attack.over_epsilon(contents.models, UNDER_ATTACK)
    steps = sorted({s.steps for curve in drawn for s in curve.scores if s.steps})
    published = attack.over_epsilon(contents.published, UNDER_ATTACK)
    sources = attack.over_epsilon(contents.models, "source_accuracy", "source_clean_accuracy")
    unchanged = attack.over_epsilon(contents.models, "label_unchanged")
    return Panel(
        "white-box" if attack.source is None else f"transferred from {attack.source}",
        f"{_listed(map(str, steps))} steps",
        drawn,
        unchanged=_counted_otherwise(unchanged) if attack.source is None else [],
        sources=list({(c.protocol, *c.points): c for c in sources}.values()),
        published=_comparable(published, drawn),
        source=attack.source,
    )


def _over_steps(contents: ReportContents, attack: _Attack) -> Panel:
    drawn = attack.over_steps(contents.models, UNDER_ATTACK)
    epsilons = sorted({s.epsilon for curve in drawn for s in curve.scores if s.epsilon})
    published = attack.over_steps(contents.published, UNDER_ATTACK)
    unchanged = attack.over_steps(contents.models, "label_unchanged")
    return Panel(
        "white-box",
        f"epsilon {_listed(map(epsilon_text, epsilons))}",
        drawn,
        unchanged=_counted_otherwise(unchanged),
        published=_comparable(published, drawn),
        over_steps=True,
    )


def _counted_otherwise(unchanged: Sequence[Curve]) -> list[Curve]:
    """By the standard protocol it is the accuracy itself."""
    return [curve for curve in unchanged if curve.protocol == "paper"]


def _comparable(published: Sequence[Curve], drawn: Sequence[Curve]) -> Sequence[Curve]:
    """The paper's curves, where one of the user's is made and counted as they are."""
    return published if any(is_like_papers(curve.under_attack) for curve in drawn) else []


def _listed(words: Iterable[str]) -> str:
    return " or ".join(words)
