"""Inputs are checked before anything is written; processes that die, fail or are interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import ImageError, InputError, OutputError, UnavailableError
from evaluator.evaluate.generate.corruptions import corrupt_photos
from evaluator.evaluate.generate.trees import write_variants
from evaluator.evaluate.generate.workers import Photo, Recipe
from evaluator.evaluate.sources.generated_marker import COMMENT
from evaluator.tests.evaluate.generate.made_trees import Impatient, files, leftovers, photos_in

VARIANTS = ("one", "two")


def copies(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    for variant in variants:
        yield variant.encode() + data[:9]


def dying(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    yield b"the first"
    os._exit(9)


def failing(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    yield b"the first"
    raise ZeroDivisionError("a bug")


def refusing(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    raise InputError(f"{photo.id} is refused.")


def facts() -> Mapping[str, Any]:
    return {}


def nothing() -> None:
    return None


def unusable() -> None:
    raise UnavailableError("A package cannot be imported.")


def recipe(make: Any = copies, check: Any = nothing) -> Recipe:
    return Recipe(
        verb="corrupt", unit="images", products="copies", objection="no", suffixes=(".jpeg",),
        suffix=".JPEG", packages=(), extra="demo", facts=facts, check=check, make=make,
    )  # fmt: skip


def write(source: Path, folder: Path, made_by: Recipe, **options: Any) -> int:
    return write_variants(made_by, source, folder, VARIANTS, **options)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return photos_in(tmp_path / "clean", 5)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_variant_of_every_photo_is_made_once(
    source: Path, tmp_path: Path, workers: int
) -> None:
    tree = tmp_path / "tree"
    assert write(source, tree, recipe(), workers=workers) == 10
    assert len(files(tree)) == 10
    assert {path.split("/")[0]: data[:3] for path, data in files(tree).items()} == {
        "one": b"one",
        "two": b"two",
    }


@pytest.mark.parametrize("position", [0, 2, 4])
def test_nothing_is_written_if_a_photo_is_damaged_and_the_repaired_command_works(
    source: Path, tmp_path: Path, position: int
) -> None:
    path, tree = sorted(source.rglob("*.JPEG"))[position], tmp_path / "tree"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=f"{path.name} cannot be decoded"):
        write(source, tree, recipe())
    assert not tree.exists()
    path.unlink()
    assert write(source, tree, recipe(), workers=1) == 8


def test_a_generated_photo_anywhere_among_the_clean_ones_is_refused(
    source: Path, tmp_path: Path
) -> None:
    path = sorted(source.rglob("*.JPEG"))[3]
    segment = b"\xff\xfe" + (len(COMMENT) + 2).to_bytes(2, "big") + COMMENT
    path.write_bytes(path.read_bytes()[:2] + segment + path.read_bytes()[2:])
    with pytest.raises(InputError, match=f"was itself generated, according to .*{path.name}"):
        write(source, tmp_path / "tree", recipe())
    assert not (tmp_path / "tree").exists()


def test_nothing_is_written_if_a_package_cannot_be_used(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be imported"):
        write(source, tmp_path / "tree", recipe(check=unusable))
    assert not (tmp_path / "tree").exists()


def test_a_call_that_continues_does_not_check_what_was_checked(
    source: Path, tmp_path: Path
) -> None:
    write(source, tmp_path / "tree", recipe(), workers=1)
    assert write(source, tmp_path / "tree", recipe(check=unusable), workers=1) == 10


def test_a_process_that_dies_is_named_and_the_call_can_be_repeated(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"One of 2 worker processes died.*fewer workers"):
        write(source, tmp_path / "tree", recipe(dying), workers=2)
    assert write(source, tmp_path / "tree", recipe(), workers=1) == 10
    assert len(files(tmp_path / "tree")) == 10


def test_an_error_of_a_process_keeps_its_type_and_a_bug_its_place(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"n\d+/.* is refused") as raised:
        write(source, tmp_path / "a", recipe(refusing), workers=2)
    assert type(raised.value) is InputError
    with pytest.raises(RuntimeError, match=r"(?s)ZeroDivisionError\('a bug'\).*in failing"):
        write(source, tmp_path / "b", recipe(failing), workers=1)


def test_an_interrupted_call_is_continued_by_the_same_call(source: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with pytest.raises(KeyboardInterrupt):
        write(source, tree, recipe(), workers=1, progress=Impatient())
    assert write(source, tree, recipe(), workers=1) == 10
    assert len(files(tree)) == 10
    assert not leftovers(tree)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals a group of processes as POSIX does")
@pytest.mark.parametrize("number", ["SIGINT"])
def test_an_interrupted_command_says_how_to_continue_and_nothing_else(
    source: Path, tmp_path: Path, number: str
) -> None:
    words = ["data", "corrupt", source, tmp_path / "tree", "--corruptions", "brightness,fog"]
    command = [sys.executable, "-m", "evaluator", *map(str, words), "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not files(tmp_path / "tree") and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, getattr(signal, number))  # as a terminal does: all processes
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "continue with the same command" in stderr.splitlines()[-1]
    for word in ("leaked", "semaphore", "Traceback", "Error"):
        assert word not in stderr
    assert not leftovers(tmp_path / "tree")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert len(files(tmp_path / "tree")) == 5 * 2 * 5
    shutil.rmtree(tmp_path / "tree")


def test_a_damaged_photo_stops_the_real_generator_before_it_writes(
    source: Path, tmp_path: Path
) -> None:
    path = sorted(source.rglob("*.JPEG"))[1]
    path.write_bytes(b"no photo")
    with pytest.raises(ImageError, match=path.name):
        corrupt_photos(source, tmp_path / "tree", corruptions=["fog"], progress=NullProgress())
    assert not (tmp_path / "tree").exists()
