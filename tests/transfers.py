"""What tests of transferred attacks share: a source, equal target models, photos for them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import evaluator
from evaluator.contracts import Run
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.labelled_photos import images_of_photos, tree_of
from evaluator.tests.second_attack import Images
from evaluator.tests.small import small_row

SIDE, PHOTOS = 32, 6
EPSILONS, STEPS = (0.004, 0.3), (3, 12)
EXPORTED = "torchvision:shufflenet_v2_x0_5"  # which the process that exports knows as well


class Flat(nn.Module):
    """Looks at each pixel by itself, so that any target is soon reached."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIDE * SIDE, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits


def transfer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a source, and two target models that are alike, into the zoo."""
    small_row(monkeypatch)
    for name in ("first", "second"):
        monkeypatch.setitem(MODELS, name, replace(MODELS["small"], name=name))
    flat = replace(MODELS["small"], name="flat", architecture="flat", build=lambda _: Flat())
    monkeypatch.setitem(MODELS, "flat", flat)


def network_of(weights: str, name: str = "") -> Images:
    name = name or ("flat" if weights == "random" else "small")
    spec = model_spec(name, weights=weights, crop_px=SIDE)
    return Images(load_network(spec).network, spec.preprocessing)


def images_seen() -> dict[str, torch.Tensor]:
    """Each photo as the networks see it, by the name of its file."""
    return images_of_photos(
        model_spec("small", weights="random", crop_px=SIDE).preprocessing, PHOTOS
    )


def labelled_tree(images: dict[str, torch.Tensor], weights: str, folder: Path) -> Path:
    """Photos under the classes that the target model predicts, the last under the source's."""
    networks = [network_of(weights)] * (PHOTOS - 1) + [network_of("random")]
    named = zip(images.items(), networks, strict=True)
    return tree_of({name: int(network(image).argmax()) for (name, image), network in named}, folder)


def transfer(
    tree: Path, weights: str, out: Path, models: Any = "first", **more: Any
) -> tuple[Run, ...]:
    options: dict[str, Any] = {
        "source": "flat", "source_weights": "random", "source_crop_px": SIDE, "weights": weights,
        "crop_px": SIDE, "device": "cpu", "engine": "torch", "epsilons": EPSILONS, "steps": STEPS,
        "batch_size": 1, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_transfer(models, tree, out=out, **{**options, **more})
