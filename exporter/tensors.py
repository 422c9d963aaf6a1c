"""The hash of a network's tensors."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COUNTER = "num_batches_tracked"
"""Ends the names of batch normalisation's counters of training steps."""


def tensors_sha256(tensors: "dict[str, torch.Tensor]") -> str:
    """SHA-256 over the sorted name, dtype, shape and bytes of tensors.

    Batch normalisation's counters are left out: only training reads them, and the same weights are
    published with and without them.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.endswith(COUNTER):
            continue
        tensor = tensors[name].detach().cpu().contiguous()
        head = f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{list(tensor.shape)}\0"
        digest.update(head.encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
