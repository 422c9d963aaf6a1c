"""A network small enough for checkpoints of every kind, and its weights."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from evaluator.errors import EvaluatorError
from evaluator.exporter.zoo.table import MODELS

Tensors = dict[str, torch.Tensor]


class Small(nn.Module):
    """A convolution, a normalisation and a head: 4 layers' worth of names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.conv(images)).mean((2, 3)))
        return logits


def small_row(monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the network into the zoo, under this name."""
    row = replace(MODELS["resnet50"], name="small", architecture="small", build=lambda _: Small())
    monkeypatch.setitem(MODELS, "small", row)
    return "small"


def checkpoint(path: Path, content: object, **options: Any) -> str:
    torch.save(content, path, **options)
    return str(path)


def small_tensors(seed: int = 5) -> Tensors:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Small()
        nn.init.uniform_(network.norm.weight)
        nn.init.uniform_(network.norm.bias)
        network.norm.running_mean = torch.rand(4)
        network.norm.running_var = torch.rand(4) + 1
        network.norm.num_batches_tracked = torch.tensor(17)
    return network.state_dict()


def sha256_of(tensors: Tensors) -> str:
    """What ``tensors_sha256`` says that it does, written again, with numpy."""
    content = b""
    for name, tensor in sorted(tensors.items()):
        if name.rpartition(".")[2] == "num_batches_tracked":
            continue
        array = tensor.numpy()
        shape = ", ".join(str(length) for length in array.shape)
        content += f"{name}\0{array.dtype}\0[{shape}]\0".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def one_line(error: pytest.ExceptionInfo[EvaluatorError]) -> str:
    message = str(error.value)
    assert message.isprintable()
    return message
