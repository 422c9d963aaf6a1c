"""Claims: a curve over steps costs a fraction of foolbox's, and our step is as fast as its own.

The curve is over 10, 20, 30, 40 and 50 steps. The peer is foolbox as most people call it: the
network's parameters not frozen, one run for each count, all steps made, the last iterate judged.
Ours is the paper's protocol: one descent of at most 50 steps, each image to its first success. Both
go to the same targets with the same step within the same epsilon, and how many images each ever saw
leave their label is told beside: a faster attack that finds less would be none.

The other claim is of 50 steps with nothing to gain: frozen parameters, and every image makes all of
its steps and is traced on the way. Both sides keep freed memory, compute on all cores in float32,
and run in turns; a ratio is the median of the rounds' ratios.

    python -m perf.attack       EfficientNet-Lite0, 8 photos, minutes
"""

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from evaluator.attacks.pgd.attempts import AttemptResult, CleanImage
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.attacks.protocols import attack_settings
from evaluator.contracts import AttackSettings, Item, LoadedNetwork
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.system.batch_limit import BatchLimit
from evaluator.system.malloc import keep_freed_memory

MODEL = "efficientnet_lite0"
IMAGES, ROUNDS = 8, 3
COUNTS = (10, 20, 30, 40, 50)
EPSILON = 0.01
"""The smallest of the paper's, where images last longest: at others we gain more."""
AT_LEAST = {"curve": 4.0, "steps": 0.95}


def photos(loaded: LoadedNetwork, count: int = IMAGES) -> list[CleanImage]:
    """Some of the sample photos, decoded."""
    found = []
    for photo in shipped_photos()[:count]:
        pixels = photo_pixels(photo.path.read_bytes(), photo.id, loaded.spec.preprocessing)
        image = pixels.transpose(2, 0, 1).astype(np.float32) / 255
        found.append(CleanImage(Item(photo.id, photo.label, photo.id), image))
    return found


class Sides:
    """The same network for both; foolbox normalises by itself, ours inside of the network."""

    def __init__(self) -> None:
        import torch
        from torch import nn

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import foolbox

        loaded = load_network(model_spec(MODEL))
        shape, preprocessing = (1, 3, 1, 1), loaded.spec.preprocessing
        mean, std = (
            torch.tensor(numbers).reshape(shape)
            for numbers in (preprocessing.mean, preprocessing.std)
        )

        class OfImages(nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = loaded.network((images - mean) / std)
                return logits

        self.network = loaded.network
        self.of_images = OfImages().eval()
        self.photos = photos(loaded)
        self.images = torch.from_numpy(np.stack([photo.image for photo in self.photos]))
        self.labels = torch.tensor([photo.label for photo in self.photos])
        self.foolbox: Any = foolbox
        self.peer = foolbox.PyTorchModel(self.of_images, bounds=(0, 1), device="cpu")

    def ours(self, settings: AttackSettings, epsilon: float) -> list[AttemptResult]:
        """Our attack; every image traced where the settings trace any."""
        names = [photo.item.id for photo in self.photos] if settings.traced else []
        job = AttackJob(
            self.of_images,
            epsilon,
            BatchLimit(IMAGES),
            settings=settings,
            traced=frozenset(names),
        )
        return list(run_pgd(job, self.photos))

    def theirs(
        self, steps: int, step: float, epsilon: float, targets: Any = None, *, frozen: bool
    ) -> Any:
        """Whether foolbox's last iterates have left their labels: (N,)."""
        import torch

        self.network.requires_grad_(not frozen)
        attack = self.foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps)
        criterion: Any = self.foolbox.criteria.Misclassification(self.labels)
        if targets is not None:
            criterion = self.foolbox.criteria.TargetedMisclassification(targets)
        _, judged, _ = attack(self.peer, self.images, criterion, epsilons=epsilon)
        self.network.requires_grad_(False)
        with torch.no_grad():
            return self.of_images(judged).argmax(dim=1) != self.labels


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def curve(sides: Sides, epsilon: float) -> None:
    import torch

    settings = attack_settings("paper", traced=0)
    step = settings.step_px(epsilon)
    ratios = []
    for _ in range(ROUNDS):
        ours, attempts = timed(lambda: sides.ours(settings, epsilon))
        targets = torch.tensor([attempt.target for attempt in by_photo(sides, attempts)])
        left = torch.zeros(IMAGES, dtype=torch.bool)
        theirs = 0.0
        for steps in COUNTS:
            work = lambda: sides.theirs(steps, step, epsilon, targets, frozen=False)  # noqa: E731, B023
            seconds, changed = timed(work)
            theirs, left = theirs + seconds, left | changed
        found = sum(attempt.changed_step is not None for attempt in attempts)
        ratios.append(theirs / ours)
        print(
            f"  epsilon {epsilon}: {ours:.1f} s, labels left by {found} of {IMAGES}; foolbox "
            f"{theirs:.1f} s, {int(left.sum())}"
            + ("" if found >= left.sum() else ": IT FOUND MORE"),
            flush=True,
        )
    report(f"a curve over {len(COUNTS)} counts at epsilon {epsilon}", ratios, AT_LEAST["curve"])


def by_photo(sides: Sides, attempts: list[AttemptResult]) -> list[AttemptResult]:
    order = [photo.item.id for photo in sides.photos]
    return sorted(attempts, key=lambda attempt: order.index(attempt.item.id))


def steps_alone(sides: Sides, steps: int = 50, epsilon: float = 8 / 255) -> None:
    settings = attack_settings(
        "standard",
        steps=(steps,),
        losses=("cross_entropy",),
        restarts=1,
        traced=IMAGES,
        attack_wrong=True,
    )
    # An image that is wrong without an attack makes no step: they are all to make them.
    sides.photos = [
        CleanImage(Item(photo.item.id, int(label), photo.item.id), photo.image)
        for photo, label in zip(sides.photos, predicted(sides), strict=True)
    ]
    step = settings.step_px(epsilon)
    ratios = []
    for _ in range(ROUNDS):
        ours, attempts = timed(lambda: sides.ours(settings, epsilon))
        theirs, _ = timed(lambda: sides.theirs(steps, step, epsilon, frozen=True))
        assert [attempt.steps for attempt in attempts] == [steps] * IMAGES
        ratios.append(theirs / ours)
        print(f"  {steps} steps: {ours:.1f} s, frozen foolbox {theirs:.1f} s", flush=True)
    report(f"{steps} steps of every image, frozen foolbox", ratios, AT_LEAST["steps"])


def predicted(sides: Sides) -> Any:
    import torch

    with torch.no_grad():
        return sides.of_images(sides.images).argmax(dim=1)


def report(claim: str, ratios: list[float], claimed: float) -> None:
    """The median ratio, its spread, and whether the claim holds."""
    middle = median(ratios)
    verdict = "holds" if middle >= claimed else "DOES NOT HOLD"
    print(
        f"{claim}: {middle:.2f}x (from {min(ratios):.2f} to {max(ratios):.2f}); at least "
        f"{claimed:g}: {verdict}",
        flush=True,
    )


def main() -> None:
    keep_freed_memory()
    sides = Sides()
    sides.theirs(1, 0.01, 0.01, frozen=True)  # warm
    curve(sides, EPSILON)
    steps_alone(sides)


if __name__ == "__main__":
    main()
