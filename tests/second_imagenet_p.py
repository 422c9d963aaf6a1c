"""A second implementation of ImageNet-P's numbers, for the tests to compare with.

    FP_p  =  mean over videos of the mean over pairs of frames of [first class differs]
    T5D_p =  the same of sum over i = 1..5 of |i - min(r_i, 6)|, r_i the rank in the later frame of
             the class that is i-th in the earlier one
    mFR   =  mean over the 10 perturbations of FP_p / FP_p(baseline);  mT5D likewise

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; AlexNet's flip probabilities are from clovaai/assembled-cnn.
It shares no code with the package: OpenCV, torchvision and eager PyTorch on the CPU, one frame at a
time, plain loops. Rates are fractions.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import torch
from PIL import Image
from torch import nn

from evaluator.tests.second_implementation import Logits, Transform, top5

Video = Sequence[Sequence[int]] | None  # of each frame the five likeliest classes; none: skipped
Videos = Mapping[str, Sequence[Video]]  # by perturbation, of the same photos in the same order
Numbers = dict[str, float]
Interval = tuple[float, float, float]  # the value, and both ends

Z_95 = 1.959963984540054

# clovaai/assembled-cnn; the paper's raw results reproduce its mFR with them.
ALEXNET = {
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


def top5_of_tree(network: nn.Module, transform: Transform, root: Path) -> dict[str, list[Video]]:
    """Of each video in ``root/<perturbation>/<wnid>/<file>``, in the order of the names."""
    found: dict[str, list[Video]] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for single frames, threads that wait for each other cost far more
    for perturbation in sorted(path for path in root.iterdir() if path.is_dir()):
        found[perturbation.name] = [
            [top5(_logits(network, transform(frame))) for frame in frames_of(path)]
            for path in sorted(perturbation.rglob("*.mp4"))
        ]
    torch.set_num_threads(threads)
    return found


def frames_of(path: Path) -> list[Image.Image]:
    """Every frame that OpenCV finds."""
    capture = cv2.VideoCapture(str(path))
    frames: list[Image.Image] = []
    while True:
        there, frame = capture.read()
        if not there:
            return frames
        frames.append(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))


def flips(video: Sequence[Sequence[int]], perturbation: str) -> float:
    """The fraction of pairs of frames whose first classes differ."""
    pairs = pairs_of(video, perturbation)
    return sum(earlier[0] != later[0] for earlier, later in pairs) / len(pairs)


def distance(video: Sequence[Sequence[int]], perturbation: str) -> float:
    """The mean T5D of the pairs of frames."""
    total = 0
    pairs = pairs_of(video, perturbation)
    for earlier, later in pairs:
        for i, name in enumerate(earlier, start=1):
            rank = list(later).index(name) + 1 if name in later else 6
            total += abs(i - min(rank, 6))
    return total / len(pairs)


def pairs_of(
    video: Sequence[Sequence[int]], perturbation: str
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Every frame with the first one under noise, else with the one before it."""
    expected = 41 if perturbation == "translate" else 31
    assert len(video) == expected, (perturbation, len(video))
    if "noise" in perturbation:
        return [(video[0], later) for later in video[1:]]
    return [(video[number - 1], video[number]) for number in range(1, len(video))]


OF_A_VIDEO: dict[str, Callable[[Sequence[Sequence[int]], str], float]] = {
    "flip_probability": flips,
    "t5d": distance,
}


def of_perturbation(
    metric: str, videos: Sequence[Video], perturbation: str, without: int | None = None
) -> float:
    """The mean over the videos that were scored, but for one."""
    values = [
        OF_A_VIDEO[metric](video, perturbation)
        for position, video in enumerate(videos)
        if video is not None and position != without
    ]
    return sum(values) / len(values)


def mean_ratio(
    metric: str, videos: Videos, baseline: Mapping[str, float], without: int | None = None
) -> float:
    """mFR, of T5D mT5D; a missing perturbation is a KeyError."""
    total = 0.0
    for perturbation, base in baseline.items():
        total += of_perturbation(metric, videos[perturbation], perturbation, without) / base
    return total / len(baseline)


def perturbation_interval(metric: str, videos: Sequence[Video], perturbation: str) -> Interval:
    """A flip probability or T5D, and its 95 % interval: the standard error of a mean."""
    values = [OF_A_VIDEO[metric](v, perturbation) for v in videos if v is not None]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    margin = Z_95 * (variance / len(values)) ** 0.5
    return mean, mean - margin, mean + margin


def mfr_interval(videos: Videos) -> Interval:
    """mFR against the published AlexNet."""
    return _jackknife(
        lambda without: mean_ratio("flip_probability", videos, ALEXNET, without),
        len(videos["tilt"]),
    )


def measured_interval(metric: str, videos: Videos, baseline: Videos) -> Interval:
    """mFR or mT5D against a baseline that was measured on the same videos."""

    def value(without: int | None) -> float:
        bases = {p: of_perturbation(metric, baseline[p], p, without) for p in ALEXNET}
        return mean_ratio(metric, videos, bases, without)

    return _jackknife(value, len(videos["tilt"]))


def _jackknife(value: Callable[[int | None], float], photos: int) -> Interval:
    """Leave out one photo after the other, in all perturbations and both models."""
    whole = value(None)
    left_out = [value(photo) for photo in range(photos)] if photos > 1 else [whole]
    middle = sum(left_out) / photos
    spread = sum((one - middle) ** 2 for one in left_out)
    margin = Z_95 * ((photos - 1) / photos * spread) ** 0.5
    return whole, whole - margin, whole + margin


def _logits(network: nn.Module, image: torch.Tensor) -> Logits:
    assert image.shape == (3, 224, 224), image.shape
    with torch.no_grad():
        logits: Logits = network(image.unsqueeze(0))[0].numpy()
    return logits
