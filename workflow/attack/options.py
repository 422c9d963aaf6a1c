"""Choices of a user that white-box and transferred attacks share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

from ...attacks.protocols import attack_settings, check_epsilon, check_list, find_protocol
from ...contracts import AttackSettings, Condition, Device, Progress, Source
from ...errors import InputError
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...evaluate.sources.open_source import open_source
from ..models.options import EngineOptions, ModelOptions, PlanOptions, WeightsOptions
from ..models.resolve import ResolvedModel, resolve_model
from ..runs.selection import Selection, places_of, select, skips_bad_files

CPU_BATCH, CUDA_BATCH = 8, 64

SUBSETS = {"every-second": 2}
"""Subsets of the sorted images by name: each n-th image."""

SETTINGS = ("steps", "restarts", "step_size", "traced", "seed")
"""Options that replace settings of the protocol."""


class AttackOptions(WeightsOptions, total=False):
    """Keywords of both kinds of attack.

    Attributes:
        protocol: ``paper`` (default) or ``standard``; it makes the choices that are not given.
        epsilons: Bounds of the L-infinity norm, in [0, 1] pixel units; not in a run's identity.
        steps: Step counts to report.
        restarts: Random restarts.
        step_size: Size of a step, in [0, 1] pixel units.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        subset: ``every-second`` of the sorted images, as the paper's white-box attack; ``None`` for
            all images.
        limit: Number of images, evenly spaced; ``None`` for all.
        traced: Number of images that make all steps, for the diagnostics that need them.
        seed: Seed of starts, targets, the traced sample and random weights.
        labels: File that lists the classes of images that are not in class folders.
        out: Folder of the run. If not given, a folder in ``runs/<model>``, named after the hash of
            the run's key. A transferred attack has a folder for each target model in ``out``.
        device: Device that gradients are computed on. If not given, the first GPU, else the CPU.
        batch_size: Images that are attacked at once. If not given, the run's, or what suits the
            device.
        parity: Whether engines, and PyTorch on a GPU, must agree with their reference.
        on_error: What happens to an image that cannot be read or decoded: ``fail`` raises an error,
            ``skip`` records the reason, and the numbers count such images as skipped.
        check_against: Finished run of imagenet of the attacked model by any engine, whose
            predictions are compared with PyTorch's clean ones; not part of a run's identity.
        verify_data: Whether to compare every file of finished shards with what was read for them;
            otherwise a sample of the files is compared.
    """

    protocol: str
    epsilons: Sequence[float] | None
    steps: Sequence[int] | None
    restarts: int | None
    step_size: float | None
    relative_epsilon: bool
    subset: str | None
    limit: int | None
    traced: int | None
    seed: int
    labels: str | Path | None
    out: str | Path | None
    device: str | None
    batch_size: int | None
    parity: bool
    on_error: str
    check_against: str | Path | None
    verify_data: bool


class TransferOptions(AttackOptions, PlanOptions, total=False):
    """Keywords of transferred attacks, whose target models may run a TensorRT plan."""


@dataclass(frozen=True, kw_only=True)
class AttackChoice:
    """Choices of a user for an attack; those not listed are as in ``AttackOptions``.

    Attributes:
        places: Folders and tar files of the photos.
        settings: Settings of the attack, which its runs are bound to.
        conditions: The condition of each epsilon, once, in ascending order.
        skip_bad_images: Whether to leave out images that cannot be read or decoded.
    """

    places: Sequence[Path]
    settings: AttackSettings
    conditions: tuple[Condition, ...]
    subset: str | None = None
    limit: int | None = None
    labels: Path | None = None
    out: Path | None = None
    device: str | None = None
    batch_size: int | None = None
    parity: bool = True
    skip_bad_images: bool = False
    check_against: Path | None = None
    verify_data: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size} is not possible; expected 1 or more.")
        if self.subset is not None and self.subset not in SUBSETS:
            raise InputError(f"Unknown subset {self.subset!r}. Expected {' or '.join(SUBSETS)}.")

    @property
    def key_fields(self) -> dict[str, Any]:
        """Fields of the ``RunKey`` that the choices set, for every model."""
        return {
            "limit": self.limit,
            "seed": self.settings.seed,
            "subset": self.subset,
            "attack": self.settings,
        }

    def select(self, progress: Progress) -> tuple[Source, Selection]:
        """The source of the photos, and those to attack, at each epsilon.

        Raises:
            InputError: If the data cannot be used.
        """
        source = open_source(
            self.places,
            IMAGENET.conditions,
            progress=progress,
            layout=IMAGENET.layout,
            labels=self.labels,
            damaged_ok=self.skip_bad_images,
        )
        selection = select(
            IMAGENET,
            source,
            {},
            limit=self.limit,
            progress=progress,
            every=1 if self.subset is None else SUBSETS[self.subset],
            missing_ok=self.skip_bad_images,
        )
        (items,) = selection.items.values()
        return source, replace(selection, items=dict.fromkeys(self.conditions, items))

    def resolve(
        self, model: str | ModelOptions, progress: Progress, **options: Unpack[EngineOptions]
    ) -> ResolvedModel:
        """A model of the attack, whose options win; only random weights have a seed.

        Raises:
            InputError: If the model is unknown, or options do not suit it.
        """
        named = model if isinstance(model, ModelOptions) else ModelOptions(model)
        named = named.updated(**options)
        seed = self.settings.seed if named.weights == "random" else 0
        return resolve_model(replace(named, seed=seed), progress)

    def batch_on(self, device: Device) -> int:
        """Images to attack at once on a device, unless the run sets it."""
        return self.batch_size or (CPU_BATCH if device.name == "cpu" else CUDA_BATCH)


def read_options(
    data: str | Path | Sequence[str | Path],
    options: AttackOptions,
    *,
    attack_wrong: bool | None = None,
) -> tuple[AttackChoice, WeightsOptions]:
    """The choices of an attack, with its photos, and those of the weights.

    Args:
        data: Folders and tar files of the photos.
        options: Options of the user.
        attack_wrong: Whether images that are misclassified without an attack are attacked too.

    Raises:
        InputError: If a value is invalid: of the settings, the epsilons, the batch size, the subset
            or the way to treat bad files.
        TypeError: If there is no such option.
    """
    choices: dict[str, Any] = {**options}
    names = choices.keys() & WeightsOptions.__annotations__.keys()
    weights = {name: choices.pop(name) for name in names}
    protocol = choices.pop("protocol", "paper")
    settings = attack_settings(
        protocol,
        relative_epsilon=choices.pop("relative_epsilon", False) or None,
        attack_wrong=attack_wrong,
        **{name: choices.pop(name, None) for name in SETTINGS},
    )
    conditions = _conditions(choices.pop("epsilons", None), find_protocol(protocol).epsilons)
    for name in ("labels", "out", "check_against"):
        if choices.get(name) is not None:
            choices[name] = Path(choices[name])
    choice = AttackChoice(
        places=places_of(data),
        settings=settings,
        conditions=conditions,
        skip_bad_images=skips_bad_files(choices.pop("on_error", "fail")),
        **choices,
    )
    return choice, cast(WeightsOptions, weights)


def _conditions(
    epsilons: Sequence[float] | None, default: Sequence[float]
) -> tuple[Condition, ...]:
    """The condition of each epsilon, once, in ascending order.

    Raises:
        InputError: If an epsilon is outside (0, 1], or ``epsilons`` is empty or not a list.
    """
    epsilons = default if epsilons is None else epsilons
    for epsilon in check_list("epsilons", epsilons):
        check_epsilon(epsilon)
    if not (distinct := sorted(set(epsilons))):
        raise InputError("The list of epsilons is empty: give one or several, such as 8/255.")
    return epsilon_conditions(distinct)
