"""Files of every kind as checkpoints: read as data, or refused in one line."""

import argparse
import gzip
import io
import json
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from evaluator.errors import InputError
from evaluator.exporter.weights.checkpoints import STATE_DICTS, Checkpoint, read_checkpoint
from evaluator.tests.small import Tensors, checkpoint, one_line, same, small_tensors

CLASS_NAMES = ("Error", "Exception", "Unpickl", "Reader")


def read(content: object, folder: Path, **options: Any) -> Checkpoint:
    return read_checkpoint(Path(checkpoint(folder / "mine.pth", content, **options)))


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    message = one_line(caught)
    assert path.name in message
    assert not any(name in message for name in CLASS_NAMES)
    return message


def refused(content: object, folder: Path, **options: Any) -> str:
    return refusal(Path(checkpoint(folder / "mine.pth", content, **options)))


# --------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("wrap", [dict, OrderedDict])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torch_save_is_read(
    wrap: Callable[[Tensors], object], zipped: bool, tmp_path: Path
) -> None:
    tensors = small_tensors()
    found = read(wrap(tensors), tmp_path, _use_new_zipfile_serialization=zipped)
    assert same(found.tensors, tensors)
    assert (found.inside, found.beside) == ((), ())


@pytest.mark.parametrize("name", ["mine.safetensors", "pytorch_model.bin", "mine"])
def test_safetensors_are_told_by_their_content(name: str, tmp_path: Path) -> None:
    tensors = small_tensors()
    safetensors.torch.save_file(tensors, tmp_path / name, metadata={"format": "pt"})
    assert same(read_checkpoint(tmp_path / name).tensors, tensors)


def test_a_file_of_torch_save_may_be_called_safetensors(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "mine.safetensors", small_tensors())
    assert same(read_checkpoint(Path(path)).tensors, small_tensors())


def test_an_archive_that_was_written_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = checkpoint(tmp_path / "mine.pth", small_tensors())
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_checkpoint(Path(path)).tensors, small_tensors())


# -------------------------------------------------------------------------------------- wrappers


@pytest.mark.parametrize("name", STATE_DICTS)
def test_weights_are_found_under_the_names_of_training_checkpoints(
    name: str, tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    content = {
        "epoch": 90,
        "arch": "small",
        name: small_tensors(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "metric": 0.5,
    }
    found = read(content, tmp_path)
    assert same(found.tensors, small_tensors())
    assert (found.inside, found.beside) == ((name,), ())


@pytest.mark.parametrize("averaged", ["state_dict_ema", "model_ema", "ema_state_dict"])
@pytest.mark.parametrize("trained", ["state_dict", "model"])
def test_averaged_weights_are_preferred(averaged: str, trained: str, tmp_path: Path) -> None:
    found = read({trained: small_tensors(1), averaged: small_tensors(2)}, tmp_path)
    assert same(found.tensors, small_tensors(2))
    assert (found.inside, found.beside) == ((averaged,), (trained,))


def test_no_average_is_no_weights(tmp_path: Path) -> None:
    # timm writes `state_dict_ema` only where there is one; others write it as none.
    found = read({"state_dict": small_tensors(), "state_dict_ema": None}, tmp_path)
    assert (found.inside, found.beside) == (("state_dict",), ())


def test_wrappers_may_be_nested(tmp_path: Path) -> None:
    content = {"state_dict": {"model": small_tensors(), "optimizer": {}}, "epoch": 3}
    found = read(content, tmp_path)
    assert same(found.tensors, small_tensors())
    assert found.inside == ("state_dict", "model")


def test_a_parameter_may_be_called_like_a_wrapper(tmp_path: Path) -> None:
    tensors = {"model": torch.ones(2), "net": torch.zeros(3)}
    found = read(tensors, tmp_path)
    assert same(found.tensors, tensors)
    assert found.inside == ()


# ---------------------------------------------------------------------- what holds no state dict


@pytest.mark.parametrize(
    "content",
    [{}, [], 3, {"state_dict": 3}, [torch.zeros(1)], torch.zeros(1), {1: torch.zeros(1)}],
    ids=repr,
)
def test_a_file_of_something_else_than_a_state_dict_is_refused(
    content: object, tmp_path: Path
) -> None:
    message = refused(content, tmp_path)
    assert "Expected names of parameters with their tensors" in message


def test_an_empty_state_dict_is_named(tmp_path: Path) -> None:
    assert "holds nothing under state_dict." in refused({"state_dict": {}, "epoch": 1}, tmp_path)
    safetensors.torch.save_file({}, tmp_path / "none.safetensors")
    assert "holds no tensors" in refusal(tmp_path / "none.safetensors")


@pytest.mark.parametrize("value", [3, None, "text", [1.0], {"a": 1}])
def test_something_else_than_a_tensor_is_named(value: object, tmp_path: Path) -> None:
    message = refused({**small_tensors(), "head.bias": value}, tmp_path)
    assert f"holds head.bias, of type {type(value).__name__}, among its tensors" in message


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"epoch": 1, "best": torch.tensor(0.7), "loss": None},
        {"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1).state_dict()},
        {"config": {"lr": 0.1}, "history": [{"a": torch.zeros(1)}], "empty": {}},
    ],
)
def test_the_only_weights_in_a_file_may_have_any_name(
    others: dict[str, object], tmp_path: Path
) -> None:
    found = read({"weights": small_tensors(), **others}, tmp_path)
    assert same(found.tensors, small_tensors())
    assert found.inside == ("weights",)


def test_one_of_several_networks_is_never_chosen(tmp_path: Path) -> None:
    content = {"student": small_tensors(1), "teacher": small_tensors(2), "epoch": 1}
    message = refused(content, tmp_path)
    assert "holds several networks, student and teacher. Save the one that is meant" in message
    torch.save(torch.load(tmp_path / "mine.pth")["teacher"], tmp_path / "new.pth")
    assert same(read_checkpoint(tmp_path / "new.pth").tensors, small_tensors(2))


def test_weights_among_tensors_are_not_looked_for(tmp_path: Path) -> None:
    message = refused({"conv.weight": torch.zeros(2), "b": small_tensors()}, tmp_path)
    assert "holds b, of type OrderedDict, among its tensors" in message


def test_extra_states_of_modules_may_be_of_any_type(tmp_path: Path) -> None:
    extra = {"_extra_state": {"a": torch.zeros(2)}, "conv._extra_state": None}
    found = read({**small_tensors(), **extra}, tmp_path)
    assert found.inside == ()
    assert found.tensors["conv._extra_state"] is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["type", "packed", "tensor"])
def test_a_quantised_network_is_named_as_such(form: str, tmp_path: Path) -> None:
    tensor = torch.quantize_per_tensor(torch.ones(2, 2), 0.5, 0, torch.qint8)
    value = {"type": torch.qint8, "packed": (tensor, None), "tensor": tensor}[form]
    message = refused({**small_tensors(), "head._packed_params": value}, tmp_path)
    assert "holds a network that is quantised (head._packed_params), expected" in message


# ---------------------------------------------------------------------------- what runs no code


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, pickle.dump])
def test_a_checkpoint_that_would_run_code_runs_none(
    save: Callable[[object, io.BufferedWriter], None], tmp_path: Path
) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pth"
    with path.open("wb") as file:
        save({"conv.weight": Trap(sprung)}, file)
    refusal(path)
    assert not sprung.exists()


def test_options_that_hold_code_run_none(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = {"state_dict": small_tensors(), "args": argparse.Namespace(trap=Trap(sprung))}
    refused(content, tmp_path)
    assert not sprung.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_network_is_refused(zipped: bool, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    message = refused(network, tmp_path, _use_new_zipfile_serialization=zipped)
    assert "holds a pickled network, which is not loaded: that could run code" in message
    assert ".state_dict(), NEW)`" in message


@pytest.mark.parametrize("zipped", [True, False])
def test_an_object_beside_the_weights_is_named_with_a_way_out(zipped: bool, tmp_path: Path) -> None:
    content = {"state_dict": small_tensors(), "best": np.float64(0.5)}
    message = refused(content, tmp_path, _use_new_zipfile_serialization=zipped)
    assert "holds an object of numpy._core.multiarray.scalar, which is not loaded" in message
    assert '["state_dict"], NEW)`' in message


def test_the_way_out_works(tmp_path: Path) -> None:
    content = {"state_dict": small_tensors(), "best": np.float64(0.5)}
    path = checkpoint(tmp_path / "mine.pth", content)
    torch.save(torch.load(path, weights_only=False)["state_dict"], tmp_path / "new.pth")
    assert same(read_checkpoint(tmp_path / "new.pth").tensors, small_tensors())


def test_another_protocol_than_torchs_is_told_with_a_way_out(tmp_path: Path) -> None:
    # torch 2.14 reads protocol 2 only, and warns of it; ours must not.
    assert same(read(small_tensors(), tmp_path, pickle_protocol=3).tensors, small_tensors())
    message = refused(small_tensors(), tmp_path, pickle_protocol=4)
    assert "was pickled in a way that cannot be read as data. If you trust it, save" in message


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(path)  # type: ignore[no-untyped-call]
    assert "is a TorchScript program, not a checkpoint" in refusal(path)


# ----------------------------------------------------------------------------- what is no file


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").mkdir()
    assert "cannot be read" in refusal(tmp_path / "mine.pth")


def bytes_of(**options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(small_tensors(), file, **options)
    return file.getvalue()


def archive_of(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "content")
    return file.getvalue()


OLD = bytes_of(_use_new_zipfile_serialization=False)
NEW = bytes_of()
SAFE = safetensors.torch.save(small_tensors())
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f"
    b"32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
        (b"\n  <HTML>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        (POINTER, "is a Git LFS pointer, not the file itself. Run `git lfs pull`"),
        (NEW[: len(NEW) // 2], "is truncated or damaged"),
        (NEW[:-1], "is truncated or damaged"),
        (NEW[:40], "is truncated or damaged"),
        (OLD[:-5], "is truncated or damaged"),
        (SAFE[:-5], "of safetensors, is truncated or damaged"),
        (SAFE[:100], "of safetensors, is truncated or damaged"),
        (gzip.compress(NEW), "is compressed by gzip"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "is an HDF5 file"),
        (archive_of("word/document.xml"), "is an archive, but not of torch.save"),
        (pickle.dumps({"a": np.zeros(3)}), "is not a checkpoint that can be read as data"),
        (b"hello", "is not a checkpoint that can be read as data"),
        (b'{"message": "not found"}', "is not a checkpoint that can be read as data"),
        (
            b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 99,
            "is not a checkpoint that can be read as data",
        ),
        (b"\x80\x02}q\x00.", "is not a checkpoint that can be read as data"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_people_save_under_a_checkpoints_name_is_told(
    content: bytes, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(content)
    assert fault in refusal(path)


def test_a_name_that_is_not_text_is_damage(tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "mine.pth", small_tensors()))
    path.write_bytes(path.read_bytes().replace(b"/data/0", b"/\xadata/0", 1))
    assert "is truncated or damaged" in refusal(path)


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "safe.safetensors", "index.json"])
def test_whatever_is_damaged_is_one_line(name: str, tmp_path: Path) -> None:
    index = {"weight_map": dict.fromkeys(small_tensors(), "safe.safetensors")}
    contents = {
        "new.pth": NEW,
        "old.pth": OLD,
        "safe.safetensors": SAFE,
        "index.json": json.dumps(index).encode(),
    }
    for file, content in contents.items():
        (tmp_path / file).write_bytes(content)
    numbers, path = random.Random(name), tmp_path / name
    errors = []
    for _ in range(200):
        damaged = bytearray(contents[name])
        for _ in range(numbers.randint(1, 4)):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        path.write_bytes(damaged[: numbers.choice([len(damaged), numbers.randrange(len(damaged))])])
        try:
            read_checkpoint(path)
        except InputError as error:
            errors.append(str(error))
    assert len(errors) > 50
    assert all(message.isprintable() for message in errors)


def test_a_flipped_bit_in_a_tensor_is_found(tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "mine.pth", small_tensors()))
    content = bytearray(path.read_bytes())
    weights = small_tensors()["head.weight"].numpy().tobytes()
    content[content.index(weights) + 5] ^= 1
    path.write_bytes(content)
    assert not same(torch.load(path, weights_only=True), small_tensors())  # torch says nothing
    assert "is truncated or damaged" in refusal(path)
