"""Rules for how a benchmark's items are laid out, which are the same in folders and in tar files.

    CONDITION/<class folder>/<item>      most benchmarks; ids are <class folder>/<item>
    CONDITION/[<class folder>/]<item>    where an item's name says everything; ids are <item>
    CONDITION/[<number>/]<item>          ImageNet's validation images, whose classes are in a list,
                                         in their names, or stored with them: see ``labels``

CONDITION stands for folders such as ``fog/3``, at any depth, and for no folder with clean images.
Names are all that is seen here: ``folder.py`` and ``tar.py`` find them. An error ends with a
``remedy``, the sentence that says what to do, since that differs between a folder and a tar.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ...contracts import Condition, DatasetLayout
from ...errors import InputError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from .items import IdPool, Ids
from .labels import (
    CLASS_SUFFIX,
    FlatImages,
    Labels,
    labelled,
    labels_beside,
    refuse_contradiction,
    states_class,
)

PART_OF_IMAGENET_C = "It looks like a part of ImageNet-C, which is scored as `imagenet-c`."

TAR, PARQUET = ".tar", ".parquet"
COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".zip")
ARCHIVES = (TAR, PARQUET, *COMPRESSED)
"""Suffixes of files that may hold many items."""

MAX_PROBLEMS = 100
"""Most errors that are collected while data are verified."""

_KEEP_ONE = "Keep only one of them."


@dataclass(frozen=True)
class LayoutRules:
    """How a benchmark's items may lie in the folder of a condition, and the errors if they do not.

    Attributes:
        layout: Layout of the items.
        labels: The user's list of labels for images without class folders; if ``None``, a list is
            looked for next to such images.
        note: Callback for what a user should know about the data.
        pool: Ids that conditions and sources share.
        index_places: Places of class indices that labels were read from; a list or a data set.
        problems: List that collects the errors of ``refuse``; if ``None``, they are raised.
    """

    layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS
    labels: Labels | None = None
    note: Callable[[str], None] = lambda text: None
    pool: IdPool = field(default_factory=dict)
    index_places: set[str] = field(default_factory=set)
    problems: list[str] | None = None

    def refuse(self, error: InputError) -> None:
        """Raise the error of what cannot be an item, or collect it while data are verified.

        Raises:
            InputError: The error, unless there is a list for it.
        """
        if self.problems is None:
            raise error
        if len(self.problems) < MAX_PROBLEMS and str(error) not in self.problems:
            self.problems.append(str(error))

    def shows_flat_images(self, name: str) -> bool:
        """Whether a file shows that its folder holds images without class folders.

        If the user gave a list of labels, any image does; otherwise one whose name states its class
        or is of the validation archive, or a file that holds the class of the image next to it.
        """
        if name.endswith(CLASS_SUFFIX):
            return True
        return self.layout.is_item(name) and (self.labels is not None or states_class(name))

    def may_be_numbered(self, folder: str) -> bool:
        """Whether a folder of this name may hold flat images, whose classes the user's list has."""
        return self.labels is not None and is_number(folder)

    def ids_and_paths(
        self, paths: Iterable[str] | FlatImages, where: Callable[[str], str]
    ) -> tuple[Ids, Mapping[str, str]]:
        """The sorted ids of a condition's items, and the path of each that is not its id.

        Args:
            paths: Paths of the items below the condition's folder.
            where: Function that describes such a path for an error; an empty one is the folder.

        Raises:
            InputError: If there are no items or no labels, a list of labels is not needed, or a
                name is invalid, contradicts its folder or exists twice.
        """
        renamed: Mapping[str, str] = {}
        if isinstance(paths, FlatImages):
            renamed = paths = self._labelled_paths(paths, where)
        elif self.labels is not None:
            raise InputError(
                f"--labels {printable(self.labels.path)} is for images without class folders, and "
                f"{where('')} has none of these. Leave it out."
            )
        elif not self.layout.id_includes_dir:
            renamed = paths = self._paths_by_name(paths, where)
        ids = tuple(renamed or sorted(paths))
        if not ids:
            form = "<wnid>/<file>" if self.layout.id_includes_dir else "files"
            self.refuse(
                InputError(
                    f"{where('')} holds no {self.layout.noun}s. Expected {form}, such as "
                    f"{self.layout.example}."
                )
            )
        if ids not in self.pool and self.layout.listed:
            for id in ids:
                try:
                    refuse_contradiction(id, where)
                except InputError as error:
                    self.refuse(error)
        return self.pool.setdefault(ids, ids), renamed

    def _labelled_paths(self, images: FlatImages, where: Callable[[str], str]) -> dict[str, str]:
        """The path of each flat image by its id, sorted."""
        labels = self.labels
        if labels is None and len(images.classes) < len(images.paths):
            labels = labels_beside(images.folder)
        if labels is not None and labels.header:
            self.note(f"{printable(labels.path)}: {printable(labels.header)!r} is a header.")
        if labels is not None and labels.is_index:
            self.index_places.add(printable(labels.path))
        if any(map(str.isdecimal, images.classes.values())):
            self.index_places.add(where(""))
        result: dict[str, str] = {}
        for id, path in labelled(images, labels, where):
            if (other := result.setdefault(id, path)) != path:
                raise duplicate(id, where(other), where(path))
        return dict(sorted(result.items()))

    def _paths_by_name(self, paths: Iterable[str], where: Callable[[str], str]) -> dict[str, str]:
        """The path of each item by its file name, sorted, for layouts whose ids are these names."""
        layout = self.layout
        result: dict[str, str] = {}
        assert layout.attributes is not None
        for path in paths:
            folder, _, name = path.rpartition("/")
            if layout.is_benchmark_item is not None and not layout.is_benchmark_item(name):
                continue
            try:
                attributes = dict(layout.attributes(name))
            except InputError as error:
                self.refuse(InputError(f"{where(path)}: {error}"))
                continue
            key = layout.folder_attribute
            if folder and key and folder != attributes[key]:
                self.refuse(
                    InputError(
                        f"{where(path)} is in the folder {folder}, but its name says "
                        f"{attributes[key]}. Move or rename it."
                    )
                )
            if (other := result.setdefault(name, path)) != path:
                self.refuse(duplicate(name, where(other), where(path)))
        return dict(sorted(result.items()))

    def unknown_class_folder(self, where: str, remedy: str) -> InputError:
        """The error for a folder that lies where only class folders may lie."""
        expected = a_or_an(self.layout.class_dir_name)
        if self.layout.id_includes_dir:
            expected = f"the WordNet id of {expected}"
        example = next(iter(self.layout.folders()))
        return InputError(
            f"{where} is not a class folder: expected {expected}, such as {example}. {remedy}"
        )

    def outside_class_folders(self, where: str, remedy: str) -> InputError:
        """The error for an item that lies outside the class folders."""
        return InputError(
            f"{where} is not in a class folder, so the class of this {self.layout.noun} is not "
            f"known. Expected <wnid>/<file>. {remedy}"
        )

    def wrong_suffix(self, where: str, remedy: str) -> InputError:
        """The error for a file in a class folder whose name is not that of an item."""
        return InputError(
            f"{where} is not {a_or_an(self.layout.noun)}: expected a file name that ends in one of "
            f"{' '.join(sorted(self.layout.suffixes))}. {remedy}"
        )

    def numbered_folders(self, where: str) -> InputError:
        """The error for class folders whose names are numbers."""
        return InputError(
            f"The folders of {where} are numbers, as ImageNet-V2 has them, so it is not known "
            "which classes they are. Give --labels FILE with lines of NAME WNID for their "
            f"{self.layout.noun}s, or rename the folders to WordNet ids: in ImageNet-V2, 0 is "
            "n01440764, the first in their sorted order."
        )

    def without_class_folders(self, where: str) -> InputError:
        """The error for images of which nothing states the classes."""
        return InputError(
            f"{where} is not in a class folder, so the class of this {self.layout.noun} is not "
            "known, and there are no class folders. Give --labels FILE with lines of NAME WNID; a "
            f"class may also be in the name, or in webdataset's {CLASS_SUFFIX} files."
        )

    def note_unread(self, where: str, folders: Iterable[str]) -> None:
        """Report folders of items that are not those of a condition, if there are any."""
        names = dict.fromkeys(
            str(PurePosixPath(folder).parent) if is_severity(folder) else folder
            for folder in sorted(folders)
        )
        if names:
            shown = ", ".join(printable(name) for name in list(names)[:6])
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            self.note(
                f"Not read in {where}: {shown}{more}. The benchmark has no such conditions; they "
                "are not part of its numbers."
            )

    def not_a_file(self, where: str, remedy: str) -> InputError:
        """The error for a folder or a device that lies where only items may lie."""
        return InputError(f"{where} is not a file, expected {a_or_an(self.layout.noun)}. {remedy}")


def is_number(folder: str) -> bool:
    """Whether a folder is named by a number, as the class folders of ImageNet-V2 are."""
    return folder.isascii() and folder.isdecimal()


def is_severity(folder: str) -> bool:
    """Whether a path is of a folder that holds one severity."""
    return PurePosixPath(folder).name in SEVERITY_FOLDERS


Candidates = Mapping[Condition, Mapping[str, Collection[str]]]
"""The folders with the names of each condition, and the names of the folders in each."""


def chosen_folders(candidates: Candidates, where: Callable[[str], str]) -> dict[Condition, str]:
    """The folder of each condition that has one.

    ImageNet-C and ImageNet-P share names such as ``snow``. The folder of ImageNet-C, which holds
    severities, is only chosen for ImageNet-P if there is nothing else: then it is refused later.

    Raises:
        InputError: If a condition has two folders.
    """
    own = {
        condition: [
            folder
            for folder, children in folders.items()
            if len(condition.values) != 1 or not children or not set(children) <= SEVERITY_FOLDERS
        ]
        for condition, folders in candidates.items()
    }
    if not any(own.values()):
        own = {condition: list(folders) for condition, folders in candidates.items()}
    for condition, folders in own.items():
        if len(folders) > 1:
            raise duplicate(condition, where(folders[0]), where(folders[1]))
    return {condition: folders[0] for condition, folders in own.items() if folders}


def class_file(path: str) -> str:
    """The path of the file that may hold the class of an image, next to it."""
    return f"{os.path.splitext(path)[0]}{CLASS_SUFFIX}"


def condition_folders(condition: Condition) -> list[str]:
    """The nested folders that hold a condition's items; none for clean images.

    Example:
        >>> condition_folders(Condition((("corruption", "fog"), ("severity", 3))))
        ['fog', '3']
    """
    return [str(value) for _, value in condition.values]


def is_utf8(name: str) -> bool:
    """Whether a name can be recorded."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def duplicate(name: object, first: str, second: str, remedy: str = _KEEP_ONE) -> InputError:
    """The error for an item or a condition that exists in two places."""
    return InputError(f"{name} exists twice: {first} and {second}. {remedy}")


def not_utf8(where: str, remedy: str) -> InputError:
    """The error for a name that cannot be recorded."""
    return InputError(f"{where} has a name that is not UTF-8, so it cannot be recorded. {remedy}")


def a_or_an(noun: str) -> str:
    """A noun with its article.

    Example:
        >>> a_or_an("image"), a_or_an("video")
        ('an image', 'a video')
    """
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"
