"""The cache of plans, where each is stored by its key and built by one process at a time.

    CACHE/plans/<model>-<16 hex digits of the key>.plan     and its manifest, see ``plan.py``
    CACHE/timing/<backend>-<version>-<8 hex digits>.cache   kernels measured on a device

``cached_plan`` opens or builds a plan. One that is truncated, exchanged or edited, or that this
machine's GPU cannot load, is built again, with a note on the reason.
"""

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
from .plan import Plan, PlanKey, Profile, manifest_path, open_plan, plan_bytes
from .toolchain import Toolchain

PLANS = "plans"
TIMING = "timing"


@dataclass(frozen=True)
class PlanRequest:
    """A plan to open or build.

    Attributes:
        toolchain: TensorRT that builds it.
        bundle: Verified bundle with the graph.
        profile: Batches that the plan takes.
        tf32: Whether float32 products may be rounded to TF32.
    """

    toolchain: Toolchain
    bundle: Bundle
    profile: Profile
    tf32: bool = False

    @property
    def key(self) -> PlanKey:
        """Key of the plan."""
        return self.toolchain.key_of(self.bundle, self.profile, tf32=self.tf32)

    @property
    def order(self) -> PlanOrder:
        """Order for its build."""
        model, flavour = self.bundle.model.spec.name, self.toolchain.flavour
        return PlanOrder(
            BuildJob(flavour, self.key, self.bundle.graph, model), self.path, self.timings
        )

    @property
    def described(self) -> str:
        """Description for messages."""
        key, title = self.key, self.toolchain.flavour.title
        return (
            f"{title} {key.version} plan of {self.bundle.model.spec.name} for {key.made_for}, "
            f"{key.precision}, batches {key.profile}"
        )

    @property
    def path(self) -> Path:
        """Path of the plan in the cache; it may not exist yet."""
        name = self.bundle.model.spec.name.replace(":", "-")
        return cache_folder(PLANS) / f"{name}-{document_sha256(self.key)[:16]}.plan"

    @property
    def timings(self) -> Path | None:
        """File of the measured kernels of this version and device; ``None`` if not stored."""
        key = self.key
        if not self.toolchain.flavour.keeps_timings:
            return None
        device = document_sha256([key.device, key.compute_capability])[:8]
        return cache_folder(TIMING) / f"{key.backend}-{key.version}-{device}.cache"


def cached_plan(
    request: PlanRequest, progress: Progress, build: Build = build_plan
) -> tuple[Plan, bool]:
    """Open the plan in the cache, and build it first if needed.

    If several processes need the same plan, one builds it and the others wait.

    Args:
        request: Plan to open or build.
        progress: Progress callback.
        build: Function that builds it. If not given, it is built in this process.

    Returns:
        The plan, and whether it was built now.

    Raises:
        EngineError: If TensorRT does not support the graph.
        EngineUnavailableError: If TensorRT does not start.
        OutputError: If the plan cannot be written.
    """
    path = request.path

    def waiting() -> None:
        progress.note(f"Another process is building {printable(path.name)}; waiting for it.")

    with suppress(InputError):  # without the lock, so that a cache may be shared read-only
        return _open_cached(path, request), False
    with locked(path, waiting=waiting):
        remove_leftovers(path)
        remove_leftovers(manifest_path(path))
        if path.exists() and manifest_path(path).exists():
            try:
                return _open_cached(path, request), False
            except InputError as error:
                progress.note(f"The plan is built again: {error}")
        progress.note(f"Building a {request.described}.")
        try:
            return build(request.order, progress), True
        finally:
            remove_leftovers(path)  # of a killed process


def _open_cached(path: Path, request: PlanRequest) -> Plan:
    """Open the plan in the cache.

    Raises:
        InputError: If it was not built for this key, or the GPU cannot load it.
    """
    plan, toolchain = open_plan(path), request.toolchain
    if plan.key != request.key:
        difference = next(document_differences(plan.key, request.key))
        raise InputError(f"{printable(path)} has another key: {difference}.")
    if toolchain.runs_here:
        with plan_bytes(path) as data:
            if not deserialises(toolchain.trt, data):
                raise InputError(
                    f"{printable(path)} was built for {toolchain.device}, which cannot load it any "
                    "more."
                )
    return plan
