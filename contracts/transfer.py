"""The source of a transferred attack."""

from dataclasses import dataclass
from typing import Literal

from .engines import EngineSpec
from .models import Preprocessing

TransferredImage = Literal["first-hit", "last"]


@dataclass(frozen=True)
class TransferSource:
    """The source, or surrogate: the model that is attacked so that others may be fooled.

    Attributes:
        model: Name of the model.
        weights: Origin of its weights, for people.
        weights_sha256: SHA-256 over its tensors.
        engine: Engine that computes its gradients.
        preprocessing: Preprocessing of the photos, before the attack.
        image: Adversarial image that is handed on: the ``first-hit``, the first iterate that
            reached the attack's goal, or the clean image if none did, as in the paper; or the
            ``last`` iterate of each attempt, all steps made.
    """

    model: str
    weights: str
    weights_sha256: str
    engine: EngineSpec
    preprocessing: Preprocessing
    image: TransferredImage = "first-hit"
