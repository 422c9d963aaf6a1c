"""Checkpoints in several files, with an index."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.checkpoints import read_checkpoint
from evaluator.exporter.weights.shards import read_index
from evaluator.exporter.weights.weights import load_network
from evaluator.tests.small import Tensors, one_line, same, small_tensors


def sharded(folder: Path, tensors: Tensors, suffix: str = ".safetensors", parts: int = 2) -> Path:
    """The index of files as Hugging Face's libraries write them."""
    folder.mkdir(exist_ok=True)
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for part in range(parts):
        own = {name: tensors[name].clone() for name in names[part::parts]}
        file = f"model-{part + 1:05}-of-{parts:05}{suffix}"
        if suffix == ".safetensors":
            safetensors.torch.save_file(own, folder / file)
        else:
            torch.save(own, folder / file)
        weight_map |= dict.fromkeys(own, file)
    index = folder / f"model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_network(model_spec("small", weights=str(path)))
    return one_line(caught)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_all_files_of_an_index_are_loaded(
    suffix: str, parts: int, prefix: str, tmp_path: Path
) -> None:
    tensors = {prefix + name: x for name, x in small_tensors().items()}
    index = sharded(tmp_path / "hub", tensors, suffix, parts)
    loaded = load_network(model_spec("small", weights=str(index)))
    assert same(loaded.network.state_dict(), small_tensors())


def test_files_behind_links_are_read(tmp_path: Path) -> None:
    # Hugging Face's cache holds links in a folder of the revision.
    index = sharded(tmp_path / "blobs", small_tensors())
    (tmp_path / "snapshot").mkdir()
    for number, file in enumerate(sorted(index.parent.iterdir())):
        blob = file.rename(index.parent / f"blob{number}")
        (tmp_path / "snapshot" / file.name).symlink_to(blob)
    assert same(read_checkpoint(tmp_path / "snapshot" / index.name).tensors, small_tensors())


@pytest.mark.usefixtures("small")
def test_every_file_is_part_of_the_identity(tmp_path: Path) -> None:
    index = sharded(tmp_path / "hub", small_tensors(1))
    before = model_spec("small", weights=str(index))
    sharded(tmp_path / "hub", small_tensors(2))
    assert model_spec("small", weights=str(index)).weights.sha256 != before.weights.sha256
    with pytest.raises(InputError, match="is not the file that small was made from"):
        load_network(before)


@pytest.mark.usefixtures("small")
def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    index = sharded(tmp_path / "hub", small_tensors())
    (index.parent / "model-00002-of-00002.safetensors").unlink()
    assert "names model-00002-of-00002.safetensors, which is missing beside it" in refused(index)


@pytest.mark.usefixtures("small")
def test_files_of_another_index_are_refused(tmp_path: Path) -> None:
    index = sharded(tmp_path / "hub", small_tensors())
    content = json.loads(index.read_text())
    gone = content["weight_map"].pop("head.bias")
    index.write_text(json.dumps(content))
    assert f"does not belong to {gone} beside it, which has also head.bias" in refused(index)
    content["weight_map"] |= {"head.bias": gone, "other": gone}
    index.write_text(json.dumps(content))
    assert "which lacks other. Copy or download all files" in refused(index)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shard", ["../a.safetensors", "/a", "a/b.safetensors", 3, None, "a\n"])
def test_an_index_reads_only_its_own_folder(shard: object, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    assert "expected the name of a file in the same folder" in refused(index)


@pytest.mark.parametrize(
    "content", ["{}", '{"weight_map": {}}', '{"weight_map": 3}', "[1]", '{"a"', "{" * 9999, "x"]
)
def test_other_json_is_not_an_index(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    assert read_index(path) is None
    with pytest.raises(InputError, match="is not a checkpoint that can be read as data"):
        read_checkpoint(path)


@pytest.mark.usefixtures("small")
def test_one_of_several_files_is_named_as_such(tmp_path: Path) -> None:
    index = sharded(tmp_path / "hub", small_tensors())
    message = refused(index.parent / "model-00001-of-00002.safetensors")
    assert message.endswith(
        "By its name it is part 1 of 2: give their index, model.safetensors.index.json."
    )


@pytest.mark.usefixtures("small")
def test_a_folder_is_refused_with_what_to_give(tmp_path: Path) -> None:
    index = sharded(tmp_path / "hub", small_tensors())
    assert refused(index.parent).endswith(f"hub is not a file. Give {index}.")
    (tmp_path / "dcp").mkdir()
    (tmp_path / "dcp" / ".metadata").touch()
    (tmp_path / "dcp" / "__0_0.distcp").touch()
    assert "torch.distributed.checkpoint.format_utils dcp_to_torch" in refused(tmp_path / "dcp")
    assert "Expected a checkpoint (.pth, .safetensors)" in refused(tmp_path)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 1000)
        self.b = self.a


def test_names_that_safetensors_notes_are_read(tmp_path: Path) -> None:
    network = Tied()
    safetensors.torch.save_model(network, str(tmp_path / "tied.safetensors"))
    assert same(read_checkpoint(tmp_path / "tied.safetensors").tensors, network.state_dict())
    # Of several files, too; their index names only what is stored.
    stored = {name: "tied.safetensors" for name in ("a.bias", "a.weight")}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": stored}))
    assert same(read_checkpoint(index).tensors, network.state_dict())


def test_other_metadata_are_no_names(tmp_path: Path) -> None:
    metadata = {"format": "pt", "conv.weight": "gone", "note": "text"}
    safetensors.torch.save_file(small_tensors(), tmp_path / "it.safetensors", metadata)
    assert same(read_checkpoint(tmp_path / "it.safetensors").tensors, small_tensors())
