"""From a ``ModelSpec`` to a network with its weights.

Weights are data, never code: checkpoints are read with ``weights_only=True``, and their checksum
is verified first wherever one is known.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import FactoryCode, LoadedNetwork, ModelSpec, NullProgress, Progress, ReadyOnnx
from ...errors import EvaluatorError, InputError, printable, reason_of
from ...storage.digest import file_sha256
from ...storage.fetch import fetch
from ..class_order import in_imagenet_order
from ..factories import check_code, factory_network
from ..origins import INSTEAD_OF_FETCHING, download_path, not_installed
from ..tensors import tensors_sha256
from ..zoo.architectures import Build
from ..zoo.rows import PackageFile
from ..zoo.table import find_model
from ..zoo.timm_models import TIMM, timm_tensors
from .checkpoints import Checkpoint, read_checkpoint
from .load_state import load_checkpoint
from .random_weights import random_network

if TYPE_CHECKING:
    from torch import nn

_INSTEAD = "Give a checkpoint with --weights FILE, or use --weights random."


def load_network(spec: ModelSpec, progress: Progress | None = None) -> LoadedNetwork:
    """Build the network and load its weights; in evaluation mode, float32, on the CPU.

    Args:
        spec: The model.
        progress: Is told of a download, and where in a checkpoint the weights were found.

    Raises:
        InputError: If a checkpoint does not fit the architecture or is damaged.
        UnavailableError: If the weights cannot be had.
    """
    progress = progress or NullProgress()
    network = _built(spec)
    if isinstance(spec.own, FactoryCode):
        check_code(spec.own, network)
    if spec.weights.kind not in ("random", "factory"):
        load_checkpoint(network, _checkpoint(spec, progress), spec, progress)
    network.eval().requires_grad_(False)
    sha256 = tensors_sha256(network.state_dict())
    if spec.weights.kind == "factory" and sha256 != spec.weights.sha256:
        raise InputError(
            f"{spec.architecture} gives other weights than when the model was made from it. "
            "`trained = true` in the description promises that they are always the same."
        )
    return LoadedNetwork(spec, in_imagenet_order(network, spec), sha256)


def _built(spec: ModelSpec) -> "nn.Module":
    """The network, with its random weights where they are asked for."""
    import torch

    build, crop_px = build_of(spec), spec.preprocessing.crop_px
    try:
        if spec.weights.kind == "random":
            seed = int(spec.weights.reference.removeprefix("seed "))
            return random_network(build, crop_px, seed)
        # Building draws numbers that are thrown away; the caller's generator must not notice.
        with torch.random.fork_rng(devices=[]):
            return build(crop_px)
    except EvaluatorError:
        raise
    except Exception as error:  # whatever a constructor makes of a crop that it cannot take
        raise InputError(
            f"{spec.name} cannot be built for images of {crop_px} px: {reason_of(error)}. "
            f"It was trained at {spec.trained_crop_px} px."
        ) from error


def build_of(spec: ModelSpec) -> Build:
    """What makes the network, from the spec alone: it may come from another process.

    Raises:
        InputError: If the model exists only as ONNX.
    """
    if isinstance(spec.own, ReadyOnnx):
        raise InputError(
            f"{spec.name} exists only as ONNX, which PyTorch cannot run: what needs gradients, or "
            "--engine torch, needs the network's code. Give it as package.module:callable."
        )
    if isinstance(spec.own, FactoryCode):
        return factory_network(spec.own.factory)
    return find_model(spec.name).build


def _checkpoint(spec: ModelSpec, progress: Progress) -> Checkpoint:
    """The tensors of a checkpoint whose bytes are those that the spec promises."""
    kind = spec.weights.kind
    if kind == "download":
        return _downloaded(spec, progress)
    return _of_file(spec) if kind == "file" else _of_package(spec)


def _of_file(spec: ModelSpec) -> Checkpoint:
    path = Path(spec.weights.reference)
    if not path.is_file():
        raise InputError(f"The weights of {spec.name}, {printable(path)}, are gone. {_INSTEAD}")
    if file_sha256(path) != spec.weights.sha256:
        raise InputError(
            f"{printable(path)} is not the file that {spec.name} was made from: its SHA-256 "
            f"differs from {spec.weights.sha256[:12]}. Export the model again."
        )
    return read_checkpoint(path)


def _of_package(spec: ModelSpec) -> Checkpoint:
    """A file of an installed package, found without importing it."""
    default = find_model(spec.name).weights
    assert isinstance(default, PackageFile)
    found = importlib.util.find_spec(default.module)
    if found is None or not found.submodule_search_locations:
        raise not_installed(spec.name, default)
    path = Path(found.submodule_search_locations[0]) / default.path
    if file_sha256(path) != default.sha256:
        raise InputError(
            f"{printable(path)} is damaged: its SHA-256 is not {default.sha256[:12]}... "
            f"Reinstall {default.distribution}."
        )
    return read_checkpoint(path)


def _downloaded(spec: ModelSpec, progress: Progress) -> Checkpoint:
    """Fetched once; its hash is checked now and on every later use."""
    url = spec.weights.reference
    path = download_path(url)
    fetch(
        url,
        path,
        sha256=spec.weights.sha256,
        progress=progress,
        what=f"the weights of {spec.name}",
        instead=INSTEAD_OF_FETCHING,
    )
    checkpoint = read_checkpoint(path)
    if not spec.name.startswith(TIMM):
        return checkpoint
    tensors = timm_tensors(
        spec.name.removeprefix(TIMM), spec.preprocessing.crop_px, checkpoint.tensors
    )
    return replace(checkpoint, tensors=tensors)
