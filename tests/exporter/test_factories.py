"""Networks that a user's own code builds."""

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluator.contracts import ClassOrder, FactoryCode, ModelSpec
from evaluator.errors import InputError
from evaluator.exporter.description import read_description
from evaluator.exporter.factories import is_factory
from evaluator.exporter.graph.cost import model_gmac
from evaluator.exporter.spec import identity, model_spec
from evaluator.exporter.weights.weights import load_network

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, outputs=1000):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, outputs)

    def forward(self, images):
        return self.head(torch.relu(self.norm(self.conv(images))).mean((2, 3)))


def make():
    print("building")
    return Net()
"""

DESCRIPTION = """
name = "mine"
[preprocessing]
resize_px = 64
crop_px = 64
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""

_numbers = itertools.count()

Spec = Callable[..., ModelSpec]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that can be imported; a new one in each test."""
    name = f"nets_of_a_user_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def spec_of(module: str, tmp_path: Path) -> Spec:
    """From words to a spec, with more code in the module and more lines in the description."""

    def spec(
        name: str = "make", *, code: str = "", line: str = "", weights: str = "random"
    ) -> ModelSpec:
        source = tmp_path / f"{module}.py"
        source.write_text(source.read_text() + code)
        sys.modules.pop(module, None)
        (tmp_path / "mine.toml").write_text(line + DESCRIPTION)
        description = read_description(tmp_path / "mine.toml")
        return model_spec(f"{module}:{name}", weights=weights, description=description)

    return spec


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("a:b", True),
        ("a.b_c.d:Net.small", True),
        ("größe:netz", True),
        ("resnet50", False),
        ("a.b", False),
        ("a:", False),
        (":b", False),
        ("a/b:c", False),
        ("a:b c", False),
        ("1a:b", False),
        ("C:\\nets", False),
    ],
)
def test_a_factory_is_a_module_and_a_name(words: str, answer: bool) -> None:
    assert is_factory(words) is answer


def test_a_factory_gives_its_spec_and_its_network(
    spec_of: Spec, module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(line='licence = "MIT"\n')
    assert (spec.name, spec.architecture) == ("mine", f"{module}:make")
    assert (spec.licence, spec.source, spec.classes) == ("MIT", f"{module}:make", 1000)
    assert spec.asked_as == f"{module}:make"
    assert isinstance(spec.own, FactoryCode)
    assert spec.own.description == str(tmp_path / "mine.toml")
    network = load_network(spec).network
    assert not network.training
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)
    # Standard output is for what the tool itself says.
    assert capsys.readouterr().out == ""


def test_the_callers_generator_does_not_notice(spec_of: Spec) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_network(spec_of())
    assert torch.rand(1) == expected


def test_another_process_builds_the_same_network_from_the_spec_alone(
    spec_of: Spec, tmp_path: Path
) -> None:
    spec = spec_of()
    (tmp_path / "spec.pickle").write_bytes(pickle.dumps(spec))
    (tmp_path / "mine.toml").unlink()
    program = (
        "import pickle, sys\nfrom evaluator.exporter.weights.weights import load_network\n"
        "print(load_network(pickle.load(open(sys.argv[1], 'rb'))).weights_sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "spec.pickle")],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == [load_network(spec).weights_sha256]


def test_a_checkpoint_is_loaded_into_the_factorys_network(spec_of: Spec, tmp_path: Path) -> None:
    trained = load_network(spec_of()).network.state_dict()
    torch.save(trained, tmp_path / "trained.pth")
    loaded = load_network(spec_of(weights=str(tmp_path / "trained.pth")))
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, trained[name])


def test_a_factory_that_takes_a_crop_is_given_it(spec_of: Spec) -> None:
    code = "\ndef at(crop_px):\n    net = Net()\n    net.at = crop_px\n    return net\n"
    assert load_network(spec_of("at", code=code)).network.at == 64


def test_half_precision_becomes_float32(spec_of: Spec) -> None:
    network = load_network(spec_of("half", code="\ndef half():\n    return Net().half()\n")).network
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_default_weights_are_those_of_a_factory_that_says_so(spec_of: Spec) -> None:
    with pytest.raises(InputError, match=r"needs --weights FILE, or --weights random\. If it"):
        spec_of(weights="default")
    code = "\ndef trained():\n    torch.manual_seed(4)\n    return Net()\n"
    spec = spec_of("trained", code=code, line="trained = true\n", weights="default")
    assert spec.weights.kind == "factory"
    assert spec.weights.sha256 == load_network(spec).weights_sha256


def test_a_factory_that_says_so_and_draws_its_weights_is_found_out(spec_of: Spec) -> None:
    spec = spec_of(line="trained = true\n", weights="default")
    with pytest.raises(InputError, match="gives other weights than when the model was made"):
        load_network(spec)


def test_code_that_changed_is_another_model_and_is_not_taken_for_the_old_one(
    spec_of: Spec, module: str
) -> None:
    before = spec_of()
    assert identity(spec_of()) == identity(before)
    after = spec_of(code="\n# a remark\n")
    assert identity(after) != identity(before)
    with pytest.raises(InputError, match=f"The code of {module}:make is no longer the one"):
        load_network(before)
    load_network(after)


def test_code_that_changed_in_the_file_of_a_layer_is_noticed(
    spec_of: Spec, module: str, tmp_path: Path
) -> None:
    layers = tmp_path / f"{module}_layers.py"
    layers.write_text("from torch import nn\nclass Act(nn.ReLU):\n    pass\n")
    code = (
        f"\nfrom {module}_layers import Act\n"
        "def deep():\n    net = Net()\n    net.act = Act()\n    return net\n"
    )
    before = spec_of("deep", code=code)
    layers.write_text(layers.read_text().replace("nn.ReLU", "nn.GELU"))
    assert identity(spec_of("deep")) != identity(before)


def test_where_the_description_lies_is_no_part_of_the_identity(spec_of: Spec) -> None:
    spec = spec_of()
    assert isinstance(spec.own, FactoryCode)
    moved = replace(spec, own=replace(spec.own, description="/elsewhere.toml"))
    assert moved != spec
    assert identity(moved) == identity(spec)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("nothing", "", r"\.py has no nothing\. Expected a callable"),
        ("three", "\nthree = 3\n", r":three is a int, expected a callable"),
        ("text", "\ndef text():\n    return 'x'\n", r":text gives a str, expected a torch"),
        (
            "fails",
            "\ndef fails():\n    raise OSError(5, 'gone')\n",
            r"raises OSError: gone \(.*\.py, line 22\)",
        ),
        ("leaves", "\ndef leaves():\n    raise SystemExit(2)\n", r"raises SystemExit: 2 \("),
        ("asks", "\ndef asks(depth):\n    return Net()\n", r"raises TypeError: .*depth"),
        (
            "make",
            "\nimport no_such_package\n",
            r"ModuleNotFoundError: No module named 'no_such_package' \(.*\.py, line 21\)\.",
        ),
        ("make", "\ndef (:\n", r"cannot be imported: SyntaxError: .*line 21"),
    ],
)
def test_what_is_wrong_in_the_users_code_is_one_line_that_says_where(
    name: str, code: str, message: str, spec_of: Spec
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        spec_of(name, code=code)
    assert str(caught.value).isprintable()


def test_a_module_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    description = read_description(tmp_path / "mine.toml")
    with pytest.raises(InputError, match=r"No module named 'no_such_nets'\. Python searches"):
        model_spec("no_such_nets:make", weights="random", description=description)
    with pytest.raises(InputError, match=r"Omit \.py: no_such_nets:make\."):
        model_spec("no_such_nets.py:make", weights="random", description=description)


def test_a_network_of_other_classes_needs_a_class_file(spec_of: Spec) -> None:
    code = "\ndef wide():\n    return Net(1001)\ndef few():\n    return Net(10)\n"
    wide = spec_of("wide", code=code)
    with pytest.raises(InputError, match=r"gives 1,001 logits.*with --classes FILE"):
        load_network(wide)
    with pytest.raises(InputError, match=r"gives 10 logits.*needs one output for each class"):
        load_network(spec_of("few"))
    mapped = replace(wide, class_order=ClassOrder((-1, *range(1000))))
    images = torch.rand(2, 3, 64, 64)
    loaded = load_network(mapped)
    inner = loaded.network.get_submodule("network")
    assert torch.equal(loaded.network(images), inner(images)[:, 1:])


def test_a_factory_needs_a_description_and_a_name_of_its_own(spec_of: Spec) -> None:
    with pytest.raises(InputError, match=r"form of a factory.* needs --description FILE\.toml"):
        model_spec("torchvison:resnet18", weights="random")
    with pytest.raises(InputError, match=r"input is for ONNX files only, and .*:make is a factory"):
        spec_of(line='input = "normalized"\n')
    description = read_description(Path(spec_of().own.description))  # type: ignore[union-attr]
    with pytest.raises(InputError, match="the name resnet50 belongs to a model of `evaluator"):
        model_spec("a:b", weights="random", description=replace(description, name="resnet50"))
    with pytest.raises(InputError, match="name is for models of your own, and resnet50 is known"):
        model_spec("resnet50", description=description)
    unnamed = replace(description, name=None)
    with pytest.raises(InputError, match=r"^a:b cannot be imported"):
        model_spec("a:b", weights="random", description=unnamed)


UNCOUNTED = """
import warnings
from torch.nn.utils import parametrizations

class Fails(Net):
    def forward(self, images):
        warnings.warn("frightening")
        print("noise")
        if images.abs().sum() == 0:
            raise ValueError("no zeros, please")
        return super().forward(images)

def fails():
    return Fails()

def leaves():
    net = Net()
    net.forward = lambda images: exit(3)
    return net

def normed():
    net = Net()
    parametrizations.weight_norm(net.conv)
    return net
"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["fails", "leaves"])
def test_what_cannot_be_counted_is_left_out_without_a_word(
    name: str, spec_of: Spec, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(name, code=UNCOUNTED)
    capfd.readouterr()
    assert model_gmac(spec) is None
    assert capfd.readouterr() == ("", "")


def test_layers_that_compute_their_weights_are_counted(spec_of: Spec) -> None:
    normed, plain = model_gmac(spec_of("normed", code=UNCOUNTED)), model_gmac(spec_of("make"))
    assert normed is not None
    assert normed == plain


@pytest.mark.filterwarnings("error")
def test_weights_that_the_factory_loads_cause_no_warnings_while_they_are_counted(
    spec_of: Spec, tmp_path: Path
) -> None:
    code = (
        "\ndef loads():\n    net = Net()\n"
        f"    net.load_state_dict(torch.load({str(tmp_path / 'w.pth')!r}))\n    return net\n"
    )
    torch.save(load_network(spec_of()).network.state_dict(), tmp_path / "w.pth")
    assert model_gmac(spec_of("loads", code=code)) is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"KeyError: 'x' \(.*\.py, line 23\)"),
        ("return self.lacking(images)", r"AttributeError: .*lacking.* \(.*\.py, line 23\)"),
        ("raise SystemExit(3)", r"SystemExit: 3 \(.*\.py, line 23\)"),
    ],
)
def test_what_forward_raises_is_one_line_that_says_where(
    body: str, message: str, spec_of: Spec
) -> None:
    code = f"\nclass Bad(Net):\n    def forward(self, images):\n        {body}\n"
    spec = spec_of("Bad", code=code)
    with pytest.raises(InputError, match=rf"^mine (raises|does not run .*:) {message}\.$"):
        load_network(spec)


def test_what_a_factorys_network_computes_is_counted(spec_of: Spec) -> None:
    # 4 x 3 x 3 x 3 weights at 16 x 16 places, and the head.
    assert model_gmac(spec_of()) == pytest.approx((108 * 16 * 16 + 4 * 1000) / 1e9)
