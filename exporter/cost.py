"""How much a model computes: GMAC, 10^9 multiply-accumulates of one forward pass at its crop."""

from typing import TYPE_CHECKING

from ..contracts import ModelSpec
from .weights import build_of
from .zoo import find_model

if TYPE_CHECKING:
    from .architectures import Build


def gmac_of(spec: ModelSpec) -> float:
    """GMAC of one image: from the zoo's table, else counted now, without weights."""
    known = None if spec.own else find_model(spec.name).gmac
    if known is not None:
        return known
    build, crop_px = build_of(spec), spec.trained_crop_px
    try:
        return _counted(build, crop_px, "meta")
    except Exception:  # code that wants to see numbers: nothing is known of what it raises
        return _counted(build, crop_px, "cpu")


def _counted(build: "Build", crop_px: int, device: str) -> float:
    """By torch's FlopCounterMode; on the device "meta" nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.random.fork_rng(devices=[]), torch.device(device):
        network = build(crop_px).eval()
        images = torch.zeros(1, 3, crop_px, crop_px)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(images)
    # torch counts a multiply-accumulate as two operations.
    return float(counter.get_total_flops()) / 2e9
