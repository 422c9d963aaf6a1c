"""Numbers: one score, and one difference of two models on the same images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One number, with everything that says what it is; a row of the report's JSON.

    The first block says which run it came from, the second which condition, the third the number.
    ``value`` is none where the number is refused, and ``reason`` says why. Rates are fractions.
    """

    run: str = ""
    model: str = ""
    weights: str = ""
    engine: str = ""
    devices: tuple[str, ...] = ()
    precision: str = ""
    crop_px: int = 0
    benchmark: str = ""

    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    epsilon: float | None = None
    steps: int | None = None
    restarts: int | None = None
    step_size: float | None = None
    relative_epsilon: bool | None = None
    source: str | None = None
    source_model: str | None = None
    protocol: str | None = None
    rule: str | None = None
    stimuli: int | None = None
    category: str | None = None
    normalize_by: str | None = None

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    simulated: bool = False
    parity: str = ""
    adversarial_parity: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """One number of two models, A and B, on the same images; a row of a comparison's JSON.

    Attributes:
        benchmark: Whose number.
        metric: Its name, as in a report.
        corruption: Where the number is of one.
        perturbation: Likewise.
        severity: Likewise.
        rule: By which a decision was made, where there are several.
        stimuli: How many stimuli the protocol has, where there are several.
        a: A's value over the images that both scored; rates are fractions.
        b: B's.
        difference: b - a. None where it is refused.
        low: Of its 95 % interval, which is paired: the images are the same.
        high: Likewise.
        only_a_right: Images that only A classifies right, where the number is of one condition.
        only_b_right: Likewise.
        n: Images in each condition.
        skipped: Images, over all conditions, that A or B or both skipped; they count for neither.
        complete: Whether it is over the whole published benchmark.
        generated: Whether the data were generated.
        reason: Why it is refused.
    """

    benchmark: str = ""
    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    rule: str | None = None
    stimuli: int | None = None
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    only_a_right: int | None = None
    only_b_right: int | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    reason: str | None = None
