"""Networks small enough to be attacked in milliseconds, images for them, and attacks on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from evaluator.attacks.pgd.attempts import AttemptResult, CleanImage
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.attacks.protocols import attack_settings
from evaluator.attacks.queries.query_attacks import Queried, QueryJob, run_queries
from evaluator.attacks.records import attack_records
from evaluator.contracts import AttackSettings, Item, ProbeName, ProbeSettings
from evaluator.system.batch_limit import BatchLimit

CLASSES, SIDE_PX = 10, 6
Float = npt.NDArray[np.floating[Any]]


class Network(nn.Module):
    """Two layers; smooth, so that no gradient is zero."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 8, 3)
            self.second = nn.Linear(8 * (SIDE_PX - 2) ** 2, CLASSES)
        self.to(dtype).eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(4 * self.first(images - 0.5)).flatten(1)
        logits: torch.Tensor = 2 * self.second(hidden)
        return logits


class Linear(nn.Module):
    """logits = W x, of which the worst case is known."""

    def __init__(self, weights: Float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weights.T


class Quantised(nn.Module):
    """A network whose input is rounded to so many levels: its gradient is zero everywhere."""

    def __init__(self, network: nn.Module, levels: int = 16) -> None:
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(torch.round(images * self.levels) / self.levels)
        return logits


class Counted(nn.Module):
    """A network that notes how many images each pass was over, and which had a gradient."""

    def __init__(self, network: nn.Module, room: int | None = None) -> None:
        super().__init__()
        self.network, self.room = network, room
        self.passes: list[tuple[int, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.room is not None and len(images) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.passes.append((len(images), images.requires_grad))
        logits: torch.Tensor = self.network(images)
        return logits


def photos(
    network: nn.Module, count: int, *, seed: int = 0, wrong: Sequence[int] = (), dtype: Any = float
) -> list[CleanImage]:
    """Random images with the labels that the network gives them, but for some wrong ones."""
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 256, (count, 3, SIDE_PX, SIDE_PX)).astype(dtype) / dtype(255)
    labels = network(torch.from_numpy(pixels)).argmax(dim=1).tolist()
    for number in wrong:
        labels[number] = (labels[number] + 1) % CLASSES
    return [
        CleanImage(Item(f"n{seed}/{number}.JPEG", label, f"DATA/{number}.JPEG"), image)
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True))
    ]


def paper(**choices: Any) -> AttackSettings:
    return attack_settings("paper", **{"traced": 0, "steps": (4, 8, 12), **choices})


def standard(**choices: Any) -> AttackSettings:
    usual: dict[str, Any] = {"traced": 0, "steps": (3, 6, 9), "step_size": 0.004, "restarts": 3}
    return attack_settings("standard", **{**usual, **choices})


def attempts_on(
    network: nn.Module,
    images: Sequence[CleanImage],
    settings: AttackSettings,
    epsilon: float = 0.03,
    *,
    batch: int = 4,
    **options: Any,
) -> list[AttemptResult]:
    """All attempts, sorted by image and then as they were made."""
    job = AttackJob(network, epsilon, BatchLimit(batch), settings=settings, **options)
    order = {image.item.id: number for number, image in enumerate(images)}
    return sorted(run_pgd(job, images), key=lambda attempt: order[attempt.item.id])


def queried_on(
    network: nn.Module,
    images: Sequence[CleanImage],
    probe: ProbeName,
    epsilon: float = 0.03,
    *,
    queries: int = 30,
    batch: int = 4,
    seed: int = 0,
    **options: Any,
) -> list[Queried]:
    """What became of each image that the network was asked about, in their order."""
    settings = ProbeSettings(probe, images=len(images) or 1, queries=queries)
    job = QueryJob(network, epsilon, BatchLimit(batch), probe=settings, seed=seed, **options)
    order = {image.item.id: number for number, image in enumerate(images)}
    return sorted(run_queries(job, images), key=lambda one: order[one.item.id])


def stacked(images: Sequence[CleanImage]) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.image for image in images]))


def rounded(losses: Sequence[float]) -> list[float]:
    """Losses as they are recorded: sums over other batches differ in the last bits."""
    return [float(np.float32(loss)) for loss in losses]


def table(images: Sequence[CleanImage], attempts: Sequence[AttemptResult]) -> pa.Table:
    """Their records."""
    return pa.Table.from_batches([attack_records([image.item for image in images], attempts)])
