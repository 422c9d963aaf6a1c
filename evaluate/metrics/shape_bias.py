"""Shape bias on stimuli whose shape is of one category and whose texture is of another.

    shape bias    =  shape / (shape + texture)              decisions pooled over all images
    decided       =  images decided for either / images
    frac_correct  =  (shape + texture) / images

The last two differ by images whose shape and texture are of the same category: if the decision is
for it, such an image counts once in ``decided`` and twice in ``frac_correct``, as in the paper's
code. The mean of the categories' biases is not the pooled bias and is not computed here.

A decision is for one of several categories, each a set of classes, by one of two rules:

    mean      the category with the largest mean probability of its classes
    argmax    the category of the likeliest class among those of all categories

Sources: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias
improves accuracy and robustness", ICLR 2019; its repository rgeirhos/texture-vs-shape, which
recommends the mean; Orhan, arXiv 1907.07640, whose code takes the argmax.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .two_way import Ratio

Logits = npt.NDArray[np.float32]
Classes = Sequence[Sequence[int]]
Flags = npt.NDArray[np.bool_]

_ROUNDING = 1e-12
"""Relative difference below which means are equal: sums of different numbers of terms round
differently."""


def mean_decisions(logits: Logits, categories: Classes) -> npt.NDArray[np.intp]:
    """The category with the largest mean probability; of equal ones the first.

    The probabilities are the softmax over all C classes. Its denominator is the same for all
    categories and does not decide which is the largest, so it is omitted, and nothing underflows.

    Args:
        logits: Logits of the images: (N, C).
        categories: Classes of each category.

    Returns:
        (N,) positions in ``categories``.

    Example:
        >>> logits = np.log(np.array([[0.5, 0.1, 0.4]], np.float32))
        >>> mean_decisions(logits, [[0, 1], [2]]), argmax_decisions(logits, [[0, 1], [2]])
        (array([1]), array([0]))
    """
    wide = logits[:, np.concatenate(categories)].astype(np.float64)
    likelihoods = np.exp(wide - wide.max(axis=1, keepdims=True))
    sizes = np.array([len(classes) for classes in categories])
    starts = np.cumsum(sizes) - sizes
    means = np.add.reduceat(likelihoods, starts, axis=1) / sizes
    largest = means >= means.max(axis=1, keepdims=True) * (1 - _ROUNDING)
    return np.asarray(largest.argmax(axis=1))


def argmax_decisions(logits: Logits, categories: Classes) -> npt.NDArray[np.intp]:
    """The category of the likeliest class; of equal ones the lower class index.

    Args:
        logits: Logits of the images: (N, C).
        categories: Classes of each category.

    Returns:
        (N,) positions in ``categories``.
    """
    classes = np.concatenate(categories)
    owners = np.repeat(np.arange(len(categories)), [len(group) for group in categories])
    order = np.argsort(classes)
    return np.asarray(owners[order][logits[:, classes[order]].argmax(axis=1)])


RULES: Mapping[str, Callable[[Logits, Classes], npt.NDArray[np.intp]]] = {
    "mean": mean_decisions,
    "argmax": argmax_decisions,
}
"""The recommended rule first, then the paper's."""


@dataclass(frozen=True)
class Matches:
    """Whether the decisions for N images match their shape and their texture.

    Attributes:
        shape: Whether a decision is the category of the image's shape: (N,).
        texture: Whether a decision is the category of the image's texture: (N,).
    """

    shape: Flags
    texture: Flags

    @property
    def either(self) -> Flags:
        """Whether a decision is for shape or texture: (N,)."""
        return self.shape | self.texture


def shape_bias(matches: Matches) -> Ratio:
    """Decisions for shape, as a share of those for shape or texture.

    Example:
        >>> matches = Matches(np.array([True, False, False]), np.array([False, True, False]))
        >>> shape_bias(matches).value, round(decided(matches).value, 4)
        (0.5, 0.6667)
    """
    return Ratio(matches.shape.astype(float), _both(matches))


def decided(matches: Matches) -> Ratio:
    """Images decided for shape or texture, as a share of all."""
    return Ratio(matches.either.astype(float), np.ones(matches.shape.size))


def frac_correct(matches: Matches) -> Ratio:
    """The same as in the paper's code: an image that is right by shape and texture counts twice."""
    return Ratio(_both(matches), np.ones(matches.shape.size))


def _both(matches: Matches) -> npt.NDArray[np.float64]:
    return matches.shape.astype(float) + matches.texture
