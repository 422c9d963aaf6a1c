"""The bounds of parity, by precision.

With the reference's logits ``a`` (N, C), the candidate's ``b``, the error ``E = b - a`` and the
signal ``S = a - mean over images of a``, each bound is on ``|E| / |S|``: over everything, for the
worst image and for the worst class. Uncentred norms would be blind on random weights, whose rows
are nearly alike.

The bounds were measured, not derived. Over real and corrupted photos, EfficientNet-Lite0 with real
weights and ResNet-50, ResNeXt-50, ResNeXt-101 and AlexNet with random ones stay below half of
them, and the faults that parity is for stay above: BGR .35 and more over everything, two swapped
classes .87 for the worst class, another image's row 1.6 for the worst image.
"""

from dataclasses import dataclass

from ..contracts import EngineSpec


@dataclass(frozen=True)
class Tolerance:
    """Upper bounds on ``|E| / |S|``.

    Attributes:
        overall: Bound over all images and classes; detects wrong preprocessing, a lost layer, TF32.
        worst_image: Bound of each image; detects mixed-up rows, a stale buffer, one bad tail.
        worst_class: Bound of each class; detects a permuted or stale head.
    """

    overall: float
    worst_image: float
    worst_class: float

    @property
    def independence(self) -> float:
        """Bound on how far an image's logits may differ between batches, relative to ``|S_i|``."""
        return self.worst_image / 10


TOLERANCES = {
    "fp32": Tolerance(1e-4, 1e-3, 1e-3),
    "tf32": Tolerance(1.5e-2, 6e-2, 1e-1),
    "fp16": Tolerance(1.5e-2, 6e-2, 1e-1),
    "bf16": Tolerance(1.2e-1, 5e-1, 6e-1),
}


def tolerance_of(spec: EngineSpec) -> Tolerance:
    """Bounds for the precision that an engine computes in."""
    return TOLERANCES["tf32" if spec.tf32 and spec.precision == "fp32" else spec.precision]
