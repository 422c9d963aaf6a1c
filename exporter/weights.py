"""From a ``ModelSpec`` to a network with its weights.

Weights are data, never code: checkpoints are read with ``weights_only=True``, and their checksum
is verified first wherever one is known.
"""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from ..contracts import FactoryCode, LoadedNetwork, ModelSpec
from ..errors import EvaluatorError, InputError, UnavailableError, reason_of, shown
from ..storage.atomic import make_folder
from ..storage.cache import cache_folder
from ..storage.digest import file_sha256
from .architectures import Build
from .class_order import in_imagenet_order
from .factories import check_code, factory_network
from .random_weights import random_network
from .spec import not_installed
from .zoo import PackageFile, find_model

if TYPE_CHECKING:
    import torch
    from torch import nn

# DenseNet's published checkpoints have names with a dot too many; torchvision renames them too.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")

_INSTEAD = "Give a checkpoint with --weights FILE, or use --weights random."


def load_network(spec: ModelSpec) -> LoadedNetwork:
    """Build the network and load its weights; in evaluation mode, float32, on the CPU.

    Raises:
        InputError: If a checkpoint does not fit the architecture or is damaged.
        UnavailableError: If the weights cannot be had.
    """
    network = _built(spec)
    if isinstance(spec.own, FactoryCode):
        check_code(spec.own, network)
    if spec.weights.kind not in ("random", "factory"):
        _load(network, _checkpoint(spec), spec)
    network.eval().requires_grad_(False)
    sha256 = tensors_sha256(network.state_dict())
    if spec.weights.kind == "factory" and sha256 != spec.weights.sha256:
        raise InputError(
            f"{spec.architecture} gives other weights than when the model was made from it. "
            "`trained = true` in the description promises that they are always the same."
        )
    return LoadedNetwork(spec, in_imagenet_order(network, spec), sha256)


def tensors_sha256(tensors: "dict[str, torch.Tensor]") -> str:
    """SHA-256 over the sorted name, dtype, shape and bytes of tensors."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        head = f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{list(tensor.shape)}\0"
        digest.update(head.encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    """What makes the network, from the spec alone: it may come from another process."""
    if isinstance(spec.own, FactoryCode):
        return factory_network(spec.own.factory)
    return find_model(spec.name).build


def _checkpoint(spec: ModelSpec) -> "dict[str, Any]":
    """The tensors of a checkpoint whose bytes are those that the spec promises."""
    kind = spec.weights.kind
    if kind == "download":
        return _downloaded(spec)
    return _of_file(spec) if kind == "file" else _of_package(spec)


def _of_file(spec: ModelSpec) -> "dict[str, Any]":
    path = Path(spec.weights.reference)
    if not path.is_file():
        raise InputError(f"The weights of {spec.name}, {shown(path)}, are gone. {_INSTEAD}")
    if file_sha256(path) != spec.weights.sha256:
        raise InputError(
            f"{shown(path)} is not the file that {spec.name} was made from: its SHA-256 "
            f"differs from {spec.weights.sha256[:12]}. Export the model again."
        )
    return _read(path)


def _of_package(spec: ModelSpec) -> "dict[str, Any]":
    """A file of an installed package, found without importing it."""
    default = find_model(spec.name).weights
    assert isinstance(default, PackageFile)
    found = importlib.util.find_spec(default.module)
    if found is None or not found.submodule_search_locations:
        raise not_installed(spec.name, default)
    path = Path(found.submodule_search_locations[0]) / default.path
    if file_sha256(path) != default.sha256:
        raise InputError(
            f"{shown(path)} is damaged: its SHA-256 is not {default.sha256[:12]}... "
            f"Reinstall {default.distribution}."
        )
    return _read(path)


def _downloaded(spec: ModelSpec) -> "dict[str, Any]":
    """Fetch once, with torch's own downloader; the hash is checked now and on every later use."""
    import torch

    url, prefix = spec.weights.reference, spec.weights.sha256
    path = cache_folder("weights") / url.rsplit("/", 1)[1]
    if not path.is_file():
        make_folder(path.parent)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        # urllib, http, socket, ssl, a wrong hash: all of them mean the same here.
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()
            raise UnavailableError(
                f"The weights of {spec.name} could not be had from {url}: "
                f"{reason_of(error)}. {_INSTEAD}"
            ) from error
    if not file_sha256(path).startswith(prefix):
        raise InputError(
            f"{shown(path)} is damaged: its SHA-256 does not start with {prefix}. "
            "Remove it; it will be fetched again."
        )
    return _read(path)


def _read(path: Path) -> "dict[str, Any]":
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader do
        raise InputError(
            f"{shown(path)} is no checkpoint that can be read as data: {type(error).__name__}. "
            "Expected a state dict saved by torch.save; a pickled network is not loaded, "
            "since that would run its code."
        ) from error
    inner = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(inner, dict) or not inner:
        raise InputError(
            f"{shown(path)} holds a {type(content).__name__}, expected a state dict: "
            "names of parameters with their tensors."
        )
    return inner


def _load(network: "nn.Module", tensors: "dict[str, Any]", spec: ModelSpec) -> None:
    """Load a state dict, with the renamings that the network's own modules know.

    Raises:
        InputError: If it lacks, adds or misshapes a parameter, or holds what is no tensor.
    """
    import torch

    reference, expected = shown(spec.weights.reference), network.state_dict()
    for name in [name for name in tensors if _DENSENET_NAME.search(str(name))]:
        tensors[_DENSENET_NAME.sub(r"\1\2", name)] = tensors.pop(name)
    foreign = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        kind = type(tensors[foreign[0]]).__name__
        raise InputError(f"{reference} holds {foreign[0]} as a {kind}, expected tensors only.")
    shaped = sorted(
        f"{name} is {list(tensors[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    )
    _refuse_keys(spec, "differs:", shaped)
    try:
        answer = network.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"The weights {reference} cannot be loaded into {spec.architecture}: "
            f"{reason_of(error)}."
        ) from error
    # Checkpoints of before 2018 have no counters; they do not matter in evaluation mode.
    missing = [name for name in answer.missing_keys if not name.endswith("num_batches_tracked")]
    _refuse_keys(spec, "lacks", sorted(missing))
    _refuse_keys(spec, "has also", sorted(answer.unexpected_keys))


def _refuse_keys(spec: ModelSpec, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"The weights {shown(spec.weights.reference)} do not fit {spec.architecture}: "
            f"the checkpoint {what} {', '.join(names[:3])}{more}."
        )
