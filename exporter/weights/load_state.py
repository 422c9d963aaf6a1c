"""Loading a checkpoint into a network: names, shapes, classes, ties.

The network then holds what the file says; what cannot be read in one way only is refused.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...contracts import ModelSpec, Progress
from ...errors import InputError, printable, reported_as
from ..tensors import uninitialised_names
from .checkpoints import Checkpoint
from .misfit import copies_error, copy_place, misfit_error, names_text
from .normalisation import Normalisation, find_normalisations, refuse_other_normalisation
from .renaming import (
    EXTRA_STATE,
    PROFILER,
    UNREAD,
    NetworkState,
    Reading,
    last_word,
    network_state,
    read_names,
    renaming_text,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    State = dict[str, Any]

# Names in DenseNet's published checkpoints have an extra dot, which torchvision removes too.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_checkpoint(
    network: "nn.Module", checkpoint: Checkpoint, spec: ModelSpec, progress: Progress
) -> None:
    """Load weights, renamed as known here and in the network's own modules.

    The checkpoint must have exactly the tensors of the network, each with its shape, under names
    that can be read in one way only. Half precision is converted to the network's own.

    Raises:
        InputError: If they do not fit; the differences are described.
    """
    tensors, own = checkpoint.tensors, network_state(network)
    for name in [name for name in tensors if _DENSENET_NAME.search(name)]:
        tensors[_DENSENET_NAME.sub(r"\1\2", name)] = tensors.pop(name)
    reading, normalisations = _reading(tensors, own)
    choices = _choices(checkpoint, reading)
    origin = printable(spec.weights.reference) + (f" ({', '.join(choices)})" if choices else "")
    fault = f"The weights {origin} do not fit {spec.architecture}"
    state = _renamed(tensors, reading)
    _refuse_classes(spec.architecture, f"{fault}: the checkpoint", state, own)
    _refuse_shapes_and_types(f"{fault}: the checkpoint", state, own)
    _complete_ties(fault, state, own)
    unloadable = f"The weights {origin} cannot be loaded into {spec.architecture}"
    missing, unknown = _load(network, state, own, unloadable)
    if missing or unknown or reading.strangers:
        names = {new: name for name, new in reading.names.items()}
        unknown = [names.get(name, name) for name in unknown] + reading.strangers
        raise misfit_error(fault, own, checkpoint, missing=missing, unknown=unknown)
    _refuse_other_values(fault, network, state)
    _refuse_other_copies(fault, reading, tensors)
    refuse_other_normalisation(fault, normalisations, tensors, spec.preprocessing)
    notes = [*choices, *_remarks(reading, normalisations, own, state)]
    if notes:
        progress.note(f"Weights of {printable(checkpoint.path)}: {', '.join(notes)}.")


def _reading(tensors: Mapping[str, Any], own: NetworkState) -> tuple[Reading, list[Normalisation]]:
    """The reading of the names, and the normalisations in the file that the network lacks."""
    reading = read_names(tensors, own)
    normalisations = find_normalisations(tensors)
    names = [name for pair in normalisations for name in pair]
    if reading.fits or any(reading.names.get(name) in own.tensors for name in names):
        return reading, []
    return read_names(tensors, own, aside=names), normalisations


def _choices(checkpoint: Checkpoint, reading: Reading) -> list[str]:
    """Texts on which weights of the file are used, and under which names."""
    choices = []
    if checkpoint.inside:
        others = f" rather than {' or '.join(checkpoint.beside)}" if checkpoint.beside else ""
        choices.append(printable(f"those of {'/'.join(checkpoint.inside)}{others}"))
    if renaming := renaming_text(reading.names):
        choices.append(renaming)
    return choices


def _remarks(
    reading: Reading, normalisations: list[Normalisation], own: NetworkState, state: "State"
) -> list[str]:
    """Texts on what else is in the file and was checked or left out, or is not in it."""
    remarks = [f"{copy_place(copy)} is an equal copy" for copy in reading.copies]
    remarks += [
        f"{printable(pair.mean)} and {printable(pair.std)} are the model's mean and std"
        for pair in normalisations
    ]
    words = Counter(map(last_word, reading.unread))
    if count := sum(words[word] for word in PROFILER):
        remarks.append(f"{count} counters of a profiler ({', '.join(PROFILER)}) left out")
    if words[EXTRA_STATE]:
        remarks.append(f"{words[EXTRA_STATE]} extra states of modules left out")
    lacking = [name for name in own.tensors if last_word(name) == EXTRA_STATE and name not in state]
    if lacking:
        remarks.append(f"{names_text(lacking)} not in the file: as the network was built")
    return remarks


def _renamed(tensors: Mapping[str, Any], reading: Reading) -> "State":
    """The tensors under the network's names; versions of modules, which torch keeps, go along."""
    state: OrderedDict[str, Any] = OrderedDict(
        (new, tensors[name]) for name, new in reading.names.items()
    )
    metadata = getattr(tensors, "_metadata", None)
    if metadata is not None:
        paths = reading.paths.items()
        state._metadata = {new: metadata[path] for path, new in paths}  # type: ignore[attr-defined]
    return state


def _common_tensors(state: "State", own: NetworkState) -> dict[str, tuple[Any, Any]]:
    """Tensors of the checkpoint and of the network by name, where the network's has a shape."""
    shapeless = set(uninitialised_names(own.tensors))
    names = [name for name in own.tensors if name in state and last_word(name) != EXTRA_STATE]
    return {name: (state[name], own.tensors[name]) for name in names if name not in shapeless}


def _refuse_classes(architecture: str, misfit: str, state: "State", own: NetworkState) -> None:
    """Name the most frequent misfit: only the head differs, in its number of classes."""
    shapes = {
        name: (tuple(value.shape), tuple(own_value.shape))
        for name, (value, own_value) in _common_tensors(state, own).items()
        if value.shape != own_value.shape
    }
    if not shapes or own.required[-1] not in shapes:
        return
    if any(len(shape) == 0 or shape[1:] != own_shape[1:] for shape, own_shape in shapes.values()):
        return
    classes = {(shape[0], own_shape[0]) for shape, own_shape in shapes.values()}
    if len(classes) == 1:
        count, own_count = classes.pop()
        raise InputError(f"{misfit} is for {count} classes, {architecture} has {own_count}.")


def _refuse_shapes_and_types(misfit: str, state: "State", own: NetworkState) -> None:
    import torch

    floating = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    common = _common_tensors(state, own)
    wrong_shapes = [
        f"{printable(name)} is {list(value.shape)}, expected {list(own_value.shape)}"
        for name, (value, own_value) in sorted(common.items())
        if value.shape != own_value.shape
    ]
    if wrong_shapes:
        raise InputError(f"{misfit} differs: {_first_three(wrong_shapes, len(common))}.")
    # load_state_dict would copy the integers of a quantised checkpoint as they are.
    wrong_types = [
        f"{printable(name)} is {str(value.dtype).removeprefix('torch.')}"
        for name, (value, own_value) in sorted(common.items())
        if own_value.is_floating_point() and value.dtype not in floating
    ]
    if wrong_types:
        raise InputError(
            f"{misfit} is quantised: {_first_three(wrong_types, len(common))}, expected floating "
            "point."
        )


def _first_three(texts: list[str], count: int) -> str:
    rest = f" and {len(texts) - 3} more of {count} tensors" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + rest


def _complete_ties(fault: str, state: "State", own: NetworkState) -> None:
    """Give all names of one tensor in the network the value that the file has under one of them.

    Raises:
        InputError: If the file has several, which differ.
    """
    for group in sorted(map(sorted, set(own.ties.values()))):
        present = [name for name in group if name in state]
        for name in present[1:]:
            if not _is_same(state[present[0]], state[name]):
                raise InputError(
                    f"{fault}: {printable(present[0])} and {printable(name)} are one tensor in the "
                    "network, but two different ones in the checkpoint. Give a network in which "
                    "they are two, or the checkpoint of this one."
                )
        if present:
            state.update(dict.fromkeys(group, state[present[0]]))


def _load(
    network: "nn.Module", state: "State", own: NetworkState, fault: str
) -> tuple[list[str], list[str]]:
    """Load; names that the network misses, and those that it does not know.

    The network's own code may rename them, raise anything, and forget to return them.
    """
    with reported_as(fault):
        result = network.load_state_dict(state, strict=False)
    if not hasattr(result, "missing_keys"):
        return own.missing(state), [name for name in state if name not in own.tensors]
    # Checkpoints from before 2018 have no counters.
    missing = [name for name in result.missing_keys if last_word(name) not in UNREAD]
    return missing, list(result.unexpected_keys)


def _refuse_other_values(fault: str, network: "nn.Module", state: "State") -> None:
    """Refuse a network that does not hold what the file says.

    Raises:
        InputError: If a tensor differs.
    """
    own = network.state_dict()
    different = [
        name
        for name, value in own.items()
        if name in state and last_word(name) not in UNREAD and not _is_same(value, state[name])
    ]
    if different:
        raise InputError(
            f"{fault}: after loading, the network holds other values than the checkpoint in "
            f"{names_text(different)}: its own code changes them. Load them in the factory, with "
            "`trained = true` in the description."
        )


def _refuse_other_copies(fault: str, reading: Reading, tensors: Mapping[str, Any]) -> None:
    """Refuse a file with several copies of the network that differ."""
    names = {new: name for name, new in reading.names.items()}
    for copy in reading.copies:
        for name, new in copy.items():
            if new not in names or not _is_same(tensors[names[new]], tensors[name]):
                raise copies_error(fault, [reading.names, copy], new)


def _is_same(value: "torch.Tensor", other: "torch.Tensor") -> bool:
    """Whether two tensors are equal in the precision of the first; NaN equals NaN."""
    import torch

    if value.shape != other.shape:
        return False
    other = other.detach().to(value.dtype)
    return torch.equal(value, other) or bool(
        ((value == other) | (value.isnan() & other.isnan())).all()
    )
