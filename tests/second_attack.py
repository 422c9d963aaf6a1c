"""The paper's attack once more: a plain loop over one image, on a network that normalises."""

import torch
from torch import nn
from torch.nn import functional

from evaluator.attacks.randomness import start_noise, wrong_class
from evaluator.contracts import Preprocessing

STEP_SIZE = 2 / 255


class Images(nn.Module):
    """The network with its preprocessing, written once more."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = (
            torch.tensor(values).reshape(1, 3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network((images - self.mean) / self.std)
        return logits


def papers_attack(
    network: nn.Module, image: torch.Tensor, identity: str, label: int, epsilon: float, steps: int
) -> tuple[int | None, int | None]:
    """The steps at which the target was reached and the label left, by a plain loop."""
    return papers_walk(network, image, identity, label, epsilon, steps)[:2]


def papers_walk(
    network: nn.Module, image: torch.Tensor, identity: str, label: int, epsilon: float, steps: int
) -> tuple[int | None, int | None, torch.Tensor]:
    """The same, and the iterate at which it ended."""
    target = wrong_class(0, identity, 0, label=label, classes=1000)
    noise = torch.from_numpy(start_noise(0, identity, 0, tuple(image.shape[1:]))).float()[None]
    iterate, left = image + epsilon * noise, None
    for step in range(1, steps + 1):
        iterate = iterate.detach().requires_grad_(True)
        loss = functional.cross_entropy(network(iterate), torch.tensor([target]))
        (gradient,) = torch.autograd.grad(loss, iterate)
        moved = iterate - STEP_SIZE * gradient.sign()
        iterate = (image + (moved - image).clamp(-epsilon, epsilon)).clamp(0, 1)
        predicted = int(network(iterate).argmax())
        left = step if left is None and predicted != label else left
        if predicted == target:
            return step, left, iterate
    return None, left, iterate
