"""Rules for how a benchmark's items are laid out, which are the same in folders and in tar files.

    CONDITION/<class folder>/<item>      most benchmarks; ids are <class folder>/<item>
    CONDITION/[<class folder>/]<item>    where an item's name says everything; ids are <item>
    CONDITION/<item>                     ImageNet's validation images, whose classes are in a list

CONDITION stands for folders such as ``fog/3``, and for no folder with clean images. Names are all
that is seen here: ``folder.py`` and ``tar.py`` find them. An error ends with a ``remedy``, the
sentence that says what to do, since that differs between a folder and a tar.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...contracts import Condition, DatasetLayout
from ...errors import InputError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from .items import IdPool, Ids
from .labels import Labels, is_numbered, labelled

PART_OF_IMAGENET_C = "It looks like a part of ImageNet-C, which is scored as `imagenet-c`."

_KEEP_ONE = "Keep only one of them."


@dataclass(frozen=True)
class LayoutRules:
    """How a benchmark's items may lie in the folder of a condition, and the errors if they do not.

    Attributes:
        layout: Layout of the items.
        labels: The user's list of labels for images without class folders; if ``None``, a list is
            looked for next to such images.
        pool: Ids that conditions and sources share.
    """

    layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS
    labels: Labels | None = None
    pool: IdPool = field(default_factory=dict)

    def shows_flat_images(self, name: str) -> bool:
        """Whether a file shows that its folder holds images without class folders.

        If the user gave a list of labels, any image does; otherwise only one of the validation
        archive.
        """
        return self.layout.is_item(name) and (self.labels is not None or is_numbered(name))

    def ids_and_paths(
        self, paths: Iterable[str], where: Callable[[str], str], flat_in: Path | None
    ) -> tuple[Ids, Mapping[str, str]]:
        """The sorted ids of a condition's items, and the path of each that is not its id.

        Args:
            paths: Paths of the items below the condition's folder.
            where: Function that describes such a path for an error; an empty one is the folder.
            flat_in: Folder in and next to which a list of labels is looked for, if the images are
                without class folders; otherwise ``None``.

        Raises:
            InputError: If there are no items or no labels, a list of labels is not needed, or a
                name is invalid, contradicts its folder or exists twice.
        """
        renamed: Mapping[str, str] = {}
        if flat_in is not None:
            renamed = labelled(paths, self.labels, flat_in, where(""))
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
            raise InputError(
                f"{where('')} holds no {self.layout.noun}s. Expected {form}, such as "
                f"{self.layout.example}."
            )
        return self.pool.setdefault(ids, ids), renamed

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
                raise InputError(f"{where(path)}: {error}") from error
            key = layout.folder_attribute
            if folder and key and folder != attributes[key]:
                raise InputError(
                    f"{where(path)} is in the folder {folder}, but its name says "
                    f"{attributes[key]}. Move or rename it."
                )
            if (other := result.setdefault(name, path)) != path:
                raise duplicate(name, where(other), where(path))
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

    def not_a_file(self, where: str, remedy: str) -> InputError:
        """The error for a folder or a device that lies where only items may lie."""
        return InputError(f"{where} is not a file, expected {a_or_an(self.layout.noun)}. {remedy}")


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
