"""Reading checkpoints as data: files that hold tensors by name; no code is run.

Files of ``torch.save`` are read with ``weights_only=True``, ``.safetensors`` with its own package;
the format is recognised by a file's first bytes, not by its name. Training checkpoints hold the
weights under one of the names ``STATE_DICTS``, with the optimizer and more. Large ones are several
files with an index in JSON.
"""

import argparse
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError, printable, reported_as
from .renaming import EXTRA_STATE, last_word
from .shards import read_index, refuse_other_names, shard_path

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict")
"""Names of averages over a training. They are preferred, since authors evaluate them.

``timm.models.load_checkpoint`` prefers them too (``use_ema=True``).
"""

STATE_DICTS = (*AVERAGED, "state_dict", "model_state_dict", "model", "net")
"""Names under which checkpoints hold weights; the first that exists is used."""

_EXPECTED = (
    "Expected names of parameters with their tensors, by torch.save or safetensors; in a training "
    f"checkpoint under one of {', '.join(STATE_DICTS)}."
)
_HEAD_BYTES = 512
_SAFETENSORS_HEADER_BYTES = 100_000_000  # the largest that its package accepts
_TRUNCATED = "is truncated or damaged. Copy or download it again"

# Other files that users mistake for checkpoints, by their first bytes.
_OTHER_FORMATS = (
    (
        rb"version https://git-lfs\.github\.com/",
        "is a Git LFS pointer, not the file itself. Run `git lfs pull` where it was cloned",
    ),
    (
        rb"\s*<(!doctype|html|head|body|\?xml|error)",
        "is a web page, not a checkpoint: perhaps a server's error or login. "
        "Download the file itself",
    ),
    (rb"\x1f\x8b", "is compressed by gzip. Decompress it"),
    (rb"\x89HDF", "is an HDF5 file (Keras), not of PyTorch. Convert it"),
)


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file.

    Attributes:
        path: Path of the file.
        tensors: Tensors by their names in the file, and extra states of modules, of any type.
        inside: Names in the file that the tensors are nested under, outermost first.
        beside: Names of other weights in the file, which are not used.
        settings: Three numbers each that a training checkpoint has beside the weights, such as a
            mean, by their names.
    """

    path: Path
    tensors: dict[str, Any]
    inside: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the tensors of a file, or of all files of an index, on the CPU.

    Raises:
        InputError: If it is not a checkpoint, is damaged, or cannot be read without running code.
    """
    shards = read_index(path)
    if shards is None:
        return _read_file(path)
    tensors: dict[str, Any] = {}
    for shard, names in shards.items():
        part = _read_file(shard_path(path, shard)).tensors
        indexed = {id(part[name]) for name in names if name in part}
        others = {name for name in part if name in names or id(part[name]) not in indexed}
        refuse_other_names(path, shard, names, others)
        tensors |= part
    return Checkpoint(path, tensors)


def _read_file(path: Path) -> Checkpoint:
    head = _head(path)
    for pattern, fault in _OTHER_FORMATS:
        if re.match(pattern, head, re.IGNORECASE):
            raise InputError(f"{printable(path)} {fault}, and give that.")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER_BYTES:
        return Checkpoint(path, _load_safetensors(path))
    return _unwrap(path, _load_torch(path, zipped=head.startswith(b"PK")))


def _head(path: Path) -> bytes:
    fault, advice = f"{printable(path)} cannot be read", "Expected a checkpoint."
    with reported_as(fault, OSError, advice=advice), path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InputError(f"{printable(path)} is empty. Copy or download it again.")
    return head


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except Exception as error:  # of a damaged header its reader may raise anything
        raise InputError(f"{printable(path)}, of safetensors, {_TRUNCATED}.") from error
    if not tensors:
        raise InputError(f"{printable(path)} holds no tensors. {_EXPECTED}")
    # A tensor with several names is stored under one; save_model notes the others so.
    aliases = {name: kept for name, kept in metadata.items() if kept in tensors}
    return {**{name: tensors[kept] for name, kept in aliases.items()}, **tensors}


def _load_torch(path: Path, *, zipped: bool) -> Any:
    """The object that was given to ``torch.save``."""
    import torch

    if zipped:
        _check_archive(path)
    # A mapped file is not read into memory with all that a training saves with the weights.
    # torch maps files by name only, and would read this suffix as safetensors.
    by_name = zipped and path.suffix != ".safetensors"
    try:
        # A namespace is data without code: timm and torchvision save their options as one.
        with (
            path.open("rb") as file,
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # on pickle protocols and old storages
            source = path if by_name else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=by_name)
    except Exception as error:  # whatever the unpickler or the zip reader raises
        raise InputError(f"{printable(path)} {_fault(error, zipped=zipped)}") from error


def _fault(error: Exception, *, zipped: bool) -> str:
    """Reason why torch cannot read a file, as the rest of a sentence."""
    match = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    if match is not None:
        is_network = match[1].startswith(("torch.nn.", "torchvision."))
        content = "a pickled network" if is_network else f"an object of {printable(match[1])}"
        part = ".state_dict()" if is_network else '["state_dict"]'
        return f"holds {content}, which is not loaded: that could run code. {_save_again(part)}"
    if "EOF" in str(error) or isinstance(error, EOFError):
        return f"{_TRUNCATED}."
    if zipped:
        return f"was pickled in a way that cannot be read as data. {_save_again('')}"
    return f"is not a checkpoint that can be read as data. {_EXPECTED}"


def _save_again(part: str, loaded: str = "torch.load(FILE, weights_only=False)") -> str:
    return (
        f"If you trust it, save only its tensors, `torch.save({loaded}{part}, NEW)`, and give NEW."
    )


def _check_archive(path: Path) -> None:
    """Refuse an archive that torch did not write, or that is damaged.

    torch itself ignores a flipped bit. Records have no checksum if the user turned checksums off
    with ``torch.serialization.set_crc32_options``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            names = {record.filename.partition("/")[2] for record in records}
            if "constants.pkl" in names:
                raise InputError(
                    f"{printable(path)} is a TorchScript program, not a checkpoint. "
                    f"{_save_again('.state_dict()', 'torch.jit.load(FILE)')}"
                )
            if "data.pkl" not in names:
                raise InputError(
                    f"{printable(path)} is an archive, but not of torch.save. {_EXPECTED}"
                )
            for record in records:
                if record.CRC:
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except InputError:
        raise
    except Exception as error:  # of damaged names its reader raises a UnicodeDecodeError
        raise InputError(f"{printable(path)} {_TRUNCATED}.") from error


def _unwrap(path: Path, content: Any) -> Checkpoint:
    """Descend to the weights."""
    inside: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    while isinstance(content, dict):
        names = [name for name in STATE_DICTS if isinstance(content.get(name), dict)]
        names = names or _only_state_dict(path, content)
        if not names:
            break
        inside, unused = (*inside, names[0]), (*unused, *names[1:])
        settings |= _settings({name: x for name, x in content.items() if name not in names})
        content = content[names[0]]
    if not isinstance(content, dict) or not content:
        other = f"an object of type {type(content).__name__}"
        kind = "nothing" if isinstance(content, dict) else other
        place = printable(f" under {'/'.join(inside)}" if inside else "")
        raise InputError(f"{printable(path)} holds {kind}{place}. {_EXPECTED}")
    _refuse_others(path, content)
    return Checkpoint(path, content, inside, unused, settings)


def _settings(content: Mapping[Any, Any]) -> dict[str, Any]:
    """What holds three numbers, here or in the options of the training."""
    import torch

    settings = {}
    for name, value in content.items():
        inner = vars(value) if isinstance(value, argparse.Namespace) else value
        items = inner.items() if isinstance(inner, dict) else ()
        for key, item in [(name, value), *((f"{name}.{key}", item) for key, item in items)]:
            is_list = isinstance(item, list | tuple) and all(type(x) in (int, float) for x in item)
            tensor = torch.tensor(item, dtype=torch.float64) if is_list else item
            if _is_tensor(tensor) and tensor.numel() == 3:
                settings[str(key)] = tensor
    return settings


def _only_state_dict(path: Path, content: Mapping[Any, Any]) -> list[str]:
    """The name of the only tensors by name in a training checkpoint; empty if there are none.

    Raises:
        InputError: If there are several.
    """
    if any(_is_tensor(value) and value.dim() for value in content.values()):
        return []
    names = [name for name, value in content.items() if _is_state_dict(name, value)]
    if len(names) > 1:
        raise InputError(
            f"{printable(path)} holds several networks, {' and '.join(map(printable, names))}. "
            f"Save the one that is meant, `torch.save(torch.load(FILE)[NAME], NEW)`, and give NEW."
        )
    return names


def _is_state_dict(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and name != EXTRA_STATE
        and isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(key, str) and _is_tensor(item) for key, item in value.items())
    )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _refuse_others(path: Path, tensors: Mapping[Any, Any]) -> None:
    for name, value in tensors.items():
        if _is_quantised(value):
            raise InputError(
                f"{printable(path)} holds a network that is quantised ({printable(str(name))}), "
                "expected floating point. Give the weights that it was made from."
            )
        is_state = isinstance(name, str) and last_word(name) == EXTRA_STATE
        if not is_state and not (isinstance(name, str) and _is_tensor(value)):
            raise InputError(
                f"{printable(path)} holds {printable(str(name))}, of type {type(value).__name__}, "
                f"among its tensors. {_EXPECTED}"
            )


def _is_quantised(value: Any) -> bool:
    """Whether it is of PyTorch's quantised layers: a tensor, a type, or packed tensors."""
    import torch

    if isinstance(value, tuple):
        return any(map(_is_quantised, value))
    return isinstance(value, torch.dtype) or (_is_tensor(value) and value.is_quantized)
