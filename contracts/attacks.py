"""Settings of an attack, of its probes and of its source, and the names of attack protocols."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, Literal

from ..errors import InputError
from .engines import EngineSpec
from .models import Preprocessing

AttackLoss = Literal["cross_entropy", "dlr"]
ProbeName = Literal["noise", "gradient-free", "twice-the-steps", "unbounded"]
ProtocolName = Literal["paper", "standard"]
Success = Literal["targeted", "untargeted"]
TransferredImage = Literal["first-hit", "last"]

SUCCESS_STEP: Mapping[Success, str] = {"targeted": "target_step", "untargeted": "changed_step"}
"""Name of the field or column that says at which step an attempt succeeded."""

MOST_ATTEMPTS = 2**15
"""Largest number of attempts on an image: records number them from 0, as signed 16-bit integers."""

SMALLEST_FLOAT32 = 2.0**-126
"""The smallest normal number of float32; smaller ones have fewer digits."""

PAPERS_STEP = 2 / 255
"""Step of the paper's code, ``evaluate_whitebox.py`` of eminorhan/resnext-wsl."""

PRINTED_STEP = 2 / 225
"""Step that the paper's text prints. Source: Orhan, arXiv 1907.07640."""

PAPERS_EPSILON = 0.06
"""Epsilon of the paper's curve over steps and of its Table 2. Source: Orhan, arXiv 1907.07640."""

PAPERS_SOURCE = "resnext50_32x4d"
"""Model on which the paper made its black-box attacks. Source: Orhan, arXiv 1907.07640."""

PROTOCOL_VERSION = 1
"""Version of what runs of attacks record and count."""

OWN_IMAGE: Mapping[ProtocolName, TransferredImage] = {"paper": "first-hit", "standard": "last"}
"""The adversarial image that a transferred attack hands on unless the user names another one."""


@dataclass(frozen=True)
class AttackSettings:
    """Everything that defines an attack but its epsilon, which is a condition of the run.

    Attributes:
        protocol: Protocol that made the choices which the user did not make.
        norm: Norm of the ball around the clean image.
        targeted: Whether the attack descends towards a wrong class, drawn for each attempt.
        losses: Losses that are tried with each start, in this order.
        step_size: Size of a step, in [0, 1] pixel units; ``None`` if it depends on epsilon.
        relative_step: Size of a step times the number of steps, over epsilon; ``None`` if it is
            fixed.
        steps: Step counts to report, ascending; the largest one is made.
        restarts: Number of starts that are tried with each loss, the first one included.
        clip_start: Whether a start is clipped to [0, 1] before its first gradient.
        success: When an attempt succeeds: once an iterate is classified as the class that was
            drawn for it (``targeted``), or not as its label (``untargeted``). Accuracy under attack
            counts this.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        seed: Seed of starts, targets and the traced sample.
        traced: Number of images that make all steps, for the diagnostics that need the last
            iterate.
        attack_wrong: Whether images that are misclassified without an attack are attacked as well,
            as transfer needs it. No accuracy depends on it.
    """

    protocol: ProtocolName
    losses: tuple[AttackLoss, ...]
    steps: tuple[int, ...]
    success: Success
    targeted: bool
    step_size: float | None = None
    relative_step: float | None = None
    restarts: int = 1
    clip_start: bool = True
    relative_epsilon: bool = False
    norm: Literal["linf"] = "linf"
    seed: int = 0
    traced: int = 300
    attack_wrong: bool = False

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_step()
        self._check_losses()
        most = MOST_ATTEMPTS // len(self.losses)
        if self.restarts > most:
            raise InputError(
                f"{self.restarts} restarts: expected at most {most}, the attempts on an image that "
                "can be recorded."
            )

    def _check_counts(self) -> None:
        if not all(isinstance(count, Integral) for count in self.steps):
            raise InputError(f"{_listed(self.steps)} steps: expected whole numbers.")
        if not self.steps or min(self.steps) < 1:
            raise InputError(f"{_listed(self.steps)} steps: expected counts of at least 1.")
        if any(
            later <= earlier for earlier, later in zip(self.steps, self.steps[1:], strict=False)
        ):
            raise InputError(
                f"{_listed(self.steps)} steps: expected each count once, in ascending order."
            )
        if self.restarts < 1:
            raise InputError(f"{self.restarts} restarts: expected at least 1, the first start.")
        if self.traced < 0:
            raise InputError(f"{self.traced} traced images: expected 0 or more.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed {self.seed} is not possible; expected 0 to 2^63 - 1.")

    def _check_step(self) -> None:
        sizes = [size for size in (self.step_size, self.relative_step) if size is not None]
        if len(sizes) != 1:
            raise InputError(
                "A step has one size: expected either a fixed one, or one relative to epsilon."
            )
        if not (math.isfinite(sizes[0]) and sizes[0] > 0):
            raise InputError(f"A step of {sizes[0]:g}: expected a positive number.")
        if not SMALLEST_FLOAT32 <= sizes[0] <= 1 / SMALLEST_FLOAT32:
            raise InputError(
                f"A step of {sizes[0]:g}: expected one between {SMALLEST_FLOAT32:.3g} and "
                f"{1 / SMALLEST_FLOAT32:.3g}, which float32 can compute with."
            )
        if self.relative_step is not None and len(self.steps) > 1:
            raise InputError(
                f"{_listed(self.steps)} steps are different attacks if the step size depends on "
                "their number: give one count, or a fixed step size."
            )

    def _check_losses(self) -> None:
        if not self.losses or len(set(self.losses)) < len(self.losses):
            raise InputError(
                f"Losses {_listed(self.losses)}: expected at least one, and each once."
            )
        if unknown := [name for name in self.losses if name not in ("cross_entropy", "dlr")]:
            raise InputError(f"Unknown loss {unknown[0]!r}: expected cross_entropy or dlr.")
        if self.targeted and "dlr" in self.losses:
            raise InputError("The loss dlr is untargeted: expected cross_entropy alone.")
        if self.success not in SUCCESS_STEP:
            raise InputError(f"Unknown success {self.success!r}: expected targeted or untargeted.")
        if self.success == "targeted" and not self.targeted:
            raise InputError("An untargeted attack has no target to reach: expected untargeted.")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Keep the names that runs are stored and hashed with."""
        from pydantic_core import core_schema

        schema = handler(source)
        return core_schema.no_info_before_validator_function(
            partial(_renamed, old="stop", new="success", values=_STORED_SUCCESS),
            schema,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, dump: _renamed(
                    dump(value),
                    old="success",
                    new="stop",
                    values={now: stored for stored, now in _STORED_SUCCESS.items()},
                ),
                schema=schema,
            ),
        )

    @property
    def attempts(self) -> int:
        """Largest number of attempts on an image."""
        return self.restarts * len(self.losses)

    def step_px(self, epsilon: float) -> float:
        """Size of a step at this epsilon, in [0, 1] pixel units."""
        if self.step_size is not None:
            return self.step_size
        assert self.relative_step is not None
        return self.relative_step * epsilon / self.steps[-1]


_STORED_SUCCESS: Mapping[str, Success] = {"target": "targeted", "label": "untargeted"}
"""Values of ``AttackSettings.success`` in ``run.json``, where it is called ``stop``."""


def _renamed(document: Any, *, old: str, new: str, values: Mapping[str, str]) -> Any:
    """A JSON object with one key and its value in other words; anything else as it is."""
    if not isinstance(document, dict) or old not in document:
        return document
    renamed = dict(document)
    value = renamed.pop(old)
    return {**renamed, new: values.get(value, value)}


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values) or "No"


def epsilon_text(epsilon: float) -> str:
    """An epsilon or a step size as people write it.

    Example:
        >>> epsilon_text(0.06), epsilon_text(8 / 255), epsilon_text(2 / 225), epsilon_text(0.123456)
        ('0.06', '8/255', '2/225', '0.1235')
    """
    if float(f"{epsilon:.3g}") == epsilon:
        return f"{epsilon:.3g}"
    for whole in (255, 225):  # the second as in ``PRINTED_STEP``
        if (part := round(epsilon * whole)) / whole == epsilon:
            return f"{part}/{whole}"
    return f"{epsilon:.4g}"


def protocol_name(
    kind: str, name: ProtocolName, handed_image: TransferredImage | None = None
) -> str:
    """Name of an attack's protocol in runs and results.

    A transferred attack that hands on another image than the protocol's own counts something else,
    so its name contains the image.

    Example:
        >>> protocol_name("whitebox", "paper"), protocol_name("transfer", "paper", "last")
        ('whitebox-1-paper', 'transfer-1-last-paper')
    """
    image = "" if handed_image in (None, OWN_IMAGE[name]) else f"{handed_image}-"
    return f"{kind}-{PROTOCOL_VERSION}-{image}{name}"


@dataclass(frozen=True)
class TransferSource:
    """The source, or surrogate: the model that is attacked so that others may be fooled.

    Attributes:
        model: Name of the model.
        weights: Origin of its weights, for people.
        weights_sha256: SHA-256 over its tensors.
        engine: Engine that computes its gradients.
        preprocessing: Preprocessing of the photos, before the attack.
        image: Adversarial image that is handed on: the ``first-hit``, the first iterate that
            reached the attack's goal, or the clean image if none did, as in the paper; or the
            ``last`` iterate of each attempt, all steps made.
    """

    model: str
    weights: str
    weights_sha256: str
    engine: EngineSpec
    preprocessing: Preprocessing
    image: TransferredImage = "first-hit"


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
