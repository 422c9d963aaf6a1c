"""A network's state: the hash of its tensors, and which of them have several names."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

COUNTER = "num_batches_tracked"
"""Ends the names of batch normalisation's counters of training steps."""


def tensors_sha256(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over the sorted name, dtype, shape and bytes of tensors.

    Batch normalisation's counters are left out: only training reads them, and the same weights are
    published with and without them. So are a module's extra states that are not tensors.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.endswith(COUNTER) or not isinstance(tensors[name], torch.Tensor):
            continue
        tensor = tensors[name].detach().cpu().contiguous()
        head = f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{list(tensor.shape)}\0"
        digest.update(head.encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tied_names(state: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """For each name of a tensor that has several names in a network's state, all of them."""
    import torch
    from torch.nn.parameter import is_lazy

    names: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or is_lazy(value):
            continue
        if value.layout == torch.strided and value.data_ptr():
            place = value.data_ptr(), value.dtype, value.shape, value.stride()
            names[place].add(name)
    tied = [frozenset(group) for group in names.values() if len(group) > 1]
    return {name: group for group in tied for name in group}


def uninitialised_names(state: Mapping[str, Any]) -> list[str]:
    """Names of tensors that have no shape before their lazy layers see the first image."""
    import torch
    from torch.nn.parameter import is_lazy

    return [name for name, x in state.items() if isinstance(x, torch.Tensor) and is_lazy(x)]
