"""Reading checkpoints as data: whatever file holds tensors by name, and nothing that runs code.

Files of ``torch.save`` are read with ``weights_only=True``, ``.safetensors`` with its own package;
which of them a file is, its first bytes say, not its name. Training checkpoints hold the weights
under some name, beside the optimizer and more: those names are the table ``STATE_DICTS``.
"""

import argparse
import re
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, printable, reason_of

if TYPE_CHECKING:
    import torch

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict")
"""Averages over a training: they are what its authors evaluate, so they are preferred.

``timm.models.load_checkpoint`` prefers them too (``use_ema=True``).
"""

STATE_DICTS = (*AVERAGED, "state_dict", "model_state_dict", "model", "net")
"""Under which names checkpoints hold weights; the first that is there is taken."""

_HEAD_BYTES = 512
_SAFETENSORS_HEADER_BYTES = 100_000_000  # the largest that its package takes
_CUT_OFF = "is cut off or damaged. Copy or download it again"

# What people save under a checkpoint's name, by its first bytes.
_SOMETHING_ELSE = (
    (
        rb"version https://git-lfs\.github\.com/",
        "is a Git LFS pointer, not the file itself. Run `git lfs pull` where it was cloned",
    ),
    (
        rb"\s*<(!doctype|html|head|body|\?xml|error)",
        "is a web page, not a checkpoint: perhaps a server's error or login. "
        "Download the file itself",
    ),
    (rb"\x1f\x8b", "is compressed by gzip. Unpack it"),
    (rb"\x89HDF", "is a file of HDF5 (Keras), not of PyTorch. Convert it"),
)


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file.

    Attributes:
        path: The file.
        tensors: By the names that the file gives them.
        inside: Under which names of the file they are, from outside inwards; mostly none.
        beside: Other weights in the file, which were passed over.
    """

    path: Path
    tensors: "dict[str, torch.Tensor]"
    inside: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a file, on the CPU.

    Raises:
        InputError: If it is no checkpoint, is damaged, or would have to run code to be read.
    """
    head = _head(path)
    for pattern, fault in _SOMETHING_ELSE:
        if re.match(pattern, head, re.IGNORECASE):
            raise InputError(f"{printable(path)} {fault}, and give that.")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER_BYTES:
        return Checkpoint(path, _of_safetensors(path))
    return _unwrapped(path, _of_torch(path, zipped=head.startswith(b"PK")))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(
            f"{printable(path)} cannot be read: {reason_of(error)}. Expected a checkpoint's file."
        ) from error
    if not head:
        raise InputError(f"{printable(path)} is empty. Copy or download it again.")
    return head


def _of_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{printable(path)}, of safetensors, {_CUT_OFF}.") from error
    if not tensors:
        raise InputError(f"{printable(path)} holds no tensors. {_expected()}")
    return tensors


def _of_torch(path: Path, *, zipped: bool) -> Any:
    """What ``torch.save`` was given."""
    import torch

    if zipped:
        _check_archive(path)
    # Mapped files are not read into memory whole, with all that a training keeps beside the
    # weights; torch maps by name only, and by this ending it takes a file for safetensors.
    by_name = zipped and path.suffix != ".safetensors"
    try:
        # A namespace is data without code: timm and torchvision save their options as one.
        with (
            path.open("rb") as file,
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # about protocols and old storages
            source = path if by_name else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=by_name)
    except Exception as error:  # torch raises whatever its unpickler and zip reader do
        raise InputError(f"{printable(path)} {_fault(error, zipped=zipped)}") from error


def _fault(error: Exception, *, zipped: bool) -> str:
    """Why torch does not read a file, as the rest of a sentence."""
    found = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    if found is not None:
        network = found[1].startswith(("torch.nn.", "torchvision."))
        what = "a pickled network" if network else f"an object of {printable(found[1])}"
        part = ".state_dict()" if network else '["state_dict"]'
        return f"holds {what}, which is not loaded: that could run code. {_save_again(part)}"
    if "EOF" in str(error) or isinstance(error, EOFError):
        return f"{_CUT_OFF}."
    if zipped:
        return f"was pickled in a way that is not read as data. {_save_again('')}"
    return f"is no checkpoint that can be read as data. {_expected()}"


def _save_again(part: str) -> str:
    return (
        "Where you trust it, save its tensors alone, "
        f"`torch.save(torch.load(FILE, weights_only=False){part}, NEW)`, and give NEW."
    )


def _check_archive(path: Path) -> None:
    """Refuse an archive that is not torch's, or is not as it was written.

    torch itself reads over a flipped bit. Records without a checksum are those that it was told to
    write so (``torch.serialization.set_crc32_options``).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            names = {record.filename.partition("/")[2] for record in records}
            if "constants.pkl" in names:
                raise InputError(
                    f"{printable(path)} is a TorchScript program, not a checkpoint. "
                    "Where you trust it, save its tensors alone, "
                    "`torch.save(torch.jit.load(FILE).state_dict(), NEW)`, and give NEW."
                )
            if "data.pkl" not in names:
                raise InputError(
                    f"{printable(path)} is an archive, but none of torch.save. {_expected()}"
                )
            for record in records:
                if record.CRC:
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise InputError(f"{printable(path)} {_CUT_OFF}.") from error


def _unwrapped(path: Path, content: Any) -> Checkpoint:
    """Go down to the weights."""
    inside: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    while isinstance(content, dict):
        there = [name for name in STATE_DICTS if isinstance(content.get(name), dict)]
        if not there:
            break
        inside, beside = (*inside, there[0]), (*beside, *there[1:])
        content = content[there[0]]
    if not isinstance(content, dict) or not content:
        empty = not content and isinstance(content, dict)
        kind = "nothing" if empty else f"an object of type {type(content).__name__}"
        where = f" under {'/'.join(inside)}" if inside else ""
        raise InputError(f"{printable(path)} holds {kind}{where}. {_expected()}")
    _refuse_others(path, content)
    return Checkpoint(path, content, inside, beside)


def _refuse_others(path: Path, tensors: "dict[Any, Any]") -> None:
    import torch

    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(
                f"{printable(path)} holds {printable(str(name))}, of type {type(value).__name__}, "
                f"among its tensors. {_expected()}"
            )


def _expected() -> str:
    return (
        "Expected names of parameters with their tensors, by torch.save or safetensors; in a "
        f"training checkpoint under one of {', '.join(STATE_DICTS)}."
    )
