"""Loading a checkpoint into a network: names, prefixes, shapes, classes."""

import re
from typing import TYPE_CHECKING

from ...contracts import ModelSpec, Progress
from ...errors import InputError, printable, reported_as
from ..tensors import COUNTER
from .checkpoints import Checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = dict[str, torch.Tensor]

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes of wrappers: DataParallel and averages, torch.compile, Lightning."""

# Names in DenseNet's published checkpoints have an extra dot, which torchvision removes too.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_checkpoint(
    network: "nn.Module", checkpoint: Checkpoint, spec: ModelSpec, progress: Progress
) -> None:
    """Load weights, renamed as known here and in the network's own modules.

    The checkpoint must have exactly the tensors of the network, each with its shape. Half precision
    is converted to the network's own.

    Raises:
        InputError: If they do not fit; the differences are named.
    """
    tensors, own = checkpoint.tensors, network.state_dict()
    choices = _choices(checkpoint, _remove_prefixes(tensors, own))
    if choices:
        progress.note(f"Weights of {printable(checkpoint.path)}: {choices}.")
    for name in [name for name in tensors if _DENSENET_NAME.search(name)]:
        tensors[_DENSENET_NAME.sub(r"\1\2", name)] = tensors.pop(name)
    origin = printable(spec.weights.reference) + (f" ({choices})" if choices else "")
    misfit = f"The weights {origin} do not fit {spec.architecture}: the checkpoint"
    _refuse_classes(spec.architecture, misfit, tensors, own)
    _refuse_shapes_and_types(misfit, tensors, own)
    fault = f"The weights {origin} cannot be loaded into {spec.architecture}"
    with reported_as(fault, RuntimeError, ValueError, NotImplementedError):
        result = network.load_state_dict(tensors, strict=False)
    # Checkpoints from before 2018 have no counters.
    missing = sorted(name for name in result.missing_keys if not name.endswith(COUNTER))
    lists = [("lacks", missing), ("has also", sorted(result.unexpected_keys))]
    differences = [f"{verb} {_first_three(names)}" for verb, names in lists if names]
    if differences:
        raise InputError(f"{misfit} {', and '.join(differences)}.")


def _remove_prefixes(tensors: "Tensors", own: "Tensors") -> str:
    """Remove in place the prefixes of all names that the network's own do not have."""
    from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

    removed = ""
    while prefix := _prefix(tensors, own):
        if prefix == "module.":
            tensors.pop("n_averaged", None)  # beside the module in torch.optim.swa_utils
        consume_prefix_in_state_dict_if_present(tensors, prefix)
        removed += prefix
    return removed


def _prefix(tensors: "Tensors", own: "Tensors") -> str | None:
    for prefix in PREFIXES:
        others = {name for name in tensors if not name.startswith(prefix)}
        if prefix == "module.":
            others -= {"n_averaged"} - own.keys()
        if not others and not any(name.startswith(prefix) for name in own):
            return prefix
    return None


def _choices(checkpoint: Checkpoint, removed_prefix: str) -> str:
    """Text on which weights of the file are used and how they are renamed; may be empty."""
    choices = []
    if checkpoint.inside:
        others = f" rather than {' or '.join(checkpoint.beside)}" if checkpoint.beside else ""
        choices.append(f"those of {'/'.join(checkpoint.inside)}{others}")
    if removed_prefix:
        choices.append(f"without {removed_prefix} before their names")
    return ", ".join(choices)


def _refuse_classes(architecture: str, misfit: str, tensors: "Tensors", own: "Tensors") -> None:
    """Name the most frequent misfit: only the head differs, in its number of classes."""
    pairs = [
        (tensors[name].shape, own[name].shape)
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    last = list(own)[-1] if own else ""
    if not pairs or last not in tensors or tensors[last].shape == own[last].shape:
        return
    if any(len(shape) == 0 or shape[1:] != own_shape[1:] for shape, own_shape in pairs):
        return
    classes = {(shape[0], own_shape[0]) for shape, own_shape in pairs}
    if len(classes) == 1:
        count, own_count = classes.pop()
        raise InputError(f"{misfit} is for {count} classes, {architecture} has {own_count}.")


def _refuse_shapes_and_types(misfit: str, tensors: "Tensors", own: "Tensors") -> None:
    import torch

    floating = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    common = sorted(own.keys() & tensors.keys())
    wrong_shapes = [
        f"{name} is {list(tensors[name].shape)}, expected {list(own[name].shape)}"
        for name in common
        if tensors[name].shape != own[name].shape
    ]
    if wrong_shapes:
        raise InputError(f"{misfit} differs: {_first_three(wrong_shapes)}.")
    # load_state_dict would copy the integers of a quantised checkpoint as they are.
    wrong_types = [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}"
        for name in common
        if own[name].is_floating_point() and tensors[name].dtype not in floating
    ]
    if wrong_types:
        raise InputError(
            f"{misfit} is quantised: {_first_three(wrong_types)}, expected floating point."
        )


def _first_three(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
