"""Four simple corruptions in numpy, for checks that must not need an extra package.

They are not a benchmark: they move an engine's inputs away from clean photos, so that rounding and
saturation become visible. All map pixels (S, S, 3) uint8 to pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decode import Pixels


def _noise(pixels: Pixels, seed: int) -> Pixels:
    """Gaussian, standard deviation 0.18 of the range."""
    noise = np.random.default_rng(seed).normal(scale=0.18 * 255, size=pixels.shape)
    return _pixels(pixels + noise)


def _contrast(pixels: Pixels, seed: int) -> Pixels:
    """A fifth of the contrast about each channel's mean."""
    mean = pixels.mean(axis=(0, 1))
    return _pixels((pixels - mean) * 0.2 + mean)


def _brightness(pixels: Pixels, seed: int) -> Pixels:
    """0.3 of the range brighter, saturating."""
    return _pixels(pixels + 0.3 * 255)


def _pixelate(pixels: Pixels, seed: int) -> Pixels:
    """Blocks of 8 x 8 pixels, each filled with its mean; a rest at the border is unchanged."""
    side = pixels.shape[0] // 8 * 8
    inner = pixels[:side, :side].reshape(side // 8, 8, side // 8, 8, 3).mean(axis=(1, 3))
    result = pixels.copy()
    result[:side, :side] = _pixels(inner.repeat(8, axis=0).repeat(8, axis=1))
    return result


def _pixels(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)


SIMPLE_CORRUPTIONS: Mapping[str, Callable[[Pixels, int], Pixels]] = {
    "noise": _noise,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
}
