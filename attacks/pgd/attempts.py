"""What is attacked, and what becomes of it: images, their attempts, and what is noted on the way.

An image gets one attempt after the other, each a start and a loss, until every count of steps that
is asked for is decided for it or no attempt is left. Counting begins at 1 with the first iterate
that was stepped to; the start is never tested, and step 0 is the clean image.
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
        item: Its name and label.
        image: (3, S, S) in [0, 1], float32; float64 where the network is of that.
    """

    item: Item
    image: Image

    @property
    def label(self) -> int:
        """Its class.

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
    """What became of one start with one loss. Steps count from 1, none is never.

    Attributes:
        item: The image.
        restart: Which start, from 0.
        loss_name: What was descended or ascended.
        clean: The class that is predicted without an attack.
        target: The class that it was driven to.
        target_step: The first iterate that is classified as the target; 0 where the clean image is.
        changed_step: The first one that is not classified as the label; 0 where the clean image
            is not.
        last: The class of the last iterate.
        steps: How many were made.
        traced: Whether it went on when it was decided, to its last step.
        linf: Distance of the judged image, the first success or else the last iterate.
        l2: The same in L2.
        loss: At each iterate that had a gradient, from the start on: ``steps`` of them.
        gradient_norm: The same, L2, in image units.
        zero_share: Gradient components that are exactly zero, mean over steps; none without steps.
        dead_steps: Steps whose whole gradient was zero.
        at_bound: Components of the last iterate at epsilon, or held back by 0 or 1.
        turned: Components that step the other way than before, mean over steps; none below two.
        adversarial: The judged image (3, S, S), where images are kept and a step was made.
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
    """An image, and what is still undecided about it.

    Args:
        image: The image.
        clean: Its class without an attack.
        classes: How many there are.
        settings: Of the attack.
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
        """Whether there is another attempt to make, and a reason to."""
        attacked = self.clean == self.label or self._settings.attack_wrong
        return attacked and bool(self._undecided) and self._next < self._settings.attempts

    def next_attempt(self, traced: bool) -> "AttemptState":
        """The next attempt: of each start all losses, then the next start."""
        settings = self._settings
        restart, which = divmod(self._next, len(settings.losses))
        self._next += 1
        target = None
        if settings.targeted:
            target = wrong_class(
                settings.seed, self.image.item.id, restart, label=self.label, classes=self._classes
            )
        return AttemptState(
            case=self,
            restart=restart,
            loss_name=settings.losses[which],
            target=target,
            limit=settings.steps[-1] if traced else self._undecided[-1],
            traced=traced,
            stops_at_label=settings.stop == "label",
        )

    def succeed(self, step: int) -> None:
        """Note a success; for smaller counts than that there may be another one."""
        self._undecided = tuple(count for count in self._undecided if count < step)


@dataclass
class AttemptState:
    """An attempt under way.

    Attributes:
        case: Of which image.
        limit: How many steps to make.
        traced: Whether to make them all, whatever was found on the way.
        stops_at_label: Whether leaving the label is success, else reaching the target.
        judged: The distances of the first success, L-infinity and L2.
    """

    case: ImageState
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
    judged: tuple[float, float] | None = None
    adversarial: Image | None = None
    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    zero_shares: float = 0.0
    dead_steps: int = 0
    turned: float = 0.0

    def __post_init__(self) -> None:
        self._test(self.case.clean)

    @property
    def label(self) -> int:
        """The true class."""
        return self.case.label

    @property
    def classes(self) -> int:
        """The class that the loss is about: the target, else the label."""
        return self.label if self.target is None else self.target

    @property
    def success(self) -> int | None:
        """The step at which it succeeded."""
        return self.changed_step if self.stops_at_label else self.target_step

    def tested(self, predicted: int) -> bool:
        """Note the class of the iterate that it is at; whether that is the first success."""
        before = self.success
        if self.steps:
            self._test(predicted)
        return before is None and self.success is not None

    def note(self, loss: float, norm: float, zero_share: float, turned: float) -> None:
        """Note the gradient at the iterate that it is at, and that a step is made from there."""
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

    def ended(self, at_bound: float | None) -> AttemptResult:
        """The attempt as it is recorded, and its image told of the success."""
        if self.success is not None:
            self.case.succeed(self.success)
        linf, l2 = self.judged or (0.0, 0.0)
        return AttemptResult(
            item=self.case.image.item,
            restart=self.restart,
            loss_name=self.loss_name,
            clean=self.case.clean,
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
