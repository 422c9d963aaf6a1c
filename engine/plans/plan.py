"""What a plan is: its profile, the key that it is found by, the manifest beside it.

    <model>-<16 hex digits of the key>.plan          the plan
    <model>-<16 hex digits of the key>.plan.json     its ``PlanManifest``

Two builds of the same input differ in their bytes, so a plan is known by what went into it.
"""

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
        best: The one that its kernels are chosen for.
        largest: What its memory is laid out for.
        smallest: One image.
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
    """All that a plan depends on. Another value of any of these is another plan.

    Attributes:
        model_sha256: Over the bytes of the graph and of its external data.
        backend: TensorRT or TensorRT-RTX.
        version: Of it, all of it: no two share plans.
        precision: In which the graph computes.
        input_kind: What the graph takes.
        tf32: Whether float32 products may be rounded to TF32.
        profile: The batches.
        flags: The other builder and network flags, by name: their numbers differ by version.
        target: The compute capability that TensorRT-RTX builds for; empty for any from Ampere on,
            and for TensorRT, which builds for the GPU that is here.
        device: The GPU on which it is built; empty without one.
        compute_capability: Of that GPU: ``sm89``.
        driver: Of that GPU.
        recipe: Changes whenever this builder would build another plan of the same inputs.
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
    recipe: int = 1

    @property
    def made_for(self) -> str:
        """The GPU, in words."""
        if self.backend == "tensorrt":
            return f"{self.device} ({self.compute_capability})"
        return self.target or "any GPU from Ampere on"


@dataclass(frozen=True)
class PlanManifest:
    """What lies beside a plan.

    Attributes:
        key: What went into the plan.
        model: Its name, for people.
        plan_sha256: Over the plan's bytes, so that a truncated or exchanged one is noticed.
        plan_bytes: How many.
        layers: Of the network before TensorRT fuses them.
        seconds: How long the build took.
        created: UTC, ISO 8601.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
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
        """What went into it."""
        return self.manifest.key


def manifest_path(plan: Path) -> Path:
    """Where the manifest of a plan lies."""
    return plan.with_name(plan.name + ".json")


def open_plan(path: Path) -> Plan:
    """Open a plan, and verify that its bytes are those that were built.

    Raises:
        InputError: If plan or manifest cannot be read, were changed or exchanged.
    """
    manifest = read_sealed(manifest_path(path), PlanManifest)
    if manifest.plan_sha256 != file_sha256(path):
        raise InputError(
            f"The plan {printable(path)} is truncated or another one: it does not have the SHA-256 "
            "of its manifest. Remove it and compile again."
        )
    return Plan(path, manifest)
