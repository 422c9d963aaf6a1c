"""The paper's tables and figures: what exists, what is missing, and doing it."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...contracts import NullProgress, Progress
from ...errors import EvaluatorError, InputError
from ...evaluate.generate.corruptions import corrupt_photos
from ...evaluate.generate.perturbations import perturb_photos
from ...evaluate.generate.photos import sample_photos
from ...records.run import MANIFEST
from ...reporting.published.paper import published_models
from ..attack.transfer.attack import attack_transfer
from ..attack.whitebox import attack_whitebox
from ..config import Config, read_config
from ..maximize.maximize import maximize
from ..models.options import ModelOptions
from ..report.report import Report, report
from ..score import score
from .estimate import with_times
from .parts import (
    GENERATED,
    MAXIMIZE,
    SAMPLE,
    SAMPLE_MODELS,
    TRANSFER,
    WHITEBOX,
    Scale,
    work_of,
)
from .plan import PlannedStep, Planner, Step, finished_share


@dataclass(frozen=True)
class Reproduction:
    """The paper's tables and figures for some models.

    Attributes:
        out: Folder of runs and report.
        scale: How much of each kind of work is done.
        steps: Every step, in the order in which they are done.
        sample_data: Folder in which sample data are made first; ``None`` if the user has data.
    """

    out: Path
    scale: Scale
    steps: tuple[PlannedStep, ...]
    sample_data: Path | None = None

    @property
    def seconds(self) -> float:
        """Time of the missing steps that was measured."""
        return sum(planned.seconds or 0 for planned in self.steps)

    @property
    def bytes_on_disk(self) -> int:
        """Size of the records that are missing, about."""
        return sum(planned.bytes_on_disk for planned in self.steps)

    def timed(self, progress: Progress | None = None) -> "Reproduction":
        """The same plan with the time of each step, measured on a few batches."""
        steps = with_times(self.steps, self.scale, progress or NullProgress())
        return replace(self, steps=steps)

    def run(self, progress: Progress | None = None) -> "Outcome":
        """Do what is missing and report on all runs; finished work is not done again.

        A step that fails does not keep the others from being done.

        Raises:
            InputError: If there is no run to report on.
        """
        progress = progress or NullProgress()
        if self.sample_data is not None:
            works = {planned.step.work for planned in self.steps if planned.is_open}
            _make_sample(self.sample_data, works, progress)
        overall = _Overall(progress, self.steps)
        failures = []
        for planned in overall.begun():
            try:
                self._attempt(planned.step, overall)
            except EvaluatorError as error:
                failures.append((planned.step, error))
                overall.note(f"{planned.step.title} failed: {error}")
        folders = [planned.step.folder for planned in self.steps]
        runs = [folder for folder in folders if (folder / MANIFEST).is_file()]
        if not runs:
            reasons = [str(error) for _, error in failures]
            reasons += [planned.obstacle for planned in self.steps if planned.obstacle]
            raise InputError(f"There is nothing to report: {'; '.join(dict.fromkeys(reasons))}.")
        return Outcome(report(runs), tuple(failures))

    def _attempt(self, step: Step, progress: Progress) -> None:
        """Do a step together with those whose adversarial images it shares, or else alone."""
        shared = [planned.step for planned in self.steps if planned.is_open]
        models = [other.model for other in shared if other.out == step.out]
        try:
            _do(step, models, self.scale, progress)
        except EvaluatorError as error:
            if len(models) == 1:
                raise
            progress.note(f"{step.work} of {len(models)} models at once failed: {error}")
            _do(step, [step.model], self.scale, progress)


@dataclass(frozen=True)
class Outcome:
    """Result of a reproduction.

    Attributes:
        report: Report on all runs.
        failures: Steps that failed, each with its error.
    """

    report: Report
    failures: tuple[tuple[Step, EvaluatorError], ...]


def reproduce(
    out: str | Path,
    *,
    models: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    config: str | Path | None = None,
    limit: int | None = None,
    sample: bool = False,
) -> Reproduction:
    """Plan the paper's tables and figures; ``run`` of the result does what is missing.

    Args:
        out: Folder of runs and report. What it has already is not done again.
        models: Models, named as on the command line or in the configuration; if not given, the
            paper's five, or with ``sample`` those of the extra ``demo``.
        only: Tables and figures, such as ``table1`` and ``figure4``; if not given, all.
        config: Path of the configuration; if not given, ``evaluator.toml`` if it exists.
        limit: Items in each condition, evenly spaced; if not given, all.
        sample: Whether to use sample photos, which are corrupted and perturbed in ``out``, and
            small attacks: minutes on a laptop.

    Raises:
        InputError: If a part or an option is unknown, or the configuration has mistakes.
    """
    out, scale = Path(out).expanduser(), SAMPLE if sample else Scale()
    content = read_config(None if config is None else Path(config))
    default, data = list(published_models()), None
    if sample:
        default, data = list(SAMPLE_MODELS), out / "data"
        content = _with_sample(content, data)
    planner = Planner(content, replace(scale, limit=limit or scale.limit), out, sample)
    names = list(dict.fromkeys(models or default))
    return Reproduction(out, planner.scale, tuple(planner.steps(names, work_of(only))), data)


def _with_sample(config: Config, folder: Path) -> Config:
    """The configuration with the places of the sample data, and the models at 224 px."""
    own = {name: ModelOptions(name, **options) for name, options in SAMPLE_MODELS.items()}
    places = {name: (folder / name,) for name in GENERATED}
    return replace(
        config, data={**config.data, **places}, labels=None, models={**own, **config.models}
    )


def _make_sample(folder: Path, works: Container[str], progress: Progress) -> None:
    """Make the sample data of some work; files that exist are kept."""
    photos = folder / "imagenet"
    sample_photos(photos)
    if "imagenet-c" in works:
        corrupt_photos(photos, folder / "imagenet-c", progress=progress)
    if "imagenet-p" in works:
        perturb_photos(photos, folder / "imagenet-p", progress=progress)


def _do(step: Step, models: Sequence[ModelOptions], scale: Scale, progress: Progress) -> None:
    """Do what is missing of a step; a transferred attack is made for several models at once."""
    options: dict[str, Any] = {
        name: value
        for name, value in vars(step.model).items()
        if name not in ("model", "seed", *_ENGINE_OPTIONS) and value is not None
    }
    common: dict[str, Any] = {"labels": step.labels, "progress": progress}
    attack = {"limit": scale.limit, **scale.attack}
    name = step.model.model
    if step.work == MAXIMIZE:
        # The paper's noise and two photos; the photos are those of the sample without data.
        maximize(name, out=step.out, progress=progress, **options, **scale.maximize)
    elif step.work == WHITEBOX:
        attack_whitebox(
            name, step.data, out=step.out, **common, **options, **attack, **scale.whitebox
        )
    elif step.work == TRANSFER:
        attack_transfer(
            models, step.data, source=scale.source, out=step.out, **common, **attack,
            source_crop_px=_source_crop(step, scale),
        )  # fmt: skip
    else:
        score(name, step.work, step.data, out=step.out, limit=scale.limit, **common, **options)


def _source_crop(step: Step, scale: Scale) -> int | None:
    """Crop of the source, which must be that of the target; ``None`` if it is that anyway."""
    from ..models.resolve import resolve_model

    crop_px = resolve_model(step.model).spec.preprocessing.crop_px
    own = resolve_model(ModelOptions(scale.source)).spec.preprocessing.crop_px
    return None if crop_px == own else crop_px


_ENGINE_OPTIONS = ("precision", "input_kind", "tf32", "max_batch", "opt_batch", "target")
"""Options of ``ModelOptions`` that a configuration does not have."""

_ALL = "all steps"
_MAIN = ("score", "attack", "maximize")
"""Names of the progress that counts as that of a step."""


class _Overall:
    """One progress over all steps, each as long as its estimated time.

    A step whose time was not measured counts as long as the mean of the others.
    """

    def __init__(self, progress: Progress, steps: Sequence[PlannedStep]) -> None:
        self._progress = progress
        self._open = [planned for planned in steps if planned.is_open]
        known = [planned.seconds for planned in self._open if planned.seconds is not None]
        mean = sum(known) / len(known) if known else 1.0
        self._seconds = [
            max(mean if planned.seconds is None else planned.seconds, 1e-3)
            for planned in self._open
        ]
        self._position = 0

    def begun(self) -> Iterable[PlannedStep]:
        """The steps that can be done, each announced."""
        for position, planned in enumerate(self._open):
            self._position = position
            if planned.step.work == TRANSFER and finished_share(planned.step, planned.size) == 1:
                continue  # made with that of another model
            self.note(f"Step {position + 1} of {len(self._open)}: {planned.step.title}.")
            self._report(0)
            yield planned
        if self._open:
            self._progress.advance(_ALL, 100, 100, "%")

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._progress.note(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Count the work of a step, but not its preparations such as parity."""
        if step.partition(" ")[0].rstrip(",") in _MAIN and total:
            self._report(done / total)

    def _report(self, share: float) -> None:
        before = sum(self._seconds[: self._position])
        done = (before + share * self._seconds[self._position]) / sum(self._seconds)
        self._progress.advance(_ALL, min(int(100 * done), 99), 100, "%")  # probes follow an attack
