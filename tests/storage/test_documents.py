"""Documents are dataclasses: canonical when written, checked when read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import (
    ADDED_LATER,
    EngineSpec,
    ModelSpec,
    OnnxModel,
    Preprocessing,
    PreprocessingOrigin,
    RunKey,
    RunManifest,
    TransferSource,
    WeightsOrigin,
)
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


@dataclass(frozen=True)
class Later:
    name: str
    order: str = field(default="rgb", metadata=ADDED_LATER)
    schema: int = 3
    seal: str = ""


def test_a_field_that_was_added_later_leaves_documents_without_it_as_they_were(
    tmp_path: Path,
) -> None:
    assert canonical_bytes(Later("a")) == canonical_bytes(Kept("a"))
    assert canonical_bytes([Later("a")]) == canonical_bytes([Kept("a")])
    assert canonical_bytes({"x": Later("a")}) == canonical_bytes({"x": Kept("a")})
    write_document(tmp_path / "kept.json", sealed(Kept("a")))
    assert replace(read_sealed(tmp_path / "kept.json", Later), seal="") == Later("a")
    other = Later("a", "bgr")
    assert canonical_bytes(other) == b'{"name":"a","order":"bgr","schema":3,"seal":""}'
    write_document(tmp_path / "later.json", sealed(other))
    assert replace(read_sealed(tmp_path / "later.json", Later), seal="") == other


def test_no_document_has_fields_that_were_added_later_unless_they_are_used() -> None:
    weights = WeightsOrigin("random", "seed 0")
    model = ModelSpec("m", "m", weights, KEY.preprocessing, 224, 1000, "", "")
    source = TransferSource("m", "w", "ab", KEY.engine, KEY.preprocessing, "last")
    manifest = RunManifest(replace(KEY, transfer=source), model, 10, 5, 4, "")
    bundle = OnnxModel(model, "ab", "cd", 20, "fp32", "pixels", {})
    for value in (manifest, bundle, model, KEY):
        assert not re.search("channels|sizes|prepared", canonical_bytes(value).decode())
    bgr = replace(KEY.preprocessing, channels="bgr")
    used = replace(model, preprocessing=bgr, prepared=PreprocessingOrigin("text"))
    text = canonical_bytes(replace(manifest, model=used)).decode()
    assert text.count('"channels":"bgr"') == text.count('"prepared":') == 1


def test_the_hash_of_a_preprocessing_is_that_of_version_0_1() -> None:
    text = (
        '{"crop_px":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"resize_px":256,'
        '"std":[0.229,0.224,0.225]}'
    )
    assert canonical_bytes(KEY.preprocessing) == text.encode()
    assert b'"channels":"bgr"' in canonical_bytes(replace(KEY.preprocessing, channels="bgr"))


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
