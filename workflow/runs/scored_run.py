"""Runs that were read, and what they are called where several stand side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import Condition, Evaluation, Run, Score
from ...errors import InputError, printable
from ...evaluate.benchmarks.transfer import TRANSFER
from ...records.fingerprints import compare_runs
from ...records.reading import RunRecords, read_run
from ...records.run import find_runs
from ...records.shards import shards_of
from ...records.skipped import skipped_in
from .attack_scores import benchmark_of

if TYPE_CHECKING:
    import pyarrow as pa

CLEAN_BENCHMARK = "imagenet"


@dataclass(frozen=True)
class ScoredRun:
    """A run that was read."""

    run: Run
    benchmark: Evaluation
    records: RunRecords

    @property
    def clean(self) -> "pa.Table | None":
        """The records of a benchmark without conditions, if it is finished."""
        return next(iter(self.records.finished.values()), None)

    @property
    def missing(self) -> list[Condition]:
        """The benchmark's conditions that are not finished."""
        return [c for c in self.benchmark.conditions if c not in self.records.finished]

    @cached_property
    def skipped(self) -> bool:
        """Whether images were skipped in what is there."""
        made = self.run.manifest
        shards = shards_of(self.benchmark.conditions, made.items, made.shard_size)
        return skipped_in(self.run, shards) is not None


def identity(run: Run) -> tuple[object, ...]:
    """What the runs of one model on one engine share."""
    return (run.key.weights_sha256, run.key.engine, run.key.preprocessing)


def facts_of(one: ScoredRun) -> Score:
    """What all scores of a run share."""
    run, spec = one.run, one.run.manifest.model
    made = one.records.provenance
    return Score(
        run=str(run.folder),
        model=spec.name,
        weights=str(spec.weights),
        engine=run.key.engine.backend,
        devices=tuple(dict.fromkeys(str(shard.device) for shard in made)),
        precision=run.key.engine.precision,
        crop_px=run.key.preprocessing.crop_px,
        benchmark=run.key.benchmark,
        protocol=run.key.protocol,
        parity=", ".join(dict.fromkeys(shard.parity_status for shard in made)),
        adversarial_parity=_adversarial_parity(one),
        generated=bool(run.key.generated),
    )


def _adversarial_parity(one: ScoredRun) -> str | None:
    """Whether the engine agreed on adversarial images, where it classifies such."""
    if one.run.key.benchmark != TRANSFER.name:
        return None
    words = []
    for shard in one.records.provenance:
        if (result := shard.adversarial_parity) is not None:
            words.append("passed" if result.passed else "failed")
        elif shard.parity_status != "reference":
            words.append("not checked")
    return ", ".join(dict.fromkeys(words)) or None


def shards_of_other_bytes(a: ScoredRun, b: ScoredRun) -> int:
    """In how many shards the runs read other bytes under the same names, if both were cut alike."""
    cuts = [(one.run.manifest.shard_size, *one.records.finished) for one in (a, b)]
    if cuts[0] != cuts[1] or a.records.begun or b.records.begun:
        return 0
    made = zip(a.records.provenance, b.records.provenance, strict=True)
    return sum(ours.data_sha256 != theirs.data_sha256 for ours, theirs in made)


def told_other_bytes(one: ScoredRun, other: ScoredRun, names: tuple[str, str]) -> str | None:
    """That two runs, called by these names, read other bytes under the same names, if so."""
    files = compare_runs(one.run, other.run, one.benchmark.conditions)
    shards = shards_of_other_bytes(one, other)
    if not files.different and not shards:
        return None
    what = f"first {printable(files.different[0])}" if files.different else f"in {shards} shards"
    return (
        f"the files of {one.benchmark.title} that {names[0]} read are not those that {names[1]} "
        f"read, under the same names, {what}"
    )


def changed_crop(run: Run) -> bool:
    """Whether the model takes another crop than it was trained with, which is a mark."""
    spec = run.manifest.model
    return spec.preprocessing.crop_px != spec.trained_crop_px


def changed_source_crop(run: Run) -> bool:
    """The same of the model that was attacked, as far as its training is known here."""
    if run.key.transfer is None or run.key.benchmark != TRANSFER.name:
        return False
    from ...exporter.zoo.table import MODELS

    known = MODELS.get(run.key.transfer.model)
    crop_px = run.key.transfer.preprocessing.crop_px
    return known is not None and crop_px != known.preprocessing.crop_px


def read_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """The runs in these folders, each a run or a folder of runs.

    Raises:
        InputError: If a folder holds no run, or a run is damaged or the probe of an attack.
    """
    scored = []
    for run in find_runs(list(folders)):
        if run.key.probe is not None:
            raise InputError(
                f"{printable(run.folder)} is a probe, and says nothing without its attack: give "
                f"the attack's run, {printable(run.folder.parent.parent)}."
            )
        benchmark = benchmark_of(run)
        scored.append(ScoredRun(run, benchmark, read_run(run, benchmark.conditions)))
    return scored


def _name(run: Run) -> str:
    """The model's name, which alone means its published weights, computed in float32."""
    spec, precision = run.manifest.model, run.key.engine.precision
    words = []
    if spec.weights.kind == "random":
        words.append("random weights")
    if spec.weights.kind == "file":
        words.append(printable(Path(spec.weights.reference).name))
    if precision != "fp32":
        words.append(precision)
    return f"{spec.name} ({', '.join(words)})" if words else spec.name


def _source(run: Run) -> str:
    """Where the images come from that it classified, where they were made on another model."""
    transfer = run.key.transfer
    return f"from {transfer.model}" if transfer and run.key.benchmark == "transfer" else ""


def unique_names(runs: Sequence[Run]) -> list[str]:
    """The model's name, with as much more as tells the runs of one report apart."""
    details = (
        _name,
        lambda run: str(run.manifest.model.weights),
        lambda run: run.key.attack.protocol if run.key.attack else "",
        lambda run: (
            f"from {run.key.transfer.model}"
            if run.key.benchmark == "transfer" and run.key.transfer
            else ""
        ),
        lambda run: run.key.engine.backend,
        lambda run: run.key.engine.input_kind,
        lambda run: "generated" if run.key.generated else "",
        lambda run: f"limit {run.key.limit}" if run.key.limit else "",
        lambda run: run.folder.name,
    )
    names = [details[0](run) for run in runs]
    for detail in details[1:]:
        told = list(zip(names, map(detail, runs), strict=True))
        names = [
            f"{name}, {word}" if word and any(n == name and w != word for n, w in told) else name
            for name, word in told
        ]
    return names
