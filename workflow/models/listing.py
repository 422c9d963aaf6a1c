"""The zoo, for people and programs."""

from ...exporter.zoo.rows import ZooModel
from ...exporter.zoo.table import MODELS


def list_models() -> tuple[ZooModel, ...]:
    """Every row of the zoo; ``torchvision:NAME`` models beside it are not listed."""
    return tuple(MODELS.values())
