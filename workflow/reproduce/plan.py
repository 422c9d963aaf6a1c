"""The plan of ``reproduce``: every step, what exists of it, and why one cannot be done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ...attacks.protocols import find_protocol
from ...contracts import BENCHMARK_INFO, Condition, NullProgress
from ...errors import EvaluatorError
from ...evaluate.benchmarks.table import BENCHMARKS
from ...evaluate.generate.photos import shipped_photos
from ...evaluate.sources.open_source import open_source
from ...records.run import MANIFEST, open_run
from ..attack.transfer.runs import run_place
from ..config import Config
from ..models.options import ModelOptions
from ..models.resolve import resolve_model
from ..runs.selection import check_crop
from .parts import GENERATED, MAXIMIZE, TRANSFER, WHITEBOX, Scale

FETCHED_AS = {"imagenet": "imagenet", TRANSFER: "imagenet", WHITEBOX: "imagenet"}
"""Data set of work that has another name."""

RECORD_BYTES = {TRANSFER: 230, WHITEBOX: 230}
SCORE_BYTES = 40
"""Bytes of a record on disk, of one image and epsilon, or of one image or frame. Measured on 20,000
records with random values."""


@dataclass(frozen=True)
class Size:
    """Amount of work of a step.

    Attributes:
        items: Items in each condition.
        conditions: Number of conditions.
        frames: Frames of an item, mean over the conditions.
    """

    items: int
    conditions: int = 1
    frames: float = 1

    @property
    def passes(self) -> int:
        """Images that a network classifies."""
        return round(self.items * self.conditions * self.frames)


@dataclass(frozen=True)
class Step:
    """A piece of work: one model on one benchmark, or under one attack.

    Attributes:
        work: Name of the benchmark or attack, or ``maximize``.
        name: Name of the model: of the zoo, or of the configuration.
        model: Options of the model.
        out: Folder that the job is given. That of a transferred attack is shared by all models
            with the same crop, whose images are made once.
        folder: Folder of the run.
        data: Places of the data; empty if they are not known.
        labels: List of classes; ``None`` if not given.
    """

    work: str
    name: str
    model: ModelOptions
    out: Path
    folder: Path
    data: tuple[Path, ...] = ()
    labels: Path | None = None

    @property
    def title(self) -> str:
        """Name of the step."""
        return f"{self.work} of {self.name}"


@dataclass(frozen=True)
class PlannedStep:
    """A step with what is known before it is done.

    Attributes:
        step: The step.
        size: Amount of work; ``None`` if it is not known.
        done: Share that is finished, from 0 to 1.
        obstacle: Why it cannot be done, with what to do; empty if it can.
        seconds: Time of what is missing on this machine; ``None`` if it was not measured.
        seconds_unknown: Why the time could not be measured; empty if it was.
    """

    step: Step
    size: Size | None
    done: float
    obstacle: str = ""
    seconds: float | None = None
    seconds_unknown: str = ""

    @property
    def state(self) -> str:
        """``finished``, ``missing``, the finished share, or ``not possible``."""
        if self.done >= 1:
            return "finished"
        if self.obstacle:
            return "not possible"
        return f"{self.done:.0%} finished" if self.done else "missing"

    @property
    def is_open(self) -> bool:
        """Whether there is something to do that can be done."""
        return self.done < 1 and not self.obstacle

    @property
    def bytes_on_disk(self) -> int:
        """Size of the records that are still missing, about."""
        if self.size is None or not self.is_open or self.step.work == MAXIMIZE:
            return 0
        return round((1 - self.done) * self.size.passes * _record_bytes(self.step.work))

    def measured(self, seconds: float | None, unknown: str = "") -> "PlannedStep":
        """The same step with its time."""
        return replace(self, seconds=seconds, seconds_unknown=unknown)


def _record_bytes(work: str) -> int:
    return RECORD_BYTES.get(work, SCORE_BYTES)


@dataclass(frozen=True)
class Planner:
    """Makes the plan.

    Attributes:
        config: Places of data sets, and models.
        scale: How much of each kind of work is done.
        out: Folder of the results.
        sample: Whether the data are those of the sample photos, which need not exist yet.
    """

    config: Config
    scale: Scale
    out: Path
    sample: bool = False

    def steps(self, models: Sequence[str], works: Sequence[str]) -> Iterator[PlannedStep]:
        """Every step with its state, in the order in which they are done."""
        for work in works:
            for name in models:
                yield self._planned(self._step(work, name))

    def _step(self, work: str, name: str) -> Step:
        data_set, model = FETCHED_AS.get(work, work), self.config.model(name)
        out = folder = self.out / ("maximized" if work == MAXIMIZE else "runs") / name / work
        if work == TRANSFER:
            out, folder = self._transfer_folders(name, model)
        return Step(
            work,
            name,
            model,
            out,
            folder,
            self.config.data.get(data_set, ()),
            self.config.labels if data_set == "imagenet" else None,
        )

    def _transfer_folders(self, name: str, model: ModelOptions) -> tuple[Path, Path]:
        """The folder that models of one crop share, and that of the run in it."""
        own = self.out / "runs" / name / TRANSFER
        try:
            resolved = resolve_model(model)
        except EvaluatorError:
            return own, own
        shared = self.out / "runs" / f"{TRANSFER}-{resolved.spec.preprocessing.crop_px}px"
        folder = run_place(resolved, shared)
        if self._shared.setdefault(folder, name) != name:  # another of the same name
            return own, run_place(resolved, own)
        return shared, folder

    @cached_property
    def _shared(self) -> dict[Path, str]:
        """Model of each run in a shared folder."""
        return {}

    def _planned(self, step: Step) -> PlannedStep:
        if step.work == MAXIMIZE:
            done = float((step.folder / "maximized.json").is_file())
            obstacle = "" if done else self._model_obstacle(step)
            return PlannedStep(step, Size(self.scale.maximized_images), done, obstacle)
        if not step.data:
            return PlannedStep(step, None, finished_share(step, None), self._missing_data(step))
        try:
            size = self._size(step)
        except EvaluatorError as error:
            return PlannedStep(step, None, 0, str(error))
        done = finished_share(step, size)
        return PlannedStep(step, size, done, "" if done >= 1 else self._model_obstacle(step))

    @staticmethod
    def _missing_data(step: Step) -> str:
        name = FETCHED_AS.get(step.work, step.work)
        return (
            f"no data: `evaluator data fetch {name}` gets them or says how; then add "
            f'{name} = "PATH" to [data] of evaluator.toml'
        )

    @staticmethod
    def _model_obstacle(step: Step) -> str:
        try:
            resolved = resolve_model(step.model)
            if step.work in BENCHMARKS:
                check_crop(resolved.spec, BENCHMARKS[step.work])
        except EvaluatorError as error:
            return str(error)
        return ""

    def _size(self, step: Step) -> Size:
        benchmark = BENCHMARKS[FETCHED_AS.get(step.work, step.work)]
        count, conditions = self._inventory[benchmark.name]
        if step.work not in (WHITEBOX, TRANSFER):
            limit = count if self.scale.limit is None else min(count, self.scale.limit)
            frames = sum(benchmark.layout.frames(condition) for condition in conditions)
            return Size(limit, len(conditions), frames / len(conditions))
        if step.work == WHITEBOX and "subset" in self.scale.whitebox:
            count = -(-count // 2)
        limits = (count, self.scale.limit, self.scale.attack.get("limit"))
        epsilons = self.scale.attack.get("epsilons", find_protocol("paper").epsilons)
        return Size(min(n for n in limits if n is not None), len(epsilons))

    @cached_property
    def _inventory(self) -> "Mapping[str, tuple[int, list[Condition]]]":
        return _Inventory(self.config, self.sample)


class _Inventory(dict[str, tuple[int, "list[Condition]"]]):
    """Number of items of a benchmark's first condition, and its conditions, listed once."""

    def __init__(self, config: Config, sample: bool) -> None:
        super().__init__()
        self._config, self._sample = config, sample

    def __missing__(self, name: str) -> "tuple[int, list[Condition]]":
        benchmark = BENCHMARKS[name]
        if self._sample and name in GENERATED:
            return len(shipped_photos()), list(benchmark.conditions)
        source = open_source(
            self._config.data[name],
            benchmark.conditions,
            progress=NullProgress(),
            layout=benchmark.layout,
            labels=self._config.labels if name == "imagenet" else None,
        )
        conditions = list(source.conditions())
        self[name] = len(source.items(conditions[0])), conditions
        return self[name]


def finished_share(step: Step, size: Size | None) -> float:
    """Share of a run's shards that are finished."""
    if not (step.folder / MANIFEST).is_file():
        return 0
    manifest = open_run(step.folder).manifest
    files = sum(1 for _ in (step.folder / "records").rglob("part-*.parquet"))
    conditions = BENCHMARK_INFO[step.work].conditions if size is None else size.conditions
    return min(1.0, files / (conditions * -(-manifest.items // manifest.shard_size)))
