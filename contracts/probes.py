"""Probes: extra runs that the reliability diagnostics of an attack need."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ..errors import InputError

ProbeName = Literal["noise", "gradient-free", "twice-the-steps", "unbounded"]


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe of an attack.

    Attributes:
        name: ``noise``, random images within epsilon; ``gradient-free``, a random search within it;
            ``twice-the-steps``, the attack with twice as many; ``unbounded``, the attack at
            epsilon 1.
        images: Number of the attack's images that are probed, evenly spaced.
        queries: Queries of the network per image; ``None`` for a probe that is the attack itself,
            whose settings say how many steps it makes.
    """

    name: ProbeName
    images: int
    queries: int | None = None

    def __post_init__(self) -> None:
        numbers: dict[str, object] = {"images": self.images, "queries": self.queries}
        for noun, number in numbers.items():
            if number is not None and not (isinstance(number, Integral) and int(number) >= 1):
                raise InputError(
                    f"Invalid number of probe {noun}: {number}. Expected an integer of at least 1."
                )
