import numpy as np
import numpy.typing as npt
import pytest

from evaluator.evaluate.generate.simple import SIMPLE_CORRUPTIONS

Pixels = npt.NDArray[np.uint8]
EVERY = pytest.mark.parametrize("name", SIMPLE_CORRUPTIONS)


def photo(side: int = 224, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def plain(side: int, value: int) -> Pixels:
    return np.full((side, side, 3), value, np.uint8)


def test_there_are_four() -> None:
    assert list(SIMPLE_CORRUPTIONS) == ["noise", "contrast", "brightness", "pixelate"]


@EVERY
@pytest.mark.parametrize("side", [8, 224, 299])
def test_the_result_has_shape_and_type_and_is_no_longer_clean(name: str, side: int) -> None:
    clean = photo(side)
    corrupted = SIMPLE_CORRUPTIONS[name](clean, 3)
    assert corrupted.shape == clean.shape
    assert corrupted.dtype == np.dtype(np.uint8)
    assert not np.array_equal(corrupted, clean)


@EVERY
def test_the_clean_pixels_are_left_alone(name: str) -> None:
    clean = photo()
    clean.setflags(write=False)  # as np.asarray of an image is
    SIMPLE_CORRUPTIONS[name](clean, 3)
    np.testing.assert_array_equal(clean, photo())


@EVERY
def test_the_same_seed_gives_the_same_pixels(name: str) -> None:
    corruption = SIMPLE_CORRUPTIONS[name]
    np.testing.assert_array_equal(corruption(photo(), 3), corruption(photo(), 3))


def test_another_seed_gives_another_noise() -> None:
    noise = SIMPLE_CORRUPTIONS["noise"]
    assert not np.array_equal(noise(photo(), 3), noise(photo(), 4))


@EVERY
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_saturate_and_never_wrap(name: str, value: int) -> None:
    # 0.18 of the range is 46 levels: a pixel that wrapped would be hundreds away.
    corrupted = SIMPLE_CORRUPTIONS[name](plain(224, value), 0).astype(int)
    assert np.abs(corrupted - value).max() < 255 * 0.18 * 6
    assert np.abs(corrupted - value).mean() < 80


def test_noise_has_its_deviation_and_no_bias() -> None:
    # On mid-grey 128, clipping is at 2.8 deviations: it takes off 0.5 % of the deviation at most.
    noise = SIMPLE_CORRUPTIONS["noise"](plain(224, 128), 0).astype(float) - 128
    assert noise.std() == pytest.approx(0.18 * 255, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.5)


def test_contrast_draws_each_channel_to_its_own_mean() -> None:
    # Red 0 and 200: mean 100, a fifth of +-100 is +-20. Green 10 and 30: 20 +- 2. Blue stays.
    clean = plain(8, 0)
    clean[:4] = (0, 10, 77)
    clean[4:] = (200, 30, 77)
    expected = plain(8, 0)
    expected[:4] = (80, 18, 77)
    expected[4:] = (120, 22, 77)
    np.testing.assert_array_equal(SIMPLE_CORRUPTIONS["contrast"](clean, 0), expected)


@pytest.mark.parametrize(("value", "brighter"), [(0, 76), (1, 78), (100, 176), (178, 254)])
def test_brightness_adds_76_and_a_half_rounded_to_even(value: int, brighter: int) -> None:
    np.testing.assert_array_equal(
        SIMPLE_CORRUPTIONS["brightness"](plain(8, value), 0), plain(8, brighter)
    )


@pytest.mark.parametrize("value", [179, 200, 255])
def test_brightness_saturates(value: int) -> None:
    np.testing.assert_array_equal(
        SIMPLE_CORRUPTIONS["brightness"](plain(8, value), 0), plain(8, 255)
    )


def test_pixelate_shows_the_mean_of_each_block_and_channel() -> None:
    # 64 pixels a block: one of 255 is a mean of 3.98, half of them 100 is 50.
    clean = plain(16, 0)
    clean[3, 5, 0] = 255
    clean[8:12, 8:, 2] = 100
    expected = plain(16, 0)
    expected[:8, :8, 0] = 4
    expected[8:, 8:, 2] = 50
    np.testing.assert_array_equal(SIMPLE_CORRUPTIONS["pixelate"](clean, 0), expected)


def test_pixelate_leaves_what_is_no_whole_block() -> None:
    clean = photo(299)  # 37 blocks of 8, and 3 pixels
    corrupted = SIMPLE_CORRUPTIONS["pixelate"](clean, 0)
    np.testing.assert_array_equal(corrupted[296:], clean[296:])
    np.testing.assert_array_equal(corrupted[:, 296:], clean[:, 296:])
    for row in range(0, 296, 8):
        block = clean[row : row + 8, 288:296].reshape(64, 3).tolist()
        mean = [round(sum(levels) / 64) for levels in zip(*block, strict=True)]
        shown = corrupted[row : row + 8, 288:296].reshape(64, 3)
        assert np.unique(shown, axis=0).tolist() == [mean]
