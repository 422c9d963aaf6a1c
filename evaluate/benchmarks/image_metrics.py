"""Metrics over the images of one condition: of one model, and of two on the same images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...contracts import Difference, Score, wilson_interval
from ..metrics.calibration import Confidence, Correct, ece, rms_calibration_error
from ..metrics.error_rate import accuracy, error_rate
from ..metrics.mean_interval import mean_interval
from .score_fields import count_fields, difference_fields, interval_fields
from .top5 import ALL_SKIPPED, Outcomes


@dataclass(frozen=True)
class ShareMetric:
    """A share of the images; two models are compared by it.

    Attributes:
        name: Name in reports.
        correct: Whether each image counts as right: (N,).
        wrong: Whether the share is that of the wrong images, not that of the right ones.
    """

    name: str
    correct: Callable[[Outcomes], npt.NDArray[np.bool_]]
    wrong: bool = False

    def score(self, facts: Score, outcomes: Outcomes) -> Score:
        """The share with its Wilson interval."""
        if outcomes.n == 0:
            return replace(facts, metric=self.name, reason=ALL_SKIPPED)
        value = self._value(self.correct(outcomes)[outcomes.scored])
        interval = interval_fields(wilson_interval(value, outcomes.n))
        return replace(facts, metric=self.name, value=value, **interval)

    def difference(self, facts: Difference, a: Outcomes, b: Outcomes) -> Difference:
        """The shares of two models, which scored the same images, and their paired difference."""
        if a.n == 0:
            return replace(facts, metric=self.name, reason=ALL_SKIPPED)
        right_a, right_b = (self.correct(outcomes)[outcomes.scored] for outcomes in (a, b))
        gains = right_b.astype(float) - right_a
        interval = mean_interval(-gains if self.wrong else gains, (-1, 1))
        return replace(
            facts,
            metric=self.name,
            **difference_fields(self._value(right_a), self._value(right_b), interval),
            only_a_right=int(np.count_nonzero(right_a & ~right_b)),
            only_b_right=int(np.count_nonzero(right_b & ~right_a)),
        )

    def _value(self, correct: npt.NDArray[np.bool_]) -> float:
        return error_rate(correct) if self.wrong else accuracy(correct)


@dataclass(frozen=True)
class ConfidenceMetric:
    """A metric of how well the confidences fit, without an interval.

    Attributes:
        name: Name in reports.
        value: Value from the confidence and the correctness of each scored image.
        least_images: Fewest images that it can be computed from.
        too_few: Why it is refused below that number.
        always_listed: Whether it is listed with a reason where it is refused, not left out.
    """

    name: str
    value: Callable[[Confidence, Correct], float]
    least_images: int = 1
    too_few: str = ALL_SKIPPED
    always_listed: bool = False

    def score(self, facts: Score, outcomes: Outcomes) -> Score | None:
        """The value; `None` if it is refused and then left out."""
        facts = replace(facts, metric=self.name)
        if outcomes.n < self.least_images:
            reason = self.too_few if outcomes.n else ALL_SKIPPED
            return replace(facts, reason=reason) if self.always_listed else None
        scored = outcomes.scored
        return replace(facts, value=self.value(outcomes.confidence[scored], outcomes.top1[scored]))


@dataclass(frozen=True)
class ImageMetrics:
    """The metrics over the images of one condition, in the order of a report.

    Attributes:
        shares: Shares of images.
        confidence: Metrics of the confidences.
    """

    shares: tuple[ShareMetric, ...]
    confidence: tuple[ConfidenceMetric, ...] = ()

    def scores(self, outcomes: Outcomes, published_items: int) -> Iterator[Score]:
        """Every score of one model."""
        facts = Score(**count_fields([outcomes], published_items))
        for share in self.shares:
            yield share.score(facts, outcomes)
        for metric in self.confidence:
            score = metric.score(facts, outcomes)
            if score is not None:
                yield score

    def differences(self, a: Outcomes, b: Outcomes, published_items: int) -> Iterator[Difference]:
        """Every difference of two models.

        Args:
            a: Outcomes of the first model, over the images that both scored.
            b: Outcomes of the second model, over the same images.
            published_items: Number of images in the published condition.
        """
        facts = Difference(**count_fields([a], published_items))
        for metric in self.shares:
            yield metric.difference(facts, a, b)

    def refused_scores(self, reason: str) -> Iterator[Score]:
        """The scores of a condition without records."""
        names = [metric.name for metric in self.shares]
        names += [metric.name for metric in self.confidence if metric.always_listed]
        for name in names:
            yield Score(metric=name, reason=reason)

    def refused_differences(self, reason: str) -> Iterator[Difference]:
        """The differences of a condition of which a model has no records."""
        for metric in self.shares:
            yield Difference(metric=metric.name, reason=reason)


TOP_ERRORS = ImageMetrics(
    shares=(
        ShareMetric("top1_error", lambda outcomes: outcomes.top1, wrong=True),
        ShareMetric("top5_error", lambda outcomes: outcomes.top5, wrong=True),
    ),
    confidence=(
        ConfidenceMetric("rms_calibration_error", rms_calibration_error),
        ConfidenceMetric("ece", ece),
    ),
)
"""Top-1 and top-5 error, and how well the model is calibrated."""
