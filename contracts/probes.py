"""Extra runs that say whether an attack can be believed."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ..errors import InputError

ProbeName = Literal["noise", "gradient-free", "twice-the-steps", "unbounded"]


@dataclass(frozen=True)
class ProbeSettings:
    """An extra run beside an attack.

    Attributes:
        name: ``noise``, random images within epsilon; ``gradient-free``, a random search within it;
            ``twice-the-steps``, the attack with twice as many; ``unbounded``, the attack at
            epsilon 1.
        images: Of how many of the attack's images it is, evenly spaced.
        queries: How often it may ask the network about an image; none where it is the attack
            itself, whose settings say that.
    """

    name: ProbeName
    images: int
    queries: int | None = None

    def __post_init__(self) -> None:
        counts: dict[str, object] = {"images": self.images, "queries": self.queries}
        for what, count in counts.items():
            if count is not None and not (isinstance(count, Integral) and int(count) >= 1):
                raise InputError(
                    f"A probe of {count} {what} is none: expected a whole number, 1 or more."
                )
