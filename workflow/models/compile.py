"""Compiling the bundle of a model to a TensorRT plan."""

import shutil
import signal
from dataclasses import dataclass
from functools import partial
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
from .bundles import ensure_bundle
from .options import MAX_BATCH, EngineOptions, ModelOptions, PlanChoice
from .resolve import resolve_model
from .self_check import check_reference, needs_network


@dataclass(frozen=True)
class Compiled:
    """A compiled model.

    Attributes:
        plan: Plan at ``out``, or in the cache.
        bundle: Bundle that the plan is built from.
        built: Whether the plan was built now, or was in the cache.
    """

    plan: Plan
    bundle: Bundle
    built: bool


def compile_model(
    model: str,
    engine: str,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[EngineOptions],
) -> Compiled:
    """Build a TensorRT plan of a model, unless the cache holds it.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's own,
            or a bundle's folder.
        engine: ``tensorrt`` or ``tensorrt-rtx``.
        out: Path of a copy of the plan; its manifest is written next to it.
        progress: Progress callback.
        options: Options of the model and the plan; see ``GraphOptions`` and ``PlanChoice``.

    Raises:
        InputError: If a number, the target or the bundle is not valid.
        EngineError: If TensorRT does not support the graph.
        UnavailableError: If TensorRT, its GPU or the weights are not available.
        OutputError: If the plan cannot be written.
    """
    progress = progress or NullProgress()
    flavour = find_flavour(engine)
    choice = ModelOptions(model, **options)
    profile_of(choice.plan)  # before any work
    out_path = None if out is None else Path(out)
    if out_path is not None:
        _check_out(out_path)
    subject = resolve_model(choice, progress)
    subject = check_reference(subject, progress, needed=needs_network(subject))
    toolchain = find_toolchain(flavour, choice.target)
    bundle, _ = ensure_bundle(subject, progress)
    request = PlanRequest(toolchain, bundle, profile_of(choice.plan), choice.tf32)
    plan, built = build_if_missing(request, progress)
    return Compiled(plan if out_path is None else _copy(plan, out_path), bundle, built)


def profile_of(choice: PlanChoice) -> Profile:
    """The batches of a plan.

    Raises:
        InputError: If they are not possible.
    """
    largest = MAX_BATCH if choice.max_batch is None else choice.max_batch
    return Profile(largest if choice.opt_batch is None else choice.opt_batch, largest)


def build_if_missing(request: PlanRequest, progress: Progress) -> tuple[Plan, bool]:
    """The plan in the cache, and whether it was built now; see ``cached_plan``."""
    return cached_plan(request, progress, partial(in_child, _build))


def _build(order: PlanOrder, progress: Progress) -> Plan:
    """Build in a child process; an interrupt leaves a temporary file, which the parent removes."""
    # An interrupt ends it at once: Python's own handler would only run when TensorRT calls back,
    # and raise through its code.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return build_plan(order, progress)


def _check_out(out: Path) -> None:
    """Check the output path before the build, which takes minutes.

    Raises:
        OutputError: If the path cannot be written, or holds something else than a plan.
    """
    for path in (out, manifest_path(out)):
        check_place(path)
        if path.exists():
            try:
                read_sealed(manifest_path(out), PlanManifest)
            except InputError as error:
                raise OutputError(
                    f"{printable(path)} exists and is not a plan. Choose another --out."
                ) from error


def _copy(plan: Plan, out: Path) -> Plan:
    if out.exists() and out.samefile(plan.path):
        return plan
    with atomic_write(out) as temporary:
        shutil.copyfile(plan.path, temporary)
    write_document(manifest_path(out), plan.manifest)
    return open_plan(out)
