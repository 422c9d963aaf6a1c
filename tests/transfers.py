"""What tests of transferred attacks share: a source, victims that are alike, photos for them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import evaluator
from evaluator.contracts import Condition, Run
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.generate.photos import sample_photos
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network
from evaluator.exporter.zoo import MODELS
from evaluator.records.reading import read_run
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
    """Put a source, and two victims that are alike, into the zoo."""
    small_row(monkeypatch)
    for name in ("first", "second"):
        monkeypatch.setitem(MODELS, name, replace(MODELS["small"], name=name))
    flat = replace(MODELS["small"], name="flat", architecture="flat", build=lambda _: Flat())
    monkeypatch.setitem(MODELS, "flat", flat)


def network_of(weights: str, name: str = "") -> Images:
    name = name or ("flat" if weights == "random" else "small")
    spec = model_spec(name, weights=weights, crop_px=SIDE)
    return Images(load_network(spec).network, spec.preprocessing)


def images_of_photos() -> dict[str, torch.Tensor]:
    """Each as the networks see it, by the name of its file."""
    spec = model_spec("small", weights="random", crop_px=SIDE)
    found = {}
    for photo in sample_photos()[:PHOTOS]:
        pixels = photo_pixels(photo.path.read_bytes(), str(photo.path), spec.preprocessing)
        found[photo.path.name] = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None] / 255
    return found


def labelled_tree(images: dict[str, torch.Tensor], weights: str, folder: Path) -> Path:
    """Photos under the classes that the victim takes them for, the last under the source's."""
    victim, source = network_of(weights), network_of("random")
    for position, photo in enumerate(sample_photos()[:PHOTOS]):
        names = source if position == PHOTOS - 1 else victim
        label = int(names(images[photo.path.name]).argmax())
        place = folder / wnids()[label] / photo.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, place)
    return folder


def transfer(
    tree: Path, weights: str, out: Path, models: Any = "first", **more: Any
) -> tuple[Run, ...]:
    options: dict[str, Any] = {
        "source": "flat", "source_weights": "random", "source_crop_px": SIDE, "weights": weights,
        "crop_px": SIDE, "device": "cpu", "engine": "torch", "epsilons": EPSILONS, "steps": STEPS,
        "batch_size": 1, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_transfer(models, tree, out=out, **{**options, **more})


def rows(run: Run, epsilon: float) -> list[dict[str, Any]]:
    condition = Condition((("epsilon", epsilon),))
    found: list[dict[str, Any]] = read_run(run, (condition,)).finished[condition].to_pylist()
    return found
