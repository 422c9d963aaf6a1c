"""Images under attack, their attempts, and the results of the attempts.

An image gets one attempt after the other, each a start and a loss, until an attempt succeeded
within the smallest count of steps, or no attempt is left. Steps count from 1, the iterate that the
first step leads to; the start is never tested, and step 0 is the clean image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...contracts import AttackLoss, AttackSettings, Item
from ...errors import InputError, printable
from ..randomness import wrong_class

Image = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class CleanImage:
    """An image to attack.

    Attributes:
        item: Id and label.
        image: Pixels: (3, S, S) in [0, 1]; float32, or float64 for a network in float64.
    """

    item: Item
    image: Image

    @property
    def label(self) -> int:
        """True class of the image.

        Raises:
            InputError: If it has none.
        """
        if self.item.label is None:
            raise InputError(
                f"{printable(self.item.location)} has no label, so no attack on it can be counted."
            )
        return self.item.label


@dataclass(frozen=True)
class AttemptResult:
    """Result of an attempt: one start with one loss.

    Steps count from 1. A step is ``None`` if no iterate meets its condition.

    Attributes:
        item: Id and label of the image.
        restart: Number of the start, from 0.
        loss_name: Loss that was descended or ascended.
        clean: Class that is predicted without an attack.
        target: Class that the attempt aims at; ``None`` if untargeted.
        target_step: First iterate that is classified as the target; 0 if the clean image is.
        changed_step: First iterate that is not classified as the label; 0 if the clean image is
            not.
        last: Class of the last iterate.
        steps: Number of steps made.
        traced: Whether it made all steps, also after a success.
        linf: L-infinity distance of the first success, or else of the last iterate, from the clean
            image.
        l2: L2 distance of the same iterate.
        loss: Loss at each iterate that had a gradient, from the start on: ``steps`` of them.
        gradient_norm: L2 norm of the gradient at the same iterates, in image units.
        zero_share: Share of gradient components that are exactly zero, mean over steps; ``None``
            without steps.
        dead_steps: Number of steps whose whole gradient was zero.
        at_bound: Share of components of the last iterate at epsilon, or held back by 0 or 1.
        turned: Share of components whose step reverses the one before, mean over steps; ``None``
            for fewer than two steps.
        adversarial: First success, or else the last iterate: (3, S, S); ``None`` if images are not
            kept, or no step was made.
    """

    item: Item
    restart: int
    loss_name: AttackLoss
    clean: int
    target: int | None
    target_step: int | None
    changed_step: int | None
    last: int
    steps: int
    traced: bool
    linf: float
    l2: float
    loss: Sequence[float]
    gradient_norm: Sequence[float]
    zero_share: float | None
    dead_steps: int
    at_bound: float | None
    turned: float | None
    adversarial: Image | None = None


class ImageState:
    """An image, and the step counts within which no attempt has succeeded yet.

    Args:
        image: The image.
        clean: Class that is predicted without an attack.
        classes: Number of classes.
        settings: Settings of the attack.
    """

    def __init__(
        self, image: CleanImage, clean: int, classes: int, settings: AttackSettings
    ) -> None:
        self.image, self.clean, self.label = image, clean, image.label
        self._classes, self._settings = classes, settings
        self._undecided = settings.steps
        self._next = 0

    @property
    def left(self) -> bool:
        """Whether another attempt has to be made."""
        attacked = self.clean == self.label or self._settings.attack_wrong
        return attacked and bool(self._undecided) and self._next < self._settings.attempts

    def next_attempt(self, traced: bool) -> "AttemptState":
        """Start the next attempt; the losses of a start come first, then the next start."""
        settings = self._settings
        restart, position = divmod(self._next, len(settings.losses))
        self._next += 1
        target = None
        if settings.targeted:
            target = wrong_class(
                settings.seed, self.image.item.id, restart, label=self.label, classes=self._classes
            )
        return AttemptState(
            image=self,
            restart=restart,
            loss_name=settings.losses[position],
            target=target,
            limit=settings.steps[-1] if traced else self._undecided[-1],
            traced=traced,
            stops_at_label=settings.stop == "label",
        )

    def succeed(self, step: int) -> None:
        """Record a success; smaller step counts are still undecided."""
        self._undecided = tuple(count for count in self._undecided if count < step)


@dataclass
class AttemptState:
    """An attempt under way; fields that are not listed are as in ``AttemptResult``.

    Attributes:
        image: State of the image.
        limit: Number of steps to make.
        traced: Whether to make all steps, also after a success.
        stops_at_label: Whether leaving the label is the success; otherwise reaching the target.
        steps: Number of steps made so far.
        last: Class of the current iterate.
        distances: L-infinity and L2 distance of the first success, or else of the last iterate.
        zero_shares: Sum over steps of the share of gradient components that are exactly zero.
        turned: Sum over steps of the share of components whose step reverses the one before.
    """

    image: ImageState
    restart: int
    loss_name: AttackLoss
    target: int | None
    limit: int
    traced: bool
    stops_at_label: bool
    steps: int = 0
    last: int = -1
    target_step: int | None = None
    changed_step: int | None = None
    distances: tuple[float, float] | None = None
    adversarial: Image | None = None
    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    zero_shares: float = 0.0
    dead_steps: int = 0
    turned: float = 0.0

    def __post_init__(self) -> None:
        self._test(self.image.clean)

    @property
    def label(self) -> int:
        """True class of the image."""
        return self.image.label

    @property
    def loss_class(self) -> int:
        """Class that the loss refers to: the target, or the label if untargeted."""
        return self.label if self.target is None else self.target

    @property
    def success(self) -> int | None:
        """Step of the first success; ``None`` if there is none yet."""
        return self.changed_step if self.stops_at_label else self.target_step

    def test(self, predicted: int) -> bool:
        """Record the class of the current iterate. Returns whether it is the first success."""
        before = self.success
        if self.steps:
            self._test(predicted)
        return before is None and self.success is not None

    def note(self, loss: float, norm: float, zero_share: float, turned: float) -> None:
        """Record the gradient at the current iterate, and count the step from it."""
        self.loss.append(loss)
        self.gradient_norm.append(norm)
        self.zero_shares += zero_share
        self.dead_steps += zero_share == 1
        self.turned += turned
        self.steps += 1

    def _test(self, predicted: int) -> None:
        self.last = predicted
        if self.changed_step is None and predicted != self.label:
            self.changed_step = self.steps
        if self.target_step is None and predicted == self.target:
            self.target_step = self.steps

    def end(self, at_bound: float | None) -> AttemptResult:
        """End the attempt, record a success in its image, and return the result."""
        if self.success is not None:
            self.image.succeed(self.success)
        linf, l2 = self.distances or (0.0, 0.0)
        return AttemptResult(
            item=self.image.image.item,
            restart=self.restart,
            loss_name=self.loss_name,
            clean=self.image.clean,
            target=self.target,
            target_step=self.target_step,
            changed_step=self.changed_step,
            last=self.last,
            steps=self.steps,
            traced=self.traced and self.steps > 0,
            linf=linf,
            l2=l2,
            loss=self.loss,
            gradient_norm=self.gradient_norm,
            zero_share=self.zero_shares / self.steps if self.steps else None,
            dead_steps=self.dead_steps,
            at_bound=at_bound,
            turned=self.turned / (self.steps - 1) if self.steps > 1 else None,
            adversarial=self.adversarial,
        )
