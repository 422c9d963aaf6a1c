"""Where adversarial images come from that another model is to classify."""

from dataclasses import dataclass
from typing import Literal

from .engines import EngineSpec
from .models import Preprocessing

TransferredImage = Literal["first-hit", "last"]


@dataclass(frozen=True)
class TransferSource:
    """The model that is attacked so that others may be fooled.

    Attributes:
        model: Its name.
        weights: Where they come from, for people.
        weights_sha256: Over its tensors.
        engine: What its gradients are computed by.
        preprocessing: Of the photos, before the attack.
        image: Which one is handed on: the ``first-hit``, the first iterate that reached the
            attack's goal, with the clean image where there is none, as in the paper; or the
            ``last`` iterate of each attempt, all steps made.
    """

    model: str
    weights: str
    weights_sha256: str
    engine: EngineSpec
    preprocessing: Preprocessing
    image: TransferredImage = "first-hit"
