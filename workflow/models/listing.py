"""The models of the zoo."""

from ...exporter.zoo.rows import ZooModel
from ...exporter.zoo.table import MODELS


def list_models() -> tuple[ZooModel, ...]:
    """Every model of the zoo, without those of ``torchvision:NAME`` and ``timm:NAME``."""
    return tuple(MODELS.values())
