"""A run on disk: its key, its manifest, its shards and their provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .attacks import AttackSettings, ProbeSettings, TransferSource
from .documents import ADDED_LATER
from .engines import Device, EngineSpec
from .items import Condition
from .models import ModelSpec, Preprocessing
from .network_fingerprint import NetworkFingerprint
from .parity import ParityResult


@dataclass(frozen=True)
class Shard:
    """A range of one condition's sorted items: the unit of work, of resuming and of sharing."""

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
    """Identity of a run. Work with another key never enters it.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Version of the benchmark's protocol.
        weights_sha256: SHA-256 over the tensors, whatever file they came in.
        engine: Engine that computes the logits.
        preprocessing: Preprocessing of the images.
        ids_sha256: SHA-256 over the ids that all conditions share; never over paths.
        generated: Content of ``generated.json``; ``None`` if the data have none.
        limit: Number of items in each condition; ``None`` if all are scored.
        seed: Seed of the work; ``None`` if it draws no random numbers.
        subset: Subset of the items before any limit, such as ``every-second``; ``None`` for all.
        attack: Settings of the attack; ``None`` if there is none. Its epsilon is a condition.
        transfer: Model on which the attack was made; ``None`` if it is the attacked one.
        probe: Settings of a probe that checks an attack; ``None`` if this is not a probe.
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
    """Circumstances under which a shard was made.

    Attributes:
        host: Name of the machine.
        device: Device that computed.
        versions: Versions of Python and of packages.
        parity: Copy of the parity result; ``None`` for the reference, or if it was not checked.
        parity_status: ``passed``, ``reference``, ``not checked`` or ``PASSED_AGAINST_ONNX``.
        batch_size: Batch size that was really used.
        data: Folders and tar files that the images were read from.
        data_sha256: SHA-256 over the ids and bytes of what was read.
        started: Start of the work; UTC, ISO 8601.
        seconds: Duration of the work.
        command: Command line of the process.
        plan: Key of the TensorRT plan that ran, as canonical JSON; ``None`` if none did.
        labels: List of the classes of images without class folders; ``None`` if not given.
        adversarial_parity: Parity result on adversarial images, if an engine other than the
            reference scores such images; else ``None``.
        self_check: Self-check of the references: ``passed``, ``failed`` with what failed, or ``not
            checked``; ``None`` in shards of versions without it.
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
    self_check: str | None = None


@dataclass(frozen=True)
class DataFingerprint:
    """Digests of a sample of a condition's images, taken when the condition was started.

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


RUN_FORMAT = 8
"""Version of the files of a run; 2: checksums in each shard; 3: each tar and folder of the data;
4: attacks, and subsets of the data; 5: transferred attacks; 6: probes of attacks; 7: a fingerprint
of the data of each condition; 8: fingerprints of networks that are not known by a hash."""

FIRST_FORMAT_WITH_FINGERPRINTS = 7
FIRST_FORMAT_WITH_NETWORKS = 8


@dataclass(frozen=True)
class RunManifest:
    """``run.json``: written once, never changed.

    Attributes:
        key: Identity of the run.
        model: Model, for people.
        items: Number of items in each condition.
        shard_size: Number of items in a shard.
        batch_size: Nominal batch size; a batch never contains items of two shards.
        created: Time of creation; UTC, ISO 8601.
        schema: Version of the format.
        seal: SHA-256 over all other fields, so that an edit by hand is noticed.
        fingerprint: Fingerprint of the network; ``None`` if it is known by its hash.
        source_fingerprint: Likewise of the source of a transferred attack.
    """

    key: RunKey
    model: ModelSpec
    items: int
    shard_size: int
    batch_size: int
    created: str
    schema: int = RUN_FORMAT
    seal: str = ""
    fingerprint: NetworkFingerprint | None = field(default=None, metadata=ADDED_LATER)
    source_fingerprint: NetworkFingerprint | None = field(default=None, metadata=ADDED_LATER)

    readable_schemas: ClassVar[tuple[int, ...]] = (6, 7, RUN_FORMAT)


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    manifest: RunManifest

    @property
    def key(self) -> RunKey:
        """The identity of the run."""
        return self.manifest.key

    def shares_network(self, other: "Run") -> bool:
        """Whether another run of the same weights may be of the same network, by its answers."""
        ours, theirs = self.manifest.fingerprint, other.manifest.fingerprint
        return ours is None or ours.agrees(theirs)

    @property
    def has_fingerprints(self) -> bool:
        """Whether the format of the run has fingerprints of the data."""
        return self.manifest.schema >= FIRST_FORMAT_WITH_FINGERPRINTS

    @property
    def knows_network(self) -> bool:
        """Whether it records what identifies its network: a hash, or a fingerprint."""
        needed = self.manifest.model.needs_fingerprint
        return not needed or self.manifest.schema >= FIRST_FORMAT_WITH_NETWORKS
