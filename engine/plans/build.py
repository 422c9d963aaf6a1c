"""One build of a plan, from the order to plan and manifest on disk.

A build may need gigabytes and cannot be interrupted from inside, so ``workflow/`` runs it in a
child process.
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
"""Time between two progress reports, also while TensorRT reports nothing."""


@dataclass(frozen=True)
class PlanOrder:
    """Order for one build; picklable.

    Attributes:
        job: Plan to build.
        path: Path of the plan.
        timings: File of measured kernels; ``None`` if they are not stored.
    """

    job: BuildJob
    path: Path
    timings: Path | None = None


Build = Callable[[PlanOrder, Progress], Plan]


def build_plan(order: PlanOrder, progress: Progress) -> Plan:
    """Build a plan, and write it with its manifest.

    Raises:
        EngineError: If TensorRT does not support the graph.
        EngineUnavailableError: If TensorRT is not installed, or does not start.
        OutputError: If the plan cannot be written.
    """
    job, state, began = order.job, BuildProgress(), time.monotonic()
    with _reported(state, progress):
        data, layers = plan_from_onnx(load_tensorrt(job.flavour), job, state, order.timings)
        manifest = PlanManifest(
            key=job.key,
            model=job.model,
            plan_sha256=hashlib.sha256(data).hexdigest(),
            plan_bytes=data.nbytes,
            layers=layers,
            seconds=round(time.monotonic() - began, 3),
            created=datetime.now(UTC).isoformat("T", "seconds"),
        )
        with atomic_write(order.path) as temporary:
            temporary.write_bytes(data)
        # The plan first: one without its own manifest is built again.
        write_document(manifest_path(order.path), sealed(manifest))
    progress.advance("plan", 100, 100, "%")
    return Plan(order.path, sealed(manifest))


@contextmanager
def _reported(state: BuildProgress, progress: Progress) -> Iterator[None]:
    """Report the progress of a build from a thread of its own."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(TICK_SECONDS):
            try:
                progress.advance("plan", min(99, int(100 * state.fraction)), 100, "%")
            except BrokenPipeError:  # the parent has ended, and this process will end
                return

    progress.advance("plan", 0, 100, "%")
    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
