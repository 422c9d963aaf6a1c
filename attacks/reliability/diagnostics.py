"""Possible faults of an attack, as a table: each diagnostic, its bound and its source.

Nearly all bounds are our choice, since the literature says what must never happen and not how often
it may be seen: "doubling the iterations does not increase the success rate" would fail every attack
on enough images. So all shares of images have one tolerance, two points of accuracy.

A verdict says where the interval of a share (Wilson's, ``contracts/intervals.py``) lies:

    below a bound b:   passed  if high <= b,   failed  if low > b,    else undecided
    at least b:        passed  if low >= b,    failed  if high < b,   else undecided

A share of few images has a wide interval that contains its bound, and is undecided: nothing passes
for lack of images. At a bound of 2 %, 0 of 188 is undecided, 0 of 189 passes, and 2 of 20 fails.

Sources: Carlini et al., "On Evaluating Adversarial Robustness", arXiv 1902.06705 (2019); Pintor et
al., "Indicators of Attack Failure: Debugging and Improving Optimization of Adversarial Examples",
NeurIPS 2022; AutoAttack's flags, ``flags_doc.md`` of fra31/auto-attack.
"""

from dataclasses import dataclass
from typing import Literal

from ...contracts import wilson_interval

Verdict = Literal["failed", "undecided", "passed"]
Needs = Literal["settings", "traces", "probe"]

TOLERANCE = 0.02
"""Our choice: points of accuracy that a faulty search may hide; 189 images can show them absent."""

MOSTLY = 0.5
"""Our choice: a search is faulty if half of its attempts, components or gradients are."""

UNDERFLOW_NORM = 2.0**-24
"""Half of float32's epsilon, where cross-entropy's p - 1 is rounded to zero. L2, image units."""

WINDOW_STEPS = 10
"""Our choice: the last steps, in which a loss must rest; the last fifth of fewer than 50 steps,
since steps that travel 2.5 epsilon have arrived after four fifths."""

MOVING = 0.05
"""Our choice: the part of a loss's whole gain that the last steps may bring; of 50 even steps it is
0.2. EfficientNet-Lite0: at most 0.039 if 50 steps travel 2.5 epsilon, at least 0.098 in ten."""


@dataclass(frozen=True)
class Check:
    """Definition of a diagnostic.

    Attributes:
        title: Meaning of the value, in a few words.
        fault: Sentence for a failure, with fields to be filled in.
        source: Paper and section.
        needs: Data that it is computed from: the attack's settings, the records of its run, or a
            probe, which is an extra run.
        bound: Largest value that passes, or the smallest if ``at_least``.
        at_least: Whether values above the bound pass, not those below.
        unit: Name of what is counted.
    """

    title: str
    fault: str
    source: str
    needs: Needs = "traces"
    bound: float = TOLERANCE
    at_least: bool = False
    unit: str = "images"


@dataclass(frozen=True)
class Diagnostic:
    """Result of a diagnostic for an attack.

    Attributes:
        name: Key in ``CHECKS``.
        title: Meaning of the value, in a few words.
        value: A fraction; ``None`` if it cannot be computed.
        low: Lower end of its 95 % interval; ``None`` if it has none.
        high: Upper end of the interval.
        bound: Bound between passed and failed.
        verdict: ``undecided`` if the interval contains the bound, or if nothing was measured.
        n: Number of images, or of first hits for ``late_hits``; 0 for settings alone.
        needs: ``settings``, ``traces`` or ``probe``.
        sentence: Result in one sentence.
        source: Paper and section.
        epsilon: Epsilon of the attack; ``None`` if it is of all epsilons.
        steps: Count of steps that is assessed.
    """

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    bound: float
    verdict: Verdict
    n: int
    needs: Needs
    sentence: str
    source: str
    epsilon: float | None
    steps: int


_CARLINI = "Carlini et al. 2019, {}"
_PINTOR = "Pintor et al. 2022, {}"
_FALL = "{share} of the images fall to it alone."

CHECKS: dict[str, Check] = {
    "zero_gradient": Check(
        "images that stand while most of their gradient is exactly zero",
        "The attack is blind: {share} of the images stand while most of their gradient is exactly "
        "zero.",
        _PINTOR.format("unavailable gradients; AutoAttack's flag for zero gradients"),
    ),
    "dead_steps": Check(
        "images that stand after steps whose whole gradient was zero",
        "The attack stands still: {share} of the images stand after steps whose whole gradient was "
        "zero.",
        _PINTOR.format("unavailable gradients; AutoAttack's flag for zero gradients"),
    ),
    "vanishing_gradient": Check(
        "images that stand while their gradients are lost in rounding",
        "Gradients vanish: {share} of the images stand while most of their gradients are so small "
        "that float32 rounds them away.",
        "Lee et al. 2020, Rethinking Empirical Evaluation of Adversarial Robustness Using "
        "First-Order Attack Methods",
    ),
    "noise_as_strong": Check(
        "images that random noise fools, of those that it or the attack fools",
        "Random noise does the attack's work: it fools {share} of the {n} images that either of "
        "them fools.",
        _CARLINI.format("section 4.11 (brute-force search) and the checklist"),
        needs="probe",
        bound=0.5,
    ),
    "unbounded": Check(
        "images that stand without a bound, at epsilon 1",
        "The attack fails even where it may do anything: at epsilon 1, {share} of the images "
        "stand.",
        _CARLINI.format("section 5.3 (unbounded attack); ") + _PINTOR.format("the same indicator"),
        needs="probe",
    ),
    "flat_curve": Check(
        "images that the largest epsilon fools beyond the smallest",
        "More epsilon does not help: from {smallest} to {largest} only {share} more of the "
        "images fall, and {stand} stand.",
        _CARLINI.format("section 5.2 (a larger budget strictly increases success)"),
        at_least=True,
    ),
    "smaller_epsilon": Check(
        "images that stand though a smaller epsilon fools them",
        "The search is at fault: {share} of the images stand that a smaller epsilon fools.",
        _CARLINI.format("section 5.2 (a larger budget strictly increases success)"),
    ),
    "gradient_free_finds_more": Check(
        "images that only an attack without gradients fools",
        "An attack without gradients finds what this one misses: " + _FALL,
        _CARLINI.format("sections 4.4 and 5.4; AutoAttack's flag for Square"),
        needs="probe",
    ),
    "transfer_finds_more": Check(
        "images that only a transferred attack fools",
        "An attack made on another model finds what this one misses: " + _FALL,
        _CARLINI.format("sections 4.5 and 5.4"),
        needs="probe",
    ),
    "noise_finds_more": Check(
        "images that only random noise fools",
        "Random noise finds what the attack misses: " + _FALL,
        _CARLINI.format("section 4.11 (brute-force search)"),
        needs="probe",
    ),
    "twice_the_steps": Check(
        "images that only twice the steps fool",
        "{Steps} not enough: twice as many fool {share} more of the images.",
        _CARLINI.format("section 4.8 (doubling the iterations)"),
        needs="probe",
    ),
    "late_hits": Check(
        "first hits in the last tenth of the steps",
        "{Steps} not enough: {share} of first hits fall into the last {tenth}.",
        _CARLINI.format("section 4.8 (success over iterations should plateau)"),
        bound=0.05,
        unit="first hits",
    ),
    "incomplete_optimisation": Check(
        "images that stand while their loss still moves at the end",
        "{Steps} not enough: {share} of the images stand while their loss still moves in "
        "the last {window}.",
        _PINTOR.format("incomplete optimization"),
    ),
    "travel_budget": Check(
        "how far the steps can go, over the width of the bound",
        "{Steps} too short for epsilon {epsilon}: at {step:.3g} each they travel {travel:.3g}, "
        "and {width:.3g} lie between one side of the bound and the other.",
        _CARLINI.format("section 4.8 (iterations by step size and distortion)"),
        needs="settings",
        bound=1.0,
        at_least=True,
    ),
    "restart_gain": Check(
        "images that only the last restart fools",
        "{Restarts} restarts are not enough: the last one still fools {share} more of the images.",
        _CARLINI.format("section 4.9 (random offsets)"),
    ),
    "oscillation": Check(
        "images that stand while the steps turn back",
        "The steps go back and forth, as too large ones do: {share} of the images stand while more "
        "than a third of their pixels turn back at each step.",
        _CARLINI.format("section 5.2 (a smaller step where the loss does not fall)"),
    ),
    "at_bound": Check(
        "images that stand though their epsilon was not used up",
        "The attack does not use its epsilon: {share} of the images stand with less than "
        "a quarter of their pixels at the bound.",
        "Ours: a linear model's worst case has every pixel at the bound",
    ),
    "silent_success": Check(
        "images that were fooled on the way and not at the end",
        "The last iterate forgets: {share} of the images were fooled on the way and are not at the "
        "end, so only a count of all iterates sees them.",
        _PINTOR.format("silent success"),
    ),
}
"""All diagnostics, the gravest fault first."""


@dataclass(frozen=True)
class Scope:
    """What diagnostics are of.

    Attributes:
        steps: Count of steps that is assessed.
        epsilon: Epsilon of the attack; ``None`` for all epsilons.
    """

    steps: int
    epsilon: float | None

    def share(self, name: str, count: int, n: int, **words: object) -> Diagnostic:
        """A diagnostic whose value is a share.

        Args:
            name: Key in ``CHECKS``.
            count: Number of images with the fault, or with the gain if the bound is a lower one.
            n: Number of images; 0 makes the diagnostic undecided.
            words: Other fields of the sentence for a failure.
        """
        check = CHECKS[name]
        if n == 0:
            return self.undecided(name, f"there are no {check.unit} to measure")
        share = count / n
        interval = wilson_interval(share, n)
        low, high = map(percent, interval)
        measured = (
            f"{check.title[0].upper()}{check.title[1:]}: {percent(share)} of {n} {check.unit}, "
            f"{low} to {high} with 95 %, where {percent(check.bound)} is the bound."
        )
        verdict = verdict_of(*interval, check.bound, at_least=check.at_least)
        sentences: dict[Verdict, str] = {
            "failed": self.fault(name, share=percent(share), n=n, **words),
            "undecided": f"Undecided: {n} {check.unit} are too few. {measured}",
            "passed": measured,
        }
        return self.diagnostic(name, share, verdict, sentences[verdict], n, interval)

    def fault(self, name: str, **words: object) -> str:
        """The sentence for a failure."""
        return CHECKS[name].fault.format(Steps=steps_are(self.steps), **words)

    def undecided(self, name: str, reason: str) -> Diagnostic:
        """A diagnostic that cannot be computed, and why."""
        sentence = f"Undecided: {reason} ({CHECKS[name].title})."
        return self.diagnostic(name, None, "undecided", sentence)

    def diagnostic(
        self,
        name: str,
        value: float | None,
        verdict: Verdict,
        sentence: str,
        n: int = 0,
        interval: tuple[float, float] | tuple[None, None] = (None, None),
    ) -> Diagnostic:
        """A result, with the definition in ``CHECKS``."""
        check = CHECKS[name]
        return Diagnostic(
            name=name,
            title=check.title,
            value=value,
            low=interval[0],
            high=interval[1],
            bound=check.bound,
            verdict=verdict,
            n=n,
            needs=check.needs,
            sentence=sentence,
            source=check.source,
            epsilon=self.epsilon,
            steps=self.steps,
        )


def verdict_of(low: float, high: float, bound: float, *, at_least: bool = False) -> Verdict:
    """Verdict on an interval that lies on one side of a bound.

    Args:
        low: Lower end of the interval.
        high: Upper end of the interval.
        bound: The bound, which passes itself.
        at_least: Whether values above the bound pass, not those below.

    Example:
        >>> verdict_of(0.0, 0.02, 0.02), verdict_of(0.0, 0.03, 0.02), verdict_of(0.021, 0.3, 0.02)
        ('passed', 'undecided', 'failed')
    """
    if at_least:
        return "passed" if low >= bound else "failed" if high < bound else "undecided"
    return "passed" if high <= bound else "failed" if low > bound else "undecided"


def percent(share: float) -> str:
    """A fraction as it is printed.

    Example:
        >>> percent(0.3125), percent(1.0), percent(0.0049), percent(19.6)
        ('31.2 %', '100 %', '0.49 %', '1,960 %')
    """
    digits = ",.0f" if share >= 9.995 else ".3g"  # which would have an exponent from 1,000 on
    return f"{100 * share:{digits}} %"


def number(count: int) -> str:
    """A count at the beginning of a sentence.

    Example:
        >>> number(10), number(50)
        ('Ten', '50')
    """
    return _WORDS[count] if count < len(_WORDS) else str(count)


def steps_are(steps: int) -> str:
    """A count of steps and its verb, at the beginning of a sentence.

    Example:
        >>> steps_are(1), steps_are(10)
        ('One step is', 'Ten steps are')
    """
    return f"{number(steps)} step is" if steps == 1 else f"{number(steps)} steps are"


_WORDS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
