"""Plans that were built are kept, found by what went into them, and built by one process at a time.

    CACHE/plans/<model>-<16 hex digits of the key>.plan     and its manifest, see ``plan.py``
    CACHE/timing/<backend>-<version>-<8 hex digits>.cache   kernels measured on a device

``cached_plan`` is the way to a plan. One that is truncated, exchanged or edited, or that the GPU
that is here refuses, is built again, and the reason is told.
"""

import mmap
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..contracts import Bundle, Progress
from ..errors import InputError, shown
from ..storage.atomic import file_written_whole, remove_leftovers
from ..storage.cache import cache_folder
from ..storage.digest import file_sha256
from ..storage.documents import document_differences, document_sha256, sealed, write_document
from ..storage.lock import locked
from .build_process import Order, build_in_child
from .plan import Plan, PlanKey, PlanManifest, Profile, manifest_path, open_plan
from .plan_builder import BuildJob, deserialises
from .toolchain import Toolchain

PLANS = "plans"
TIMING = "timing"


@dataclass(frozen=True)
class PlanRequest:
    """A plan that is wanted.

    Attributes:
        toolchain: What builds it.
        bundle: Whose graph, verified.
        profile: The batches.
        tf32: Whether float32 products may be rounded to TF32.
    """

    toolchain: Toolchain
    bundle: Bundle
    profile: Profile
    tf32: bool = False

    @property
    def key(self) -> PlanKey:
        """What goes into the plan."""
        return self.toolchain.key_of(self.bundle, self.profile, tf32=self.tf32)

    @property
    def path(self) -> Path:
        """Where the plan lies in the cache, whether it is there or not."""
        name = self.bundle.model.spec.name.replace(":", "-")
        return cache_folder(PLANS) / f"{name}-{document_sha256(self.key)[:16]}.plan"

    @property
    def timings(self) -> Path | None:
        """Where measured kernels of this version and device are kept; none where they are not."""
        key = self.key
        if not self.toolchain.flavour.keeps_timings:
            return None
        device = document_sha256([key.device, key.compute_capability])[:8]
        return cache_folder(TIMING) / f"{key.backend}-{key.version}-{device}.cache"


def cached_plan(request: PlanRequest, progress: Progress) -> tuple[Plan, bool]:
    """The plan that is wanted, built if it is not there; and whether it was built now.

    Of several processes that want the same plan one builds, and the others wait for it.

    Raises:
        EngineError: If TensorRT cannot take the graph.
        EngineUnavailableError: If TensorRT does not start.
        OutputError: If the plan cannot be written.
    """
    path, key = request.path, request.key

    def waiting() -> None:
        progress.note(f"Another process is at {shown(path.name)}: waiting for it.")

    with suppress(InputError):  # without the lock, so that a cache may be shared read-only
        return _kept(path, request), False
    with locked(path, waiting=waiting):
        remove_leftovers(path)
        remove_leftovers(manifest_path(path))
        if path.exists() and manifest_path(path).exists():
            try:
                return _kept(path, request), False
            except InputError as error:
                progress.note(f"The plan is built again: {error}")
        return _built(path, key, request, progress), True


def _kept(path: Path, request: PlanRequest) -> Plan:
    """The plan that is there.

    Raises:
        InputError: If it is not the one that was built for this key, or the GPU refuses it.
    """
    plan, toolchain = open_plan(path), request.toolchain
    if plan.key != request.key:
        differs = next(document_differences(plan.key, request.key))
        raise InputError(f"{shown(path)} was built from something else: {differs}.")
    if toolchain.runs_here and not _deserialises(path, toolchain):
        raise InputError(
            f"{shown(path)} is not taken by {toolchain.device} any more, for which it was built."
        )
    return plan


def _deserialises(path: Path, toolchain: Toolchain) -> bool:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        return deserialises(toolchain.trt, data)


def _built(path: Path, key: PlanKey, request: PlanRequest, progress: Progress) -> Plan:
    toolchain, bundle = request.toolchain, request.bundle
    name = bundle.model.spec.name
    job = BuildJob(toolchain.flavour, key, bundle.graph, name)
    progress.note(
        f"Building a {toolchain.flavour.title} {key.version} plan of {name} for {key.made_for}, "
        f"{key.precision}, batches {key.profile}."
    )
    began = time.monotonic()
    with file_written_whole(path) as temporary:
        layers = build_in_child(Order(job, temporary, request.timings), progress)
        manifest = PlanManifest(
            key=key,
            model=name,
            plan_sha256=file_sha256(temporary),
            plan_bytes=temporary.stat().st_size,
            layers=layers,
            seconds=round(time.monotonic() - began, 3),
            created=datetime.now(UTC).isoformat("T", "seconds"),
        )
    # The plan first: one whose manifest is missing or another's is built again.
    write_document(manifest_path(path), sealed(manifest))
    return Plan(path, sealed(manifest))
