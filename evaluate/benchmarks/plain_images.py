"""A benchmark that is one set of images: its records, and the metrics over them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import AuxiliaryRecords, BenchmarkInfo, Condition, Difference, ImageBatch, Score
from .image_metrics import TOP_ERRORS, ImageMetrics
from .pairs import pair_of
from .top5 import Records, outcomes_of, record_top5

CLEAN = Condition()
UNFINISHED = "the run is not finished"


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

    def scores(self, records: Records, auxiliary: AuxiliaryRecords) -> Iterator[Score]:
        """Every score of one model."""
        if CLEAN in records:
            return self.metrics.scores(outcomes_of(records[CLEAN]), self.info.published_items)
        return self.metrics.refused_scores(UNFINISHED)

    def differences(
        self, a: Records, b: Records, auxiliary_a: AuxiliaryRecords, auxiliary_b: AuxiliaryRecords
    ) -> Iterator[Difference]:
        """Every difference of two models, over the images that both scored."""
        if CLEAN in a and CLEAN in b:
            pair = pair_of(a[CLEAN], b[CLEAN])
            return self.metrics.differences(*pair, self.info.published_items)
        return self.metrics.refused_differences(UNFINISHED)
