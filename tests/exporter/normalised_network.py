"""A small network whose normalisations have statistics, and photos for it."""

import numpy as np
import torch
from torch import nn

from evaluator.contracts import LoadedNetwork
from evaluator.exporter.spec import model_spec

PHOTOS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


class Residual(nn.Module):
    """A convolution, its normalisation, and the input once more."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + torch.relu(self.norm(self.convolution(images)))


def normalised(*, gain: float = 1.0) -> LoadedNetwork:
    """A small network whose normalisation has statistics; ``gain`` is that of its first layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm, residual = nn.BatchNorm2d(16), Residual()
        network = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2),
            norm,
            residual,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 1000),
        )
        for statistics in (norm, residual.norm):
            assert statistics.running_mean is not None
            assert statistics.running_var is not None
            statistics.running_mean.normal_(0, 0.1)
            statistics.running_var.uniform_(0.5, 2)
    norm.weight.data.fill_(gain)
    spec = model_spec("alexnet", weights="random", crop_px=32)
    return LoadedNetwork(spec, network.eval().requires_grad_(False), "0" * 64)
