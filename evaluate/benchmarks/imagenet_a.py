"""ImageNet-A: 7,500 photos of 200 classes that ResNet-50 gets wrong though people do not.

Only the 200 classes may be answered: the logits of the others play no part, neither in which class
is the likeliest nor in the softmax. So the recorded probabilities are those among the 200; classes
keep their indices among the 1000.

    accuracy               =  images whose likeliest class is the label / images
    rms_calibration_error  =  as published: its last bin of 100 to 199 images is left out
    aurra                  =  mean over k of the accuracy on the k images of which it is surest

Source: Hendrycks, Zhao, Basart, Steinhardt & Song, "Natural Adversarial Examples", CVPR 2021;
eval.py and calibration_tools.py of hendrycks/natural-adv-examples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import (
    BENCHMARK_INFO,
    AuxiliaryRecords,
    Benchmark,
    Condition,
    Difference,
    ImageBatch,
    Score,
    wilson_interval,
)
from ..classes import imagenet_a_index
from ..decode import decode_photo
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from ..metrics.calibration import IMAGES_A_BIN, rms_calibration_error_as_published
from ..metrics.mean_interval import mean_interval
from ..metrics.response_rate import aurra
from .imagenet import CLEAN, UNFINISHED
from .pairs import pair_of
from .top5 import ALL_SKIPPED, SCHEMA, Outcomes, outcomes_of, record_top5

INFO = BENCHMARK_INFO["imagenet-a"]
ONE_BIN = (
    f"the published calibration error leaves out its last bin, and below {2 * IMAGES_A_BIN} images "
    "there is no other"
)

Records = Mapping[Condition, pa.Table]


def _record(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    classes = list(imagenet_a_index().values())
    masked = np.full_like(logits, -np.inf)
    masked[:, classes] = logits[:, classes]
    return record_top5(masked, batch)


def _scores(records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
    outcomes = outcomes_of(records[CLEAN]) if CLEAN in records else None
    if outcomes is None or outcomes.n == 0:
        reason = UNFINISHED if outcomes is None else ALL_SKIPPED
        skipped = 0 if outcomes is None else outcomes.skipped
        for metric in ("accuracy", "rms_calibration_error", "aurra"):
            yield Score(metric=metric, skipped=skipped, reason=reason)
        return
    n, right = outcomes.n, outcomes.top1[outcomes.scored]
    confidence = outcomes.confidence[outcomes.scored]
    facts = Score(n=n, skipped=outcomes.skipped, complete=n == INFO.published_items)
    accuracy = _accuracy(outcomes)
    low, high = wilson_interval(accuracy, n)
    yield replace(facts, metric="accuracy", value=accuracy, low=low, high=high)
    calibration = replace(facts, metric="rms_calibration_error")
    if n < 2 * IMAGES_A_BIN:
        yield replace(calibration, reason=ONE_BIN)
    else:
        yield replace(calibration, value=rms_calibration_error_as_published(confidence, right))
    yield replace(facts, metric="aurra", value=aurra(confidence, right))


def _differences(
    a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
) -> Iterator[Difference]:
    if CLEAN not in a or CLEAN not in b:
        yield Difference(metric="accuracy", reason=UNFINISHED)
        return
    of_a, of_b = pair_of(a[CLEAN], b[CLEAN])
    facts = Difference(
        metric="accuracy",
        n=of_a.n,
        skipped=of_a.skipped,
        complete=of_a.n == INFO.published_items,
        only_a_right=int(np.count_nonzero(of_a.top1 & ~of_b.top1)),
        only_b_right=int(np.count_nonzero(of_b.top1 & ~of_a.top1)),
    )
    if of_a.n == 0:
        yield replace(facts, reason=ALL_SKIPPED)
        return
    value_a, value_b = _accuracy(of_a), _accuracy(of_b)
    gained = of_b.top1[of_b.scored].astype(float) - of_a.top1[of_a.scored]
    low, high = mean_interval(gained, (-1, 1)) or (None, None)
    yield replace(facts, a=value_a, b=value_b, difference=value_b - value_a, low=low, high=high)


def _accuracy(outcomes: Outcomes) -> float:
    return float(outcomes.top1[outcomes.scored].mean())


IMAGENET_A = Benchmark(
    info=INFO,
    conditions=(CLEAN,),
    stimuli_px=None,
    tree=replace(
        IMAGES_IN_CLASS_FOLDERS,
        folders=imagenet_a_index,
        class_dir_name="class of ImageNet-A",
        example="n01498041/photo.jpg",
        listed=False,
    ),
    protocol="imagenet-a-1",
    schema=SCHEMA,
    decode=decode_photo,
    record=_record,
    scores=_scores,
    differences=_differences,
)
