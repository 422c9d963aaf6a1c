"""What two models differ by on the same images."""

from dataclasses import dataclass


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
