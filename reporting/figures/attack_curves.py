"""Panels of the figure of attacks, and the curves of each panel.

The panels are those of the paper's Figure 1: accuracy over epsilon under transferred attacks, over
epsilon under white-box attacks, and over the number of steps under white-box attacks.
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
"""What accuracy under attack counts, by benchmark and protocol."""


@dataclass(frozen=True)
class Curve:
    """A model's numbers over epsilon or over steps.

    Attributes:
        results: Results of the model; in a curve of the source, of the model that was attacked
            with the source's images.
        scores: Scores by ascending epsilon or steps; over epsilon, clean accuracy comes first.
        over_steps: Whether the curve is over steps, not over epsilon.
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
        """What the curve's accuracy under attack counts, as text."""
        return COUNTED.get((self.scores[-1].benchmark, self.protocol), "still right")

    @property
    def fixed(self) -> str:
        """The number of steps, or the epsilon, that all points share, as text."""
        last = self.scores[-1]
        return (
            f"epsilon {epsilon_text(last.epsilon or 0)}"
            if self.over_steps
            else f"{last.steps} steps"
        )

    @property
    def under_attack(self) -> list[Score]:
        """Scores without clean accuracy."""
        return [score for score in self.scores if score.epsilon]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Epsilon or steps, and the accuracy in %."""
        return [
            (x, 100 * score.value) for x, score in self._scored_points if score.value is not None
        ]

    @property
    def band(self) -> list[tuple[float, float, float]]:
        """Epsilon or steps, and both ends of the interval in %; scores without one are left out."""
        return [
            (x, 100 * score.low, 100 * score.high)
            for x, score in self._scored_points
            if score.low is not None and score.high is not None
        ]

    @property
    def _scored_points(self) -> list[tuple[float, Score]]:
        pairs = ((s.steps if self.over_steps else s.epsilon, s) for s in self.scores)
        return [(x or 0, score) for x, score in pairs if score.value is not None]


@dataclass(frozen=True)
class Panel:
    """A panel: one pair of axes of the figure.

    Attributes:
        attack: Name of the attack.
        fixed: Number of steps, or epsilon, of the curves, as text.
        curves: Accuracy under attack of the user's models.
        unchanged: Share of images whose label no iterate left, of models whose accuracy counts
            something else.
        sources: Accuracy of the source under its own attack, one curve for each transferred attack.
        published: Curves of the paper.
        source: Name of the source of a transferred attack; ``None`` for a white-box attack.
        over_steps: Whether the panel is over steps, not over epsilon.
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
        """Step counts to mark on the axis; empty over epsilon, or if there are too many."""
        counts = sorted({x for curve in (*self.curves, *self.published) for x, _ in curve.points})
        return counts if self.over_steps and len(counts) <= MOST_TICKS else []

    @property
    def counted(self) -> str:
        """What all curves count, as text, or that they count different things."""
        texts = {curve.counted for curve in self.curves}
        return texts.pop() if len(texts) == 1 else "still right, as counted by each"

    def own_words(self, curve: Curve) -> str:
        """The count and the fixed value of a curve, as far as not all curves share them."""
        texts_of_all = [{c.counted for c in self.curves}, {c.fixed for c in self.curves}]
        pairs = zip((curve.counted, curve.fixed), texts_of_all, strict=True)
        return ", ".join(text for text, texts in pairs if len(texts) > 1)


def panels_of(contents: ReportContents) -> list[Panel]:
    """The panels that there are numbers for."""
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
    """An attack, as it selects the scores of a model.

    Attributes:
        benchmark: Name of the attack.
        source: Source of a transferred attack; ``None`` for a white-box attack.
    """

    benchmark: str
    source: str | None = None

    def of(self, results: ModelResults, metric: str) -> list[Score]:
        """A model's scores of a metric under this attack, as far as they have a value."""
        return [
            score
            for score in results.of(self.benchmark, metric)
            if score.source_model == self.source and score.value is not None
        ]

    def over_epsilon(
        self, models: Iterable[ModelResults], metric: str, clean: str = "clean_accuracy"
    ) -> list[Curve]:
        """Curves over epsilon, at the fewest steps of each model; clean accuracy comes first."""
        curves = []
        for results in models:
            scores = [score for score in self.of(results, metric) if score.epsilon]
            steps = fewest_steps(scores)
            points = sorted((s for s in scores if s.steps == steps), key=lambda s: s.epsilon or 0)
            if points:
                curves.append(Curve(results, (*self.of(results, clean)[:1], *points)))
        return curves

    def over_steps(self, models: Iterable[ModelResults], metric: str) -> list[Curve]:
        """Curves over steps, at the paper's epsilon or the largest; one step count is no curve."""
        curves = []
        for results in models:
            scores = [score for score in self.of(results, metric) if score.epsilon]
            epsilon = curve_epsilon(scores)
            points = sorted((s for s in scores if s.epsilon == epsilon), key=lambda s: s.steps or 0)
            if len(points) > 1:
                curves.append(Curve(results, tuple(points), over_steps=True))
        return curves


def _over_epsilon(contents: ReportContents, attack: _Attack) -> Panel:
    curves = attack.over_epsilon(contents.models, UNDER_ATTACK)
    steps = sorted({s.steps for curve in curves for s in curve.scores if s.steps})
    published = attack.over_epsilon(contents.published, UNDER_ATTACK)
    sources = attack.over_epsilon(contents.models, "source_accuracy", "source_clean_accuracy")
    unchanged = attack.over_epsilon(contents.models, "label_unchanged")
    return Panel(
        "white-box" if attack.source is None else f"transferred from {attack.source}",
        f"{_alternatives(map(str, steps))} steps",
        curves,
        unchanged=_of_paper_protocol(unchanged) if attack.source is None else [],
        sources=list({(c.protocol, *c.points): c for c in sources}.values()),
        published=_comparable(published, curves),
        source=attack.source,
    )


def _over_steps(contents: ReportContents, attack: _Attack) -> Panel:
    curves = attack.over_steps(contents.models, UNDER_ATTACK)
    epsilons = sorted({s.epsilon for curve in curves for s in curve.scores if s.epsilon})
    published = attack.over_steps(contents.published, UNDER_ATTACK)
    unchanged = attack.over_steps(contents.models, "label_unchanged")
    return Panel(
        "white-box",
        f"epsilon {_alternatives(map(epsilon_text, epsilons))}",
        curves,
        unchanged=_of_paper_protocol(unchanged),
        published=_comparable(published, curves),
        over_steps=True,
    )


def _of_paper_protocol(unchanged: Sequence[Curve]) -> list[Curve]:
    """Curves of the paper's protocol; by the standard one they equal the accuracy."""
    return [curve for curve in unchanged if curve.protocol == "paper"]


def _comparable(published: Sequence[Curve], curves: Sequence[Curve]) -> Sequence[Curve]:
    """The paper's curves; empty if none of the user's is made and counted in the same way."""
    return published if any(is_like_papers(curve.under_attack) for curve in curves) else []


def _alternatives(words: Iterable[str]) -> str:
    return " or ".join(words)
