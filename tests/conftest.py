"""What many tests share: a cache of their own, real photos, and one exported network."""

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Threads of small networks wait for each other; workers and other programs share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

import evaluator
from evaluator.contracts import Bundle
from evaluator.exporter.bundle import cached_bundle_folder, open_bundle
from evaluator.exporter.spec import model_spec
from evaluator.tests.doctored import doctored
from evaluator.tests.evaluate.generate.made_trees import photos_in
from evaluator.tests.examples import FAST, THOROUGH
from evaluator.tests.shared_cache import EVERYTHING, ROOT, digest, shared, source_digest, versions
from evaluator.tests.toy import RANDOM, TOY

collect_ignore = ["wheel"]  # run against the built wheel, outside the tree: see .ci/run

hypothesis.configuration.set_hypothesis_home_dir(ROOT / "hypothesis")
# Other work may share the machine: nothing has a deadline.
hypothesis.settings.register_profile(
    "fast", deadline=None, max_examples=FAST, derandomize=True, database=None
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=THOROUGH)
hypothesis.settings.load_profile("fast")

# What a shell runs in the background ignores Ctrl-C, and so does every process that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GENERATORS = (
    "imagecorruptions-imaug", "av", "numpy", "numba", "opencv-python", "Pillow", "scikit-image",
    "scipy", "simplejpeg", "foolbox",
)  # fmt: skip
"""Packages that generated data depend on."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests live to the end: the garbage collector need not walk through them again.

    With PyTorch and 4,000 tests a full collection takes half a second, and many tests cause one.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALUATOR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def shared_exports() -> Iterator[None]:
    """Networks that are known by name are exported once, into the cache that all tests share."""
    from evaluator.tests.shared_exports import exported_once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluator.workflow.models.bundles.in_child", exported_once)
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty labelled photos in class folders."""
    folder = tmp_path_factory.mktemp("data") / "imagenet"
    assert evaluator.sample_photos(folder) == 20
    return folder


@pytest.fixture(scope="session")
def three_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first three of them."""
    return photos_in(tmp_path_factory.mktemp("data") / "imagenet", 3)


@pytest.fixture(scope="session")
def corrupted(photos: Path) -> Path:
    """The photos under all 15 corruptions at all 5 severities. Copy the tree to change it."""

    def make(folder: Path) -> None:
        assert evaluator.corrupt_photos(photos, folder / "tree") == 20 * 75

    return _generated("corrupted", make, photos.parent / "imagenet-c")


@pytest.fixture(scope="session")
def three_corrupted(three_photos: Path) -> Path:
    """Three photos under the same, by two processes."""

    def make(folder: Path) -> None:
        assert evaluator.corrupt_photos(three_photos, folder / "tree", workers=2) == 3 * 75

    return _generated("three-corrupted", make, three_photos.parent / "imagenet-c")


@pytest.fixture(scope="session")
def two_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of the photos: videos take a second each to encode."""
    return photos_in(tmp_path_factory.mktemp("data") / "imagenet", 2)


# Takes 15 s where the shared cache is empty: ten slow encodings of two photos.
@pytest.fixture(scope="session")
def perturbed(two_photos: Path) -> Path:
    """Both under all ten perturbations, by two processes. Copy the tree before you change it."""

    def make(folder: Path) -> None:
        assert evaluator.perturb_photos(two_photos, folder / "tree", workers=2) == 2 * 10

    return _generated("perturbed", make, two_photos.parent / "imagenet-p")


def _generated(name: str, make: Callable[[Path], None], folder: Path) -> Path:
    """A copy of generated data, whose original is in the cache that all tests share."""
    sources = source_digest("evaluate", "storage", "contracts", "errors.py")
    product = shared(name, digest(sources, versions(*GENERATORS)), make)
    shutil.copytree(product / "tree", folder, copy_function=shutil.copyfile)
    return folder


# Takes 15 s where the shared cache is empty: an export, and its parity in PyTorch.
@pytest.fixture(scope="session")
def bundle(cache: Path, shared_exports: None) -> Bundle:
    """EfficientNet-Lite0 with real weights, exported and found to agree with PyTorch."""
    from evaluator.tests.shared_exports import PACKAGES

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EVALUATOR_CACHE", str(folder))
            exported = evaluator.export_model("efficientnet_lite0")
        assert exported.created
        assert exported.parity.passed

    key = digest(source_digest(*EVERYTHING), versions(*PACKAGES, "onnxruntime-gpu", "onnxruntime"))
    product = shared("efficientnet_lite0", key, make)
    for place in ("bundles", "parity", "self-checks"):
        shutil.copytree(
            product / place, cache / place, copy_function=shutil.copyfile, dirs_exist_ok=True
        )
    return open_bundle(cached_bundle_folder(model_spec("efficientnet_lite0")))


@pytest.fixture(scope="session")
def toy(cache: Path, shared_exports: None) -> Bundle:
    """SqueezeNet with random weights, for 64 px: for all that needs no real network.

    ``evaluator.export_model(TOY, **RANDOM)`` gives it again (``tests/toy.py``).
    """
    exported = evaluator.export_model(TOY, **RANDOM)
    assert exported.parity.passed
    return exported.bundle


@pytest.fixture
def exports_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports run in this process, where another would import PyTorch for a tiny network."""
    monkeypatch.setattr(
        "evaluator.workflow.models.bundles.in_child",
        lambda work, export, progress: work(export, progress),
    )


@pytest.fixture(scope="session")
def faulty(toy: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose graph takes BGR: its manifest is in order, its logits are wrong."""
    import numpy as np
    import onnx

    def bgr(graph: Any) -> None:
        channels = onnx.numpy_helper.from_array(np.array([2, 1, 0], np.int64), "channels")
        graph.initializer.append(channels)
        first = next(node for node in graph.node if node.op_type == "Conv")
        swap = onnx.helper.make_node("Gather", [first.input[0], "channels"], ["bgr"], axis=1)
        position = list(graph.node).index(first)
        first.input[0] = "bgr"
        graph.node.insert(position, swap)

    return doctored(toy, tmp_path_factory.mktemp("faulty") / "bundle", bgr)
