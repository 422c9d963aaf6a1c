"""Building a network with its weights from a ``ModelSpec``.

Weights are data, never code: checkpoints are read with ``weights_only=True``, and their checksum
is verified first wherever one is known.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import FactoryCode, LoadedNetwork, ModelSpec, NullProgress, Progress, ReadyOnnx
from ...errors import InputError, printable
from ...storage.digest import file_sha256
from ...system.users_code import users_code
from ..class_order import in_imagenet_order
from ..factories import check_code, factory_network
from ..ready_onnx import refuse_changed_file
from ..tensors import tensors_sha256
from ..zoo.rows import WEIGHTS_ADVICE, Build, Download, PackageFile
from ..zoo.table import find_model
from ..zoo.timm_models import TIMM, timm_tensors
from .checkpoints import Checkpoint, read_checkpoint
from .final_activation import leave_out_final_activation
from .load_state import load_checkpoint
from .normalisation import second_normalisation
from .random_weights import random_network
from .shards import checkpoint_sha256

if TYPE_CHECKING:
    from torch import nn


def load_network(spec: ModelSpec, progress: Progress | None = None) -> LoadedNetwork:
    """Build the network and load its weights; in evaluation mode, float32, on the CPU.

    Args:
        spec: Model to load.
        progress: Progress callback of a download, and of renamings in a checkpoint.

    Raises:
        InputError: If a checkpoint does not fit the architecture or is damaged.
        UnavailableError: If the weights cannot be downloaded or their package is not installed.
    """
    progress = progress or NullProgress()
    network = _build(spec)
    if isinstance(spec.own, FactoryCode):
        check_code(spec.own, network)
    if spec.weights.kind not in ("random", "factory"):
        load_checkpoint(network, _checkpoint(spec, progress), spec, progress)
    warning = second_normalisation(network, spec.preprocessing)
    if isinstance(spec.own, FactoryCode) and warning:
        progress.note(f"warning: {warning}")
    with users_code(spec.name):
        network.eval()
    for parameter in network.parameters():  # ``requires_grad_`` refuses TorchScript
        parameter.requires_grad_(False)
    sha256 = tensors_sha256(network.state_dict())
    if spec.weights.kind == "factory" and sha256 != spec.weights.sha256:
        raise InputError(
            f"{spec.architecture} gives other weights than when the model was made from it. "
            "With `trained = true` in the description it must give the same weights each time."
        )
    own = isinstance(spec.own, FactoryCode)
    left_out = leave_out_final_activation(network, spec) if own else ""
    return LoadedNetwork(spec, in_imagenet_order(network, spec), sha256, left_out)


def _build(spec: ModelSpec) -> "nn.Module":
    """The network; random weights are drawn if the spec asks for them."""
    import torch

    build, crop_px = network_builder(spec), spec.preprocessing.crop_px
    failure = "raises"
    if crop_px != spec.trained_crop_px:
        failure = f"(trained at {spec.trained_crop_px} px) cannot be built for {crop_px} px:"
    with users_code(spec.name, failure):
        if spec.weights.kind == "random":
            seed = int(spec.weights.reference.removeprefix("seed "))
            return random_network(build, crop_px, seed)
        # Building draws random numbers; the caller's generator must not change.
        with torch.random.fork_rng(devices=[]):
            return build(crop_px)


def network_builder(spec: ModelSpec) -> Build:
    """The builder of the network, from the spec alone, which may come from another process.

    Raises:
        InputError: If the model exists only as ONNX.
    """
    if isinstance(spec.own, ReadyOnnx):
        raise InputError(
            f"{spec.name} exists only as ONNX, which PyTorch cannot run. Gradients and "
            "--engine torch need the network's code: give it as package.module:callable."
        )
    if isinstance(spec.own, FactoryCode):
        return factory_network(spec.own.factory)
    return find_model(spec.name).build


def _checkpoint(spec: ModelSpec, progress: Progress) -> Checkpoint:
    """A checkpoint whose hash is that of the spec; of timm, under the names of its network."""
    checkpoint = read_checkpoint(_weights_file(spec, progress))
    if spec.weights.kind != "download" or not spec.name.startswith(TIMM):
        return checkpoint
    name, crop_px = spec.name.removeprefix(TIMM), spec.preprocessing.crop_px
    return replace(checkpoint, tensors=timm_tensors(name, crop_px, checkpoint.tensors))


def _weights_file(spec: ModelSpec, progress: Progress) -> Path:
    weights = spec.weights
    if weights.kind == "download":
        return Download(weights.reference).file(spec.name, weights.sha256, progress)
    if weights.kind == "package":
        published = find_model(spec.name).weights
        assert isinstance(published, PackageFile)
        return published.file(spec.name)
    path = Path(weights.reference)
    if not path.is_file():
        raise InputError(
            f"The weights of {spec.name}, {printable(path)}, no longer exist. {WEIGHTS_ADVICE}"
        )
    refuse_changed_file(path, checkpoint_sha256(path, file_sha256), spec)
    return path
