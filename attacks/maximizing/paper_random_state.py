"""Units and noise of the paper's figures, drawn as by its random generator.

numpy's legacy generator is seeded with 1 and draws six units, with replacement, from all but the
first (unit 0 is the label that the attack must leave); then it draws the noise. Such a generator
gives the same numbers in every version of numpy.

Source: Orhan, "Robustness properties of Facebook's ResNeXt WSL models", arXiv 1907.07640, and the
script ``visualize_features.py`` of its code.
"""

import numpy as np
import numpy.typing as npt

SEED = 1
COUNT = 6
PAPER_WIDTH = 2048


def drawn_units(width: int) -> tuple[int, ...]:
    """Units of a layer of ``width`` >= 2; a unit that is drawn twice occurs once.

    Example:
        >>> drawn_units(2048)
        (1062, 236, 1933, 1097, 1792, 906)
    """
    return tuple(dict.fromkeys(_drawn(np.random.RandomState(SEED), width)))


def drawn_noise(side_px: int) -> npt.NDArray[np.float32]:
    """Uniform noise (3, S, S) in [0, 1), drawn after the paper's six of 2048 units.

    Example:
        >>> noise = drawn_noise(224)
        >>> noise.shape, round(float(noise[0, 0, 0]), 5)
        ((3, 224, 224), 0.30233)
    """
    random = np.random.RandomState(SEED)
    _drawn(random, PAPER_WIDTH)
    return random.rand(3, side_px, side_px).astype(np.float32)


def _drawn(random: np.random.RandomState, width: int) -> list[int]:
    return [int(unit) for unit in random.choice(np.arange(1, width), COUNT)]
