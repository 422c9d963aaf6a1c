"""Models that are known by name: the zoo, torchvision's and timm's."""
