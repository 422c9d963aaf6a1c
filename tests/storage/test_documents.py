"""Documents are dataclasses: canonical when written, checked when read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import EngineSpec, Preprocessing, RunKey
from evaluator.errors import InputError
from evaluator.storage.documents import (
    canonical_bytes,
    document_sha256,
    read_document,
    read_sealed,
    sealed,
    write_document,
)

KEY = RunKey(
    benchmark="imagenet",
    protocol="imagenet-1",
    weights_sha256="ab",
    engine=EngineSpec("torch", "cd"),
    preprocessing=Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ids_sha256="ef",
    generated={"seed": 0, "packages": {"numpy": "2"}},
)


@dataclass(frozen=True)
class Kept:
    name: str
    schema: int = 3
    seal: str = ""


@dataclass(frozen=True)
class Small:
    name: str
    values: tuple[int, ...]
    more: Mapping[str, Any]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_document(tmp_path / "key.json", KEY)
    assert read_document(tmp_path / "key.json", RunKey) == KEY


def test_equal_values_have_equal_bytes() -> None:
    one = Small("é", (1, 2), {"a": 1, "b": 2})
    assert canonical_bytes(one) == b'{"more":{"a":1,"b":2},"name":"\\u00e9","values":[1,2]}'
    assert document_sha256(one) == document_sha256(Small("é", (1, 2), {"b": 2, "a": 1}))
    assert document_sha256(one) != document_sha256(Small("e", (1, 2), {"b": 2, "a": 1}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a valid Small: the document: Invalid JSON"),
        ('{"name": "x", "values": [1]}', "more: Field required"),
        (
            '{"name": "x", "values": ["y"], "more": {}}',
            r"values\.0: Input should be a valid integer",
        ),
        ("[]", "is not a valid Small"),
    ],
)
def test_a_damaged_document_is_named_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "small.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_document(path, Small)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_document_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"small\.json cannot be read: No such file"):
        read_document(tmp_path / "small.json", Small)


def test_a_sealed_document_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    write_document(path, sealed(Kept("one")))
    assert read_sealed(path, Kept).name == "one"
    path.write_text(path.read_text().replace("one", "two"))
    with pytest.raises(InputError, match="was edited"):
        read_sealed(path, Kept)


@pytest.mark.parametrize("written", ['"schema": 2, ', ""], ids=["an older one", "before any"])
def test_a_sealed_document_of_another_version_is_not_called_edited(
    written: str, tmp_path: Path
) -> None:
    path = tmp_path / "kept.json"
    path.write_text(f'{{"name": "one", {written}"gone": true, "seal": "ab"}}')
    message = r"another version of evaluator \(format \d, this one reads 3\)\. Do this\."
    with pytest.raises(InputError, match=message):
        read_sealed(path, Kept, advice="Do this.")
