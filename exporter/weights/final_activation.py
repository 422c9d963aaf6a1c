"""Networks that end in a softmax or sigmoid: the layer is left out, so that they give logits."""

from typing import TYPE_CHECKING

from ...contracts import ModelSpec
from ...system.users_code import users_code

if TYPE_CHECKING:
    from torch import nn


def leave_out_final_activation(network: "nn.Module", spec: ModelSpec) -> str:
    """Leave out the last layer of a user's network, in place, if it makes probabilities.

    It must be a layer of its own, be used once, and give what the network gives: then the network
    without it gives the logits exactly.

    Returns:
        ``softmax`` or ``sigmoid``; empty if nothing was left out.

    Raises:
        InputError: If the network raises an exception.
    """
    import torch
    from torch import nn
    from torch.nn.modules.module import register_module_forward_hook

    outputs: list[tuple[nn.Module, torch.Tensor]] = []

    def record(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append((module, output))

    crop_px = spec.preprocessing.crop_px
    hook = register_module_forward_hook(record)
    try:
        with users_code(spec.name), torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = network(torch.zeros(1, 3, crop_px, crop_px))
    finally:
        hook.remove()
    last = next((m for m, output in outputs if output is logits and _is_activation(m)), None)
    uses = sum(module is last for module, _ in outputs)
    if last is None or last is network or uses != 1:
        return ""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child is last:
                setattr(parent, name, nn.Identity().eval())
    return "sigmoid" if isinstance(last, nn.Sigmoid) else "softmax"


def _is_activation(module: "nn.Module") -> bool:
    """Whether a layer makes probabilities of logits (N, C), and has logits as its only input."""
    from torch import nn

    if isinstance(module, nn.Sigmoid):
        return True
    return isinstance(module, nn.Softmax) and module.dim in (1, -1, None)
