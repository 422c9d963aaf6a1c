"""What a user may choose of an attack, whoever classifies what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...attacks.protocols import attack_settings, find_protocol
from ...contracts import AttackSettings, Condition, Device
from ...errors import InputError
from .job import attacked_conditions

CPU_BATCH, CUDA_BATCH = 8, 64


@dataclass(frozen=True, kw_only=True)
class AttackChoice:
    """How a user wants images to be attacked; none stands for the protocol's own.

    Attributes:
        protocol: ``paper`` or ``standard``.
        epsilons: Of the L-infinity norm, in [0, 1] pixel units.
        steps: The counts for which there is an answer.
        restarts: Starts that are tried.
        step_size: In [0, 1] pixel units.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        traced: How many images do all steps, for the diagnostics that need them.
        seed: Of starts, targets and the traced sample, and of random weights.
        batch_size: Images at a time; without it, what suits the device.
    """

    protocol: str
    epsilons: Sequence[float] | None
    steps: Sequence[int] | None
    restarts: int | None
    step_size: float | None
    relative_epsilon: bool
    traced: int | None
    seed: int
    batch_size: int | None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size} is not possible; expected 1 or more.")

    def settings(self, *, attack_wrong: bool | None = None) -> AttackSettings:
        """What makes two attacks the same.

        Args:
            attack_wrong: Whether images that are wrong from the start are attacked as well.

        Raises:
            InputError: If the protocol is unknown, or a value is not what it must be.
        """
        return attack_settings(
            self.protocol,
            steps=self.steps,
            restarts=self.restarts,
            step_size=self.step_size,
            relative_epsilon=self.relative_epsilon or None,
            traced=self.traced,
            seed=self.seed,
            attack_wrong=attack_wrong,
        )

    def conditions(self) -> tuple[Condition, ...]:
        """The condition of each epsilon, once, in ascending order.

        Raises:
            InputError: If the protocol is unknown, or an epsilon is outside (0, 1].
        """
        own = find_protocol(self.protocol).epsilons
        return attacked_conditions(own if self.epsilons is None else self.epsilons)

    def seed_of(self, weights: str) -> int:
        """Of a model's weights: others than random ones refuse a seed that is theirs."""
        return self.seed if weights == "random" else 0

    def batch_on(self, device: Device) -> int:
        """Images at a time on a device, where no run says otherwise."""
        return self.batch_size or (CPU_BATCH if device.name == "cpu" else CUDA_BATCH)
