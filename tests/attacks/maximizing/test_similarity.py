"""Likeness of images: by hand, by plain loops, and against scikit-image."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attacks.maximizing.similarity import correlation, likenesses, pair_count, ssim

Images = npt.NDArray[np.float64]


def image(seed: int, side: int = 24) -> Images:
    return np.random.default_rng(seed).random((3, side, side))


def plain_ssim(one: Images, other: Images) -> float:
    """Window by window, as Wang et al. wrote it down."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for channel in range(3):
        for top in range(one.shape[1] - 10):
            for left in range(one.shape[2] - 10):
                a = one[channel, top : top + 11, left : left + 11]
                b = other[channel, top : top + 11, left : left + 11]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a = (window * (a - mean_a) ** 2).sum()
                var_b = (window * (b - mean_b) ** 2).sum()
                both = (window * (a - mean_a) * (b - mean_b)).sum()
                c1, c2 = 0.01**2, 0.03**2
                found.append(
                    (2 * mean_a * mean_b + c1) * (2 * both + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )  # fmt: skip
    return float(np.mean(found))


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_ssim_is_that_of_a_plain_loop(mix: float) -> None:
    one = image(1, 15)
    other = (1 - mix) * one + mix * image(2, 15)
    assert ssim(one, other) == pytest.approx(plain_ssim(one, other), abs=1e-12)


@pytest.mark.parametrize("side", [11, 24, 40])
def test_ssim_is_that_of_scikit_image(side: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, noise = image(3, side), image(4, side)
    for other in (np.clip(one + 0.2 * (noise - 0.5), 0, 1), noise, 1 - one):
        theirs = metrics.structural_similarity(
            one, other, channel_axis=0, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert ssim(one, other) == pytest.approx(theirs, abs=1e-9)


def test_small_images_have_no_ssim() -> None:
    assert ssim(image(1, 10), image(2, 10)) is None


def test_correlation_is_numpys() -> None:
    one, other = image(1), image(2) + 0.5 * image(1)
    expected = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert correlation(one.astype(np.float32), one.astype(np.float32)) == pytest.approx(1)
    assert correlation(one, np.full_like(one, 0.1)) is None


@given(seed=st.integers(0, 999))
def test_likeness_is_symmetric_and_an_image_is_most_like_itself(seed: int) -> None:
    one, other = image(seed, 16), image(seed + 1, 16)
    there, back = ssim(one, other), ssim(other, one)
    assert there is not None
    assert there == pytest.approx(back)
    assert -1 <= there < 1
    assert ssim(one, one) == pytest.approx(1)


def test_means_are_over_the_right_pairs() -> None:
    starts = np.stack([image(10), image(11)])
    images = np.clip(
        starts[:, None] + 0.3 * (np.stack([[image(s) for s in (1, 2, 3)]] * 2) - 0.5), 0, 1
    )
    images[1, 2] = np.clip(starts[1] + 0.5 * (image(9) - 0.5), 0, 1)
    told: list[int] = []
    found = likenesses(images, starts, told.append)
    # 2 starts x 3 pairs of units, 3 units x 1 pair of starts, 6 images with their start
    assert pair_count(2, 3) == 15
    assert told == list(range(1, 16))
    row = [(0, 1), (0, 2), (1, 2)]
    for k in range(2):
        across = found.across_units[k]
        assert across.pairs == 3
        expected = np.mean([plain_ssim(images[k, a], images[k, b]) for a, b in row])
        assert across.ssim == pytest.approx(expected)
        changes = images[k] - starts[k]
        expected = np.mean(
            [np.corrcoef(changes[a].ravel(), changes[b].ravel())[0, 1] for a, b in row]
        )
        assert across.change_correlation == pytest.approx(expected)
    for u in range(3):
        across = found.across_starts[u]
        assert across.pairs == 1
        expected = np.corrcoef(images[0, u].ravel(), images[1, u].ravel())[0, 1]
        assert across.correlation == pytest.approx(expected)
    alike = found.to_start[1][2]
    assert alike.ssim == pytest.approx(plain_ssim(images[1, 2], starts[1]))
    assert alike.change_correlation is None


def test_one_unit_or_one_start_has_no_pairs() -> None:
    starts = image(1)[None]
    found = likenesses(image(2)[None, None], starts)
    assert found.across_units[0].pairs == found.across_starts[0].pairs == 0
    assert found.across_units[0].ssim is None


def test_an_image_that_did_not_change_has_no_mean_of_changes() -> None:
    # A mean over the pairs that happen to have a number would be of other images.
    starts = image(1)[None]
    images = np.stack([[image(1), image(2), image(3)]])
    found = likenesses(images, starts)
    assert found.across_units[0].change_correlation is None
    assert found.across_units[0].correlation is not None
