"""What the code takes from TensorRT is there in TensorRT 10, in TensorRT 11 and in TensorRT-RTX.

``tests/data/tensorrt_api.json`` lists the public names of all three, read off NVIDIA's wheels. The
code is held to it twice: its source is walked for every attribute of a TensorRT object, also where
no machine without a GPU comes by; and real builds with TensorRT-RTX run through a module that notes
which attribute of which class is touched.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.engine.plans import builder as plan_builder
from evaluator.engine.plans import tensorrt_api, tensorrt_engine, timing_cache
from evaluator.engine.plans.build_progress import BuildProgress
from evaluator.engine.plans.builder import NETWORK_FLAGS, BuildJob, deserialises, plan_from_onnx
from evaluator.engine.plans.tensorrt_api import (
    FLAVOURS,
    find_flavour,
    load_tensorrt,
    targets_of,
    version_of,
)
from evaluator.errors import EngineError, EngineUnavailableError, InputError
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle

ROOT = Path(evaluator.__file__).parent
API = json.loads((ROOT / "tests" / "data" / "tensorrt_api.json").read_text())["bindings"]
MODULES = (plan_builder, tensorrt_api, tensorrt_engine, timing_cache)

GUARDED = {
    ("", "ComputeCapability"): "asked for with hasattr; only TensorRT-RTX builds for another GPU",
    ("IBuilderConfig", "num_compute_capabilities"): "only used where there is a ComputeCapability",
    ("IBuilderConfig", "set_compute_capability"): "likewise",
    ("", "DynamicShapesKernelSpecializationStrategy"): "only TensorRT-RTX",
    ("IRuntimeConfig", "dynamic_shapes_kernel_specialization_strategy"): "likewise",
}
PYBIND = {"__init__", "__members__", "__version__", "name"}  # of every module, class and enum


def names_of(binding: str, owner: str) -> set[str]:
    """The attributes of a class; those of the module where ``owner`` is empty."""
    if not owner:
        return set(API[binding])
    entry = API[binding].get(owner, {})
    return {*entry.get("attributes", ()), *entry.get("members", ())}


def lacking(owner: str | None, name: str) -> list[str]:
    """The bindings that have no such name; in no class at all where the owner is not known."""
    if name in PYBIND or (owner, name) in GUARDED or ("", owner) in GUARDED:
        return []
    if owner is None:
        if any(guarded == name for _, guarded in GUARDED):
            return []
        return [b for b in API if not any(name in names_of(b, other) for other in API[b])]
    return [binding for binding in API if name not in names_of(binding, owner)]


# ------------------------------------------------------------------------------- the source, walked


class Walker:
    """Follows TensorRT's objects through a file: whatever is ``Any``, and what comes of it."""

    def __init__(self, source: str, makers: set[str]) -> None:
        self.tree = ast.parse(source)
        self.makers = makers

    def taken(self) -> Iterator[tuple[str | None, str]]:
        """(Class, attribute): the class is empty for the module, none where it is not written."""
        for scope in self.tree.body:
            if not isinstance(scope, ast.FunctionDef | ast.ClassDef):
                continue
            known = self.known_in(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Attribute) and self.is_theirs(node.value, known):
                    yield owner_of(node.value), node.attr
                if isinstance(node, ast.ClassDef) and node is not scope:
                    yield from self.overridden(node)

    def overridden(self, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
        for base in node.bases:
            assert isinstance(base, ast.Attribute)
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    yield base.attr, item.name

    def known_in(self, scope: ast.FunctionDef | ast.ClassDef) -> set[str]:
        """The names in a function or class that stand for TensorRT's objects."""
        arguments = [n for n in ast.walk(scope) if isinstance(n, ast.arg)]
        known = {a.arg for a in arguments if a.annotation and ast.unparse(a.annotation) == "Any"}
        while True:
            found = {name for name, value in bindings(scope) if self.is_theirs(value, known)}
            if found <= known:
                return known
            known |= found

    def is_theirs(self, node: ast.expr, known: set[str]) -> bool:
        match node:
            case ast.Name(id=name):
                return name in known
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return f"self.{name}" in known
            case ast.Attribute(value=value) | ast.Subscript(value=value):
                return self.is_theirs(value, known)
            case ast.Call(func=ast.Name(id="getattr"), args=[first, *_]):
                return self.is_theirs(first, known)
            case ast.Call(func=ast.Name(id=name)):
                return name in self.makers
            case ast.Call(func=function):
                return self.is_theirs(function, known)
            case ast.IfExp(body=body, orelse=other):
                return self.is_theirs(body, known) or self.is_theirs(other, known)
            case ast.BoolOp(values=values):
                return any(self.is_theirs(value, known) for value in values)
        return False


def bindings(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Each name that is given a value; one whose type is written down is what it says."""
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                yield f"self.{name}", node.value
            case ast.Assign(targets=targets, value=value):
                yield from ((t.id, value) for t in targets if isinstance(t, ast.Name))
            case ast.For(target=ast.Name(id=name), iter=value):
                yield name, value
            case ast.comprehension(target=ast.Name(id=name), iter=value):
                yield name, value


def owner_of(node: ast.expr) -> str | None:
    if (isinstance(node, ast.Name) and node.id == "trt") or (
        isinstance(node, ast.Attribute) and node.attr == "trt"
    ):
        return ""
    if isinstance(node, ast.Attribute) and owner_of(node.value) == "":
        return node.attr
    return None


def makers() -> set[str]:
    """Our functions that give one of TensorRT's objects."""
    sources = [Path(str(module.__file__)).read_text() for module in MODULES]
    functions = [n for s in sources for n in ast.parse(s).body if isinstance(n, ast.FunctionDef)]
    return {f.name for f in functions if f.returns and ast.unparse(f.returns) == "Any"}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.__name__).rpartition(".")[2])
def test_every_attribute_in_the_source_is_in_all_three(module: Any) -> None:
    taken = set(Walker(Path(module.__file__).read_text(), makers()).taken())
    assert taken
    assert {pair: lacking(*pair) for pair in taken if lacking(*pair)} == {}


def test_the_walk_finds_what_one_of_the_three_lacks() -> None:
    source = """
def build(trt: Any, path: Path) -> None:
    flag = trt.BuilderFlag.FP16
    config = trt.Builder(None).create_builder_config()
    config.int8_calibrator = path.name
    path.no_attribute_of_tensorrt
    for name in config.nowhere:
        name.missing
"""
    taken = set(Walker(source, set()).taken())
    wrong = {pair[1]: lacking(*pair) for pair in taken if lacking(*pair)}
    ten, eleven, rtx = API
    assert wrong == {
        "FP16": [eleven, rtx],
        "int8_calibrator": [eleven, rtx],
        "nowhere": [ten, eleven, rtx],
        "missing": [ten, eleven, rtx],
    }


def test_no_other_file_holds_the_module() -> None:
    # Else the walk would not see it. The toolchain only hands it on.
    held = set()
    for path in ROOT.glob("[!.bt]*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and owner_of(node.value) == "":
                held.add(path.stem)
    assert held <= {Path(str(module.__file__)).stem for module in MODULES}


def test_what_is_guarded_is_in_one_of_the_three_only() -> None:
    for owner, name in GUARDED:
        assert [name in names_of(binding, owner) for binding in API] == [False, False, True]


def test_the_flags_that_go_into_a_key_are_in_all_three() -> None:
    for binding in API:
        assert set(NETWORK_FLAGS) <= names_of(binding, "NetworkDefinitionCreationFlag")


# ------------------------------------------------------------------------------------ builds, noted


LEAVES = {"Dims", "IHostMemory"}  # a sequence and a buffer, which have no names to note


class Noted:
    """One of TensorRT's objects, or the module; notes which attribute of which class is touched."""

    def __init__(self, real: Any, touched: set[tuple[str, str]], owner: str | None = None) -> None:
        vars(self).update(_real=real, _touched=touched)
        vars(self)["_owner"] = type(real).__name__ if owner is None else owner

    def __getattr__(self, name: str) -> Any:
        self._touched.add((self._owner, name))
        return self._noted(getattr(self._real, name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._touched.add((self._owner, name))
        setattr(self._real, name, bare(value))

    def __call__(self, *arguments: Any) -> Any:
        return self._noted(self._real(*map(bare, arguments)))

    def __mro_entries__(self, _: Any) -> tuple[Any, ...]:
        return (self._real,)

    def _noted(self, value: Any) -> Any:
        if isinstance(value, type):
            return Noted(value, self._touched, value.__name__)
        theirs = type(value).__module__.startswith("tensorrt_rtx")
        leaf = hasattr(type(value), "__members__") or type(value).__name__ in LEAVES
        if (theirs and not leaf) or (callable(value) and not theirs):
            return Noted(value, self._touched)
        return value


def bare(value: Any) -> Any:
    return value._real if isinstance(value, Noted) else value


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_every_attribute_that_real_builds_touch_is_in_all_three(tmp_path: Path) -> None:
    touched: set[tuple[str, str]] = set()
    flavour = find_flavour("tensorrt-rtx")
    trt = Noted(load_tensorrt(flavour), touched, owner="")
    bundle = small_bundle(tmp_path / "bundle")
    for target, tf32 in (("sm89", False), ("", True)):
        job = BuildJob(flavour, plan_key(target=target, tf32=tf32), bundle.graph, "small")
        data, _layers = plan_from_onnx(trt, job, BuildProgress(), tmp_path / "timings")
        assert data.nbytes > 100_000
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    broken = BuildJob(flavour, plan_key(), tmp_path / "broken.onnx", "broken")
    with pytest.raises(EngineError):
        plan_from_onnx(trt, broken, BuildProgress())
    deserialises(trt, data)
    assert targets_of(trt)
    assert version_of(trt)
    assert ("Builder", "build_serialized_network") in touched
    assert ("IBuilderConfig", "progress_monitor") in touched
    assert ("ITimingCache", "combine") in touched
    assert ("ParserError", "desc") in touched
    assert ("Runtime", "deserialize_cuda_engine") in touched
    assert {pair: lacking(*pair) for pair in touched if lacking(*pair)} == {}


# ----------------------------------------------------------------------------------------- packages


def test_a_package_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for flavour, index in (("tensorrt", "https://pypi.nvidia.com"), ("tensorrt-rtx", "pip")):
        row = find_flavour(flavour)
        monkeypatch.setitem(sys.modules, row.module, None)
        with pytest.raises(EngineUnavailableError, match="is not installed") as caught:
            load_tensorrt(row)
        assert index in str(caught.value)
        assert f"pip install {flavour}" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["import ctypes; ctypes.CDLL('libnvinfer.so.99')", "import tensorrt_libs_not_there"],
    ids=["library", "module"],
)
def test_a_package_whose_libraries_do_not_load_is_one_line(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(EngineUnavailableError) as caught:
        load_tensorrt(find_flavour("tensorrt"))
    assert "TensorRT is installed, but does not load: " in str(caught.value)
    assert "99" in str(caught.value) or "tensorrt_libs_not_there" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_name_that_makes_no_plans_is_refused() -> None:
    with pytest.raises(InputError, match="no plans of 'trt'"):
        find_flavour("trt")


def test_importing_the_package_and_its_jobs_imports_neither() -> None:
    theirs = {flavour.module for flavour in FLAVOURS.values()}
    code = (
        "import sys, evaluator; evaluator.compile_model\n"
        "import evaluator.workflow.models.compile, evaluator.workflow.cache\n"
        "import evaluator.engine.plans.cache\n"
        f"assert not {theirs} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_kernels_are_chosen_by_a_strategy_that_exists() -> None:
    (binding,) = (name for name in API if name.startswith("tensorrt_rtx"))
    strategies = names_of(binding, "DynamicShapesKernelSpecializationStrategy")
    assert FLAVOURS["tensorrt-rtx"].kernels in strategies
    assert FLAVOURS["tensorrt"].kernels == ""
