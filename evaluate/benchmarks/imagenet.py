"""ImageNet's validation set: 50,000 photos, top-1 and top-5 error.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from ...contracts import Benchmark, Condition, Score
from .top5 import SCHEMA, error_scores, record_top5

PUBLISHED_ITEMS = 50_000
CLEAN = Condition()


def _scores(records: Mapping[Condition, pa.Table], clean: pa.Table | None) -> Iterator[Score]:
    if CLEAN in records:
        yield from error_scores(records[CLEAN], PUBLISHED_ITEMS)
    else:
        for metric in ("top1_error", "top5_error"):
            yield Score(metric=metric, reason="the run is not finished")


IMAGENET = Benchmark(
    name="imagenet",
    title="ImageNet validation",
    conditions=(CLEAN,),
    published_items=PUBLISHED_ITEMS,
    stimuli_px=None,
    protocol="imagenet-1",
    schema=SCHEMA,
    record=record_top5,
    scores=_scores,
)
