"""Folding batch normalisation, against the same network unfolded in float64."""

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from evaluator.errors import InputError
from evaluator.exporter.graph.batchnorm import fold_batchnorm
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network

FLOAT32_ROUNDING = 1e-6
"""Of the folded parameters: eight times the spacing of float32 at 1."""

Layer = Callable[..., torch.Tensor]


class Wired(nn.Module):
    """Layers with a forward that is written beside them."""

    def __init__(self, wiring: Layer, *layers: nn.Module) -> None:
        super().__init__()
        self.wiring = wiring
        self.layers = nn.ModuleList(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.wiring(images, *self.layers)


class StandardisedConv2d(nn.Conv2d):
    """Weight standardisation, as in BiT: whatever the weights' scale, it is divided away."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(input, weight, self.bias)


def conv(inputs: int = 3, outputs: int = 4, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def trained(network: nn.Module, scales: tuple[float, float] = (-2, 2)) -> nn.Module:
    """In evaluation mode, with statistics, scales and shifts that leave nothing unchanged."""
    numbers = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, generator=numbers)
        else:
            low, high = (-1, 1) if name.endswith("bias") else scales
            nn.init.uniform_(parameter, low, high, generator=numbers)
    for module in network.modules():
        if not isinstance(module, _BatchNorm):
            continue
        if module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-1, 1, generator=numbers)
            module.running_var.uniform_(0.25, 4, generator=numbers)
    return network.eval().requires_grad_(False)


def images(n: int = 2, side: int = 8, channels: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def fold_error(network: nn.Module, batch: torch.Tensor) -> float:
    """Fold in place; how far the logits moved, relative, all of it computed in float64."""
    before = copy.deepcopy(network).double()(batch.double())
    fold_batchnorm(network, torch.zeros_like(batch[:1]))
    after = copy.deepcopy(network).double()(batch.double())
    return float((after - before).norm() / before.norm())


def batchnorms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def channel_affines(network: nn.Module) -> int:
    return sum(type(module).__name__ == "ChannelAffine" for module in network.modules())


def twice(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    return norm(conv(conv(images)))


def norm_twice(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    return norm(norm(conv(images)))


def both_twice(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    return norm(conv(images)) + norm(conv(images.flip(-1)))


def two_norms(images: torch.Tensor, conv: Layer, norm: Layer, other: Layer) -> torch.Tensor:
    features = conv(images)
    return norm(features) * other(features)


def concatenated(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    return norm(torch.cat([conv(images), images], 1))


FOLDED = {
    "conv and norm": nn.Sequential(conv(), nn.BatchNorm2d(4)),
    "conv with a bias": nn.Sequential(conv(bias=True), nn.BatchNorm2d(4)),
    "grouped conv": nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=True), nn.BatchNorm2d(6)),
    "strided, dilated conv": nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, dilation=2, padding=3), nn.BatchNorm2d(4)
    ),
    "reflected padding": nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)
    ),
    "norm without scale and shift": nn.Sequential(conv(), nn.BatchNorm2d(4, affine=False)),
    "norm with another epsilon": nn.Sequential(conv(), nn.BatchNorm2d(4, eps=0.1)),
    "identity and dropout between": nn.Sequential(
        conv(), nn.Identity(), nn.Dropout(), nn.BatchNorm2d(4)
    ),
    "nested apart": nn.Sequential(
        nn.Sequential(conv()), nn.Sequential(nn.Sequential(nn.BatchNorm2d(4)), nn.ReLU())
    ),
}
KEPT = {
    "norm before conv": nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv()),
    "activation between": nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(4)),
    "two norms in a row": nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)),
    "conv that runs twice": Wired(twice, conv(3, 3), nn.BatchNorm2d(3)),
    "norm that runs twice": Wired(norm_twice, conv(3, 3), nn.BatchNorm2d(3)),
    "both run twice": Wired(both_twice, conv(), nn.BatchNorm2d(4)),
    "transposed conv": nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)),
    "linear layer": nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5)),
    "concatenation between": Wired(concatenated, conv(), nn.BatchNorm2d(7)),
}


def test_the_fold_is_the_formula() -> None:
    # gamma 6, beta 5, mean 3, variance 4: y = 6 (2 x + 1 - 3) / 2 + 5 = 6 x - 1.
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    for value, tensor in (
        (2.0, convolution.weight),
        (1.0, convolution.bias),
        (6.0, norm.weight),
        (5.0, norm.bias),
        (3.0, norm.running_mean),
        (4.0, norm.running_var),
    ):
        assert tensor is not None
        tensor.data.fill_(value)
    network = nn.Sequential(convolution, norm).eval()
    fold_batchnorm(network, torch.zeros(1, 1, 2, 2))
    assert convolution.bias is not None
    assert (float(convolution.weight), float(convolution.bias)) == (6, -1)


def test_folded_weights_are_rounded_once() -> None:
    convolution, norm = conv(3, 64, bias=True), nn.BatchNorm2d(64, eps=1e-3)
    network = trained(nn.Sequential(convolution, norm))
    w, b, gamma, beta, mean, variance = (
        tensor.numpy().astype(np.float64)
        for tensor in (
            *(convolution.weight, convolution.bias, norm.weight, norm.bias),
            *(norm.running_mean, norm.running_var),
        )
        if tensor is not None
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    fold_batchnorm(network, torch.zeros(1, 3, 8, 8))
    weight, bias = network.parameters()
    np.testing.assert_array_equal(weight.numpy(), np.float32(w * scale[:, None, None, None]))
    np.testing.assert_array_equal(bias.numpy(), np.float32((b - mean) * scale + beta))


@pytest.mark.parametrize("name", FOLDED)
def test_a_norm_alone_behind_a_convolution_vanishes_into_it(name: str) -> None:
    network = trained(copy.deepcopy(FOLDED[name]))
    assert fold_error(network, images()) < FLOAT32_ROUNDING
    assert (batchnorms(network), channel_affines(network)) == (0, 0)


@pytest.mark.parametrize("name", KEPT)
def test_any_other_norm_becomes_one_multiply_and_add(name: str) -> None:
    network = trained(copy.deepcopy(KEPT[name]))
    norms = batchnorms(network)
    assert fold_error(network, images()) < FLOAT32_ROUNDING
    assert (batchnorms(network), channel_affines(network)) == (0, norms)


def test_a_convolution_that_feeds_two_norms_is_folded_into_neither() -> None:
    network = trained(Wired(two_norms, conv(), nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING
    assert channel_affines(network) == 2


def test_a_weight_shared_with_another_convolution_is_folded_only_here() -> None:
    first, second = conv(3, 3), conv(3, 3)
    second.weight = first.weight
    network = trained(nn.Sequential(first, nn.BatchNorm2d(3), second))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def residual(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    features = conv(images)
    return features + norm(features)


def gate(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    features = conv(images)
    return norm(features) * features.mean((2, 3), keepdim=True)


def added_in_place(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    features = conv(images)
    features += images  # as the blocks of a pre-activation ResNet add their shortcut
    return norm(features)


def by_keyword(images: torch.Tensor, conv: Layer, norm: Layer) -> torch.Tensor:
    return norm(input=conv(images))


@pytest.mark.parametrize("wiring", [residual, gate], ids=lambda wiring: wiring.__name__)
def test_a_convolution_that_is_also_read_before_its_norm_keeps_its_value(wiring: Layer) -> None:
    network = trained(Wired(wiring, conv(), nn.BatchNorm2d(4)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def test_an_activation_in_place_between_convolution_and_norm_is_noticed() -> None:
    network = trained(nn.Sequential(conv(), nn.ReLU(inplace=True), nn.BatchNorm2d(4)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def test_a_shortcut_added_in_place_between_convolution_and_norm_is_noticed() -> None:
    network = trained(Wired(added_in_place, conv(3, 3), nn.BatchNorm2d(3)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def test_a_convolution_that_standardises_its_weights_is_not_scaled() -> None:
    network = trained(nn.Sequential(StandardisedConv2d(3, 4, 3), nn.BatchNorm2d(4)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def clamped(convolution: nn.Conv2d) -> None:
    """A layer whose weights are clamped before each pass, as those of a Wasserstein critic."""
    convolution.register_forward_pre_hook(lambda layer, _: layer.weight.data.clamp_(-0.1, 0.1))


def pruned(convolution: nn.Conv2d, name: str = "weight") -> None:
    prune.l1_unstructured(convolution, name, 0.5)  # type: ignore[no-untyped-call]


def halved(convolution: nn.Conv2d) -> None:
    convolution.register_forward_hook(lambda *given: given[2] / 2)


REPARAMETRISED: dict[str, Callable[[nn.Conv2d], object]] = {
    "old spectral norm": spectral_norm,
    "old weight norm": weight_norm,
    "new spectral norm": parametrizations.spectral_norm,
    "new weight norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": pruned,
    "pruned in its bias": partial(pruned, name="bias"),
    "clamped before each pass": clamped,
    "changed after each pass": halved,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", REPARAMETRISED)
def test_a_convolution_that_computes_its_weights_is_not_folded(name: str) -> None:
    network = trained(nn.Sequential(conv(bias=True), nn.BatchNorm2d(4)))
    REPARAMETRISED[name](network.get_submodule("0"))  # type: ignore[arg-type]
    network.eval().requires_grad_(False)
    before = network(images())
    fold_batchnorm(network, torch.zeros(1, 3, 8, 8))
    after = network(images())
    assert float((after - before).norm() / before.norm()) < FLOAT32_ROUNDING
    assert (batchnorms(network), channel_affines(network)) == (0, 1)


class WithoutBias(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(input, self.weight)


class Rectified(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


class ReadsStatistics(nn.Module):
    """A norm that is not called: its statistics are read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        return functional.batch_norm(
            self.conv(images), norm.running_mean, norm.running_var, norm.weight, norm.bias
        )


class RefusesHooks(nn.Module):
    """It raises where its convolution has a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.conv._forward_hooks:
            raise RuntimeError("no hooks, please")
        features: torch.Tensor = self.norm(self.conv(images))
        return features


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (nn.Sequential(WithoutBias(3, 4, 3), nn.BatchNorm2d(4)), 0),
        (nn.Sequential(conv(), Rectified(4)), 1),
        (ReadsStatistics(), 1),
        (RefusesHooks(), 0),
    ],
    ids=["bias that is not used", "norm that does more", "norm that is read", "no hooks"],
)
def test_what_cannot_be_folded_keeps_its_values(network: nn.Module, left: int) -> None:
    network = trained(network)
    assert fold_error(network, images()) < FLOAT32_ROUNDING
    assert (batchnorms(network), channel_affines(network)) == (left, 1 - left)


def test_a_norm_that_two_parents_hold_is_replaced_in_both() -> None:
    convolution, norm = conv(), nn.BatchNorm2d(4)
    both = nn.Sequential(convolution, norm)
    network = Wired(lambda images, *layers: layers[0](images), both, convolution, norm)
    assert fold_error(trained(network), images()) < FLOAT32_ROUNDING
    assert batchnorms(network) == 0


def test_a_norm_that_is_called_by_keyword_is_folded() -> None:
    network = trained(Wired(by_keyword, conv(), nn.BatchNorm2d(4)))
    assert fold_error(network, images()) < FLOAT32_ROUNDING


def test_a_norm_without_running_statistics_is_refused_by_name() -> None:
    network = nn.Sequential(conv(), nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)))
    with pytest.raises(InputError, match=r"layer 1\.0 normalises by the statistics of the batch"):
        fold_batchnorm(network.eval(), torch.zeros(1, 3, 8, 8))


def test_the_network_keeps_no_hook_and_wants_no_gradient() -> None:
    network = trained(nn.Sequential(conv(bias=True), nn.BatchNorm2d(4), conv(4, 2)))
    fold_batchnorm(network, torch.zeros(1, 3, 8, 8))
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_densenet_folds_what_follows_a_convolution_and_keeps_the_rest() -> None:
    # 121 norms: the first one and the 58 second ones of a dense layer follow a convolution; the 58
    # first ones, 3 transitions and the last one read a concatenation: 59 and 62.
    network = trained(torchvision.models.densenet121(weights=None), scales=(0.5, 1.5))
    assert batchnorms(network) == 121
    assert fold_error(network, images(1, side=32)) < FLOAT32_ROUNDING
    assert (batchnorms(network), channel_affines(network)) == (0, 62)


def test_efficientnet_lite0_folds_all_of_its_49_norms_with_its_real_weights() -> None:
    network = load_network(model_spec("efficientnet_lite0")).network
    assert batchnorms(network) == 49
    coarse = images(4, side=7)
    photos = functional.interpolate(coarse, size=224, mode="bicubic").clamp(-1, 1)
    with torch.inference_mode():
        before = network(photos).double().numpy()
        fold_batchnorm(network, torch.zeros(1, 3, 224, 224))
        after = network(photos).double().numpy()
    assert (batchnorms(network), channel_affines(network)) == (0, 0)
    signal = before - before.mean(axis=0)
    assert np.linalg.norm(signal) > 10  # the images are told apart, so the ratio means something
    assert np.linalg.norm(after - before) / np.linalg.norm(signal) <= 1e-5
