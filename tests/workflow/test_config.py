"""``evaluator.toml``: what it may hold, and what commands take from it."""

from pathlib import Path

import pytest

from evaluator.errors import InputError
from evaluator.workflow.config import Config, read_config
from evaluator.workflow.models.options import ModelOptions


def config(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "evaluator.toml"
    path.write_text(text)
    return read_config(path)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    content = config(
        tmp_path,
        """
        [data]
        imagenet = "val"
        imagenet-c = ["noise.tar", "/data/blur.tar"]
        labels = "val.txt"
        [models.mine]
        model = "nets:resnet"
        weights = "net.pt"
        description = "net.toml"
        crop_px = 224
        [models.random]
        model = "resnet50"
        weights = "random"
        [models.graph]
        model = "net.onnx"
        """,
    )
    assert content.data == {
        "imagenet": (tmp_path / "val",),
        "imagenet-c": (tmp_path / "noise.tar", Path("/data/blur.tar")),
    }
    assert content.labels == tmp_path / "val.txt"
    mine = ModelOptions(
        "nets:resnet",
        weights=str(tmp_path / "net.pt"),
        description=str(tmp_path / "net.toml"),
        crop_px=224,
    )
    assert content.model("mine") == mine
    assert content.model("random") == ModelOptions("resnet50", weights="random")
    assert content.model("graph") == ModelOptions(str(tmp_path / "net.onnx"))
    assert content.model("alexnet") == ModelOptions("alexnet")


def test_the_file_of_the_working_directory_need_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config() == Config()
    Path("evaluator.toml").write_text('[data]\nimagenet = "val"\n')
    assert read_config().data == {"imagenet": (Path("val"),)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dta]", r"unknown key dta\. Did you mean data\?"),
        ("[data]\nimagenetc = 'x'", r"unknown key data\.imagenetc\. Did you mean data\.imagenet-c"),
        ("[data]\nimagenet = 3", r"data\.imagenet must be a path; got 3"),
        ("[data]\nimagenet = []", r"data\.imagenet must be a path; got \[\]"),
        ("data = 'x'", r"data must be a table, \[data\]; got 'x'"),
        ("models.a.model = 'x'\nmodels.a.wieghts = 'y'", r"Did you mean models\.a\.weights\?"),
        ("models.a.weights = 'x'", r"models\.a needs the key model"),
        ("models.a = 'x'", r"models\.a must be a table"),
        ("models.resnet50.model = 'x'", r"resnet50 is a model of this tool\. Choose another name"),
        ("models.a = {model = 'x', crop_px = true}", r"crop_px must be a whole number; got True"),
        ("models.a = {model = 'x', test_size = 1}", r"test_size must be true or false; got 1"),
        ("models.a = {model = 3}", r"models\.a\.model must be a text; got 3"),
        ("[data", r"is not a TOML file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"evaluator\.toml.*{message}"):
        config(tmp_path, text)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The configuration .*none\.toml cannot be read"):
        read_config(tmp_path / "none.toml")
