"""Provenance of runs as text, for the page: what made a number, and the command that repeats it."""

from collections.abc import Iterator, Sequence

from ...contracts import AttackSettings, ParityResult, Provenance, RunKey
from ...errors import printable
from ...reporting.html.contents import RunFacts
from ..maximize.results import MaximizedDocument
from ..runs.scored_run import ScoredRun

Fact = tuple[str, str]


def run_facts(one: ScoredRun, clean: ScoredRun | None) -> RunFacts:
    """Provenance of a run with finished shards.

    Args:
        one: The run.
        clean: Run of the clean images whose errors its relative numbers need; ``None`` if they
            need none.
    """
    spec, shards = one.run.manifest.model, one.records.provenance
    facts = [
        ("Run", one.place),
        ("Model", _joined(printable(spec.name), f"licence of the weights: {spec.licence}")),
        ("Weights", printable(str(spec.weights))),
        ("Weights SHA-256", one.key.weights_sha256),
        ("Preprocessing", str(spec.preprocessing)),
        *_engine(one),
        *_parity(shards),
        *_data(one),
    ]
    if clean is not None:
        facts.append(("Clean errors", f"of the run {clean.place}"))
    facts += [*_settings(one.key), *_circumstances(shards)]
    commands = dict.fromkeys(shard.command for shard in shards if shard.command)
    title = f"{printable(spec.name)}, {one.benchmark.title}, {one.key.engine.backend}"
    return RunFacts(str(one.run.folder), title, tuple(facts), tuple(commands))


def maximized_facts(folder: str, document: MaximizedDocument) -> RunFacts:
    """Provenance of maximizing images."""
    spec, made = document.model, document.circumstances
    settings = document.key.settings
    facts = (
        ("Folder", printable(folder)),
        ("Model", _joined(printable(spec.name), f"licence of the weights: {spec.licence}")),
        ("Weights", printable(str(spec.weights))),
        ("Weights SHA-256", document.weights_sha256),
        ("Preprocessing", str(document.key.preprocessing)),
        ("Engine", f"{document.key.engine.backend} {document.key.engine.precision}"),
        ("Engine SHA-256", document.key.engine.model_sha256),
        ("Device", _distinct(str(one.device) for one in made)),
        ("Self-check", _distinct(one.self_check or "not recorded" for one in made)),
        ("Settings", f"{settings.steps:,} steps of {settings.step_size:.4g}, epsilon "
         f"{settings.epsilon:g}, units of {document.key.layer}"),
        ("Starts", _distinct(printable(start.name) for start in document.starts)),
        ("Versions", _distinct(_versions(one.versions) for one in made)),
        ("Started", _distinct(one.started for one in made)),
    )  # fmt: skip
    commands = tuple(dict.fromkeys(one.command for one in made if one.command))
    title = f"{printable(spec.name)}, maximizing images, {document.key.engine.backend}"
    return RunFacts(folder, title, facts, commands)


def _engine(one: ScoredRun) -> Iterator[Fact]:
    engine, shards = one.key.engine, one.records.provenance
    tf32 = ", TF32 allowed" if engine.tf32 else ""
    yield "Engine", f"{engine.backend} {engine.precision}, takes {engine.input_kind}{tf32}"
    yield "Graph SHA-256", engine.model_sha256
    yield "Device", _distinct(str(shard.device) for shard in shards)
    if plans := _distinct(shard.plan or "" for shard in shards):
        yield "TensorRT plan", plans


def _parity(shards: Sequence[Provenance]) -> Iterator[Fact]:
    yield "Parity", _distinct(shard.parity_status for shard in shards)
    results = dict.fromkeys(_parity_text(shard.parity) for shard in shards if shard.parity)
    if results:
        yield "Parity, measured", "; ".join(results)
    adversarial = dict.fromkeys(
        _parity_text(s.adversarial_parity) for s in shards if s.adversarial_parity
    )
    if adversarial:
        yield "Parity on adversarial images", "; ".join(adversarial)
    yield "Self-check", _distinct(shard.self_check or "not recorded" for shard in shards)


def _parity_text(result: ParityResult) -> str:
    gates = ", ".join(str(gate) for gate in result.gates)
    agreement = f"same class for {100 * result.agreement:.1f} % of {result.n:,} images"
    return _joined(agreement, f"images: {result.images}", gates)


def _data(one: ScoredRun) -> Iterator[Fact]:
    manifest, shards = one.run.manifest, one.records.provenance
    yield "Data", _distinct(printable(place) for shard in shards for place in shard.data)
    if labels := _distinct(printable(shard.labels or "") for shard in shards):
        yield "Classes of the images", labels
    digests = list(dict.fromkeys(shard.data_sha256 for shard in shards if shard.data_sha256))
    if digests:
        more = f" and {len(digests) - 1:,} more shards" if len(digests) > 1 else ""
        yield "Data SHA-256", f"{digests[0]}{more}"
    if one.key.ids_sha256:
        yield "Ids SHA-256", one.key.ids_sha256
    if one.key.generated:
        words = (f"{name}: {value}" for name, value in one.key.generated.items())
        yield "Generated data", printable(", ".join(words))
    limit = "" if one.key.limit is None else f"--limit {one.key.limit}"
    finished = f"{len(one.records.finished)} of {len(one.benchmark.conditions)} conditions"
    yield "Items", _joined(f"{manifest.items:,}, {finished} finished", limit, one.key.subset or "")


def _settings(key: RunKey) -> Iterator[Fact]:
    yield "Protocol", key.protocol
    if key.transfer is not None:
        source = key.transfer
        yield "Attacked model", f"{printable(source.model)} ({printable(str(source.weights))})"
    if key.attack is not None:
        yield "Attack", _attack_text(key.attack)
    seed = key.seed if key.attack is None else key.attack.seed
    yield "Seed", "none: no random numbers are drawn" if seed is None else str(seed)


def _attack_text(attack: AttackSettings) -> str:
    counts = ", ".join(map(str, attack.steps))
    size = attack.step_size if attack.step_size is not None else attack.relative_step
    relative = "" if attack.step_size is not None else " times epsilon over the steps"
    return _joined(
        f"protocol {attack.protocol}, {'targeted' if attack.targeted else 'untargeted'}",
        f"loss {' and '.join(attack.losses)}",
        f"{counts} steps of {size:.4g}{relative}",
        f"{attack.restarts} start{'s' if attack.restarts > 1 else ''}",
    )


def _circumstances(shards: Sequence[Provenance]) -> Iterator[Fact]:
    yield "Versions", _distinct(_versions(shard.versions) for shard in shards)
    yield "Machine", _distinct(printable(shard.host) for shard in shards)
    yield "Batch size", _distinct(str(shard.batch_size) for shard in shards)
    first = min(shard.started for shard in shards)
    seconds = sum(shard.seconds for shard in shards)
    yield "Started", _joined(first, f"{seconds:,.1f} s of work")


def _versions(versions: object) -> str:
    assert hasattr(versions, "items")
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _distinct(values: "Iterator[str] | Sequence[str]") -> str:
    return "; ".join(filter(None, dict.fromkeys(values)))
