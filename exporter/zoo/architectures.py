"""Builders of networks without weights for a crop; torch is imported when one is built."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import UnavailableError

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[int], "nn.Module"]
"""Builder of a network for a crop in pixels."""

# Google's checkpoints expect inputs in [-1, 1]; torchvision rescales inside the network, but only
# when such weights are announced. `init_weights` merely silences a warning.
_TORCHVISION_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


def torchvision_network(name: str) -> Build:
    """Builder of a torchvision classifier."""

    def build(crop_px: int) -> "nn.Module":
        from torchvision.models import get_model

        arguments = dict(_TORCHVISION_ARGUMENTS.get(name, {}))
        if name.startswith("vit_"):
            arguments["image_size"] = crop_px
        network: nn.Module = get_model(name, weights=None, **arguments)
        return network

    return build


def resnext101(*, groups: int, width_per_group: int) -> Build:
    """Builder of ResNeXt-101 of any width: the WSL models are 32x8d, 32x16d, 32x32d and 32x48d.

    Source: Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining", ECCV 2018.
    """

    def build(crop_px: int) -> "nn.Module":
        from torchvision.models.resnet import Bottleneck, ResNet

        network: nn.Module = ResNet(
            Bottleneck, [3, 4, 23, 3], groups=groups, width_per_group=width_per_group
        )
        return network

    return build


def efficientnet_lite(variant: str) -> Build:
    """Builder of EfficientNet-Lite; its padding is fixed for the crop when it is built."""

    def build(crop_px: int) -> "nn.Module":
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UnavailableError(
                f"efficientnet_{variant} needs the package efficientnet-lite-pytorch. "
                "Install it with `pip install 'evaluator[demo]'`."
            ) from error
        network: nn.Module = EfficientNet.from_name(f"efficientnet-{variant}", image_size=crop_px)
        return network

    return build
