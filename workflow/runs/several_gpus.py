"""One run on several GPUs: a process for each, which divide its shards by their leases.

The GIL would let threads of one process wait for each other. A process that dies is named, and the
others make its shards, since a lease of a dead process has expired.
"""

import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ...contracts import NullProgress, Progress, ThreadSafeProgress
from ...engine.devices import cuda_devices
from ...errors import EngineUnavailableError, EvaluatorError, InputError
from ...system.child_process import in_child

P = ParamSpec("P")
T = TypeVar("T")

ALL = "cuda:all"


def on_several_gpus(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator of a function that completes runs on one ``device``: it may then name several.

    ``cuda:0,cuda:1`` names two GPUs, ``cuda:all`` all of this machine. The function is called once
    for each, in a process of its own, with the same other arguments, which must be picklable.
    """

    @wraps(function)
    def on_each(*args: P.args, **keywords: P.kwargs) -> T:
        devices = named_devices(keywords.get("device"))  # type: ignore[arg-type]
        if len(devices) < 2:
            if devices:
                keywords["device"] = devices[0]
            return function(*args, **keywords)
        progress: Any = keywords.pop("progress", None) or NullProgress()
        calls = [(on_each, args, {**keywords, "device": d}, sys.argv) for d in devices]
        result: T = _call_all(calls, devices, _Together(progress))
        return result

    return on_each


def named_devices(device: str | None) -> list[str]:
    """The devices that a user names; none if the user names none.

    Raises:
        InputError: If one of several is not a GPU, or is named twice.
        EngineUnavailableError: If all GPUs are named and there is none.

    Example:
        >>> named_devices("cuda:0,cuda:1"), named_devices("cpu"), named_devices(None)
        (['cuda:0', 'cuda:1'], ['cpu'], [])
    """
    if device is None:
        return []
    if device == ALL:
        if not cuda_devices():
            raise EngineUnavailableError(
                "--device cuda:all: this machine has no NVIDIA GPU, or no driver for one. Use "
                "--device cpu."
            )
        return [gpu.name for gpu in cuda_devices()]
    names = [name.strip() for name in device.split(",")]
    if len(names) > 1 and (
        len(set(names)) < len(names) or not all(name.startswith("cuda:") for name in names)
    ):
        raise InputError(
            f"--device {device} is not possible: expected one device, or different GPUs such as "
            "cuda:0,cuda:1, or cuda:all."
        )
    return names


def _call_all(calls: list[Any], devices: list[str], progress: "_Together") -> Any:
    """The result of the first call that ends well: then the run is complete."""
    results: list[Any] = []
    errors: dict[str, BaseException] = {}

    def call(index: int) -> None:
        try:
            results.append(in_child(_call, calls[index], progress.of(devices[index])))
        except BaseException as error:
            errors[devices[index]] = error

    threads = [
        threading.Thread(target=call, args=(index,), name=device, daemon=True)
        for index, device in enumerate(devices)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # a wait without a timeout cannot be interrupted everywhere
            thread.join(0.5)
    if not results:
        raise next(iter(errors.values()))
    for device, error in errors.items():
        if not isinstance(error, EvaluatorError):
            raise error
        progress.note(f"warning: {device} was not used to the end, so others did its work: {error}")
    return results[0]


def _call(call: Any, progress: Progress) -> Any:
    function, args, keywords, sys.argv = call  # the command is recorded with each shard
    return function(*args, **keywords, progress=progress)


class _Together:
    """One progress over several processes, each of which counts what all have finished."""

    def __init__(self, progress: Progress) -> None:
        self._progress = ThreadSafeProgress(progress)
        self._lock = threading.Lock()
        self._noted: set[str] = set()
        self._done: dict[str, int] = {}

    def of(self, device: str) -> "_OfDevice":
        return _OfDevice(self, device)

    def note(self, text: str, device: str = "") -> None:
        """Pass a note on, once if several processes have the same."""
        with self._lock:
            is_new = text not in self._noted
            self._noted.add(text)
        if is_new:
            self._progress.note(f"{device}: {text}" if device and device not in text else text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Show the furthest count of any process."""
        with self._lock:
            self._done[step] = furthest = max(done, self._done.get(step, 0))
        self._progress.advance(step, furthest, total, unit)


class _OfDevice:
    """Progress of the process of one device."""

    def __init__(self, together: _Together, device: str) -> None:
        self._together, self._device = together, device

    def note(self, text: str) -> None:
        self._together.note(text, self._device)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self._together.advance(step, done, total, unit)
