"""Which units are maximized from which noise: the draw behind the figures of the paper.

numpy's legacy generator is seeded with 1 and draws six units, with replacement, from all but the
first (unit 0 is the label that the attack is told to leave); the noise is what it draws next. Such
a generator gives the same numbers in every version of numpy.

Source: Orhan, "Robustness properties of Facebook's ResNeXt WSL models", arXiv 1907.07640, and the
script ``visualize_features.py`` of its code.
"""

import numpy as np
import numpy.typing as npt

SEED = 1
COUNT = 6
PAPER_WIDTH = 2048


def drawn_units(width: int) -> tuple[int, ...]:
    """The units of a layer of ``width`` >= 2; one that is drawn twice counts once.

    Example:
        >>> drawn_units(2048)
        (1062, 236, 1933, 1097, 1792, 906)
    """
    return tuple(dict.fromkeys(_drawn(np.random.RandomState(SEED), width)))


def drawn_noise(side_px: int) -> npt.NDArray[np.float32]:
    """Uniform noise (3, S, S) in [0, 1): what follows the draw from the paper's 2048 units.

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
