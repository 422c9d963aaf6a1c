"""Panels of the figure of attacks, and the curves of each panel.

The panels are those of the paper's Figure 1: accuracy over epsilon under transferred attacks, over
epsilon under white-box attacks, and over the number of steps under white-box attacks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...contracts import Score, epsilon_text
from ..attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX, curve_epsilon, fewest_steps
from ..model_results import ModelResults, ReportContents
from ..published.paper_deviations import is_like_papers
from ..tables.attack import CLEAN, Attack, attacks_of, protocol_name

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
        scores: Scores, which have values, by ascending epsilon or steps; over epsilon, clean
            accuracy comes first.
        over_steps: Whether the curve is over steps, not over epsilon.
    """

    results: ModelResults
    scores: Sequence[Score]
    over_steps: bool

    @property
    def protocol(self) -> str:
        """``paper`` or ``standard``; empty if the protocol is unknown."""
        return protocol_name(self.scores[-1:])

    @property
    def counted(self) -> str:
        """What the curve's accuracy under attack counts, as text."""
        return COUNTED.get((self.scores[-1].benchmark, self.protocol), "still right")

    @property
    def fixed(self) -> str:
        """The number of steps, or the epsilon, that all points share, as text."""
        return _fixed_text([self], self.over_steps)

    @property
    def under_attack(self) -> list[Score]:
        """Scores without clean accuracy."""
        return [score for score in self.scores if score.epsilon]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Epsilon or steps, and the accuracy in %."""
        return [(self._x(s), 100 * s.value) for s in self.scores if s.value is not None]

    @property
    def band(self) -> list[tuple[float, float, float]]:
        """Epsilon or steps, and both ends of the interval in %; scores without one are left out."""
        return [
            (self._x(score), 100 * score.low, 100 * score.high)
            for score in self.scores
            if score.low is not None and score.high is not None
        ]

    def _x(self, score: Score) -> float:
        return (score.steps if self.over_steps else score.epsilon) or 0


@dataclass(frozen=True)
class Panel:
    """A panel: one pair of axes of the figure.

    Attributes:
        attack: The attack.
        over_steps: Whether the panel is over steps, not over epsilon.
        curves: Accuracy under attack of the user's models.
        unchanged: Share of images whose label no iterate left, of models whose accuracy counts
            something else.
        sources: Accuracy of the source under its own attack, one curve for each transferred attack.
        published: Curves of the paper.
    """

    attack: Attack
    over_steps: bool
    curves: Sequence[Curve]
    unchanged: Sequence[Curve]
    sources: Sequence[Curve]
    published: Sequence[Curve]

    @property
    def fixed(self) -> str:
        """Number of steps, or epsilon, of the curves, as text."""
        return _fixed_text(self.curves, self.over_steps)

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
    white_box = attacks_of(contents, WHITE_BOX)
    panels = [
        *(_panel(attack) for attack in (*attacks_of(contents, TRANSFER), *white_box)),
        *(_panel(attack, over_steps=True) for attack in white_box),
    ]
    return [panel for panel in panels if panel.curves]


def _panel(attack: Attack, *, over_steps: bool = False) -> Panel:
    def curves(models: Sequence[ModelResults], metric: str) -> list[Curve]:
        all_curves = [_curve(attack, results, metric, over_steps) for results in models]
        return [curve for curve in all_curves if curve is not None]

    own = curves(attack.own, UNDER_ATTACK)
    # By the standard protocol, the share of unchanged labels equals the accuracy. The paper's
    # curves are drawn only if one of the user's is made and counted in the same way.
    unchanged = curves(attack.own, "label_unchanged") if attack.source is None else []
    sources = curves(attack.own, "source_accuracy")
    comparable = any(is_like_papers(curve.under_attack) for curve in own)
    return Panel(
        attack,
        over_steps,
        own,
        unchanged=[curve for curve in unchanged if curve.protocol == "paper"],
        sources=list({(c.protocol, *c.points): c for c in sources}.values()),
        published=curves(attack.published, UNDER_ATTACK) if comparable else [],
    )


def _curve(attack: Attack, results: ModelResults, metric: str, over_steps: bool) -> Curve | None:
    """A curve over epsilon at the fewest steps, after clean accuracy; or one over steps.

    The latter is at the paper's epsilon or the largest; one step count is no curve.
    """
    scores = [score for score in attack.of(results, metric) if score.value is not None]
    if over_steps:
        epsilon = curve_epsilon(scores)
        points = [score for score in scores if score.epsilon == epsilon]
        points.sort(key=lambda score: score.steps or 0)
        return Curve(results, points, over_steps) if len(points) > 1 else None
    steps = fewest_steps(scores)
    points = [score for score in scores if score.steps == steps]
    points.sort(key=lambda score: score.epsilon or 0)
    clean = [score for score in attack.of(results, CLEAN[metric]) if score.value is not None]
    return Curve(results, [*clean[:1], *points], over_steps) if points else None


def _fixed_text(curves: Collection[Curve], over_steps: bool) -> str:
    """The epsilons of curves over steps, or the numbers of steps of those over epsilon, as text."""
    scores = [score for curve in curves for score in curve.under_attack]
    if over_steps:
        epsilons = sorted({score.epsilon for score in scores if score.epsilon})
        return f"epsilon {' or '.join(map(epsilon_text, epsilons))}"
    return (
        f"{' or '.join(map(str, sorted({score.steps for score in scores if score.steps})))} steps"
    )
