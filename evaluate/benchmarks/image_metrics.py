"""Metrics over the images of one condition, and benchmarks that are one set of images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import (
    Benchmark,
    BenchmarkInfo,
    Condition,
    DatasetLayout,
    ImageBatch,
    Number,
    wilson_interval,
)
from ..decode import decode_photo
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from ..metrics.calibration import Confidence, Correct, ece, rms_calibration_error
from ..metrics.error_rate import accuracy, error_rate
from ..metrics.mean_interval import mean_interval
from .numbers import Model, count_fields
from .pairs import paired_outcomes
from .top5 import ALL_SKIPPED, SCHEMA, Outcomes, outcomes_of, record_top5

CLEAN = Condition()
UNFINISHED = "the run is not finished"


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

    def number(self, fields: Mapping[str, Any], outcomes: Sequence[Outcomes]) -> Number:
        """The share with its Wilson interval; of two models, with that of the paired difference.

        Args:
            fields: Other fields of the number.
            outcomes: Outcomes of each model, which scored the same images, at least one.
        """
        right = [self.correct(of_model)[of_model.scored] for of_model in outcomes]
        values = [error_rate(r) if self.wrong else accuracy(r) for r in right]
        if len(outcomes) == 1:
            return Number(fields, values, wilson_interval(values[0], right[0].size))
        a, b = right
        gains = b.astype(float) - a
        only = {
            "only_a_right": int(np.count_nonzero(a & ~b)),
            "only_b_right": int(np.count_nonzero(b & ~a)),
        }
        interval = mean_interval(-gains if self.wrong else gains, (-1, 1))
        return Number({**fields, **only}, values, interval)


@dataclass(frozen=True)
class ConfidenceMetric:
    """A metric of how well the confidences of one model fit, without an interval.

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


@dataclass(frozen=True)
class ImageMetrics:
    """The metrics over the images of one condition, in the order of a report.

    Attributes:
        shares: Shares of images.
        confidence: Metrics of the confidences.
    """

    shares: tuple[ShareMetric, ...]
    confidence: tuple[ConfidenceMetric, ...] = ()

    def numbers(
        self, outcomes: Sequence[Outcomes], published_items: int, reason: str = ALL_SKIPPED
    ) -> Iterator[Number]:
        """Every number of one model or of two.

        Args:
            outcomes: Outcomes of each model, over the images that all scored.
            published_items: Number of images in the published condition.
            reason: Why there are no numbers if no image was scored.
        """
        first = outcomes[0]
        counts = count_fields([first], published_items)
        for share in self.shares:
            fields = {"metric": share.name, **counts}
            if first.n:
                yield share.number(fields, outcomes)
            else:
                yield Number({**fields, "reason": reason})
        if len(outcomes) == 2:
            return  # the confidences of two models are not compared
        for metric in self.confidence:
            fields = {"metric": metric.name, **counts}
            if first.n >= metric.least_images:
                of_scored = first.confidence[first.scored], first.top1[first.scored]
                yield Number(fields, [metric.value(*of_scored)])
            elif metric.always_listed:
                yield Number({**fields, "reason": metric.too_few if first.n else reason})


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


@dataclass(frozen=True)
class PlainImages:
    """A benchmark of one set of images.

    Attributes:
        info: Published facts of the benchmark.
        classes: Indices of the classes that a model may answer, among ImageNet's 1000; `None` if
            all. The logits of other classes play no part, neither in which class is the likeliest
            nor in the softmax.
        metrics: Metrics over the images.
    """

    info: BenchmarkInfo
    classes: frozenset[int] | None = None
    metrics: ImageMetrics = TOP_ERRORS

    def record(self, logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
        """Records of N images, from their logits (N, C)."""
        if self.classes is not None:
            answers = sorted(self.classes)
            masked = np.full_like(logits, -np.inf)
            masked[:, answers] = logits[:, answers]
            logits = masked
        return record_top5(logits, batch)

    def numbers(self, *models: Model) -> Iterator[Number]:
        """The metrics over the images."""
        if all(CLEAN in records for records, _ in models):
            outcomes = paired_outcomes([records[CLEAN] for records, _ in models])
            return self.metrics.numbers(outcomes, self.info.published_items)
        nothing = outcomes_of(SCHEMA.empty_table())
        return self.metrics.numbers([nothing] * len(models), self.info.published_items, UNFINISHED)

    def benchmark(
        self, protocol: str, layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS
    ) -> Benchmark:
        """The benchmark, whose images are photos."""
        return Benchmark(
            info=self.info,
            conditions=(CLEAN,),
            stimuli_px=None,
            layout=layout,
            protocol=protocol,
            schema=SCHEMA,
            decode=decode_photo,
            record=self.record,
            numbers=self.numbers,
        )
