"""Networks that a factory wraps are what they wrap, or are refused by what they are."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from evaluator.contracts import ModelSpec, NullProgress
from evaluator.errors import InputError
from evaluator.exporter.description import read_description
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.tests.small import one_line, same

CODE = """
import functools

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def no_compiler(*_):
    raise RuntimeError("there is no compiler")


compile = functools.partial(torch.compile, backend=no_compiler)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 1000)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


def plain():
    return Net()


def compiled():
    return compile(Net())


def compiled_in_place():
    net = Net()
    net.compile(backend=no_compiler)
    net.features.compile(backend=no_compiler)
    return net


def compiled_forward():
    net = Net()
    net.forward = compile(net.forward)
    return net


class CompiledNet(Net):
    @compile
    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


class CompiledMethod(Net):
    @compile
    def pool(self, images):
        return self.features(images).mean((2, 3))

    def forward(self, images):
        return self.head(self.pool(images))


def compiled_attribute():
    net = CompiledMethod()
    net.pool = compile(lambda images: net.features(images).mean((2, 3)))
    return net


def scripted_part():
    net = Net()
    net.features = torch.jit.script(net.features)
    return compile(net)


def compiled_part():
    net = Net()
    net.features = compile(net.features)
    return net


def parallel():
    return nn.DataParallel(Net())


def parallel_of_a_gpu_machine():
    net = nn.DataParallel(Net())
    net.device_ids, net.output_device = [0], 0
    net.src_device_obj = torch.device("cuda", 0)
    return net


def parallel_part():
    net = Net()
    net.features = nn.DataParallel(net.features)
    net.features.device_ids = [0]
    return net


def start_group():
    import torch.distributed as dist
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


def distributed():
    start_group()
    return nn.parallel.DistributedDataParallel(Net())


def sharded():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    start_group()
    net = Net()
    fully_shard(net.features, mesh=init_device_mesh("cpu", (1,)))
    return net


def averaged():
    return AveragedModel(Net())


def all_of_them():
    return compile(AveragedModel(nn.DataParallel(compile(Net()))))


def ema_of_timm():
    from timm.utils import ModelEmaV3
    return ModelEmaV3(Net())


class Doubling(nn.DataParallel):
    def forward(self, images):
        return 2 * self.module(images)


def doubling():
    return Doubling(Net())


def hooked():
    net = nn.DataParallel(Net())
    net.register_forward_hook(lambda module, inputs, logits: -logits)
    return net


def lazy():
    return nn.Sequential(
        nn.LazyConv2d(8, 3, stride=4), nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(1000),
    )


def lazy_that_ran():
    net = lazy().eval()
    net(torch.zeros(1, 3, 64, 64))
    return net


def meta():
    with torch.device("meta"):
        return Net()


def dynamic():
    return torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)


def static():
    net = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Conv2d(3, 4, 3)).eval()
    net.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    return torch.ao.quantization.convert(torch.ao.quantization.prepare(net))


class Quantisable(Net):
    def __init__(self):
        super().__init__()
        self.quant = torch.ao.quantization.QuantStub()
        self.dequant = torch.ao.quantization.DeQuantStub()
        self.add = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, images):
        return self.dequant(super().forward(self.quant(images)))


def integers():
    net = Net()
    net.head.weight = nn.Parameter(torch.zeros(1000, 4, dtype=torch.int8), requires_grad=False)
    return net


def eighths():
    net = Net()
    net.head.weight.data = net.head.weight.data.to(torch.float8_e4m3fn)
    return net


class Normalising(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5), persistent=False)
        self.register_buffer("std", torch.full((3, 1, 1), 0.25), persistent=False)


class Extra(Net):
    def get_extra_state(self):
        return {"epoch": 3}

    def set_extra_state(self, state):
        pass
"""

PREPROCESSING = """
[preprocessing]
resize_px = 64
crop_px = 64
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""

WRAPPED = [
    "compiled", "compiled_in_place", "compiled_forward", "CompiledNet", "compiled_part",
    "CompiledMethod", "compiled_attribute",
    "parallel", "parallel_of_a_gpu_machine", "parallel_part", "averaged", "all_of_them",
    "ema_of_timm", "Extra", "Quantisable",
]  # fmt: skip

_numbers = itertools.count()

Spec = Callable[..., ModelSpec]


@pytest.fixture
def spec_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spec:
    module = f"wrapped_nets_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))

    def spec(name: str, weights: str = "random", line: str = "") -> ModelSpec:
        (tmp_path / "it.toml").write_text(line + PREPROCESSING)
        description = read_description(tmp_path / "it.toml")
        return model_spec(f"{module}:{name}", weights=weights, description=description)

    return spec


def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:torch.ao.quantization")
@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_wrapped_network_is_the_network(
    name: str, prefix: str, spec_of: Spec, tmp_path: Path
) -> None:
    plain = load_network(spec_of("plain"))
    state = {prefix + key: x for key, x in plain.network.state_dict().items()}
    torch.save(state, tmp_path / "plain.pth")
    loaded = load_network(spec_of(name, weights=str(tmp_path / "plain.pth")))
    assert loaded.weights_sha256 == plain.weights_sha256
    assert torch.equal(loaded.network(images()), plain.network(images()))
    assert not any("DataParallel" in type(m).__name__ for m in loaded.network.modules())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_module_of_torchscript_stays_what_it_is(spec_of: Spec, tmp_path: Path) -> None:
    plain = load_network(spec_of("plain"))
    torch.save(plain.network.state_dict(), tmp_path / "plain.pth")
    loaded = load_network(spec_of("scripted_part", weights=str(tmp_path / "plain.pth")))
    assert torch.equal(loaded.network(images()), plain.network(images()))


@pytest.mark.parametrize("name", ["compiled", "parallel_of_a_gpu_machine", "averaged", "Extra"])
def test_random_and_trained_weights_are_those_of_the_network_inside(
    name: str, spec_of: Spec
) -> None:
    plain = load_network(spec_of("plain"))
    assert load_network(spec_of(name)).weights_sha256 == plain.weights_sha256


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of processes that a factory starts ends with the test."""
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_network_that_is_distributed_is_the_network(spec_of: Spec) -> None:
    loaded = load_network(spec_of("distributed"))
    assert same(loaded.network.state_dict(), load_network(spec_of("plain")).network.state_dict())


def test_a_wrapper_that_computes_is_not_removed(spec_of: Spec, tmp_path: Path) -> None:
    plain = load_network(spec_of("plain"))
    torch.save(plain.network.state_dict(), tmp_path / "plain.pth")
    doubling = load_network(spec_of("doubling", weights=str(tmp_path / "plain.pth")))
    assert torch.equal(doubling.network(images()), 2 * plain.network(images()))


def refused(spec_of: Spec, name: str, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        spec_of(name, **options)
    return one_line(caught)


def test_a_wrapper_with_hooks_is_refused(spec_of: Spec) -> None:
    message = refused(spec_of, "hooked")
    assert ":hooked gives a DataParallel with hooks of its own" in message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("dynamic", "head: Linear"),
        ("static", ": "),
        ("integers", "head: Linear"),
        ("eighths", "head: Linear"),
    ],
)
def test_a_quantised_network_is_refused(name: str, place: str, spec_of: Spec) -> None:
    message = refused(spec_of, name)
    assert f":{name} gives a network that is quantised (" in message
    assert place in message
    assert "expected float32" in message


@pytest.mark.usefixtures("process_group")
def test_a_network_that_is_sharded_is_refused(spec_of: Spec) -> None:
    message = refused(spec_of, "sharded")
    assert "gives a network that is sharded over processes (features: FSDPSequential)" in message


def test_a_network_without_numbers_is_refused(spec_of: Spec) -> None:
    assert ":meta gives a network on the device meta" in refused(spec_of, "meta")


@pytest.mark.parametrize(
    "options", [{}, {"weights": "default", "line": "trained = true\n"}], ids=["random", "trained"]
)
def test_layers_without_a_shape_are_refused_without_a_checkpoint(
    options: dict[str, str], spec_of: Spec
) -> None:
    message = refused(spec_of, "lazy", **options)
    assert ":lazy has layers that have no shape before the first image (0.weight): run" in message


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_gives_layers_their_shape(prefix: str, spec_of: Spec, tmp_path: Path) -> None:
    ran = load_network(spec_of("lazy_that_ran"))
    state = {prefix + name: x for name, x in ran.network.state_dict().items()}
    torch.save(state, tmp_path / "ran.pth")
    loaded = load_network(spec_of("lazy", weights=str(tmp_path / "ran.pth")))
    assert loaded.weights_sha256 == ran.weights_sha256
    assert torch.equal(loaded.network(images()), ran.network(images()))
    del state[f"{prefix}5.bias"]
    torch.save(state, tmp_path / "ran.pth")
    with pytest.raises(InputError, match=r"the checkpoint lacks 5\.bias"):
        load_network(spec_of("lazy", weights=str(tmp_path / "ran.pth")))


def test_a_checkpoint_of_another_network_gives_no_shapes(spec_of: Spec, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1000, 4)}, tmp_path / "other.pth")
    with pytest.raises(
        InputError, match=r"lacks 8 tensors: 0\.\* \(2\), 1\.\* \(4\), 5\.\* \(2\), and"
    ):
        load_network(spec_of("lazy", weights=str(tmp_path / "other.pth")))


def test_an_extra_state_that_is_no_tensor_is_no_weight(spec_of: Spec) -> None:
    trained = spec_of("plain", weights="random")
    assert load_network(spec_of("Extra")).weights_sha256 == load_network(trained).weights_sha256
    sys.modules.pop(trained.architecture.partition(":")[0])


def test_a_network_that_may_normalise_again_is_noted(spec_of: Spec) -> None:
    told = NullProgress()
    load_network(spec_of("Normalising"), told)
    assert told.notes[0].startswith("warning: The network has a normalisation of its own, mean 0.5")
    load_network(spec_of("plain"), told)
    assert len(told.notes) == 1
