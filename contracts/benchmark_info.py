"""Published facts of each benchmark and attack.

Scoring and reports both need them, and neither package imports the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

ALEXNET_ERROR: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error, mean over the severities, as published for mCE (Hendrycks & Dietterich
2019; by severity in hendrycks/robustness#10, whose means these are)."""

ALEXNET_FLIP_PROBABILITY: Mapping[str, float] = {
    "gaussian_noise": 0.23653,
    "shot_noise": 0.30062,
    "motion_blur": 0.09297,
    "zoom_blur": 0.05942,
    "snow": 0.11928,
    "brightness": 0.04889,
    "translate": 0.11007,
    "rotate": 0.13104,
    "tilt": 0.07050,
    "scale": 0.23531,
}
"""AlexNet's flip probabilities, as published for mFR (Hendrycks & Dietterich 2019; to five digits
in https://github.com/clovaai/assembled-cnn). Its keys are the ten
perturbations. AlexNet's T5D is not published."""


@dataclass(frozen=True)
class BenchmarkInfo:
    """Published facts of a benchmark, or of an attack that has runs of its own.

    Attributes:
        name: Name on the command line.
        title: Name that its authors use.
        noun: Plural of the word for its items.
        published_items: Number of items in each condition.
        conditions: Number of published conditions.
    """

    name: str
    title: str
    noun: str
    published_items: int
    conditions: int = 1


BENCHMARK_INFO = {
    info.name: info
    for info in (
        BenchmarkInfo("imagenet", "ImageNet validation", "images", 50_000),
        BenchmarkInfo("imagenet-c", "ImageNet-C", "images", 50_000, 75),
        BenchmarkInfo(
            "imagenet-p", "ImageNet-P", "sequences", 50_000, len(ALEXNET_FLIP_PROBABILITY)
        ),
        BenchmarkInfo("cue-conflict", "Cue conflict", "stimuli", 1201),
        BenchmarkInfo("imagenet-a", "ImageNet-A", "images", 7_500),
        # Every second image of the sorted validation set, at six epsilons: Orhan, arXiv 1907.07640.
        BenchmarkInfo("whitebox", "White-box PGD", "images", 25_000, 6),
        BenchmarkInfo("transfer", "PGD transferred from another model", "images", 50_000, 6),
    )
}
