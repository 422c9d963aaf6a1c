"""Lists of the classes of ImageNet's validation images, for images without class folders.

The original archive is flat, ``ILSVRC2012_val_00000001.JPEG`` and so on; the classes are in a list.
The kind of a list is recognised by its content:

* 50,000 WordNet ids, a line each, in order of the files;
* lines of ``NAME WNID`` or ``NAME INDEX``, the index counting the sorted WordNet ids from 0;
* Kaggle's ``LOC_val_solution.csv``;
* the devkit's ``ILSVRC2012_validation_ground_truth.txt`` with its ``meta.mat`` next to it. Its
  numbers from 1 to 1000 are ILSVRC2012_IDs, which have another order: only ``meta.mat`` says which
  classes they are, so without it they are refused.

Source: the readme of the ILSVRC2012 development kit, sections 2.2 and 3.2.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, printable, reason_of
from ..classes import class_index, wnids
from ..layouts import IMAGES_IN_CLASS_FOLDERS

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

_NUMBERED = re.compile(r"ILSVRC2012_val_\d{8}")

_EXPECTED = (
    "Expected 50,000 WordNet ids in order of the files, lines of NAME WNID or NAME INDEX (0..999), "
    "LOC_val_solution.csv, or the devkit's ground truth with its meta.mat beside it."
)


@dataclass(frozen=True)
class Labels:
    """A list of classes.

    Attributes:
        path: Path of the list.
        by_name: WordNet id by the file's name without its suffix.
    """

    path: Path
    by_name: Mapping[str, str]


def is_numbered(name: str) -> bool:
    """Whether a file is named like an image of the validation archive."""
    return IMAGES_IN_CLASS_FOLDERS.is_item(name) and _NUMBERED.fullmatch(_stem(name)) is not None


def labelled(
    names: Iterable[str], labels: Labels | None, folder: Path, where: str
) -> dict[str, str]:
    """The file name of each flat image by its id, ``<wnid>/<file>``, sorted by id.

    Args:
        names: Names of the files.
        labels: The user's list; if ``None``, a list is looked for.
        folder: Folder in and next to which a list is looked for.
        where: Location of the images, for messages.

    Raises:
        InputError: If there is no list, its kind is unknown, or it lacks an image.
    """
    labels = labels or labels_beside(folder)
    if labels is None:
        raise InputError(
            f"{where} holds images without class folders, so their classes are not known. Give "
            f"--labels FILE, or put one beside them: {', '.join(USUAL_NAMES[:4])}."
        )
    classes = {name: labels.by_name.get(_stem(name)) for name in names}
    missing = sorted(name for name, wnid in classes.items() if wnid is None)
    if missing:
        raise InputError(
            f"{printable(labels.path)} has no class for {len(missing):,} of the {len(classes):,} "
            f"images in {where}, first {printable(missing[0])}. Give the list that belongs to them."
        )
    return dict(sorted((f"{wnid}/{name}", name) for name, wnid in classes.items()))


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
    rows = [re.split(r"[,\s]+", line.strip()) for line in text.rstrip().splitlines()]
    by_name = _classes_by_name(path, rows)
    counts = Counter(by_name.values())
    odd = next((wnid for wnid in wnids() if counts[wnid] != IMAGES_A_CLASS), None)
    if len(by_name) == VALIDATION_IMAGES and odd is not None:
        raise InputError(
            f"{printable(path)} gives class {odd} to {counts[odd]:,} images, but each class has "
            f"{IMAGES_A_CLASS} in ImageNet's validation set. Give the list that belongs to it."
        )
    return Labels(path, by_name)


def labels_beside(folder: Path) -> Labels | None:
    """The list with a usual name in the folder or next to it; ``None`` if there is none.

    Raises:
        InputError: If it cannot be read, or its kind is unknown.
    """
    parents = (folder, folder.absolute().parent)
    paths = (parent / name for parent in parents for name in USUAL_NAMES)
    return next((read_labels(path) for path in paths if path.is_file()), None)


def _classes_by_name(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """The WordNet id of each file, from the words of each line of a list."""
    first = rows[0] if rows else [""]
    named = len(first) > 1
    boxes = first == ["ImageId", "PredictionString"]
    classes = {wnid: wnid for wnid in wnids()}
    if named and not boxes:
        classes |= {str(index): wnid for index, wnid in enumerate(wnids())}
    elif first[0].isdecimal():
        classes = _devkit_classes(path)
    by_name: dict[str, str] = {}
    header = 1 if boxes else 0
    for line, row in enumerate(rows[header:], header + 1):
        name, *words = row if named else (f"ILSVRC2012_val_{line:08}", *row)
        # In Kaggle's list, the numbers of boxes may follow.
        wnid = classes.get(words[0]) if len(words) == 1 or (boxes and words) else None
        if wnid is None or by_name.setdefault(_stem(name), wnid) != wnid:
            text = printable(" ".join(row))[:60]
            raise InputError(
                f"{printable(path)}, line {line}: no class is known for {text!r}, or it "
                f"contradicts a line above. {_EXPECTED}"
            )
    if not named and len(by_name) != VALIDATION_IMAGES:
        raise InputError(
            f"{printable(path)} has {len(by_name):,} lines without names of files. {_EXPECTED}"
        )
    return by_name


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


def _stem(name: str) -> str:
    name = name.rpartition("/")[2]
    return name.rpartition(".")[0] if IMAGES_IN_CLASS_FOLDERS.is_item(name) else name
