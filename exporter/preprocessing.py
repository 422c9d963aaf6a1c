"""Which of several published preprocessings a model gets, and the sentences that say so.

Preprocessing belongs to weights: one architecture may have several kinds of published weights, each
tested in its own way, and timm's weights are trained at one size and tested at another.
"""

from dataclasses import replace
from pathlib import Path

from ..contracts import Preprocessing, PreprocessingOrigin, WeightsOrigin
from ..errors import InputError, printable
from .description import Description
from .zoo.known_files import known_file
from .zoo.rows import PublishedWeights, ZooModel

ChosenPreprocessing = tuple[Preprocessing, int, PreprocessingOrigin]
"""Preprocessing, crop of the training, and where it is from."""

_IMAGENET_MEAN_BGR = (0.406, 0.456, 0.485)


def chosen_preprocessing(
    model: ZooModel,
    weights: WeightsOrigin,
    description: Description | None,
    *,
    crop_px: int | None,
    test_size: bool,
) -> ChosenPreprocessing:
    """The preprocessing of a model that is known by name, or that a user's factory builds.

    Args:
        model: Model; a user's own has no published weights.
        weights: Origin of its weights.
        description: Description, which replaces what is published; `None` if not given.
        crop_px: Crop that the user chose; `None` for the published or described one.
        test_size: Whether to take the test size that timm publishes.

    Raises:
        InputError: If there is no test size, the description has keys of other models, or the
            preprocessing of a known file is not supported.
    """
    if description is None:
        return _published_preprocessing(model, weights, crop_px=crop_px, test_size=test_size)
    if not model.published:
        return described_preprocessing(description, crop_px)
    for key in ("input", "layout", "output", "trained", "name", "source", "licence"):
        if getattr(description, key):
            raise description.error(
                f"{key} is for models of your own, and {model.name} is known by name; its "
                "description may have channels, classes and [preprocessing]"
            )
    return _overriding_preprocessing(model, weights, description, crop_px)


def described_preprocessing(description: Description, crop_px: int | None) -> ChosenPreprocessing:
    """The preprocessing that a description gives.

    Raises:
        InputError: If mean and std are missing, or are given for a graph that normalises.
    """
    trained = description.full_preprocessing()
    preprocessing = trained if crop_px is None else trained.with_crop(crop_px)
    text = []
    if trained.is_bgr:
        text.append("The network is given its channels in the order B, G, R.")
    if all(abs(m - bgr) < 0.005 for m, bgr in zip(trained.mean, _IMAGENET_MEAN_BGR, strict=True)):
        text.append(
            f"warning: the mean {list(trained.mean)} is ImageNet's in the order B, G, R. mean and "
            'std are R, G, B for every network, also with channels = "bgr".'
        )
    return preprocessing, trained.crop_px, PreprocessingOrigin(" ".join(text))


def _overriding_preprocessing(
    model: ZooModel, weights: WeightsOrigin, description: Description, crop_px: int | None
) -> ChosenPreprocessing:
    """The preprocessing of a description, for a model that has a published one."""
    preprocessing, trained_crop_px, origin = described_preprocessing(description, crop_px)
    published = model.published[0]
    if weights.kind != "file" and description.full_preprocessing() == published.preprocessing:
        return _published_preprocessing(model, weights, crop_px=crop_px, test_size=False)
    text = (
        f"Images are prepared as {printable(Path(description.path).name)} says: {preprocessing}. "
        f"{published.name} is published with {published.preprocessing}."
    )
    text = f"{text} {origin.text}".strip()
    is_published = weights.kind in ("download", "package")
    same_crop = preprocessing.crop_px == published.preprocessing.crop_px
    top1 = published.top1 if is_published and same_crop else None
    return preprocessing, trained_crop_px, PreprocessingOrigin(text, description.path, top1=top1)


def _published_preprocessing(
    model: ZooModel, weights: WeightsOrigin, *, crop_px: int | None, test_size: bool
) -> ChosenPreprocessing:
    """The preprocessing that is published for the weights, or else for the model's own weights."""
    known = known_file(model, weights.sha256) if weights.kind == "file" else None
    published = known or model.published[0]
    trained = published.preprocessing
    if test_size and trained.sizes is None:
        raise InputError(
            f"--test-size is for weights of timm, which are trained at one size and tested at "
            f"another; {published.name} has one size, {trained.size_text}. Omit it."
        )
    preprocessing = replace(trained, sizes=None)
    if test_size:
        preprocessing = trained.at_test_size
    elif crop_px is not None:
        preprocessing = trained.with_crop(crop_px)
    sentences = [
        _file_sentence(published, weights, preprocessing, known=known is not None),
        _alternatives_sentence(model, weights, preprocessing),
        _size_sentence(published, preprocessing, test_size=test_size),
    ]
    is_published = weights.kind in ("download", "package") or known is not None
    if not is_published or preprocessing.crop_px != trained.crop_px:
        published = replace(published, top1=None)
    origin = PreprocessingOrigin(
        " ".join(filter(None, sentences)), test_size=test_size, top1=published.top1
    )
    return preprocessing, trained.crop_px, origin


def _file_sentence(
    published: PublishedWeights,
    weights: WeightsOrigin,
    preprocessing: Preprocessing,
    *,
    known: bool,
) -> str:
    """How images are prepared for a checkpoint of the user's."""
    if weights.kind != "file":
        return ""
    file = printable(Path(weights.reference).name)
    if known:
        return (
            f"{file} is the file of {published.name}, by its hash: images are prepared as "
            f"published with it, {preprocessing}."
        )
    return (
        f"{file} is not known by its hash: images are prepared as for {published.name}, "
        f"{preprocessing}. --description FILE.toml replaces that."
    )


def _alternatives_sentence(
    model: ZooModel, weights: WeightsOrigin, preprocessing: Preprocessing
) -> str:
    """Which weights' preprocessing was taken if those of the architecture differ in it."""
    first, *others = model.published
    differing = [
        f"{other.name}: {other.preprocessing.size_text}"
        for other in others
        if other.top1 is not None and other.preprocessing != first.preprocessing
    ]
    if weights.kind == "file" or not differing:
        return ""
    return (
        f"Images are prepared as for {first.name}, {preprocessing.size_text}, which are the "
        f"weights of {model.name}. Other weights of this architecture are prepared differently "
        f"({'; '.join(differing)})."
    )


def _size_sentence(
    published: PublishedWeights, preprocessing: Preprocessing, *, test_size: bool
) -> str:
    """Which size was taken if there are several, or if the user chose another crop."""
    trained, test = published.preprocessing, published.preprocessing.at_test_size
    if preprocessing == test != trained:
        return (
            f"Images are prepared at the test size that timm publishes for {published.name}, "
            f"{test.size_text}; the size of its training is {trained.size_text}."
        )
    if test != trained:
        return (
            f"Images are prepared at {preprocessing.size_text}. The accuracy that timm publishes "
            f"for {published.name} is of its test size, {test.size_text}: --test-size takes it."
        )
    if test_size:
        return f"timm's test size of {published.name} is that of its training, {trained.size_text}."
    if preprocessing != trained:
        return (
            f"--crop-px: {preprocessing.size_text}, which keeps the ratio of {published.name}, "
            f"{trained.size_text}."
        )
    return ""
