"""From runs on disk to a report: every number with its provenance."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Benchmark, Condition, EngineSpec, ModelSpec, Run, Score
from ..errors import shown
from ..evaluate.benchmarks.table import find_benchmark
from ..evaluate.report.markdown import markdown_of
from ..evaluate.report.published import published_models, published_scores
from ..evaluate.report.tables import Entry, Table, report_tables
from ..records.reading import RunRecords, read_run
from ..records.run import MANIFEST, find_runs, lost_records
from ..storage.documents import document_differences, plain

if TYPE_CHECKING:
    import pyarrow as pa

CLEAN_BENCHMARK = "imagenet"

_OWN_FIELDS = ("metric", "corruption", "severity", "value", "low", "high", "n", "skipped")
"""What a benchmark says of a score; the rest says which run it came from."""


@dataclass(frozen=True)
class Report:
    """What runs add up to.

    Attributes:
        entries: A model on an engine each, with its scores.
        all_published: Whether tables show all the paper's models.
        notes: What was found and left out, a line each.
    """

    entries: tuple[Entry, ...]
    all_published: bool = False
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every number of every run, each once."""
        return tuple(dict.fromkeys(score for entry in self.entries for score in entry.scores))

    def tables(self) -> list[Table]:
        """Text in cells."""
        return report_tables(self.entries, all_published=self.all_published, left_out=self.notes)

    def markdown(self) -> str:
        """The tables as a Markdown document."""
        return markdown_of(self.tables(), "Robustness report")

    def document(self) -> dict[str, Any]:
        """The report for programs: ``schema``; lists of ``scores``, ``published`` and ``notes``."""
        names = {entry.model for entry in self.entries}
        published = [
            score
            for model in published_models()
            if self.all_published or model in names
            for score in published_scores(model)
        ]
        return {
            "schema": 1,
            "scores": [plain(score) for score in self.scores],
            "published": [plain(score) for score in published],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Scored:
    """A run that was read."""

    run: Run
    benchmark: Benchmark
    records: RunRecords

    @property
    def clean(self) -> "pa.Table | None":
        return next(iter(self.records.finished.values()), None)

    @property
    def missing(self) -> list[Condition]:
        """The benchmark's conditions that are not finished."""
        return [c for c in self.benchmark.conditions if c not in self.records.finished]


def report(runs: str | Path | Sequence[str | Path], *, all_published: bool = False) -> Report:
    """Read runs and compute every number that they hold.

    Args:
        runs: A run or a folder of runs, or several.
        all_published: Show the paper's numbers for all its models, not only for those at hand.

    Raises:
        InputError: If a folder holds no run, or a run is damaged.
    """
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    scored = []
    for run in find_runs(folders):
        benchmark = find_benchmark(run.key.benchmark)
        scored.append(_Scored(run, benchmark, read_run(run, benchmark.conditions)))
    return Report(
        tuple(_entries(scored)), all_published, tuple(_left_out(scored, lost_records(folders)))
    )


def _left_out(scored: Sequence[_Scored], lost: Sequence[Path]) -> Iterator[str]:
    empty = [shown(one.run.folder) for one in scored if one.records.empty]
    if empty:
        yield (
            f"begun, and nothing finished yet: {', '.join(empty)}. The command that began a run "
            "continues it; a run that is not wanted can be removed."
        )
    for folder in lost:
        yield f"left out: {shown(folder)} holds records but no {MANIFEST}, which says of what."


def _entries(scored: Sequence[_Scored]) -> Iterator[Entry]:
    """A row for each run, together with the clean run of the same model and engine."""
    partners = {id(one): _clean_run_of(one, scored) for one in scored if not one.records.empty}
    used = {id(partner) for partner in partners.values() if partner is not None}
    rows = [one for one in scored if id(one) in partners and id(one) not in used]
    names = _unique_names([one.run for one in rows])
    for one, name in zip(rows, names, strict=True):
        partner = partners[id(one)]
        scores = tuple(_scores(one, partner, scored))
        if partner is not None and not partner.records.empty:
            scores = (*_scores(partner, None, scored), *scores)
        spec = one.run.manifest.model
        changed = spec.preprocessing.crop_px != spec.trained_crop_px
        yield Entry(name, spec.name, scores, marks="^" if changed else "")


def _clean_run_of(one: _Scored, scored: Sequence[_Scored]) -> _Scored | None:
    """The clean run whose weights, engine and preprocessing are the same.

    Of several, one that is finished, of the same limit, and the largest, in this order.
    """
    if one.benchmark.name == CLEAN_BENCHMARK:
        return None
    fitting = [
        other
        for other in scored
        if other.benchmark.name == CLEAN_BENCHMARK
        and not other.run.key.generated  # corrupted photos scored as if they were clean
        and _identity(other.run) == _identity(one.run)
    ]

    def rank(other: _Scored) -> tuple[bool, bool, int]:
        same_limit = other.run.key.limit == one.run.key.limit
        return other.clean is not None, same_limit, other.run.manifest.items

    return max(fitting, key=rank, default=None)


def _identity(run: Run) -> tuple[object, ...]:
    return (run.key.weights_sha256, run.key.engine, run.key.preprocessing)


def _scores(one: _Scored, partner: _Scored | None, scored: Sequence[_Scored]) -> Iterator[Score]:
    facts = _facts(one)
    clean = partner.clean if partner is not None else None
    for score in one.benchmark.scores(one.records.finished, clean):
        yield replace(
            facts,
            **{name: getattr(score, name) for name in _OWN_FIELDS},
            complete=score.complete and not facts.generated,
            reason=_with_advice(score, one, partner, scored),
        )


def _with_advice(
    score: Score, one: _Scored, partner: _Scored | None, scored: Sequence[_Scored]
) -> str | None:
    """A reason, with the command that helps."""
    if score.reason is None:
        return None
    if one.missing:
        return f"{score.reason}. Complete the run with: {_completing_command(one)}"
    if score.metric != "relative_mce" or (partner is not None and partner.clean is not None):
        return score.reason
    if partner is None and (other := _almost_partner(one, scored)) is not None:
        differs = next(document_differences(_comparable(other.run), _comparable(one.run)))
        return f"{score.reason}; {shown(other.run.folder)} is another: {differs}"
    if partner is None:
        words = ["evaluator", "report", "RUN_IMAGENET", str(one.run.folder)]
        return f"{score.reason}: {shlex.join(words)}"
    done, items = sum(partner.records.begun.values()), partner.run.manifest.items
    reason = f"the imagenet run {shown(partner.run.folder)} is not finished ({done} of {items})"
    if partner.records.empty:
        return reason
    return f"{reason}. Complete it with: {_completing_command(partner)}"


def _almost_partner(one: _Scored, scored: Sequence[_Scored]) -> _Scored | None:
    """A clean run of the same weights that is not of the same engine or preprocessing."""
    for other in scored:
        clean = other.benchmark.name == CLEAN_BENCHMARK and not other.run.key.generated
        if clean and other.run.key.weights_sha256 == one.run.key.weights_sha256:
            return other
    return None


def _comparable(run: Run) -> dict[str, object]:
    """What a clean run and a run on corruptions must share, the graph's hash last."""
    engine, key = run.key.engine, run.key
    return {
        "engine": engine.backend,
        "input": engine.input_kind,
        "precision": engine.precision,
        "preprocessing": plain(key.preprocessing),
        "the graph": engine.model_sha256,
        "TF32": engine.tf32,
    }


def _facts(one: _Scored) -> Score:
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
        generated=bool(run.key.generated),
    )


def _completing_command(one: _Scored) -> str:
    """The command that scores what is missing; what is there is not scored again."""
    run, spec = one.run, one.run.manifest.model
    made = one.records.provenance[0]
    words = ["evaluator", "score", spec.asked_as, run.key.benchmark]
    words += [word for path in made.data for word in ("--data", path)]
    if made.labels is not None:
        words += ["--labels", made.labels]
    words += ["--out", str(run.folder), "--engine", run.key.engine.backend]
    for option, key in (("--corruptions", "corruption"), ("--severities", "severity")):
        values = list(dict.fromkeys(str(c[key]) for c in one.missing if c.values))
        if values and len(values) < len({c[key] for c in one.benchmark.conditions}):
            words += [option, ",".join(values)]
    if run.key.limit is not None:
        words += ["--limit", str(run.key.limit)]
    return shlex.join([*words, *_model_options(spec, run.key.engine)])


def _model_options(spec: ModelSpec, kind: EngineSpec) -> list[str]:
    options = []
    if spec.weights.kind == "random":
        options += ["--weights", "random", "--seed", spec.weights.reference.split()[-1]]
    if spec.weights.kind == "file":
        options += ["--weights", spec.weights.reference]
    if kind.precision != "fp32":
        options += ["--precision", kind.precision]
    if kind.input_kind != "pixels":
        options += ["--input", kind.input_kind]
    if spec.preprocessing.crop_px != spec.trained_crop_px:
        options += ["--crop-px", str(spec.preprocessing.crop_px)]
    if spec.own is not None:
        options += ["--description", spec.own.description]
    if spec.class_order is not None:
        options += ["--classes", spec.class_order.path]
    return options


def _name(run: Run) -> str:
    """The model's name, which alone means its published weights, computed in float32."""
    spec, precision = run.manifest.model, run.key.engine.precision
    words = []
    if spec.weights.kind == "random":
        words.append("random weights")
    if spec.weights.kind == "file":
        words.append(shown(Path(spec.weights.reference).name))
    if precision != "fp32":
        words.append(precision)
    return f"{spec.name} ({', '.join(words)})" if words else spec.name


def _unique_names(runs: Sequence[Run]) -> list[str]:
    """The model's name, with as much more as tells the runs of one report apart."""
    details = (
        _name,
        lambda run: str(run.manifest.model.weights),
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
