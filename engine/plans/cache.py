"""Plans that were built are kept, found by what went into them, and built by one process at a time.

    CACHE/plans/<model>-<16 hex digits of the key>.plan     and its manifest, see ``plan.py``
    CACHE/timing/<backend>-<version>-<8 hex digits>.cache   kernels measured on a device

``cached_plan`` is the way to a plan. One that is truncated, exchanged or edited, or that the GPU
that is here refuses, is built again, and the reason is told.
"""

import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...contracts import Bundle, Progress
from ...errors import InputError, printable
from ...storage.atomic import remove_leftovers
from ...storage.cache import cache_folder
from ...storage.documents import document_differences, document_sha256
from ...storage.lock import locked
from .build import Build, PlanOrder, build_plan
from .builder import BuildJob, deserialises
from .plan import Plan, PlanKey, Profile, manifest_path, open_plan
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
    def order(self) -> PlanOrder:
        """What a build is told."""
        model, flavour = self.bundle.model.spec.name, self.toolchain.flavour
        return PlanOrder(
            BuildJob(flavour, self.key, self.bundle.graph, model), self.path, self.timings
        )

    @property
    def described(self) -> str:
        """The plan, in words."""
        key, title = self.key, self.toolchain.flavour.title
        return (
            f"{title} {key.version} plan of {self.bundle.model.spec.name} for {key.made_for}, "
            f"{key.precision}, batches {key.profile}"
        )

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


def cached_plan(
    request: PlanRequest, progress: Progress, build: Build = build_plan
) -> tuple[Plan, bool]:
    """The plan that is wanted, built if it is not there; and whether it was built now.

    Of several processes that want the same plan one builds, and the others wait for it.

    Args:
        request: The plan.
        progress: Is told what happens.
        build: Builds it; in this process, if nothing else is given.

    Raises:
        EngineError: If TensorRT cannot take the graph.
        EngineUnavailableError: If TensorRT does not start.
        OutputError: If the plan cannot be written.
    """
    path = request.path

    def waiting() -> None:
        progress.note(f"Another process is at {printable(path.name)}: waiting for it.")

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
        progress.note(f"Building a {request.described}.")
        try:
            return build(request.order, progress), True
        finally:
            remove_leftovers(path)  # of a process that was killed for it


def _kept(path: Path, request: PlanRequest) -> Plan:
    """The plan that is there.

    Raises:
        InputError: If it is not the one that was built for this key, or the GPU refuses it.
    """
    plan, toolchain = open_plan(path), request.toolchain
    if plan.key != request.key:
        differs = next(document_differences(plan.key, request.key))
        raise InputError(f"{printable(path)} was built from something else: {differs}.")
    if toolchain.runs_here and not _deserialises(path, toolchain):
        raise InputError(
            f"{printable(path)} is not taken by {toolchain.device} any more, for which it was "
            "built."
        )
    return plan


def _deserialises(path: Path, toolchain: Toolchain) -> bool:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        return deserialises(toolchain.trt, data)
