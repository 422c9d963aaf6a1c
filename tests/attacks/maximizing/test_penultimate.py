"""Finding the units before the last layer, in networks of many kinds."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from evaluator.attacks.maximizing.penultimate import Bounds, find_penultimate
from evaluator.errors import InputError

Units = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def frozen(network: nn.Module) -> nn.Module:
    network.eval()
    return network.requires_grad_(False)


def resnet_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    # As the paper's code: all children but the last, one after the other.
    maps: torch.Tensor = nn.Sequential(*list(network.children())[:-1])(images)
    return maps[:, :, 0, 0]


def alexnet_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    maps = network.avgpool(network.features(images)).flatten(1)  # type: ignore[operator]
    units: torch.Tensor = network.classifier[:-1](maps)  # type: ignore[index,operator]
    return units


def densenet_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    maps = network.features(images)  # type: ignore[operator]
    return functional.relu(maps).mean((2, 3))


def squeezenet_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = network.features(images)  # type: ignore[operator]
    return maps.mean((2, 3))


def vit_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    tokens = network._process_input(images)  # type: ignore[operator]
    first = network.class_token.expand(len(images), -1, -1)  # type: ignore[operator]
    encoded: torch.Tensor = network.encoder(torch.cat([first, tokens], 1))  # type: ignore[operator]
    return encoded[:, 0]


def lite_units(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = network.extract_features(images)  # type: ignore[operator]
    return maps.mean((2, 3))


def vgg() -> nn.Module:
    features = nn.Sequential(nn.Conv2d(3, 512, 3, 8), nn.ReLU())
    network: nn.Module = torchvision.models.VGG(features, num_classes=1000, init_weights=False)
    for name, layer in (("0", (512 * 49, 32)), ("3", (32, 64)), ("6", (64, 1000))):
        network.get_submodule("classifier").register_module(name, nn.Linear(*layer))
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Units, str, int, Bounds | None]] = {
    "resnet": (lambda: ResNet(BasicBlock, [1, 1, 1, 1]), resnet_units, "fc", 512, None),
    "resnext": (
        lambda: ResNet(Bottleneck, [1, 1, 1, 1], groups=4, width_per_group=4),
        resnet_units, "fc", 2048, None,
    ),
    "alexnet": (torchvision.models.alexnet, alexnet_units, "classifier.6", 4096, None),
    "vgg": (vgg, alexnet_units, "classifier.6", 64, None),
    "densenet": (
        lambda: torchvision.models.DenseNet(8, (1, 1, 1, 1), 16),
        densenet_units, "classifier", 17, None,
    ),
    "squeezenet": (torchvision.models.squeezenet1_1, squeezenet_units, "classifier.1", 512, None),
    "vit": (
        lambda: torchvision.models.VisionTransformer(64, 16, 1, 2, 24, 48),
        vit_units, "heads.head", 24, None,
    ),
    "lite": (
        lambda: EfficientNet.from_name("efficientnet-lite0", image_size=64),
        lite_units, "_fc", 1280, Bounds(0, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
def test_units_are_what_the_last_layer_reads(kind: str) -> None:
    build, units, layer, width, bounds = NETWORKS[kind]
    torch.manual_seed(0)
    network, images = frozen(build()), torch.rand(2, 3, 64, 64)
    if kind == "vit":  # its head is all zeros until it is trained
        nn.init.normal_(network.get_submodule(layer).weight)  # type: ignore[arg-type]
    found = find_penultimate(network, 64, kind)
    assert (found.layer_name, found.width, found.bounds) == (layer, width, bounds)
    activations = found(images)
    assert activations.shape == (2, width)
    torch.testing.assert_close(activations, units(network, images), rtol=1e-6, atol=1e-6)


class Two(nn.Module):
    """Two heads, whose mean is the answer, as in distilled transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.other = nn.Linear(12, 10), nn.Linear(12, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return (self.head(flat) + self.other(flat)) / 2  # type: ignore[no-any-return]


class Beside(Two):
    """A head, and another one that is asked afterwards and not heard."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        self.other(images.flatten(1))
        return logits


class Gathered(Two):
    """More outputs than classes, in another order."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits[:, [7, 0, 3]]


class Functional(nn.Module):
    """A layer that only looks like the last one: its outputs are the last one's inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)
        self.last = nn.Parameter(torch.randn(10, 12))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.layer(images.flatten(1)), self.last)


def test_a_layer_that_the_logits_do_not_pass_is_not_the_last_one() -> None:
    assert find_penultimate(frozen(Beside()), 2, "beside").layer_name == "head"


def test_gathered_logits_are_a_layers() -> None:
    assert find_penultimate(frozen(Gathered()), 2, "gathered").layer_name == "head"


@pytest.mark.parametrize(
    "build",
    [Two, Functional, lambda: nn.Sequential(nn.Flatten(), nn.LogSoftmax(1), nn.BatchNorm1d(12))],
)
def test_a_network_without_a_last_layer_is_refused_with_what_was_looked_for(
    build: Callable[[], nn.Module],
) -> None:
    message = r"^No penultimate layer is found in mine. Looked for a last nn.Linear or 1x1 conv"
    with pytest.raises(InputError, match=message) as error:
        find_penultimate(frozen(build()), 2, "mine")
    assert str(error.value).isprintable()


def test_a_crop_that_a_network_cannot_take_is_named() -> None:
    with pytest.raises(InputError, match="mine does not run on images of 4 px: "):
        find_penultimate(frozen(torchvision.models.squeezenet1_1()), 4, "mine")


def through(*layers: nn.Module) -> Bounds | None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *layers, nn.Flatten(), nn.LazyLinear(10))
    network(torch.rand(1, 3, 6, 6))
    return find_penultimate(frozen(network), 6, "mine").bounds


class Clamped(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.clamp(-1, 3)


def test_bounds_are_those_of_the_last_activation_behind_pooling() -> None:
    pool = nn.AdaptiveAvgPool2d(1)
    assert through(nn.ReLU6(), pool) == Bounds(0, 6)
    assert through(nn.ReLU6(inplace=True), nn.MaxPool2d(2), nn.Dropout()) == Bounds(0, 6)
    assert through(nn.Hardtanh(-2, 5), nn.AvgPool2d(3)) == Bounds(-2, 5)
    assert through(nn.Sigmoid()) == Bounds(0, 1)
    assert through(nn.Tanh(), pool) == Bounds(-1, 1)
    assert through(nn.Hardsigmoid(), pool) == Bounds(0, 1)
    assert through(Clamped(), pool) == Bounds(-1, 3)
    # Padding brings zeros in, a divisor of one's own makes means larger.
    assert through(nn.Hardtanh(1, 5), nn.AvgPool2d(3, padding=1)) == Bounds(0, 5)
    assert through(nn.ReLU6(), nn.AvgPool2d(3, divisor_override=1)) is None


def test_without_such_an_activation_there_are_no_bounds() -> None:
    pool = nn.AdaptiveAvgPool2d(1)
    assert through(nn.ReLU(), pool) is None
    assert through(nn.ReLU6(), nn.Conv2d(4, 4, 1), pool) is None
    assert through(nn.ReLU6(), nn.BatchNorm2d(4), pool) is None


def test_no_unit_passes_the_greatest_probability_of_its_bounds() -> None:
    activations = torch.full((1, 1280), 0.0)
    activations[0, 3] = 6
    greatest = Bounds(0, 6).greatest_probability(1280)
    assert float(activations.double().softmax(1)[0, 3]) == pytest.approx(greatest, rel=1e-12)
