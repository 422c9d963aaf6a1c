"""Images are pixels / 255, bit for bit, with the channels first."""

import numpy as np
import pytest

from evaluator.contracts import images_from_pixels


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4, 3)])
def test_images_are_pixels_over_255_with_the_channels_first(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = images_from_pixels(pixels)
    assert images.dtype == np.float32
    assert images.shape == (*shape[:-3], 3, 4, 4)
    for channel in range(3):
        expected = pixels[..., channel].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(images[..., channel, :, :], expected)


def test_every_value_of_a_pixel_has_its_own_image_value() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    images = images_from_pixels(pixels)
    assert (images[0, 0, 0], images[0, 0, -1]) == (0, 1)
    assert np.unique(images).size == 256
