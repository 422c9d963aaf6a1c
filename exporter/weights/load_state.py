"""Loading a checkpoint into a network: names, prefixes, shapes, classes."""

import re
from typing import TYPE_CHECKING

from ...contracts import ModelSpec, Progress
from ...errors import InputError, printable, reason_of
from ..tensors import COUNTER
from .checkpoints import Checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = dict[str, torch.Tensor]

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers put before every name: DataParallel and averages, torch.compile, Lightning."""


# DenseNet's published checkpoints have names with a dot too many; torchvision renames them too.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_checkpoint(
    network: "nn.Module", checkpoint: Checkpoint, spec: ModelSpec, progress: Progress
) -> None:
    """Load weights, with the renamings that are known here and in the network's own modules.

    Every tensor of the network must be there, no other, and each with its shape. Half precision is
    widened to the network's own.

    Raises:
        InputError: If they do not fit; what differs is named.
    """
    tensors, own = checkpoint.tensors, network.state_dict()
    taken_off = _take_off_prefixes(tensors, own)
    words = _how(checkpoint, taken_off)
    if words:
        progress.note(f"Weights of {printable(checkpoint.path)}: {', '.join(words)}.")
    for name in [name for name in tensors if _DENSENET_NAME.search(name)]:
        tensors[_DENSENET_NAME.sub(r"\1\2", name)] = tensors.pop(name)
    where = printable(spec.weights.reference) + (f" ({', '.join(words)})" if words else "")
    misfit = f"The weights {where} do not fit {spec.architecture}: the checkpoint"
    _refuse_classes(spec.architecture, misfit, tensors, own)
    _refuse_shapes_and_types(misfit, tensors, own)
    try:
        answer = network.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"The weights {where} cannot be loaded into {spec.architecture}: {reason_of(error)}."
        ) from error
    # Checkpoints of before 2018 have no counters.
    missing = sorted(name for name in answer.missing_keys if not name.endswith(COUNTER))
    unexpected = sorted(answer.unexpected_keys)
    lists = [("lacks", missing), ("has also", unexpected)]
    differing = [f"{verb} {_some(names)}" for verb, names in lists if names]
    if differing:
        raise InputError(f"{misfit} {', and '.join(differing)}.")


def _take_off_prefixes(tensors: "Tensors", own: "Tensors") -> list[str]:
    """Rename in place; the prefixes that all names had and the network's own have not."""
    from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

    taken_off: list[str] = []
    while prefix := _prefix(tensors, own):
        if prefix == "module.":
            tensors.pop("n_averaged", None)  # beside the module in torch.optim.swa_utils
        consume_prefix_in_state_dict_if_present(tensors, prefix)
        taken_off.append(prefix)
    return taken_off


def _prefix(tensors: "Tensors", own: "Tensors") -> str | None:
    for prefix in PREFIXES:
        others = {name for name in tensors if not name.startswith(prefix)}
        if prefix == "module.":
            others -= {"n_averaged"} - own.keys()
        if not others and not any(name.startswith(prefix) for name in own):
            return prefix
    return None


def _how(checkpoint: Checkpoint, taken_off: list[str]) -> list[str]:
    """What was done to find them, in words."""
    words = []
    if checkpoint.inside:
        passed_over = f" rather than {' or '.join(checkpoint.beside)}" if checkpoint.beside else ""
        words.append(f"those of {'/'.join(checkpoint.inside)}{passed_over}")
    if taken_off:
        words.append(f"without {''.join(taken_off)} before their names")
    return words


def _refuse_classes(architecture: str, misfit: str, tensors: "Tensors", own: "Tensors") -> None:
    """Name the commonest misfit: only the head differs, and only in its number of classes."""
    pairs = [
        (tensors[name].shape, own[name].shape)
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    last = list(own)[-1] if own else ""
    if not pairs or last not in tensors or tensors[last].shape == own[last].shape:
        return
    if any(len(there) == 0 or there[1:] != here[1:] for there, here in pairs):
        return
    classes = {(there[0], here[0]) for there, here in pairs}
    if len(classes) == 1:
        there, here = classes.pop()
        raise InputError(f"{misfit} is for {there} classes, {architecture} has {here}.")


def _refuse_shapes_and_types(misfit: str, tensors: "Tensors", own: "Tensors") -> None:
    import torch

    floating = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    both = sorted(own.keys() & tensors.keys())
    shaped = [
        f"{name} is {list(tensors[name].shape)}, expected {list(own[name].shape)}"
        for name in both
        if tensors[name].shape != own[name].shape
    ]
    if shaped:
        raise InputError(f"{misfit} differs: {_some(shaped)}.")
    # load_state_dict would copy the integers of a quantised checkpoint as they are.
    typed = [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}"
        for name in both
        if own[name].is_floating_point() and tensors[name].dtype not in floating
    ]
    if typed:
        raise InputError(f"{misfit} is quantised: {_some(typed)}, expected floating point.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
