"""Images under attack, their attempts, and the results of the attempts.

An image gets one attempt after the other, each a start and a loss, until an attempt succeeded
within the smallest count of steps, or no attempt is left. Steps count from 1, the iterate that the
first step leads to; the start is never tested, and step 0 is the clean image.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...contracts import SUCCESS_STEP, AttackLoss, AttackSettings, Item
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


@dataclass
class AttemptResult:
    """Result of an attempt: one start with one loss; not final while the attempt is under way.

    Steps count from 1. A step is ``None`` if no iterate meets its condition.

    Attributes:
        item: Id and label of the image.
        restart: Number of the start, from 0.
        loss_name: Loss that was descended or ascended.
        clean: Class that is predicted without an attack.
        target: Class that the attempt aims at; ``None`` if untargeted.
        last: Class of the last iterate.
        traced: Whether it makes all steps, also after a success.
        target_step: First iterate that is classified as the target; 0 if the clean image is.
        changed_step: First iterate that is not classified as the label; 0 if the clean image is
            not.
        steps: Number of steps made.
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
    last: int
    traced: bool
    target_step: int | None = None
    changed_step: int | None = None
    steps: int = 0
    linf: float = 0.0
    l2: float = 0.0
    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    zero_share: float | None = None
    dead_steps: int = 0
    at_bound: float | None = None
    turned: float | None = None
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
        self.settings, self._classes = settings, classes
        self._undecided = settings.steps
        self._next = 0

    @property
    def left(self) -> bool:
        """Whether another attempt has to be made."""
        attacked = self.clean == self.label or self.settings.attack_wrong
        return attacked and bool(self._undecided) and self._next < self.settings.attempts

    def next_attempt(self, traced: bool) -> "AttemptState":
        """Start the next attempt; the losses of a start come first, then the next start."""
        settings, item = self.settings, self.image.item
        restart, position = divmod(self._next, len(settings.losses))
        self._next += 1
        target = None
        if settings.targeted:
            target = wrong_class(
                settings.seed, item.id, restart, label=self.label, classes=self._classes
            )
        loss_name = settings.losses[position]
        result = AttemptResult(item, restart, loss_name, self.clean, target, self.clean, traced)
        limit = settings.steps[-1] if traced else self._undecided[-1]
        attempt = AttemptState(self, result, limit)
        attempt.test(self.clean)
        return attempt

    def succeed(self, step: int) -> None:
        """Record a success; smaller step counts are still undecided."""
        self._undecided = tuple(count for count in self._undecided if count < step)


@dataclass
class AttemptState:
    """An attempt under way.

    Attributes:
        image: State of the image.
        result: The result so far.
        limit: Number of steps to make.
        zero_shares: Sum over steps of the share of gradient components that are exactly zero.
        turned: Sum over steps of the share of components whose step reverses the one before.
    """

    image: ImageState
    result: AttemptResult
    limit: int
    zero_shares: float = 0.0
    turned: float = 0.0

    @property
    def loss_class(self) -> int:
        """Class that the loss refers to: the target, or the label if untargeted."""
        return self.image.label if self.result.target is None else self.result.target

    @property
    def success(self) -> int | None:
        """Step of the first success; ``None`` if there is none yet."""
        step: int | None = getattr(self.result, SUCCESS_STEP[self.image.settings.success])
        return step

    @property
    def has_ended(self) -> bool:
        """Whether it succeeded and makes no further steps."""
        return self.success is not None and not self.result.traced

    def test(self, predicted: int) -> bool:
        """Record the class of the current iterate. Returns whether it is the first success."""
        before, result = self.success, self.result
        result.last = predicted
        if result.changed_step is None and predicted != self.image.label:
            result.changed_step = result.steps
        if result.target_step is None and predicted == result.target:
            result.target_step = result.steps
        return before is None and self.success is not None

    def note(self, loss: float, norm: float, zero_share: float, turned: float) -> None:
        """Record the gradient at the current iterate, and count the step from it."""
        self.result.loss.append(loss)
        self.result.gradient_norm.append(norm)
        self.result.dead_steps += zero_share == 1
        self.result.steps += 1
        self.zero_shares += zero_share
        self.turned += turned

    def end(self, at_bound: float | None) -> AttemptResult:
        """End the attempt, record a success in its image, and return the result."""
        result, steps = self.result, self.result.steps
        if self.success is not None:
            self.image.succeed(self.success)
        result.traced &= steps > 0
        result.zero_share = self.zero_shares / steps if steps else None
        result.at_bound = at_bound
        result.turned = self.turned / (steps - 1) if steps > 1 else None
        return result
