"""The relation of pixels and images, the two forms in which photos move."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def images_from_pixels(pixels: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.float32]":
    """Images in [0, 1], channels first: ``images == pixels / 255``.

    Args:
        pixels: (..., S, S, 3).

    Returns:
        (..., 3, S, S).
    """
    import numpy as np

    images: npt.NDArray[Any] = np.moveaxis(pixels, -1, -3).astype(np.float32)
    images /= np.float32(255)
    return images
