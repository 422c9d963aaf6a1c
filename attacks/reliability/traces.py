"""The diagnostics of one epsilon from the records of its run: did the search work?

A share is of all images that are right without an attack; it counts those that stand *and* whose
search shows the fault. So it is the part of the accuracy that is due to a faulty search, and
nothing is in doubt if no image stands. Attempts on an image that stands made all steps, traced or
not. Whether the last iterate loses a success can only be seen in the traced sample, whose attempts
go on after it.

Values recorded over all steps, or of the last iterate, are assessed for the largest count only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...contracts import AttackSettings, epsilon_text
from ...errors import InputError, printable
from .attempts import Attempts, Bools, Floats
from .diagnostics import MOSTLY, MOVING, UNDERFLOW_NORM, WINDOW_STEPS, Diagnostic, Scope, number

BACK_AND_FORTH = 1 / 3
"""Our choice: components whose step changes sign. EfficientNet-Lite0 on photos: at most 0.18 in the
mean if 50 steps travel 2.5 epsilon, 0.33 to 0.5 if ten do, 0.38 to 0.54 in steps of 2/255."""

SHORT_OF_BOUND = 0.25
"""Our choice: components at the bound at the end. On images that stood in the same
runs: at least 0.61, 0.36 and 0.51."""

REST = 0.01
"""Our choice: a loss that gains less is at rest: a hundredth of the true class's probability. The
loss of an image that is far from falling grows exponentially from nearly 0, so is always late."""


_OF_ALL_STEPS = (
    *("zero_gradient", "dead_steps", "vanishing_gradient"),
    *("oscillation", "at_bound", "silent_success"),
)
"""Diagnostics of values that are recorded over all steps, or of the last iterate."""


@dataclass(frozen=True)
class Traces(Scope):
    """The records of one epsilon; fields that are not listed are as in ``Scope``.

    Attributes:
        epsilon: Epsilon of the attack.
        settings: Settings of the attack.
        attempts: Attempts on the images that are right without an attack.
    """

    epsilon: float
    settings: AttackSettings
    attempts: Attempts

    def diagnostics(self) -> Iterator[Diagnostic]:
        """All diagnostics of the records."""
        yield self._travel_budget()
        yield self._late_hits()
        yield self._incomplete_optimisation()
        yield self._restart_gain()
        largest = max(self.settings.steps)
        if self.steps == largest:
            yield from self._of_all_steps()
            return
        for name in _OF_ALL_STEPS:
            reason = f"it is recorded for {largest} steps, not for {self.steps}"
            yield self.undecided(name, reason)

    def _travel_budget(self) -> Diagnostic:
        """From a start anywhere within epsilon, the far side is 2 epsilon away."""
        name, epsilon = "travel_budget", epsilon_text(self.epsilon)
        step, width = self.settings.step_px(self.epsilon), 2 * self.epsilon
        travel = self.steps * step
        if travel < width * (1 - 1e-9):
            fault = self.fault(name, step=step, travel=travel, width=width, epsilon=epsilon)
            return self.diagnostic(name, travel / width, "failed", fault)
        sentence = (
            f"The steps travel {travel:.3g}, at least the {width:.3g} that epsilon {epsilon} is "
            "wide."
        )
        return self.diagnostic(name, travel / width, "passed", sentence)

    def _late_hits(self) -> Diagnostic:
        """Were hits spread evenly, a tenth of them would be late."""
        tenth = max(1, self.steps // 10)
        hits = self.attempts.first_hits()
        late = int((hits > self.steps - tenth).sum())
        return self.share("late_hits", late, hits.size, tenth=_last(tenth))

    def _incomplete_optimisation(self) -> Diagnostic:
        name = "incomplete_optimisation"
        if self.steps < 2:
            return self.undecided(name, "one step does not show how the loss changes")
        window = min(WINDOW_STEPS, max(1, self.steps // 5))
        lowered = self.settings.targeted
        moving = [still_moving(loss, window, lowered=lowered) for loss in self._losses()]
        share = self.attempts.standing_means(moving)
        return self._standing_share(name, share, share >= MOSTLY, window=_last(window))

    def _losses(self) -> list[Floats]:
        """The losses of standing attempts, all of whose steps were made."""
        standing = self.attempts.standing
        traces = self.attempts.lists("loss", standing)
        for image, loss in zip(self.attempts.image[standing], traces, strict=True):
            if loss.size < self.steps or not np.isfinite(loss).all():
                raise InputError(
                    f"The attack on {printable(self.attempts.ids[image])} cannot be assessed: its "
                    f"records should have {self.steps} finite losses, but have "
                    f"{np.isfinite(loss).sum()}."
                )
        return traces

    def _restart_gain(self) -> Diagnostic:
        name, attempts, restarts = "restart_gain", self.attempts, self.settings.restarts
        if restarts < 2:
            return self.undecided(name, "one restart cannot show what a second would find")
        restart = attempts.column("restart")
        last = restart == restart.min(initial=0) + restarts - 1
        before = attempts.any_of((attempts.hit > 0) & ~last)
        if not last.any() and not before.all():
            return self.undecided(name, f"images stand that had fewer than {restarts} restarts")
        gained = attempts.any_of((attempts.hit > 0) & last) & ~before
        return self.share(name, int(gained.sum()), attempts.images, Restarts=number(restarts))

    def _of_all_steps(self) -> Iterator[Diagnostic]:
        """The diagnostics of ``_OF_ALL_STEPS``."""
        attempts, standing = self.attempts, self.attempts.standing
        zero = attempts.standing_means(attempts.column("zero_share")[standing])
        yield self._standing_share("zero_gradient", zero, zero > MOSTLY)
        dead = attempts.standing_means(attempts.column("dead_steps")[standing] > 0)
        yield self._standing_share("dead_steps", dead, dead >= MOSTLY)
        # Gradients that are not zero, but whose norm is lost in rounding.
        norms = attempts.lists("gradient_norm", standing)
        tiny = attempts.standing_means([np.mean((n > 0) & (n < UNDERFLOW_NORM)) for n in norms])
        yield self._standing_share("vanishing_gradient", tiny, tiny > MOSTLY)
        turned = attempts.standing_means(attempts.column("turned")[standing])
        yield self._standing_share("oscillation", turned, turned > BACK_AND_FORTH)
        at_bound = attempts.standing_means(attempts.column("at_bound")[standing])
        yield self._standing_share("at_bound", at_bound, at_bound < SHORT_OF_BOUND)
        yield self._silent_success()

    def _silent_success(self) -> Diagnostic:
        """Images whose traced attempts hit, none of whose last iterates is a hit."""
        attempts = self.attempts
        traced = attempts.column("traced").astype(bool) & attempts.in_full
        last = attempts.column("last")
        if self.settings.success == "targeted":
            reached = last == attempts.table.column("target").fill_null(-1).to_numpy()
        else:
            reached = last != attempts.column("label")
        forgot = attempts.any_of(traced & (attempts.hit > 0)) & ~attempts.any_of(traced & reached)
        sampled = int(attempts.any_of(traced).sum())
        return self.share("silent_success", int(forgot.sum()), sampled)

    def _standing_share(
        self, name: str, measure: Floats, faulty: Bools, **words: object
    ) -> Diagnostic:
        """The share of images that stand with a faulty search, of all that are right.

        The diagnostic is undecided if an image stands and has no measure (NaN).
        """
        unknown = np.count_nonzero(~self.attempts.fell & np.isnan(measure))
        if unknown:
            reason = f"{unknown} images stand without {self.steps} recorded steps"
            return self.undecided(name, reason)
        return self.share(name, int(faulty.sum()), self.attempts.images, **words)


def _last(steps: int) -> str:
    """The last steps, after "the last"."""
    return "step" if steps == 1 else f"{steps} steps"


def still_moving(loss: Floats, window: int, *, lowered: bool) -> bool:
    """Whether the last steps gained more than ``MOVING`` of the whole gain, and than ``REST``.

    Args:
        loss: Loss at each gradient: (steps,).
        window: Number of last steps.
        lowered: Whether the attack lowers its loss, rather than raising it.

    Example:
        >>> even, resting = np.arange(50.0), np.minimum(np.arange(50.0), 20.0)
        >>> still_moving(even, 10, lowered=False), still_moving(resting, 10, lowered=False)
        (True, False)
    """
    best = np.maximum.accumulate(-loss if lowered else loss)
    gained = best[-1] - best[-1 - window]
    return bool(gained > max(MOVING * (best[-1] - best[0]), REST))
