"""What tests of white-box attacks share: photos that a small network is right on, and its runs."""

from pathlib import Path
from typing import Any

import torch

import evaluator
from evaluator.contracts import Condition, Run
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.records.reading import read_run
from evaluator.tests.labelled_photos import images_of_photos, tree_of
from evaluator.tests.second_attack import Images

SIDE, PHOTOS, WRONG = 32, 7, 2
EPSILONS, STEPS = (0.004, 0.02), (2, 5)


def network_of(model: str) -> Images:
    spec = model_spec(model, weights="random", crop_px=SIDE)
    return Images(load_network(spec).network, spec.preprocessing)


def images_seen() -> dict[str, torch.Tensor]:
    """Each photo as the network sees it, by the name of its file."""
    spec = model_spec("small", weights="random", crop_px=SIDE)
    return images_of_photos(spec.preprocessing, PHOTOS)


def labelled_tree(network: Images, images: dict[str, torch.Tensor], folder: Path) -> Path:
    """Photos under the classes that the network takes them for, the first two under the next."""
    labels = {
        name: (int(network(image).argmax()) + (position < WRONG)) % 1000
        for position, (name, image) in enumerate(images.items())
    }
    return tree_of(labels, folder)


def attack(tree: Path, out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "epsilons": EPSILONS,
        "steps": STEPS, "batch_size": 1, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_whitebox("small", tree, out=out, **{**options, **more})


def rows(run: Run, epsilon: float) -> list[dict[str, Any]]:
    condition = Condition((("epsilon", epsilon),))
    found: list[dict[str, Any]] = read_run(run, (condition,)).finished[condition].to_pylist()
    return found
