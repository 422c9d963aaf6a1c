"""``evaluator doctor``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reporting.table import Table
from .options import JsonOption, takes_options

if TYPE_CHECKING:
    from ..workflow.doctor import Diagnosis


@takes_options(JsonOption)
def doctor(json: Path | None) -> None:
    """Show what works on this machine: packages, GPUs, and which engines compute.

    Each engine is tried with a small graph; the reason is shown if one does not work.
    """
    from ..storage.documents import plain
    from ..workflow.doctor import diagnose
    from .console import check_outputs, show

    check_outputs(json)
    diagnosis = diagnose()
    document: dict[str, Any] = {"schema": 1, **plain(diagnosis)}
    show(_tables(diagnosis), (json, document))


def _tables(diagnosis: "Diagnosis") -> Iterator[Table]:
    machine = [
        ("Python", diagnosis.python),
        ("system", diagnosis.system),
        ("processor", f"{diagnosis.processor.model}, {diagnosis.processor.details}"),
    ]
    for gpu in diagnosis.gpus:
        memory = "" if gpu.memory_bytes is None else f", {gpu.memory_bytes / 2**30:.0f} GiB"
        device = gpu.device
        machine.append(
            (device.name, f"{device.model}{memory}, {gpu.compute_capability}, {device.details}")
        )
    if not diagnosis.gpus:
        machine.append(("GPU", "none: no NVIDIA GPU, or no driver for one"))
    yield Table("Machine", ("what", "value"), tuple(machine), words=(0, 1))
    packages = tuple((n, v or "not installed") for n, v in diagnosis.packages.items())
    yield Table("Packages", ("package", "version"), packages, words=(0, 1))
    engines = tuple((e.engine, e.device, "no" if e.fault else "yes") for e in diagnosis.engines)
    faults = tuple(f"{e.engine} on {e.device}: {e.fault}" for e in diagnosis.engines if e.fault)
    yield Table("Engines", ("engine", "device", "works"), engines, faults, words=(0, 1, 2))
    cache = tuple((n, f"{size / 1e6:,.1f}") for n, size in diagnosis.cache_bytes.items())
    if cache:
        yield Table("Cache", ("folder", "MB"), cache, words=(0,))
