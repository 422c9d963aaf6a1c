"""The diagnostics of one epsilon from the records of its run: did the search work?

A share is of all images that are right without an attack; it counts those that stand *and* whose
search shows the fault. So it is the part of the accuracy that is due to a faulty search, and
nothing is in doubt if no image stands. Attempts on an image that stands made all steps, traced or
not. Whether the last iterate loses a success can only be seen in the traced sample, whose attempts
go on after it.

Values recorded over all steps, or of the last iterate, are assessed for the largest count only.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ...contracts import AttackSettings, epsilon_text
from ...errors import InputError, printable
from .attempts import Attempts, Bools, Floats
from .diagnostics import (
    CHECKS,
    MOSTLY,
    MOVING,
    UNDERFLOW_NORM,
    WINDOW_STEPS,
    Diagnostic,
    assess,
    number,
    of_share,
    steps_are,
    undecided,
)
from .shares import Verdict

BACK_AND_FORTH = 1 / 3
"""Our choice: components whose step changes sign. EfficientNet-Lite0 on photos: at most 0.18 in the
mean if 50 steps travel 2.5 epsilon, 0.33 to 0.5 if ten do, 0.38 to 0.54 in steps of 2/255."""

SHORT_OF_BOUND = 0.25
"""Our choice: components at the bound at the end. On images that stood in the same
runs: at least 0.61, 0.36 and 0.51."""

REST = 0.01
"""Our choice: a loss that gains less is at rest: a hundredth of the true class's probability. The
loss of an image that is far from falling grows exponentially from nearly 0, so is always late."""


def trace_diagnostics(
    attempts: Attempts, settings: AttackSettings, epsilon: float
) -> Iterator[Diagnostic]:
    """The diagnostics of the records of one epsilon."""
    yield _travel_budget(attempts, settings, epsilon)
    yield _late_hits(attempts, epsilon)
    yield _incomplete(attempts, settings, epsilon)
    yield _restart_gain(attempts, settings, epsilon)
    for name, fault in _OVER_ALL_STEPS.items():
        if attempts.steps == max(settings.steps):
            yield fault(attempts, settings, epsilon)
        else:
            reason = f"it is recorded for {max(settings.steps)} steps, not for {attempts.steps}"
            yield undecided(name, reason, epsilon, attempts.steps)


def _travel_budget(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    """From a start anywhere within epsilon, the far side is 2 epsilon away."""
    step, width = settings.step_px(epsilon), 2 * epsilon
    travel = attempts.steps * step
    values = {"step": step, "travel": travel, "width": width, "epsilon": epsilon_text(epsilon)}
    verdict: Verdict = "passed" if travel >= width * (1 - 1e-9) else "failed"
    if verdict == "failed":
        fault = CHECKS["travel_budget"].fault
        sentence = fault.format(Steps=steps_are(attempts.steps), **values)
    else:
        sentence = "The steps travel {travel:.3g}, at least the {width:.3g} that epsilon {epsilon} "
        sentence = (sentence + "is wide.").format(**values)
    return assess(
        "travel_budget",
        travel / width,
        verdict,
        sentence,
        epsilon=epsilon,
        steps=attempts.steps,
    )


def _late_hits(attempts: Attempts, epsilon: float) -> Diagnostic:
    """Were hits spread evenly, a tenth of them would be late."""
    tenth = max(1, attempts.steps // 10)
    hits = attempts.first_hits()
    late = int(np.count_nonzero(hits > attempts.steps - tenth))
    words = "step" if tenth == 1 else f"{tenth} steps"
    return of_share(
        "late_hits", late, hits.size, epsilon=epsilon, steps=attempts.steps, tenth=words
    )


def _incomplete(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    window = min(WINDOW_STEPS, max(1, attempts.steps // 5))
    if attempts.steps < 2:
        reason = "one step does not show how the loss changes"
        return undecided("incomplete_optimisation", reason, epsilon, attempts.steps)
    judgeable = _standing(attempts)
    traces = _losses(attempts, judgeable)
    moving = np.array([still_moving(t, window, lowered=settings.targeted) for t in traces], bool)
    share = attempts.mean_of(moving, judgeable)
    words = "step" if window == 1 else f"{window} steps"
    return _of_faulty(
        "incomplete_optimisation", attempts, share, share >= MOSTLY, epsilon, window=words
    )


def _losses(attempts: Attempts, chosen: Bools) -> list[Floats]:
    """The losses of chosen attempts, all of whose steps were made."""
    traces = attempts.lists("loss", chosen)
    for position, loss in zip(np.flatnonzero(chosen), traces, strict=True):
        if loss.size < attempts.steps or not np.isfinite(loss).all():
            image = printable(attempts.ids[attempts.image[position]])
            raise InputError(
                f"The attack on {image} cannot be assessed: its records should have "
                f"{attempts.steps} finite losses, but have {int(np.isfinite(loss).sum())}."
            )
    return traces


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


def _restart_gain(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    name, steps = "restart_gain", attempts.steps
    if settings.restarts < 2:
        return undecided(name, "one restart cannot show what a second would find", epsilon, steps)
    restart = attempts.column("restart")
    last = restart == restart.min(initial=0) + settings.restarts - 1
    before = attempts.any_of((attempts.hit > 0) & ~last)
    if not last.any() and not before.all():
        reason = f"images stand that had fewer than {settings.restarts} restarts"
        return undecided(name, reason, epsilon, steps)
    gained = attempts.any_of((attempts.hit > 0) & last) & ~before
    return of_share(
        name,
        int(gained.sum()),
        attempts.images,
        epsilon=epsilon,
        steps=steps,
        Restarts=number(settings.restarts),
    )


def _zero_gradient(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    chosen = _standing(attempts)
    share = attempts.mean_of(attempts.column("zero_share")[chosen], chosen)
    return _of_faulty("zero_gradient", attempts, share, share > MOSTLY, epsilon)


def _dead_steps(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    chosen = _standing(attempts)
    dead = attempts.mean_of(attempts.column("dead_steps")[chosen] > 0, chosen)
    return _of_faulty("dead_steps", attempts, dead, dead >= MOSTLY, epsilon)


def _vanishing_gradient(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    """Gradients that are not zero, but whose norm is lost in rounding."""
    chosen = _standing(attempts)
    tiny = [
        np.mean((n > 0) & (n < UNDERFLOW_NORM)) for n in attempts.lists("gradient_norm", chosen)
    ]
    share = attempts.mean_of(np.array(tiny, np.float64), chosen)
    return _of_faulty("vanishing_gradient", attempts, share, share > MOSTLY, epsilon)


def _oscillation(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    chosen = _standing(attempts)
    turned = attempts.mean_of(attempts.column("turned")[chosen], chosen)
    return _of_faulty("oscillation", attempts, turned, turned > BACK_AND_FORTH, epsilon)


def _at_bound(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    chosen = _standing(attempts)
    share = attempts.mean_of(attempts.column("at_bound")[chosen], chosen)
    return _of_faulty("at_bound", attempts, share, share < SHORT_OF_BOUND, epsilon)


def _silent_success(attempts: Attempts, settings: AttackSettings, epsilon: float) -> Diagnostic:
    """Images whose traced attempts hit, none of whose last iterates is a hit."""
    traced = attempts.column("traced").astype(bool) & attempts.in_full
    last = attempts.column("last")
    if settings.stop == "target":
        reached = last == attempts.table.column("target").fill_null(-1).to_numpy()
    else:
        reached = last != attempts.column("label")
    forgot = attempts.any_of(traced & (attempts.hit > 0)) & ~attempts.any_of(traced & reached)
    sampled = attempts.any_of(traced)
    return of_share(
        "silent_success",
        int(forgot.sum()),
        int(sampled.sum()),
        epsilon=epsilon,
        steps=attempts.steps,
    )


_OVER_ALL_STEPS: dict[str, Callable[[Attempts, AttackSettings, float], Diagnostic]] = {
    "zero_gradient": _zero_gradient,
    "dead_steps": _dead_steps,
    "vanishing_gradient": _vanishing_gradient,
    "oscillation": _oscillation,
    "at_bound": _at_bound,
    "silent_success": _silent_success,
}


def _standing(attempts: Attempts) -> Bools:
    """Whether each attempt is on an image that stands, and made all steps: (N,)."""
    return ~attempts.fell[attempts.image] & attempts.in_full


def _of_faulty(
    name: str, attempts: Attempts, measure: Floats, faulty: Bools, epsilon: float, **words: object
) -> Diagnostic:
    """The share of images that stand with a faulty search, of all that are right.

    The diagnostic is undecided if an image stands and has no measure (NaN).
    """
    unknown = int((~attempts.fell & np.isnan(measure)).sum())
    if unknown:
        reason = f"{unknown} images stand without {attempts.steps} recorded steps"
        return undecided(name, reason, epsilon, attempts.steps)
    return of_share(
        name, int(faulty.sum()), attempts.images, epsilon=epsilon, steps=attempts.steps, **words
    )
