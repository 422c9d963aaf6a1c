"""Models that are known by name: the zoo, torchvision's and timm's."""

from .table import find_model as find_model
