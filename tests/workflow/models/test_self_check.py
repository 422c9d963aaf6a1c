"""The self-check of a reference: what it refuses, in which words, and what it accepts."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

import evaluator
from evaluator.contracts import NullProgress
from evaluator.errors import InputError, SelfCheckError
from evaluator.exporter.weights.weights import load_network
from evaluator.tests.command_line import error_of, run
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.toy import RANDOM, TOY
from evaluator.tests.user_networks import UserCode, users_code
from evaluator.workflow.models import self_check
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import resolve_model
from evaluator.workflow.models.self_check import check_reference

NETWORKS = """
class Dropout(Net):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.3))

class Noise(Net):
    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))

class Counting(Net):
    calls = 0
    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls

class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.jit.script(nn.Sequential(Net().conv, nn.Flatten(), nn.Dropout(0.5)))
        self.head = nn.Linear(8 * 49, 1000)
        nn.init.ones_(self.head.weight), nn.init.zeros_(self.head.bias)
    def eval(self):
        return self
    def forward(self, x):
        return self.head(self.net(x))

class BatchStatistics(Net):
    def features(self, x):
        return F.batch_norm(self.conv(x), None, None, training=True).relu().mean((2, 3))

class NoStatistics(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

class Centred(Net):
    def forward(self, x):
        logits = super().forward(x)
        return logits - logits.mean(0)

class Attending(Net):
    def forward(self, x):
        features = self.features(x)
        return self.head(30 * ((features @ features.T).softmax(1) @ features))

class ByPosition(Net):
    def forward(self, x):
        return super().forward(x) * torch.linspace(1, 2, len(x)).unsqueeze(1)

class Stuck(Net):
    def eval(self):
        return self

class Trains(Net):
    def forward(self, x):
        self.norm.train()
        return super().forward(x)

class Autocast(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()

class HalfHead(Net):
    def forward(self, x):
        return self.features(x).half() @ self.head.weight.half().T * 1.0

class HiddenHalf(Net):
    def __init__(self):
        super().__init__()
        self.scale = [torch.ones(1000, dtype=torch.float16)]
    def forward(self, x):
        return super().forward(x) * self.scale[0].float()

class FunctionalSoftmax(Net):
    def forward(self, x):
        return F.softmax(super().forward(x), 1)

class Ensemble(Net):
    def forward(self, x):
        logits = super().forward(x)
        return torch.stack([logits.softmax(-1), (2 * logits).softmax(-1)]).mean(0)

class ByHand(Net):
    def forward(self, x):
        powers = super().forward(x).exp()
        return powers / powers.sum(1, keepdim=True)

class FunctionalSigmoid(Net):
    def forward(self, x):
        return super().forward(x).sigmoid().reshape(len(x), -1)

class Nan(Net):
    def forward(self, x):
        return super().forward(x) / 0 * 0

def soft():
    return nn.Sequential(Net(), nn.Softmax(1))

class Sigmoids(Net):
    def __init__(self):
        super().__init__()
        self.end = nn.Sigmoid()
    def forward(self, x):
        return self.end(super().forward(x))

class Inner(Net):
    def __init__(self):
        super().__init__()
        self.gate = nn.Sigmoid()
    def features(self, x):
        features = super().features(x)
        return features * self.gate(features)

class Twice(Inner):
    def forward(self, x):
        return self.gate(super().forward(x))

def log_soft():
    return nn.Sequential(Net(), nn.LogSoftmax(-1))

class Evaluates(Net):
    def train(self, mode=True):
        return super().train(False)
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield users_code(tmp_path_factory.mktemp("code"), patch, NETWORKS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dropout", "same answer twice.*two passes over the same images differ.*Dropout draws"),
        ("Noise", "two passes over the same images differ.*Noise draws random numbers"),
        ("Counting", "two passes over the same images differ.*does the network change"),
        ("Scripted", "evaluation mode.*Scripted is in training mode.*same answer twice"),
        ("BatchStatistics", "companions in the batch: BatchStatistics normalises by the stat"),
        ("NoStatistics", r"companions in the batch: norm \(BatchNorm2d\) normalises by the stat"),
        ("Centred", "companions in the batch: does a layer normalise over the batch"),
        ("Attending", "companions in the batch"),
        ("ByPosition", "companions in the batch"),
        ("Stuck", "Stuck is in training mode, though eval.*also fails: batch independence"),
        ("Trains", r"norm \(BatchNorm2d\) is in training mode"),
        ("Autocast", r"does not compute in float32: conv \(Conv2d\) has a tensor of bfloat16"),
        ("HalfHead", "does not compute in float32: HalfHead has a tensor of float16"),
        ("HiddenHalf", "does not compute in float32: HiddenHalf has a tensor of float16"),
        ("FunctionalSoftmax", "outputs are probabilities: it ends in a softmax"),
        ("Ensemble", "outputs are probabilities: it ends in a softmax"),
        ("ByHand", "outputs are probabilities: it ends in a softmax"),
        ("FunctionalSigmoid", "outputs are probabilities: it ends in a sigmoid"),
        ("Twice", "outputs are probabilities: it ends in a sigmoid"),
        ("Nan", "logits that are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.*:FutureWarning")
def test_a_network_that_cannot_be_measured_is_refused_by_its_cause(
    code: UserCode, name: str, words: str
) -> None:
    with pytest.raises(SelfCheckError, match=f"{name} fails its self-check.*{words}") as error:
        code.checked(name)
    assert "--no-self-check" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["make", "Inner", "Evaluates"])
def test_a_usual_network_passes_without_a_note(code: UserCode, name: str) -> None:
    checked = code.checked(name).checked
    assert checked is not None
    assert (checked.status, checked.notes, checked.left_out) == ("passed", (), "")


@pytest.mark.parametrize(("name", "left_out"), [("soft", "softmax"), ("Sigmoids", "sigmoid")])
def test_the_last_layer_is_left_out_if_it_makes_probabilities(
    code: UserCode, name: str, left_out: str
) -> None:
    checked, plain = code.checked(name).checked, code.checked("make").checked
    assert checked is not None
    assert plain is not None
    assert (checked.status, checked.left_out) == ("passed", left_out)
    assert any(f"ends in a {left_out}, which is left out" in note for note in checked.notes)
    assert checked.fingerprint == plain.fingerprint  # the same logits, bit for bit


def test_log_probabilities_are_logits(code: UserCode) -> None:
    checked = code.checked("log_soft").checked
    assert checked is not None
    assert checked.status == "passed"
    assert any("log-probabilities, which are valid logits" in note for note in checked.notes)


def test_the_callers_generator_and_network_are_left_as_they_were(code: UserCode) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with pytest.raises(SelfCheckError):
        code.checked("Noise")
    assert torch.rand(1) == expected


def test_a_result_is_stored_for_each_version_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path))
    loads = []

    def counted(*words: Any) -> Any:
        loads.append(words)
        return load_network(*words)

    monkeypatch.setattr(self_check, "load_network", counted)
    subject = resolve_model(ModelOptions(TOY, **RANDOM))
    first, again = (check_reference(subject, NullProgress()) for _ in range(2))
    assert first.checked == again.checked
    assert len(loads) == 1
    check_reference(subject, NullProgress(), gradients=True)
    check_reference(subject, NullProgress(), gradients=True)
    assert len(loads) == 2  # gradients were not asked for
    monkeypatch.setattr(self_check, "torch_versions", lambda: {"torch": "9.9"})
    check_reference(subject, NullProgress())
    assert len(loads) == 3
    # Where it is not required, it is not made.
    monkeypatch.setattr(self_check, "torch_versions", lambda: {"torch": "9.8"})
    waived = resolve_model(ModelOptions(TOY, self_check=False, **RANDOM))
    assert check_reference(waived, NullProgress()).checked is None
    assert len(loads) == 3


def onnx_file(folder: Path, graph: ReadyGraph, last: tuple[Any, ...] = ()) -> Path:
    """A file whose graph ends in further nodes."""
    import onnx

    model = graph.model()
    for node in last:
        model.graph.node.append(node)
    if last:
        model.graph.output[0].name = last[-1].output[0]
    onnx.save(model, folder / "mine.onnx")
    description(folder / "mine.toml", 'input = "normalized"\nname = "mine-onnx"')
    return folder / "mine.onnx"


def test_an_onnx_file_is_checked_on_the_original(tmp_path: Path) -> None:
    subject = resolve_model(ModelOptions(str(onnx_file(tmp_path, ReadyGraph()))))
    checked = check_reference(subject, NullProgress()).checked
    assert checked is not None
    assert (checked.status, checked.fingerprint) == ("passed", None)
    questions = [finding.question for finding in checked.findings]
    assert questions == ["same answer twice", "batch independence", "logits"]


def test_an_onnx_file_that_mixes_images_is_refused(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0], keepdims=1)
    difference = helper.make_node("Sub", ["scores", "mean"], ["centred"])
    file = onnx_file(tmp_path, ReadyGraph(), (mean, difference))
    subject = resolve_model(ModelOptions(str(file)))
    with pytest.raises(SelfCheckError, match="companions in the batch"):
        check_reference(subject, NullProgress())
    done = run("parity", file, "--engine", "onnxruntime")
    assert "companions in the batch" in error_of(done, code=3)


@pytest.mark.parametrize(
    ("operator", "last", "words"),
    [
        ("Sigmoid", (), "it ends in a sigmoid"),
        ("Sigmoid", ("Identity",), "it ends in a sigmoid"),
        ("HardSigmoid", (), "it ends in a sigmoid"),
    ],
)
def test_an_onnx_file_that_ends_in_a_sigmoid_is_refused(
    tmp_path: Path, operator: str, last: tuple[str, ...], words: str
) -> None:
    names = ["scores", *(f"step.{number}" for number in range(1 + len(last)))]
    nodes = [
        helper.make_node(each, [taken], [given])
        for each, taken, given in zip((operator, *last), names, names[1:], strict=False)
    ]
    subject = resolve_model(ModelOptions(str(onnx_file(tmp_path, ReadyGraph(), tuple(nodes)))))
    with pytest.raises(SelfCheckError, match=words):
        check_reference(subject, NullProgress())


def test_an_onnx_file_may_end_in_log_probabilities(tmp_path: Path) -> None:
    node = helper.make_node("LogSoftmax", ["scores"], ["logs"], axis=1)
    subject = resolve_model(ModelOptions(str(onnx_file(tmp_path, ReadyGraph(), (node,)))))
    checked = check_reference(subject, NullProgress()).checked
    assert checked is not None
    assert any("log-probabilities" in note for note in checked.notes)


GRADIENTS = """
from torch.utils.checkpoint import checkpoint

class Reentrant(Net):
    def features(self, x):
        return checkpoint(super().features, x, use_reentrant=True)

class NoGrad(Net):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)

class Detached(Net):
    def features(self, x):
        return super().features(x).detach()

class ByNumpy(Net):
    def forward(self, x):
        return super().forward(torch.from_numpy(x.detach().numpy()))

class Rounded(Net):
    def forward(self, x):
        return super().forward(x.round())

def switched_off():
    torch.set_grad_enabled(False)
    return Net()

@torch.inference_mode()
def made_for_inference():
    return Net()
"""


@pytest.fixture(scope="module")
def differentiated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield users_code(tmp_path_factory.mktemp("code"), patch, GRADIENTS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoGrad", "logits have no gradient: some operation cannot be differentiated"),
        ("Detached", "logits have no gradient"),
        ("ByNumpy", "logits have no gradient"),
        ("Rounded", "gradient of the logits is zero everywhere"),
    ],
)
def test_gradients_are_required_where_they_are_needed_only(
    differentiated: UserCode, name: str, words: str
) -> None:
    checked = differentiated.checked(name).checked
    assert checked is not None
    assert checked.status == "passed"
    with pytest.raises(SelfCheckError, match=f"fails its self-check .gradients.*{words}") as error:
        differentiated.checked(name, gradients=True)
    # Without a gradient nothing can be continued.
    assert ("--no-self-check" in str(error.value)) == (name == "Rounded")
    if name != "Rounded":
        with pytest.raises(SelfCheckError):
            differentiated.checked(name, gradients=True, self_check=False)


@pytest.mark.parametrize("name", ["Reentrant", "switched_off", "made_for_inference"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_attack_and_maximize_take_gradients_however_the_network_is_written(
    differentiated: UserCode, name: str, three_photos: Path, tmp_path: Path
) -> None:
    def records(factory: str) -> Any:
        done = evaluator.attack_whitebox(
            differentiated.factory(factory),
            three_photos,
            description=differentiated.description,
            limit=2,
            epsilons=[2 / 255],
            steps=[3],
            out=tmp_path / factory,
            device="cpu",
        )
        import pyarrow.dataset

        table = pyarrow.dataset.dataset(done.folder / "records").to_table()
        return table.to_pydict()

    assert records(name) == records("make")
    assert torch.is_grad_enabled()
    made = [
        evaluator.maximize(
            differentiated.factory(factory),
            description=differentiated.description,
            out=tmp_path / f"maximized-{factory}",
            units=[1],
            steps=2,
            device="cpu",
        ).folder
        for factory in (name, "make")
    ]
    images = [np.load(folder / "maximized.npz")["last"] for folder in made]
    np.testing.assert_array_equal(*images)
    shutil.rmtree(tmp_path / name)


def test_maximize_is_refused_by_the_line_of_an_attack(
    differentiated: UserCode, three_photos: Path, tmp_path: Path
) -> None:
    words = differentiated.words("NoGrad")
    attack = run("attack", "whitebox", *words, "--data", three_photos, "--out", tmp_path / "a")
    maximize = run("maximize", *words, "--out", tmp_path / "m")
    assert error_of(attack, code=3) == error_of(maximize, code=3)


def test_the_check_is_an_option_of_every_command_with_a_model() -> None:
    for command in ("score", "export", "parity", "maximize", "bench", "compile"):
        assert "--no-self-check" in run(command, "--help").stdout
    for kind in ("whitebox", "transfer"):
        assert "--no-self-check" in run("attack", kind, "--help").stdout
    with pytest.raises(InputError, match="is not a bundle"):
        evaluator.score("no/bundle", "imagenet", "photos", self_check=False)
