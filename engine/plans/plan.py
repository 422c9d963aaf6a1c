"""A TensorRT plan: its profile, its key, and the manifest next to it.

    <model>-<16 hex digits of the key>.plan          the plan
    <model>-<16 hex digits of the key>.plan.json     its ``PlanManifest``

Two builds of the same input differ in their bytes, so a plan is identified by its inputs.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...contracts import InputKind, Precision
from ...errors import InputError, printable
from ...storage.digest import file_sha256
from ...storage.documents import read_sealed
from .tensorrt_api import PlanBackend

LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Profile:
    """The batches that a plan takes: any from ``smallest`` to ``largest``.

    Attributes:
        best: Batch that its kernels are chosen for.
        largest: Batch that its memory is allocated for.
        smallest: Smallest batch, one image.
    """

    best: int
    largest: int
    smallest: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.largest <= LARGEST_BATCH:
            raise InputError(
                f"--max-batch {self.largest} is not possible; expected 1 to {LARGEST_BATCH}."
            )
        if not self.smallest <= self.best <= self.largest:
            raise InputError(
                f"--opt-batch {self.best} is not possible with --max-batch {self.largest}; "
                f"expected {self.smallest} to {self.largest}."
            )

    def __str__(self) -> str:
        return f"{self.smallest} to {self.largest}, best {self.best}"


@dataclass(frozen=True)
class PlanKey:
    """All inputs of a plan. A change of any of these needs another plan.

    Attributes:
        model_sha256: SHA-256 of the bytes of the graph and of its external data.
        backend: TensorRT or TensorRT-RTX.
        version: Full version of it: no two versions share plans.
        precision: Precision that the graph computes in.
        input_kind: Input of the graph.
        tf32: Whether float32 products may be rounded to TF32.
        profile: Batches that the plan takes.
        flags: Other builder and network flags by name, since their numbers differ by version.
        target: Compute capability that TensorRT-RTX builds for; empty for any from Ampere on, and
            for TensorRT, which builds for the GPU of the machine.
        device: GPU that builds it; empty without one.
        compute_capability: Compute capability of that GPU, such as ``sm89``.
        driver: Driver of that GPU.
        kernels: When TensorRT-RTX chooses its kernels: ``EAGER``, before the first batch; empty for
            TensorRT, which chooses them in the build.
        recipe: Version of this builder, raised when it builds another plan from the same inputs.
    """

    model_sha256: str
    backend: PlanBackend
    version: str
    precision: Precision
    input_kind: InputKind
    tf32: bool
    profile: Profile
    flags: tuple[str, ...]
    target: str
    device: str
    compute_capability: str
    driver: str
    kernels: str = ""
    recipe: int = 1

    @property
    def made_for(self) -> str:
        """The GPU, for messages."""
        if self.backend == "tensorrt":
            return f"{self.device} ({self.compute_capability})"
        return self.target or "any GPU from Ampere on"


@dataclass(frozen=True)
class PlanManifest:
    """Manifest next to a plan.

    Attributes:
        key: Inputs of the plan.
        model: Name of the model, for messages.
        plan_sha256: SHA-256 of the plan's bytes, which detects a truncated or exchanged plan.
        plan_bytes: Size of the plan.
        layers: Number of layers before TensorRT fuses them.
        seconds: Duration of the build.
        created: Time of the build; UTC, ISO 8601.
        seal: SHA-256 of all other fields, which detects edits by hand.
    """

    key: PlanKey
    model: str
    plan_sha256: str
    plan_bytes: int
    layers: int
    seconds: float
    created: str
    seal: str = ""


@dataclass(frozen=True)
class Plan:
    """A plan on disk."""

    path: Path
    manifest: PlanManifest

    @property
    def key(self) -> PlanKey:
        """Inputs of the plan."""
        return self.manifest.key


def manifest_path(plan: Path) -> Path:
    """Path of a plan's manifest."""
    return plan.with_name(plan.name + ".json")


@contextmanager
def plan_bytes(path: Path) -> Iterator[memoryview]:
    """The bytes of a plan, mapped rather than read: they may be gigabytes."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        yield data


def open_plan(path: Path) -> Plan:
    """Open a plan and verify its bytes.

    Raises:
        InputError: If plan or manifest cannot be read, were edited or exchanged.
    """
    manifest = read_sealed(manifest_path(path), PlanManifest)
    if manifest.plan_sha256 != file_sha256(path):
        raise InputError(
            f"The plan {printable(path)} is truncated or exchanged: its SHA-256 is not that of its "
            "manifest. Remove it and compile again."
        )
    return Plan(path, manifest)
