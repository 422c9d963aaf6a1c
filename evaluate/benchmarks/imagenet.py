"""ImageNet's validation set: 50,000 photos, top-1 and top-5 error.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from ...contracts import BENCHMARK_INFO, AuxiliaryRecords, Benchmark, Condition, Difference, Score
from ..decode import decode_photo
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from .pairs import error_differences, pair_of
from .top5 import SCHEMA, calibration_scores, error_scores, outcomes_of, record_top5

INFO = BENCHMARK_INFO["imagenet"]
CLEAN = Condition()
UNFINISHED = "the run is not finished"

Records = Mapping[Condition, pa.Table]


def _scores(records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
    if CLEAN in records:
        outcomes = outcomes_of(records[CLEAN])
        yield from error_scores(outcomes, INFO.published_items)
        yield from calibration_scores(outcomes, INFO.published_items)
    else:
        for metric in ("top1_error", "top5_error"):
            yield Score(metric=metric, reason=UNFINISHED)


def _differences(
    a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
) -> Iterator[Difference]:
    if CLEAN in a and CLEAN in b:
        yield from error_differences(*pair_of(a[CLEAN], b[CLEAN]), INFO.published_items)
    else:
        for metric in ("top1_error", "top5_error"):
            yield Difference(metric=metric, reason=UNFINISHED)


IMAGENET = Benchmark(
    info=INFO,
    conditions=(CLEAN,),
    stimuli_px=None,
    tree=IMAGES_IN_CLASS_FOLDERS,
    protocol="imagenet-1",
    schema=SCHEMA,
    decode=decode_photo,
    record=record_top5,
    scores=_scores,
    differences=_differences,
)
