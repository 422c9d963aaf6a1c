"""What a run on disk is, and under which circumstances its shards were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .attacks import AttackSettings
from .engines import Device, EngineSpec
from .items import Condition
from .models import ModelSpec, Preprocessing
from .parity import ParityResult
from .probes import ProbeSettings
from .transfer import TransferSource


@dataclass(frozen=True)
class Shard:
    """A range of one condition's sorted items: the unit of work, of resume and of sharing."""

    condition: Condition
    index: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of items."""
        return self.stop - self.start


@dataclass(frozen=True)
class RunKey:
    """What a run *is*. Work under another key never enters it.

    Attributes:
        benchmark: The name of the benchmark.
        protocol: Its version.
        weights_sha256: Over the tensors, whatever file they came in.
        engine: What computes.
        preprocessing: All of it.
        ids_sha256: Over the list of ids that all conditions share; never over paths.
        generated: The content of ``generated.json``, where there is one.
        limit: Items a condition, where only some are scored.
        seed: Of the work, where it draws random numbers.
        subset: Which items of the data, before any limit: ``every-second``, or none for all.
        attack: What the images are put through, where that is an attack; its epsilon is a
            condition.
        transfer: On which other model that attack was made, where it was.
        probe: Which extra run this is, beside the attack that it is to judge.
    """

    benchmark: str
    protocol: str
    weights_sha256: str
    engine: EngineSpec
    preprocessing: Preprocessing
    ids_sha256: str
    generated: Mapping[str, Any] | None = None
    limit: int | None = None
    seed: int | None = None
    subset: str | None = None
    attack: AttackSettings | None = None
    transfer: TransferSource | None = None
    probe: ProbeSettings | None = None


@dataclass(frozen=True)
class Provenance:
    """Under which circumstances a shard was made.

    Attributes:
        host: The machine's name.
        device: What computed.
        versions: Packages and Python.
        parity: A copy of the parity result; none for the reference itself, or where it was waived.
        parity_status: ``passed``, ``reference`` or ``not checked``; ``PASSED_AGAINST_ONNX``.
        batch_size: As it really was.
        data: Where the bytes were read: folders and tar files.
        data_sha256: Over (id, bytes) of what was read.
        started: UTC, ISO 8601.
        seconds: How long the shard took.
        command: What was run.
        plan: The serialised engine that was used, if any.
        labels: The list of classes that was named for images without class folders, if any.
        adversarial_parity: The same on adversarial images, where such are scored by an engine that
            is not the reference.
    """

    host: str
    device: Device
    versions: Mapping[str, str]
    parity: ParityResult | None
    parity_status: str
    batch_size: int
    data: tuple[str, ...]
    data_sha256: str
    started: str
    seconds: float
    command: str
    plan: str | None = None
    labels: str | None = None
    adversarial_parity: ParityResult | None = None


@dataclass(frozen=True)
class DataFingerprint:
    """Which bytes the names of a condition's images stood for when the condition was begun.

    Attributes:
        files: SHA-256 of the bytes of an even sample of the files, by id; ``None`` for a file that
            could not be read or decoded.
        data: Folders and tar files that the sample was read from.
        schema: Version of the format.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
    """

    files: Mapping[str, str | None]
    data: tuple[str, ...]
    schema: int = 1
    seal: str = ""


RUN_FORMAT = 7
"""Of the files of a run; 2: each shard says which one it is, and has digests; 3: which tars and
folders the data were, one by one; 4: attacks, and subsets of the data; 5: transferred attacks; 6:
probes of attacks; 7: a fingerprint of the data of each condition."""

FIRST_FORMAT_WITH_FINGERPRINTS = 7


@dataclass(frozen=True)
class RunManifest:
    """``run.json``: written once, never changed.

    Attributes:
        key: What the run is.
        model: The model, for people.
        items: The number of items in each condition.
        shard_size: Items in a shard.
        batch_size: Nominal; a batch never crosses a shard's border.
        created: UTC, ISO 8601.
        schema: Version of the format.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
    """

    key: RunKey
    model: ModelSpec
    items: int
    shard_size: int
    batch_size: int
    created: str
    schema: int = RUN_FORMAT
    seal: str = ""

    readable_schemas: ClassVar[tuple[int, ...]] = (6, RUN_FORMAT)


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    manifest: RunManifest

    @property
    def key(self) -> RunKey:
        """What the run is."""
        return self.manifest.key

    @property
    def has_fingerprints(self) -> bool:
        """Whether its format has a fingerprint of the data of each condition."""
        return self.manifest.schema >= FIRST_FORMAT_WITH_FINGERPRINTS
