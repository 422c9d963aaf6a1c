"""Runs with their finished records, their names in a report, and the commands that resume them."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts import CONDITION_OPTIONS, Condition, Evaluation, Run, RunKey
from ...errors import InputError, printable
from ...records.fingerprints import different_files
from ...records.reading import RunRecords, read_run, skipped_in
from ...records.run import find_runs
from ...records.shards import shards_of
from .attack_scores import benchmark_of, protocol_fields, transfer_source

if TYPE_CHECKING:
    import pyarrow as pa

CLEAN_BENCHMARK = "imagenet"


@dataclass(frozen=True)
class ScoredRun:
    """A run with its finished records.

    Attributes:
        run: The run.
        benchmark: Benchmark of the run, or evaluation of the attack.
        records: Finished records of the run.
    """

    run: Run
    benchmark: Evaluation
    records: RunRecords

    @property
    def key(self) -> RunKey:
        """The identity of the run."""
        return self.run.key

    @property
    def place(self) -> str:
        """The folder of the run, as messages show it."""
        return printable(self.run.folder)

    @property
    def clean(self) -> "pa.Table | None":
        """The records of a benchmark without conditions; `None` if it is not finished."""
        return next(iter(self.records.finished.values()), None)

    @property
    def by_epsilon(self) -> "dict[float, pa.Table]":
        """The records of an attack at each epsilon that is finished."""
        return {float(c["epsilon"]): table for c, table in self.records.finished.items()}

    @property
    def missing(self) -> list[Condition]:
        """The benchmark's conditions that are not finished."""
        return [c for c in self.benchmark.conditions if c not in self.records.finished]

    @property
    def is_simulated(self) -> bool:
        """Whether a part of it was made on a simulated device."""
        return any(shard.device.is_simulated for shard in self.records.provenance)

    @property
    def is_clean(self) -> bool:
        """Whether its numbers are clean errors: corrupted photos may be scored as if clean."""
        return self.benchmark.name == CLEAN_BENCHMARK and not self.key.generated

    @property
    def identity(self) -> tuple[object, ...]:
        """The part of the identity that the runs of one model on one engine share."""
        return (self.key.weights_sha256, self.key.engine, self.key.preprocessing)

    def shares_model(self, other: "ScoredRun") -> bool:
        """Whether another run is of the same network on the same engine."""
        return self.identity == other.identity and self.run.shares_network(other.run)

    @property
    def marks(self) -> str:
        """Marks of a model whose preprocessing is not the one that it was trained with."""
        spec = self.run.manifest.model
        crop_mark = "^" if spec.preprocessing.crop_px != spec.trained_crop_px else ""
        return crop_mark + ("@" if spec.prepared.description else "")

    @property
    def source_marks(self) -> str:
        """The same mark of the model that was attacked, if it is in the zoo."""
        from ...exporter.zoo.table import MODELS

        source = transfer_source(self.run)
        if source is None or source.model not in MODELS:
            return ""
        trained_crop_px = MODELS[source.model].preprocessing.crop_px
        return "^" if source.preprocessing.crop_px != trained_crop_px else ""

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Values of the fields that all scores of the run share, by name."""
        spec, shards = self.run.manifest.model, self.records.provenance
        return {
            "run": str(self.run.folder),
            "model": spec.name,
            "weights": str(spec.weights),
            "engine": self.key.engine.backend,
            "devices": tuple(dict.fromkeys(str(shard.device) for shard in shards)),
            "precision": self.key.engine.precision,
            "crop_px": self.key.preprocessing.crop_px,
            "benchmark": self.key.benchmark,
            "protocol": self.key.protocol,
            **protocol_fields(self.run),
            "parity": ", ".join(dict.fromkeys(shard.parity_status for shard in shards)),
            "adversarial_parity": self._adversarial_parity(),
            "self_check": ", ".join(dict.fromkeys(s.self_check for s in shards if s.self_check)),
            "generated": bool(self.key.generated),
        }

    def _adversarial_parity(self) -> str | None:
        """Whether the engine passed parity on adversarial images; `None` if it classified none."""
        if transfer_source(self.run) is None:
            return None
        statuses = []
        for shard in self.records.provenance:
            if (result := shard.adversarial_parity) is not None:
                statuses.append("passed" if result.passed else "failed")
            elif shard.parity_status != "reference":
                statuses.append("not checked")
        return ", ".join(dict.fromkeys(statuses)) or None

    @cached_property
    def skipped(self) -> bool:
        """Whether images were skipped in the finished part."""
        manifest = self.run.manifest
        shards = shards_of(self.benchmark.conditions, manifest.items, manifest.shard_size)
        return skipped_in(self.run, shards) is not None


def _differing_shards(a: ScoredRun, b: ScoredRun) -> int:
    """The number of shards for which the runs read other bytes; 0 if their shards differ."""
    sizes = [(scored.run.manifest.shard_size, *scored.records.finished) for scored in (a, b)]
    if sizes[0] != sizes[1] or a.records.begun or b.records.begun:
        return 0
    pairs = zip(a.records.provenance, b.records.provenance, strict=True)
    return sum(ours.data_sha256 != theirs.data_sha256 for ours, theirs in pairs)


def differing_files_note(a: ScoredRun, b: ScoredRun, names: tuple[str, str]) -> str | None:
    """A note that two runs read files of equal names but other content; `None` if they did not.

    Args:
        a: First run.
        b: Second run.
        names: Names of the two runs in the note.
    """
    files = different_files(a.run, b.run, a.benchmark.conditions)
    shards = _differing_shards(a, b)
    if not files and not shards:
        return None
    where = f"first {printable(files[0])}" if files else f"in {shards} shards"
    return (
        f"{names[0]} and {names[1]} read different files of {a.benchmark.title} under the same "
        f"names, {where}"
    )


def read_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """The runs in these folders, each a run or a folder of runs.

    Raises:
        InputError: If a folder holds no run, a run is damaged or is the probe of an attack, or some
            runs are of a simulated device and others not.
    """
    scored = []
    for run in find_runs(list(folders)):
        if run.key.probe is not None:
            raise InputError(
                f"{printable(run.folder)} is a probe, which cannot be reported without its attack: "
                f"give the attack's run, {printable(run.folder.parent.parent)}."
            )
        scored.append(scored_run_of(run))
    simulated = [each for each in scored if each.is_simulated]
    if simulated and len(simulated) < len(scored):
        raise InputError(
            f"{simulated[0].place} was made on a simulated GPU, which only tests the software. "
            "Report it without runs of real devices."
        )
    return scored


def scored_run_of(run: Run) -> ScoredRun:
    """A run with its finished records; also a probe of an attack.

    Raises:
        InputError: If the run is damaged.
    """
    benchmark = benchmark_of(run)
    return ScoredRun(run, benchmark, read_run(run, benchmark.conditions))


def _name(run: Run) -> str:
    """The model's name; without addition it means its published weights, computed in float32."""
    spec, precision = run.manifest.model, run.key.engine.precision
    own_weights = {"random": "random weights", "file": Path(spec.weights.reference).name}
    weights = printable(own_weights.get(spec.weights.kind, ""))
    additions = [weights, precision if precision != "fp32" else ""]
    text = ", ".join(filter(None, additions))
    return f"{spec.name} ({text})" if text else spec.name


def _source(run: Run) -> str:
    """The model on which the classified images were made; empty if there is none."""
    source = transfer_source(run)
    return "" if source is None else f"from {source.model}"


def unique_names(runs: Sequence[Run]) -> list[str]:
    """The model's name, with the additions that are needed to distinguish the runs of a report."""
    details = (
        _name,
        lambda run: str(run.manifest.model.weights),
        lambda run: run.key.attack.protocol if run.key.attack else "",
        _source,
        lambda run: run.key.engine.backend,
        lambda run: run.key.engine.input_kind,
        lambda run: "generated" if run.key.generated else "",
        lambda run: f"limit {run.key.limit}" if run.key.limit else "",
        lambda run: run.folder.name,
    )
    names = [details[0](run) for run in runs]
    for detail in details[1:]:
        pairs = list(zip(names, map(detail, runs), strict=True))
        names = [
            f"{name}, {word}" if word and any(n == name and w != word for n, w in pairs) else name
            for name, word in pairs
        ]
    return names


def resume_command(scored: ScoredRun) -> str:
    """The command that scores the missing part of a run; the rest is not scored again."""
    run, provenance, spec = scored.run, scored.records.provenance[0], scored.run.manifest.model
    engine, weights, crop_px = run.key.engine, spec.weights, spec.preprocessing.crop_px
    description = spec.prepared.description if spec.own is None else spec.own.description
    other_crop = crop_px != spec.trained_crop_px and not spec.prepared.test_size
    data = [word for path in provenance.data for word in ("--data", path)]
    options = {
        "--labels": provenance.labels,
        "--out": run.folder,
        "--engine": engine.backend,
        **{option: _missing_values(scored, key) for key, option in CONDITION_OPTIONS.items()},
        "--limit": run.key.limit,
        "--on-error": "skip" if scored.skipped else None,
        "--weights": {"random": "random", "file": weights.reference}.get(weights.kind),
        "--seed": weights.reference.split()[-1] if weights.kind == "random" else None,
        "--precision": engine.precision if engine.precision != "fp32" else None,
        "--input": engine.input_kind if engine.input_kind != "pixels" else None,
        "--crop-px": crop_px if other_crop else None,
        "--description": description or None,
        "--classes": None if spec.class_order is None else spec.class_order.path,
    }
    pairs = [(name, str(value)) for name, value in options.items() if value is not None]
    command = ["evaluator", "score", spec.asked_as, run.key.benchmark, *data]
    command += ["--test-size"] if spec.prepared.test_size else []
    return shlex.join([*command, *itertools.chain(*pairs)])


def _missing_values(scored: ScoredRun, key: str) -> str | None:
    """Values of a key that are missing, as an option takes them; `None` if all are, or none."""
    every = {dict(c.values)[key] for c in scored.benchmark.conditions if key in dict(c.values)}
    values = list(dict.fromkeys(str(c[key]) for c in scored.missing)) if every else []
    return ",".join(values) if 0 < len(values) < len(every) else None
