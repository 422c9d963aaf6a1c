"""Checkpoints in several files: an index in JSON says which file holds which tensor.

{"weight_map": {"conv.weight": "model-00001-of-00002.safetensors", ...}}

Hugging Face's libraries write them, as ``model.safetensors.index.json`` or
``pytorch_model.bin.index.json``.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import InputError, printable, reported_as

_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")


def read_index(path: Path) -> dict[str, list[str]] | None:
    """Names of the tensors in each file of an index; `None` if the file is not an index.

    Raises:
        InputError: If the file cannot be read, or names files outside its folder.
    """
    with reported_as(f"{printable(path)} cannot be read", OSError), path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return None
        file.seek(0)
        weight_map = _weight_map(file.read())
    if weight_map is None:
        return None
    shards: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.isprintable():
            raise InputError(
                f"{printable(path)}: the file of {printable(name)} is {printable(repr(shard))}, "
                "expected the name of a file in the same folder."
            )
        shards.setdefault(shard, []).append(name)
    return shards


def _weight_map(content: bytes) -> dict[str, Any] | None:
    try:
        index = json.loads(content)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        return None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    return weight_map if isinstance(weight_map, dict) and weight_map else None


def shard_path(index: Path, shard: str) -> Path:
    """Path of a file that an index names.

    Raises:
        InputError: If it is missing.
    """
    path = index.parent / shard
    if not path.is_file():
        raise InputError(
            f"{printable(index)} names {printable(shard)}, which is missing beside it. "
            "Copy or download all files of the index."
        )
    return path


def refuse_other_names(index: Path, shard: str, expected: list[str], names: set[str]) -> None:
    """Refuse a file whose tensors are not those that the index says.

    Raises:
        InputError: If a tensor is missing, or is not in the index.
    """
    for verb, difference in (
        ("lacks", set(expected) - names),
        ("has also", names - set(expected)),
    ):
        if difference:
            raise InputError(
                f"{printable(index)} does not belong to {printable(shard)} beside it, which {verb} "
                f"{printable(min(difference))}. Copy or download all files of the index."
            )


def checkpoint_sha256(path: Path, file_sha256: Callable[[Path], str]) -> str:
    """SHA-256 of a checkpoint's file; of an index, over the hashes of the index and its files.

    Raises:
        InputError: If a file is missing or cannot be read.
    """
    shards = read_index(path)
    if shards is None:
        return file_sha256(path)
    files = [path, *(shard_path(path, shard) for shard in sorted(shards))]
    return hashlib.sha256(" ".join(map(file_sha256, files)).encode()).hexdigest()


def shard_advice(path: Path) -> str:
    """Advice if a file's name says that it is one of several; empty if it does not.

    Example:
        >>> shard_advice(Path("model-00001-of-00002.safetensors"))
        'By its name it is part 1 of 2: give their index, model.safetensors.index.json.'
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return ""
    stem, part, parts, suffix = match.groups()
    index = printable(f"{stem}{suffix}.index.json")
    return f"By its name it is part {int(part)} of {int(parts)}: give their index, {index}."


def folder_advice(folder: Path) -> str:
    """Advice on which file of a folder to give; empty if nothing in it is recognised."""
    if (folder / ".metadata").is_file() and any(folder.glob("*.distcp")):
        return (
            "It is a distributed checkpoint: convert it with `python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE`, and give FILE."
        )
    indexes = sorted(folder.glob("*.index.json")) if folder.is_dir() else []
    return f"Give {' or '.join(map(printable, indexes))}." if indexes else ""
