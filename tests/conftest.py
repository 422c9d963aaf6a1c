"""What many tests share: a cache of their own, real photos, and one exported network."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import evaluator
from evaluator.contracts import Bundle
from evaluator.tests.doctored import doctored
from evaluator.tests.evaluate.generate.made_trees import photos_in

hypothesis.settings.register_profile("untimed", deadline=None)  # other work may share the machine
hypothesis.settings.load_profile("untimed")

# What a shell runs in the background ignores Ctrl-C, and so does every process that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALUATOR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty labelled photos in class folders."""
    folder = tmp_path_factory.mktemp("data") / "imagenet"
    assert evaluator.sample_photos(folder) == 20
    return folder


@pytest.fixture(scope="session")
def corrupted(photos: Path) -> Path:
    """The photos under all 15 corruptions at all 5 severities."""
    folder = photos.parent / "imagenet-c"
    assert evaluator.corrupt_photos(photos, folder) == 20 * 75
    return folder


@pytest.fixture(scope="session")
def two_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of the photos: videos take a second each to encode."""
    return photos_in(tmp_path_factory.mktemp("data") / "imagenet", 2)


@pytest.fixture(scope="session")
def perturbed(two_photos: Path) -> Path:
    """Both under all ten perturbations, by two processes. Copy the tree before you change it."""
    folder = two_photos.parent / "imagenet-p"
    assert evaluator.perturb_photos(two_photos, folder, workers=2) == 2 * 10
    return folder


@pytest.fixture(scope="session")
def bundle(cache: Path) -> Bundle:
    """EfficientNet-Lite0 with real weights, exported and found to agree with PyTorch."""
    exported = evaluator.export_model("efficientnet_lite0")
    assert exported.created
    assert exported.parity.passed
    return exported.bundle


@pytest.fixture(scope="session")
def faulty(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
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

    return doctored(bundle, tmp_path_factory.mktemp("faulty") / "bundle", bgr)
