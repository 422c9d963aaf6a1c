"""ImageNet-C: 15 corruptions at 5 severities of the 50,000 validation photos, stored at 224 px.

The four extra corruptions of the archive (speckle_noise, spatter, gaussian_blur, saturate) are for
validation only and are never part of mCE.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019.
"""

from collections.abc import Iterator, Mapping

from ...contracts import ALEXNET_ERROR, BENCHMARK_INFO, Benchmark, Condition
from ..decode import decode_stimulus
from ..layouts import CORRUPTIONS, IMAGES_IN_CLASS_FOLDERS, SEVERITIES
from ..metrics.corruption_error import (
    Errors,
    mce,
    mce_weights,
    mean_error,
    mean_error_weights,
    relative_mce,
    relative_mce_weights,
)
from .corruption_grid import GridMetric
from .corruption_scores import CorruptedImages
from .top5 import SCHEMA, record_top5

INFO = BENCHMARK_INFO["imagenet-c"]

ALEXNET_CLEAN_ERROR = 0.435
"""AlexNet's top-1 error on the clean images. A fit, not a printed figure: every value from 0.4345
to 0.4355 reproduces the relative mCE that Orhan (2019) printed. torchvision's AlexNet: 0.4348."""

CONDITIONS = tuple(
    Condition((("corruption", corruption), ("severity", severity)))
    for corruption in CORRUPTIONS
    for severity in SEVERITIES
)


def _metrics() -> Iterator[GridMetric]:
    """The means over all corruptions, then the CE and the relative CE of each corruption."""
    everything = dict(ALEXNET_ERROR)
    weights = mean_error_weights(everything)
    yield GridMetric("mean_error", None, lambda errors, _: mean_error(errors, everything), weights)
    yield _mce("mce", None, everything)
    yield _relative_mce("relative_mce", None, everything)
    for corruption, mean in ALEXNET_ERROR.items():
        yield _mce("ce", corruption, {corruption: mean})
        yield _relative_mce("relative_ce", corruption, {corruption: mean})


def _mce(metric: str, corruption: str | None, baseline: Mapping[str, float]) -> GridMetric:
    def value(errors: Errors, _: float) -> float:
        return mce(errors, baseline)

    return GridMetric(metric, corruption, value, mce_weights(baseline))


def _relative_mce(metric: str, corruption: str | None, baseline: Mapping[str, float]) -> GridMetric:
    def value(errors: Errors, clean_error: float) -> float:
        return relative_mce(
            errors, clean_error, baseline=baseline, baseline_clean=ALEXNET_CLEAN_ERROR
        )

    weights = relative_mce_weights(baseline, ALEXNET_CLEAN_ERROR)
    return GridMetric(metric, corruption, value, weights)


IMAGES = CorruptedImages(CONDITIONS, tuple(_metrics()), INFO.published_items)

IMAGENET_C = Benchmark(
    info=INFO,
    conditions=CONDITIONS,
    stimuli_px=224,
    tree=IMAGES_IN_CLASS_FOLDERS,
    protocol="imagenet-c-1",
    schema=SCHEMA,
    decode=decode_stimulus,
    record=record_top5,
    scores=IMAGES.scores,
    differences=IMAGES.differences,
)
