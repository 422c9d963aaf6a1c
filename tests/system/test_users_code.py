"""What networks raise: one line with the exception, the user's place, and what to do."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from evaluator.errors import EngineMemoryError, InputError
from evaluator.system.users_code import named, network_code, reporting, users_code

CODE = """
import json
import torch
from torch import nn

class Fails(nn.Module):
    def forward(self, images):
        raise ValueError("first line\\nsecond line")

class FailsInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
    def forward(self, images):
        return self.conv(images)

class FailsInALibrary(nn.Module):
    def forward(self, images):
        return json.loads("{")

class Leaves(nn.Module):
    def forward(self, images):
        raise SystemExit("enough")

class Single(nn.Module):
    def forward(self, images):
        if len(images) > 1:
            raise RuntimeError("batch of one only")
        return images

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("not even that")

class FailsUnprintably(nn.Module):
    def forward(self, images):
        raise Unprintable

class Cancelled(nn.Module):
    def forward(self, images):
        raise GeneratorExit

class Loads(nn.Module):
    def forward(self, images):
        nn.Linear(2, 2).load_state_dict({"lacking" + "g" * 900: images})

class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images * 1
    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("no backward")

class NoBackward(nn.Module):
    def forward(self, images):
        return Scale.apply(images)
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("users")
    (folder / "users_layers.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("users_layers")


def line_of(module: ModuleType, text: str) -> str:
    path = Path(str(module.__file__))
    (number,) = [n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line]
    return f"({path}, line {number})"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("name", "reason", "line"),
    [
        ("Fails", "ValueError: first line", "raise ValueError"),
        ("FailsInside", "RuntimeError: Given groups=1", "self.conv(images)"),
        ("FailsInALibrary", "JSONDecodeError: Expecting property name", "json.loads"),
        ("Leaves", "SystemExit: enough", "raise SystemExit"),
        ("FailsUnprintably", "Unprintable: Unprintable", "raise Unprintable"),
        ("Cancelled", "GeneratorExit: GeneratorExit", "raise GeneratorExit"),
        ("Loads", "RuntimeError: Error(s) in loading state_dict for Linear: Miss", "nn.Linear(2"),
    ],
)
def test_a_failing_pass_is_one_line_with_the_users_line(
    users: ModuleType, name: str, reason: str, line: str
) -> None:
    network = getattr(users, name)()
    message = refusal(lambda: reporting(network, "mine")(torch.zeros(2, 3, 8, 8)))
    assert message.startswith(f"mine raises {reason}")
    assert message.endswith(f"{line_of(users, line)}.")
    assert len(message) < 700


def test_a_failing_backward_pass_is_one_too(users: ModuleType) -> None:
    network, images = named(users.NoBackward(), "mine"), torch.zeros(1, 3, requires_grad=True)

    def backward() -> None:
        with network_code(network, images):
            network(images).sum().backward()

    place = line_of(users, "raise NotImplementedError")
    assert refusal(backward) == f"mine raises NotImplementedError: no backward {place}."


def test_a_network_that_takes_single_images_is_told_from_one_that_takes_none(
    users: ModuleType,
) -> None:
    message = refusal(lambda: reporting(users.Single(), "mine")(torch.zeros(3, 3)))
    assert message.endswith(
        "on 3 images, but not on one: score it with --engine torch --batch-size 1."
    )
    assert "but not on one" not in refusal(
        lambda: reporting(users.Fails(), "mine")(torch.zeros(3, 3))
    )


def test_an_error_without_a_line_of_the_users_has_no_place() -> None:
    layer = nn.Conv2d(1, 2, 3)
    message = refusal(lambda: reporting(layer, "mine")(torch.zeros(1, 3, 8, 8)))
    assert message.startswith("mine raises RuntimeError: ")
    assert ", line " not in message


def test_missing_memory_is_left_to_who_can_halve_the_batch_or_is_one_line() -> None:
    def fail(images: torch.Tensor) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        reporting(fail, "mine")(torch.zeros(2, 3))
    out_of_memory = pytest.raises(EngineMemoryError, match=r"^mine is out of memory: MemoryError\.")
    with out_of_memory, users_code("mine"):
        fail(torch.zeros(2, 3))


def test_errors_of_the_tool_and_interrupts_pass() -> None:
    for error in (InputError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, users_code("mine"):
            raise error
        assert caught.value is error


def test_a_network_without_a_name_is_the_network() -> None:
    message = refusal(lambda: _fail(nn.Identity()))
    assert message.startswith("The network raises ZeroDivisionError: ")


def _fail(network: nn.Module) -> None:
    with network_code(network, torch.zeros(1)):
        raise ZeroDivisionError


class Script(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.reshape(7, 7)


@pytest.mark.filterwarnings("ignore")
def test_the_reason_of_torchscript_is_its_last_line() -> None:
    network = torch.jit.script(Script())
    message = refusal(lambda: reporting(network, "mine")(torch.zeros(2, 3)))
    assert "RuntimeError: shape '[7, 7]' is invalid for input of size 6" in message


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (lambda images: (images, images), "tuple for 2 images"),
        (lambda images: {"logits": images}, "dict for 2 images"),
        (lambda images: images[:1].flatten(1), "[1, 12] for 2 images"),
        (lambda images: images, "[2, 3, 2, 2] for 2 images"),
        (lambda images: images.mean(), "Tensor for 2 images"),
        (lambda images: None, "NoneType for 2 images"),
    ],
)
def test_what_is_not_a_row_of_logits_for_each_image_is_refused(
    given: Callable[[torch.Tensor], object], shape: str
) -> None:
    message = refusal(lambda: reporting(given, "mine")(torch.zeros(2, 3, 2, 2)))
    assert message == f"mine gives {shape}, expected logits [2, classes]."
