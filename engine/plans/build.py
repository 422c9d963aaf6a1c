"""One build of a plan, from the order to plan and manifest on disk.

It may say nothing for a minute, take gigabytes, and cannot be broken off from inside: ``workflow/``
runs it in a process of its own.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...contracts import Progress
from ...storage.atomic import atomic_write
from ...storage.documents import sealed, write_document
from .build_progress import BuildProgress
from .builder import BuildJob, plan_from_onnx
from .plan import Plan, PlanManifest, manifest_path
from .tensorrt_api import load_tensorrt

TICK_SECONDS = 0.5
"""Between two signs of life: a build that says nothing is shown too."""


@dataclass(frozen=True)
class PlanOrder:
    """What is to be built, and where it goes; picklable.

    Attributes:
        job: What is built.
        path: Where the plan will stand.
        timings: Where measured kernels are kept; none where they are not.
    """

    job: BuildJob
    path: Path
    timings: Path | None = None


Build = Callable[[PlanOrder, Progress], Plan]


def build_plan(order: PlanOrder, progress: Progress) -> Plan:
    """Build a plan, and write it with its manifest.

    Raises:
        EngineError: If TensorRT cannot take the graph.
        EngineUnavailableError: If TensorRT is not here, or does not start.
        OutputError: If the plan cannot be written.
    """
    job, state, began = order.job, BuildProgress(), time.monotonic()
    with _shown(state, progress):
        built = plan_from_onnx(load_tensorrt(job.flavour), job, state, order.timings)
        manifest = PlanManifest(
            key=job.key,
            model=job.model,
            plan_sha256=hashlib.sha256(built.data).hexdigest(),
            plan_bytes=built.data.nbytes,
            layers=built.layers,
            seconds=round(time.monotonic() - began, 3),
            created=datetime.now(UTC).isoformat("T", "seconds"),
        )
        with atomic_write(order.path) as temporary:
            temporary.write_bytes(built.data)
        # The plan first: one whose manifest is missing or another's is built again.
        write_document(manifest_path(order.path), sealed(manifest))
    progress.advance("plan", 100, 100, "%")
    return Plan(order.path, sealed(manifest))


@contextmanager
def _shown(state: BuildProgress, progress: Progress) -> Iterator[None]:
    """Tell how far a build is, from a thread: the build has this one."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(TICK_SECONDS):
            try:
                progress.advance("plan", min(99, int(100 * state.fraction)), 100, "%")
            except BrokenPipeError:  # whoever listened is gone, and will end this process
                return

    progress.advance("plan", 0, 100, "%")
    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
