"""Attack protocols: the paper's, and the one that is expected of an attack today.

A protocol is a row of a table; a user may make each choice otherwise. A run is bound to the
resulting settings, so two attacks are the same only if every choice is.

Sources: Orhan, arXiv 1907.07640, with ``evaluate_whitebox.py`` of eminorhan/resnext-wsl (foolbox
1.8: targeted, step 2/255, start not clipped, stop at the target); Carlini et al., "On Evaluating
Adversarial Robustness", arXiv 1902.06705; Croce & Hein, ICML 2020 (several starts and losses, worst
case of each image); Madry et al., ICLR 2018 (a step of 2.5 epsilon over the number of steps).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeVar

from ..contracts import PAPERS_STEP, SMALLEST_FLOAT32, AttackSettings
from ..errors import InputError, did_you_mean

Value = TypeVar("Value")


@dataclass(frozen=True)
class Protocol:
    """An attack protocol.

    Attributes:
        settings: Settings of the attack.
        epsilons: Epsilons in [0, 1] pixel units.
    """

    settings: AttackSettings
    epsilons: tuple[float, ...]


PROTOCOLS: Mapping[str, Protocol] = {
    "paper": Protocol(
        AttackSettings(
            protocol="paper",
            losses=("cross_entropy",),
            steps=(10, 20, 30, 40, 50),
            success="targeted",
            targeted=True,
            step_size=PAPERS_STEP,
            clip_start=False,
        ),
        epsilons=(0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    ),
    "standard": Protocol(
        AttackSettings(
            protocol="standard",
            losses=("cross_entropy", "dlr"),
            steps=(50,),
            success="untargeted",
            targeted=False,
            relative_step=2.5,
            restarts=5,
        ),
        epsilons=(4 / 255, 8 / 255),
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        InputError: If the protocol is unknown.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    text = f"Unknown protocol {name!r}: expected {' or '.join(PROTOCOLS)}."
    raise InputError(f"{text} {did_you_mean(name, PROTOCOLS, '')}".rstrip())


def attack_settings(protocol: str, **choices: Any) -> AttackSettings:
    """A protocol's settings with other choices.

    Args:
        protocol: Name of the protocol.
        choices: Fields of ``AttackSettings``; ``None`` keeps the protocol's own. A ``step_size``
            replaces a ``relative_step``, and the other way round.

    Raises:
        InputError: If the protocol is unknown, or a value is invalid.

    Example:
        >>> attack_settings("standard", steps=(100,)).step_px(8 / 255) == 2.5 * 8 / 255 / 100
        True
    """
    settings = find_protocol(protocol).settings
    changes = {name: value for name, value in choices.items() if value is not None}
    for name, other in (("step_size", "relative_step"), ("relative_step", "step_size")):
        if name in changes and other not in changes:
            changes[other] = None
    for name in ("steps", "losses"):
        if name in changes:
            changes[name] = tuple(check_list(name, changes[name]))
    return replace(settings, **changes)


def check_list(name: str, values: Iterable[Value]) -> Iterable[Value]:
    """Refuse a single value where a list is expected; returns the list.

    Raises:
        InputError: If it is a single value.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{name}={values!r} is not a list: expected one, such as [{values}].")
    return values


def check_epsilon(epsilon: object) -> None:
    """Refuse an epsilon that is not a share of the range of pixels.

    Raises:
        InputError: If it is outside (0, 1], or so small that float32 loses it.
    """
    if not isinstance(epsilon, Real):
        raise InputError(f"An epsilon of {epsilon!r} is not a number: expected one such as 0.01.")
    size = float(epsilon)
    if not (math.isfinite(size) and 0 < size <= 1):
        raise InputError(
            f"An epsilon of {size:g} is outside (0, 1]: pixels are in [0, 1]. Values out of 255 "
            "are written as fractions, like 8/255."
        )
    if size < SMALLEST_FLOAT32:
        raise InputError(
            f"An epsilon of {size:g} is below {SMALLEST_FLOAT32:.3g}, the smallest that float32, "
            "in which pixels are attacked, can compute with."
        )
