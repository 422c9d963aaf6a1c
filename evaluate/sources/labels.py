"""The classes of ImageNet's validation images that are not in class folders.

The original archive is flat, ``ILSVRC2012_val_00000001.JPEG`` and so on; the classes are in a list.
Its kind is recognised by its content:

* 50,000 WordNet ids, a line each, in order of the files;
* a table of names and WordNet ids, or of names and indices that count the sorted WordNet ids from
  0: see ``label_table``; Kaggle's ``LOC_val_solution.csv`` is one;
* the devkit's ``ILSVRC2012_validation_ground_truth.txt`` with its ``meta.mat`` next to it. Its
  numbers from 1 to 1000 are ILSVRC2012_IDs, which have another order: only ``meta.mat`` says which
  classes they are, so without it they are refused.

An image may state its class itself: by its name, as on Hugging Face's hub,
``ILSVRC2012_val_00000293_n01440764.JPEG``, or by what is stored with it, such as webdataset's
``.cls`` files. Whatever states a class must agree.

Source: the readme of the ILSVRC2012 development kit, sections 2.2 and 3.2.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ...errors import InputError, printable, reason_of
from ..classes import class_index, wnids
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from .label_table import KAGGLES_HEADER, Line, columns_of, has_names, lines_of, without_header

VALIDATION_IMAGES = 50_000
IMAGES_A_CLASS = 50

META = "meta.mat"

USUAL_NAMES = (
    "imagenet_2012_validation_synset_labels.txt",
    "val.txt",
    "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
    "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
)
"""Names of lists that are found without ``--labels``, in or next to the folder of the images."""

CLASS_SUFFIX = ".cls"
"""Suffix of webdataset's files that hold the class of the image next to them."""

_NUMBERED = re.compile(r"(ILSVRC2012_val_\d{8})(?:_(n\d{8}))?")

_EXPECTED = (
    "Expected 50,000 WordNet ids in order of the files, lines of NAME WNID or NAME INDEX (0..999), "
    "LOC_val_solution.csv, or the devkit's ground truth with its meta.mat beside it."
)


@dataclass(frozen=True)
class Labels:
    """A list of classes.

    Attributes:
        path: Path of the list.
        by_name: WordNet id by the file's name, or its path, as the list has it without suffix.
        is_index: Whether the list has class indices that are read as counted from 0.
        header: First line, if it was taken as an unknown header; else empty.
    """

    path: Path
    by_name: Mapping[str, str]
    is_index: bool = False
    header: str = ""

    def wnid(self, path: str) -> str | None:
        """The class of a file, by its path or else its name; ``None`` if the list lacks it."""
        return self.by_name.get(_stem(path)) or self._by_original_name.get(_original_name(path))

    @cached_property
    def _by_original_name(self) -> dict[str, str | None]:
        """The same without folders; ``None`` for names that have several classes."""
        classes: dict[str, str | None] = {}
        for path, wnid in self.by_name.items():
            name = _original_name(path)
            classes[name] = wnid if classes.setdefault(name, wnid) == wnid else None
        return classes


@dataclass(frozen=True)
class FlatImages:
    """Images without class folders.

    Attributes:
        paths: Their paths.
        folder: Folder in and next to which a list of classes is looked for.
        classes: Class that is stored with an image, by the image's path: a WordNet id or an index.
    """

    paths: Sequence[str]
    folder: Path
    classes: Mapping[str, str] = field(default_factory=dict)


def decoded_classes(content: Mapping[str, bytes]) -> dict[str, str]:
    """The classes in files, as ``FlatImages`` has them, from the bytes of the files."""
    return {path: data.decode("utf-8", "replace").strip() for path, data in content.items()}


def is_numbered(name: str) -> bool:
    """Whether a file is named like an image of the validation archive."""
    return (
        IMAGES_IN_CLASS_FOLDERS.is_item(name) and _NUMBERED.fullmatch(_file_name(name)) is not None
    )


def states_class(name: str) -> bool:
    """Whether an image is one of the validation archive by its name, or the name has its class."""
    is_image = IMAGES_IN_CLASS_FOLDERS.is_item(name)
    return is_numbered(name) or (is_image and _wnid_of_name(name) is not None)


def refuse_contradiction(path: str, where: Callable[[str], str]) -> None:
    """Refuse a validation image in the folder of another class than its name says.

    Raises:
        InputError: If it is one.
    """
    folder = path.partition("/")[0]
    numbered = _NUMBERED.fullmatch(_file_name(path))
    if numbered is not None and numbered[2] not in (None, folder):
        raise InputError(
            f"{where(path)} is in the folder {folder}, but its name says {numbered[2]}. Move or "
            "rename it."
        )


def labelled(
    images: FlatImages, labels: Labels | None, where: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """The id, ``<wnid>/<file>``, and the path of each image.

    The id has the name of the original archive, so that images pair with those of other archives.

    Args:
        images: The images.
        labels: The list of their classes; ``None`` if there is none.
        where: Function that describes a path for an error; an empty one is the folder.

    Raises:
        InputError: If a class is not known, or statements contradict each other.
    """
    missing = []
    for path in images.paths:
        wnid = _wnid(path, images, labels, where)
        if wnid is None:
            missing.append(path)
        else:
            suffix = os.path.splitext(path)[1]
            yield f"{wnid}/{_original_name(path)}{suffix}", path
    if not missing:
        return
    first = printable(min(missing))
    if labels is not None:
        raise InputError(
            f"{printable(labels.path)} has no class for {len(missing):,} of the "
            f"{len(images.paths):,} images in {where('')}, first {first}. Give the list that "
            "belongs to them."
        )
    raise InputError(
        f"{where('')} holds {len(missing):,} images without class folders, first {first}, so their "
        f"classes are not known. Give --labels FILE, or put one beside them: "
        f"{', '.join(USUAL_NAMES[:4])}."
    )


def _wnid(
    path: str, images: FlatImages, labels: Labels | None, where: Callable[[str], str]
) -> str | None:
    """The class of an image; ``None`` if nothing states it."""
    numbered = _NUMBERED.fullmatch(_file_name(path))
    statements = {
        "its name": None if numbered is None else numbered[2],
        "the class that is stored with it": _stored_wnid(path, images, where),
    }
    if labels is not None:
        statements[printable(labels.path)] = labels.wnid(path)
    classes = {source: wnid for source, wnid in statements.items() if wnid is not None}
    if len(set(classes.values())) > 1:
        text = ", ".join(f"{wnid} by {source}" for source, wnid in classes.items())
        raise InputError(
            f"{where(path)} has contradicting classes: {text}. Correct or remove what is wrong."
        )
    return next(iter(classes.values()), None) or _wnid_of_name(path)


def _stored_wnid(path: str, images: FlatImages, where: Callable[[str], str]) -> str | None:
    word = images.classes.get(path)
    if word is None or word in class_index():
        return word
    if not (word.isascii() and word.isdecimal() and int(word) < len(wnids())):
        raise InputError(
            f"The class that is stored with {where(path)} is {printable(word[:40])!r}. Expected a "
            "WordNet id of ImageNet, or a class index from 0 to 999."
        )
    return wnids()[int(word)]


def _wnid_of_name(path: str) -> str | None:
    """The class with which a name begins or ends, as those of training images do.

    Example:
        >>> _wnid_of_name("n01440764_18.JPEG"), _wnid_of_name("n01440764_18_n01443537.JPEG")
        ('n01440764', None)
    """
    words = _file_name(path).split("_")
    classes = class_index().keys() & {words[0], words[-1]}
    return classes.pop() if len(classes) == 1 else None


def read_labels(path: Path) -> Labels:
    """Read a list of classes.

    Raises:
        InputError: If it cannot be read, or its kind is unknown.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{printable(path)} cannot be read as a list of classes: {reason_of(error)}. "
            f"{_EXPECTED}"
        ) from error
    labels = _labels(path, lines_of(text))
    counts = Counter(labels.by_name.values())
    odd = next((wnid for wnid in wnids() if counts[wnid] != IMAGES_A_CLASS), None)
    if len(labels.by_name) == VALIDATION_IMAGES and odd is not None:
        raise InputError(
            f"{printable(path)} gives class {odd} to {counts[odd]:,} images, but each class has "
            f"{IMAGES_A_CLASS} in ImageNet's validation set. Give the list that belongs to it."
        )
    return labels


def labels_beside(folder: Path) -> Labels | None:
    """The list with a usual name in the folder or next to it; ``None`` if there is none.

    Raises:
        InputError: If it cannot be read, or its kind is unknown.
    """
    parents = (folder, folder.absolute().parent)
    paths = (parent / name for parent in parents for name in USUAL_NAMES)
    return next((read_labels(path) for path in paths if path.is_file()), None)


def _labels(path: Path, lines: Sequence[Line]) -> Labels:
    """The classes of a list, by its lines."""
    if lines and has_names(lines):
        return _named_labels(path, lines)
    classes = {wnid: wnid for wnid in wnids()}
    if any(line.text.isdecimal() for line in lines[:2]):
        classes = _devkit_classes(path)
    header, body = without_header(lines, classes, None)
    for line in body:
        if line.text not in classes:
            raise _unknown(path, line)
    if len(body) != VALIDATION_IMAGES:
        raise InputError(
            f"{printable(path)} has {len(body):,} lines without names of files. {_EXPECTED}"
        )
    names = (f"ILSVRC2012_val_{number:08}" for number in range(1, len(body) + 1))
    by_name = {name: classes[line.text] for name, line in zip(names, body, strict=True)}
    return Labels(path, by_name, header=header.text if header else "")


def _named_labels(path: Path, lines: Sequence[Line]) -> Labels:
    """The classes of a table."""
    columns = columns_of(lines, class_index())
    if columns is None:
        raise InputError(
            f"{printable(path)} has several columns of numbers, so it is not known which of them "
            f"is the class. Keep the names and the classes only. {_EXPECTED}"
        )
    classes = {wnid: wnid for wnid in wnids()}
    if columns.is_index:
        classes = {str(index): wnid for index, wnid in enumerate(wnids())}
    header, body = without_header(lines, classes, columns)
    by_name: dict[str, str] = {}
    for line in body:
        name, label = columns.split(line)
        wnid = classes.get(label)
        if not name or wnid is None or by_name.setdefault(_stem(name), wnid) != wnid:
            raise _unknown(path, line)
    known = header is None or header.cells == KAGGLES_HEADER
    return Labels(path, by_name, columns.is_index, "" if known or not header else header.text)


def _unknown(path: Path, line: Line) -> InputError:
    text = printable(line.text)
    counted = "Indices count from 0: does this list count from 1? " if "1000" in line.cells else ""
    return InputError(
        f"{printable(path)}, line {line.number}: no class is known for {text!r}, or it contradicts "
        f"a line above. {counted}{_EXPECTED}"
    )


def _devkit_classes(path: Path) -> dict[str, str]:
    """WordNet id of each ILSVRC2012_ID, from the devkit's ``meta.mat``."""
    meta = path.with_name(META)
    if not meta.is_file():
        raise InputError(
            f"{printable(path)} holds bare numbers. They could be the devkit's, whose order is not "
            f"that of the sorted WordNet ids: put its {META} beside the list. {_EXPECTED}"
        )
    from scipy.io import loadmat

    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        pairs = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)
        classes = {str(int(number)): str(wnid) for number, wnid in pairs if int(number) <= 1000}
        numbers = {str(number) for number in range(1, 1001)}
        if classes.keys() != numbers or set(classes.values()) != class_index().keys():
            raise ValueError("it does not name ImageNet's 1000 classes by the numbers 1 to 1000")
    except Exception as error:  # damaged bytes make SciPy's reader raise many types
        raise InputError(
            f"{printable(meta)} cannot be read: {reason_of(error)}. Unpack it from the devkit "
            "again."
        ) from error
    return classes


def _stem(path: str) -> str:
    """A path without the suffix of an image, with ``/`` between its parts."""
    path = path.replace("\\", "/").removeprefix("./")
    return os.path.splitext(path)[0] if IMAGES_IN_CLASS_FOLDERS.is_item(path) else path


def _file_name(path: str) -> str:
    """The name of a file without folders and suffix."""
    return _stem(path).rpartition("/")[2]


def _original_name(path: str) -> str:
    """The same, or the name in the original archive if it is one with the class added."""
    name = _file_name(path)
    numbered = _NUMBERED.fullmatch(name)
    return name if numbered is None else numbered[1]
