"""Compiling a model's bundle into a TensorRT plan."""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from ...contracts import Bundle, NullProgress, Progress
from ...engine.plans.build import PlanOrder, build_plan
from ...engine.plans.cache import PlanRequest, cached_plan
from ...engine.plans.plan import Plan, PlanManifest, Profile, manifest_path, open_plan
from ...engine.plans.tensorrt_api import find_flavour
from ...engine.plans.toolchain import find_toolchain
from ...errors import InputError, OutputError, printable
from ...storage.atomic import atomic_write, check_place
from ...storage.documents import read_sealed, write_document
from ...system.child_process import in_child
from .bundles import bundle_of
from .options import GraphOptions, ModelOptions
from .resolve import resolve_model

MAX_BATCH = 64
"""Largest batch that a plan takes: what engines on a GPU score with."""


@dataclass(frozen=True)
class Compiled:
    """What came of compiling.

    Attributes:
        plan: Where ``out`` says, else in the cache.
        bundle: What it was built from.
        built: Whether it was built now; otherwise it was there.
    """

    plan: Plan
    bundle: Bundle
    built: bool


def compile_model(
    model: str,
    engine: str,
    *,
    max_batch: int = MAX_BATCH,
    opt_batch: int | None = None,
    tf32: bool = False,
    target: str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[GraphOptions],
) -> Compiled:
    """Build a TensorRT plan of a model, unless the same is in the cache.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's own,
            or a bundle's folder.
        engine: ``tensorrt`` or ``tensorrt-rtx``.
        max_batch: The largest batch that the plan takes.
        opt_batch: The batch that its kernels are chosen for; without it, the largest.
        tf32: Whether float32 products may be rounded to TF32: as large an error as float16's.
        target: The compute capability that TensorRT-RTX builds for, such as ``sm89``; without it,
            any GPU from Ampere on. TensorRT builds for the GPU that is here.
        out: Where to put a copy of the plan; its manifest goes beside it.
        progress: Progress callback.
        options: Which model; see ``GraphOptions``.

    Raises:
        InputError: If a number, the target or the bundle does not serve.
        EngineError: If TensorRT cannot take the graph.
        UnavailableError: If TensorRT, its GPU or the weights are not here.
        OutputError: If the plan cannot be written.
    """
    progress = progress or NullProgress()
    flavour = find_flavour(engine)
    profile = Profile(max_batch if opt_batch is None else opt_batch, max_batch)
    target_path = None if out is None else Path(out)
    if target_path is not None:
        _check_out(target_path)
    choice = ModelOptions(model, **options)
    subject = resolve_model(choice, progress)
    toolchain = find_toolchain(flavour, target)
    bundle, _ = bundle_of(subject, progress)
    plan, built = plan_of(PlanRequest(toolchain, bundle, profile, tf32), progress)
    return Compiled(plan if target_path is None else _copied(plan, target_path), bundle, built)


def plan_of(request: PlanRequest, progress: Progress) -> tuple[Plan, bool]:
    """The plan that is wanted, built if it is not there; and whether it was built now.

    Raises:
        EngineError: If TensorRT cannot take the graph.
        EngineUnavailableError: If TensorRT does not start.
        OutputError: If the plan cannot be written, or the build was ended by the system.
    """
    return cached_plan(request, progress, _build)


def _build(order: PlanOrder, progress: Progress) -> Plan:
    """Build in a process of its own, which an interrupt ends at once."""
    plan: Plan = in_child(_build_here, order, progress)
    return plan


def _build_here(order: PlanOrder, progress: Progress) -> Plan:
    """In the child. It leaves nothing but a temporary file, which its parent removes."""
    # An interrupt ends it at once: Python's own handler would only run when TensorRT calls back,
    # and raise through its code.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return build_plan(order, progress)


def _check_out(out: Path) -> None:
    """Before the minutes of building.

    Raises:
        OutputError: If the place cannot be written, or holds something that is no plan.
    """
    for path in (out, manifest_path(out)):
        check_place(path)
        if path.exists():
            try:
                read_sealed(manifest_path(out), PlanManifest)
            except InputError as error:
                raise OutputError(
                    f"{printable(path)} is there and belongs to no plan. Choose another --out."
                ) from error


def _copied(plan: Plan, out: Path) -> Plan:
    if out.exists() and out.samefile(plan.path):
        return plan
    with atomic_write(out) as temporary:
        shutil.copyfile(plan.path, temporary)
    write_document(manifest_path(out), plan.manifest)
    return open_plan(out)
