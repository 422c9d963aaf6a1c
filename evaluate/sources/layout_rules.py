"""Rules for how a benchmark's items are laid out, which are the same in folders and in tar files.

    CONDITION/<class folder>/<item>      most benchmarks; ids are <class folder>/<item>
    CONDITION/[<class folder>/]<item>    where an item's name says everything; ids are <item>
    CONDITION/<item>                     ImageNet's validation images, whose classes are in a list

CONDITION stands for folders such as ``fog/3``, and for no folder with clean images. Names are all
that is seen here: ``folder.py`` and ``tar.py`` find them. An error ends with a ``remedy``, the
sentence that says what to do, since that differs between a folder and a tar.
"""

from collections.abc import Callable, Iterable

from ...contracts import Condition, DatasetLayout
from ...errors import InputError
from .labels import Labels, is_numbered

PART_OF_IMAGENET_C = "It looks like a part of ImageNet-C, which is scored as `imagenet-c`."

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"))


def condition_folders(condition: Condition) -> list[str]:
    """The nested folders that hold a condition's items; none for clean images.

    Example:
        >>> condition_folders(Condition((("corruption", "fog"), ("severity", 3))))
        ['fog', '3']
    """
    return [str(value) for _, value in condition.values]


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave in every folder."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_utf8(name: str) -> bool:
    """Whether a name can be recorded."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shows_flat_images(name: str, layout: DatasetLayout, labels: Labels | None) -> bool:
    """Whether a file shows that its folder holds images without class folders.

    If the user gave a list of labels, any image does; otherwise only one of the validation archive.
    """
    return layout.is_item(name) and (labels is not None or is_numbered(name))


def paths_by_id(
    layout: DatasetLayout, paths: Iterable[str], where: Callable[[str], str]
) -> dict[str, str]:
    """The path of each item by its id, sorted by id, for layouts whose ids are file names.

    Args:
        layout: The layout; its ``attributes`` are given.
        paths: ``<item>`` or ``<class folder>/<item>``, below the folder of the condition.
        where: Function that describes such a path for an error.

    Raises:
        InputError: If a name is invalid, contradicts its folder, or exists twice.
    """
    assert layout.attributes is not None
    result: dict[str, str] = {}
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
                f"{where(path)} is in the folder {folder}, but its name says {attributes[key]}. "
                "Move or rename it."
            )
        if (other := result.setdefault(name, path)) != path:
            raise duplicate(name, where(other), where(path))
    return dict(sorted(result.items()))


def duplicate(name: object, first: str, second: str, remedy: str = "") -> InputError:
    """The error for an item or a condition that exists in two places."""
    remedy = remedy or "Keep only one of them."
    return InputError(f"{name} exists twice: {first} and {second}. {remedy}")


def no_items(where: str, layout: DatasetLayout) -> InputError:
    """The error for a condition's folder without items."""
    form = "<wnid>/<file>" if layout.id_includes_dir else "files"
    return InputError(
        f"{where} holds no {layout.noun}s. Expected {form}, such as {layout.example}."
    )


def unknown_class_folder(where: str, layout: DatasetLayout, remedy: str) -> InputError:
    """The error for a folder that lies where only class folders may lie."""
    kind = layout.class_dir_name
    expected = f"the WordNet id of {a_or_an(kind)}" if layout.id_includes_dir else a_or_an(kind)
    example = next(iter(layout.folders()))
    return InputError(
        f"{where} is not a class folder: expected {expected}, such as {example}. {remedy}"
    )


def outside_class_folders(where: str, layout: DatasetLayout, remedy: str) -> InputError:
    """The error for an item that lies outside the class folders."""
    return InputError(
        f"{where} is not in a class folder, so the class of this {layout.noun} is not known. "
        f"Expected <wnid>/<file>. {remedy}"
    )


def wrong_suffix(where: str, layout: DatasetLayout, remedy: str) -> InputError:
    """The error for a file in a class folder whose name is not that of an item."""
    return InputError(
        f"{where} is not {a_or_an(layout.noun)}: expected a file name that ends in one of "
        f"{' '.join(sorted(layout.suffixes))}. {remedy}"
    )


def not_a_file(where: str, layout: DatasetLayout, remedy: str) -> InputError:
    """The error for a folder or a device that lies where only items may lie."""
    return InputError(f"{where} is not a file, expected {a_or_an(layout.noun)}. {remedy}")


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
