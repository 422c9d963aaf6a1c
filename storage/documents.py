"""JSON documents that are dataclasses: checked when read, and hashed in a canonical form.

Canonical means sorted keys and no optional white space: equal values have equal bytes, so the
SHA-256 of a document identifies its value.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from ..contracts import ADDED_LATER
from ..errors import InputError, printable, unreadable
from .atomic import atomic_write_bytes, write_if_absent

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_CREATE_AGAIN = "Remove it and create it again."


def plain(value: Any) -> Any:
    """A dataclass as dictionaries, lists, strings and numbers.

    Fields that a format got later are left out while they have their default.
    """
    document = _adapter(type(value)).dump_python(value, mode="json")
    _leave_out_later_defaults(value, document)
    return document


def _leave_out_later_defaults(value: Any, document: Any) -> None:
    if is_dataclass(value):
        for field in fields(value):
            if field.name not in document:  # stored under another name
                continue
            part = getattr(value, field.name)
            if field.metadata.items() >= ADDED_LATER.items() and part == field.default:
                del document[field.name]
            else:
                _leave_out_later_defaults(part, document[field.name])
    elif isinstance(value, Mapping):
        for part, of_part in zip(value.values(), document.values(), strict=True):
            _leave_out_later_defaults(part, of_part)
    elif isinstance(value, tuple | list):
        for part, of_part in zip(value, document, strict=True):
            _leave_out_later_defaults(part, of_part)


def canonical_bytes(value: Any) -> bytes:
    """The JSON of a value in its canonical form, for hashing."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":")).encode()


def document_sha256(value: Any) -> str:
    """SHA-256 over the canonical bytes of a value."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


class Sealed(Protocol):
    """A document that contains its own SHA-256, so that an edit by hand is noticed."""

    @property
    def seal(self) -> str:
        """SHA-256 over all other fields; empty before it is set."""


S = TypeVar("S", bound=Sealed)


def sealed(value: S) -> S:
    """A document with its seal set."""
    bare = replace(value, seal="")  # type: ignore[type-var]
    return replace(bare, seal=document_sha256(bare))  # type: ignore[type-var]


def read_sealed(
    path: Path,
    kind: type[S],
    *,
    advice: str = "Restore it, or remove what it describes and create that again.",
) -> S:
    """Read a sealed document; ``advice`` says what to do if it is damaged.

    Raises:
        InputError: As for ``read_document``, or if the document was edited or has another version
            of its format.
    """
    value = read_document(path, kind, advice=advice)
    if value != sealed(value):
        raise InputError(
            f"{printable(path)} was edited: its SHA-256 is not the one that it contains. {advice}"
        )
    return value


def document_differences(there: Any, here: Any) -> Iterator[str]:
    """The differences between two values, one text for each leaf; hashes last.

    Example:
        >>> list(document_differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}))
        ['a.b is 1 there, 3 here']
    """
    differences = _differences("", plain(there), plain(here))
    yield from sorted(differences, key=lambda text: text.partition(" is ")[0].endswith("sha256"))


def _differences(name: str, stored: Any, current: Any) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(current, dict):
        for key in sorted(stored.keys() | current.keys()):
            yield from _differences(f"{name}.{key}".lstrip("."), stored.get(key), current.get(key))
    elif stored != current:
        yield f"{name} is {_short(stored)} there, {_short(current)} here"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 32 else text[:12] + "..."


def write_document(path: Path, value: Any, *, first: bool = False) -> None:
    """Write a dataclass atomically as readable JSON.

    With ``first`` an existing document is kept, also one that another process writes meanwhile.
    """
    data = (json.dumps(plain(value), indent=1, sort_keys=True) + "\n").encode()
    (write_if_absent if first else atomic_write_bytes)(path, data)


def read_document(path: Path, kind: type[T], *, advice: str = _CREATE_AGAIN) -> T:
    """Read a dataclass from a JSON file; ``advice`` says what to do if it is damaged.

    Raises:
        InputError: If the file is missing, is not JSON, or lacks or mistypes a field.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return document_from_bytes(data, kind, printable(path), advice)


def document_from_bytes(data: bytes, kind: type[T], name: str, advice: str = _CREATE_AGAIN) -> T:
    """Parse the JSON of a dataclass; ``name`` is used in errors."""
    from pydantic import ValidationError

    _check_schema(data, kind, name, advice)
    try:
        return cast(T, _adapter(kind).validate_json(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise InputError(
            f"{name} is not a valid {kind.__name__}: {place}: {first['msg']}. "
            f"It was edited, damaged, or written by another version. {advice}"
        ) from error


def _check_schema(data: bytes, kind: type[Any], name: str, advice: str) -> None:
    """Report another version of a sealed document before its fields are reported as wrong."""
    expected = getattr(kind, "schema", None)
    if expected is None:
        return
    try:
        document = json.loads(data)
    except ValueError:
        return  # reported when the document is parsed
    if not isinstance(document, dict) or "seal" not in document:
        return
    if (written := document.get("schema", 1)) not in getattr(kind, "readable_schemas", (expected,)):
        raise InputError(
            f"{name} was written by another version of evaluator (format {written}, this "
            f"one reads {expected}). {advice}"
        )


def _adapter(kind: type[Any]) -> "TypeAdapter[Any]":
    """The parser of a type, cached: it takes milliseconds, and each shard has a document."""
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


_adapters: "dict[type[Any], TypeAdapter[Any]]" = {}
