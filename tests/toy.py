"""The network of tests that need none in particular: small, exported once, with random weights."""

from typing import Any

TOY = "torchvision:squeezenet1_1"
CROP_PX = 64
RANDOM: dict[str, Any] = {"weights": "random", "crop_px": CROP_PX}
