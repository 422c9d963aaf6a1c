import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evaluator.contracts import Condition, Item
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.classes import class_index
from evaluator.evaluate.sources.folder import FolderSource, photos_in
from evaluator.evaluate.sources.generated_marker import COMMENT, generator_command
from evaluator.evaluate.sources.items import shared_items
from evaluator.evaluate.sources.listing import read_file

CLEAN = Condition()
TENCH, DALMATIAN, TISSUE = "n01440764", "n02110341", "n15075141"  # classes 0, 251, 999
needs_bytes_as_names = pytest.mark.skipif(
    sys.platform != "linux", reason="only here may a name hold any bytes"
)


def cell(corruption: str, severity: int) -> Condition:
    return Condition((("corruption", corruption), ("severity", severity)))


def grow(root: Path, *files: str) -> Path:
    """Files that hold their own path below the root."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(file))
    return root


def clean_items(root: Path) -> Sequence[Item]:
    return FolderSource(root, [CLEAN]).items(CLEAN)


def ids(items: Iterable[Item]) -> list[str]:
    return [item.id for item in items]


def refusal(work: Callable[[], object], named: str | Path) -> str:
    """The message of the InputError that this raises: one line that names the culprit."""
    with pytest.raises(InputError) as raised:
        work()
    message = str(raised.value)
    assert message.isprintable()
    assert str(named) in message
    return message


# ----------------------------------------------------------------------------- items


def test_a_label_is_the_class_of_the_folder_and_never_its_position(tmp_path: Path) -> None:
    grow(tmp_path, f"{TISSUE}/a.JPEG", f"{DALMATIAN}/b.JPEG", f"{DALMATIAN}/c.JPEG")
    assert [(item.id, item.label) for item in clean_items(tmp_path)] == [
        (f"{DALMATIAN}/b.JPEG", 251),
        (f"{DALMATIAN}/c.JPEG", 251),
        (f"{TISSUE}/a.JPEG", 999),
    ]


def test_a_whole_tree_has_the_labels_0_to_999(tmp_path: Path) -> None:
    grow(tmp_path, *(f"{wnid}/x.JPEG" for wnid in class_index()))
    assert [item.label for item in clean_items(tmp_path)] == list(range(1000))


def test_items_are_sorted_by_id_whatever_the_order_of_creation(tmp_path: Path) -> None:
    files = [
        f"{wnid}/{n}.JPEG" for wnid in (TENCH, DALMATIAN, TISSUE) for n in (1, 10, 2, "B", "a")
    ]
    for seed in range(4):
        random.Random(seed).shuffle(files)
        root = grow(tmp_path / str(seed), *files)
        assert ids(clean_items(root)) == sorted(files)


def test_reading_an_item_gives_its_files_bytes(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", f"{TISSUE}/b.png")
    source = FolderSource(tmp_path, [CLEAN])
    assert [source.read(item) for item in source.items(CLEAN)] == [
        f"{TENCH}/a.JPEG".encode(),
        f"{TISSUE}/b.png".encode(),
    ]


def test_ids_do_not_depend_on_how_the_root_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path / "tree", f"{TENCH}/a.JPEG")
    (tmp_path / "link").symlink_to("tree")
    monkeypatch.chdir(tmp_path / "tree")
    for root in (tmp_path / "tree", tmp_path / "link", Path("."), Path("../tree")):
        items = clean_items(root)
        assert ids(items) == [f"{TENCH}/a.JPEG"]
        assert read_file(items[0].location) == f"{TENCH}/a.JPEG".encode()


@pytest.mark.parametrize(
    "suffix",
    ["JPEG", "jpeg", "JPG", "jpg", "png", "PNG", "ppm", "bmp", "pgm", "tif", "tiff", "webp"],
)
def test_images_are_known_by_the_suffixes_of_image_folder(tmp_path: Path, suffix: str) -> None:
    grow(tmp_path, f"{TENCH}/a.{suffix}")
    assert ids(clean_items(tmp_path)) == [f"{TENCH}/a.{suffix}"]


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._x.JPEG", "Thumbs.db", "desktop.ini", "__MACOSX/._x.JPEG", "@eaDir/x.jpg"],
)
def test_what_systems_leave_behind_is_ignored_at_both_levels(tmp_path: Path, name: str) -> None:
    grow(tmp_path, f"{TENCH}/x.JPEG", f"{TENCH}/{name}", name)
    assert ids(clean_items(tmp_path)) == [f"{TENCH}/x.JPEG"]


def test_lists_and_licences_may_lie_beside_the_class_folders(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/x.JPEG", "LICENSE", "val.txt", "generated.json", "MD5SUMS")
    assert ids(clean_items(tmp_path)) == [f"{TENCH}/x.JPEG"]


@pytest.mark.parametrize(
    "name",
    [
        *("a b", " a ", "it's", 'say "cheese"', "two\nlines", "tab\t", "[1]", "*?", "{x}", "%20"),
        *("🐟", "é", "e\u0301", "-rf", "a\\b", "x.JPEG", "\u202eGEPJ"),
    ],
)
def test_odd_names_are_kept_as_ids_and_can_be_read(tmp_path: Path, name: str) -> None:
    grow(tmp_path, f"{TENCH}/{name}.JPEG")
    (item,) = clean_items(tmp_path)
    assert item.id == f"{TENCH}/{name}.JPEG"
    assert read_file(item.location) == item.id.encode()


def test_a_link_to_an_image_or_to_a_class_folder_is_as_good_as_itself(tmp_path: Path) -> None:
    grow(tmp_path, "elsewhere/x.JPEG", f"tree/{TENCH}/a.JPEG")
    (tmp_path / "tree" / TENCH / "b.JPEG").symlink_to(tmp_path / "elsewhere" / "x.JPEG")
    (tmp_path / "tree" / TISSUE).symlink_to(tmp_path / "elsewhere")
    items = clean_items(tmp_path / "tree")
    assert ids(items) == [f"{TENCH}/a.JPEG", f"{TENCH}/b.JPEG", f"{TISSUE}/x.JPEG"]
    assert read_file(items[1].location) == b"elsewhere/x.JPEG"


# ----------------------------------------------------------------------------- conditions


def test_conditions_are_those_that_are_there_in_the_benchmarks_order(tmp_path: Path) -> None:
    there = [cell("fog", 2), cell("gaussian_noise", 5), cell("jpeg_compression", 1), cell("fog", 1)]
    for condition in there:
        grow(tmp_path, f"{condition['corruption']}/{condition['severity']}/{TENCH}/a.JPEG")
    grow(tmp_path, f"speckle_noise/1/{TENCH}/a.JPEG", f"fog/6/{TENCH}/a.JPEG", "README")
    assert FolderSource(tmp_path, CONDITIONS).conditions() == [
        cell("gaussian_noise", 5),
        cell("fog", 1),
        cell("fog", 2),
        cell("jpeg_compression", 1),
    ]


def test_corruptions_are_found_below_the_folders_of_the_archives(tmp_path: Path) -> None:
    grow(
        tmp_path,
        f"noise/gaussian_noise/1/{TENCH}/a.JPEG",
        f"weather/fog/3/{TENCH}/a.JPEG",
        f"contrast/2/{TENCH}/a.JPEG",
    )
    source = FolderSource(tmp_path, CONDITIONS)
    assert source.conditions() == [cell("gaussian_noise", 1), cell("fog", 3), cell("contrast", 2)]
    (item,) = source.items(cell("fog", 3))
    assert (item.id, item.label) == (f"{TENCH}/a.JPEG", 0)
    assert source.read(item) == f"weather/fog/3/{TENCH}/a.JPEG".encode()


@pytest.mark.parametrize("other", ["weather_old/fog/1", "fog/1"])
def test_a_condition_that_is_there_twice_is_refused_with_both_places(
    tmp_path: Path, other: str
) -> None:
    grow(tmp_path, f"weather/fog/1/{TENCH}/a.JPEG", f"{other}/{TENCH}/a.JPEG")
    message = refusal(lambda: FolderSource(tmp_path, CONDITIONS), tmp_path / "weather/fog/1")
    assert str(tmp_path / other) in message
    assert "corruption=fog, severity=1" in message


@pytest.mark.parametrize("hidden", [".Trash-1000", "__MACOSX", "@eaDir"])
def test_a_condition_is_not_looked_for_in_hidden_folders(tmp_path: Path, hidden: str) -> None:
    grow(tmp_path, f"weather/fog/1/{TENCH}/a.JPEG", f"{hidden}/fog/1/{TENCH}/._a.JPEG")
    source = FolderSource(tmp_path, CONDITIONS)
    assert ids(source.items(cell("fog", 1))) == [f"{TENCH}/a.JPEG"]


def test_without_a_conditions_folder_there_are_no_conditions(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", "fog/severity_1/x.JPEG")
    assert FolderSource(tmp_path, CONDITIONS).conditions() == []


# ----------------------------------------------------------------------------- bad trees


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "not here"
    assert "Give the folder" in refusal(lambda: FolderSource(missing, [CLEAN]), missing)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, "val.tar")
    message = refusal(lambda: FolderSource(tmp_path / "val.tar", [CLEAN]), tmp_path / "val.tar")
    assert "is not a folder" in message


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a\nb"])
def test_a_root_that_cannot_be_a_name_is_refused(tmp_path: Path, name: str) -> None:
    refusal(lambda: FolderSource(tmp_path / name, [CLEAN]), tmp_path)


@pytest.mark.parametrize("folder", ["", f"{TENCH}/", f"{TENCH}/.hidden/"])
def test_a_tree_without_images_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    message = refusal(lambda: clean_items(tmp_path), tmp_path)
    assert "holds no images" in message
    assert "<wnid>/<file>" in message


def test_an_unknown_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", "n02084071/b.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / "n02084071")
    assert "expected the WordNet id" in message
    assert "Did you mean" not in message


def test_a_folder_too_high_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    grow(tmp_path, f"val/{TENCH}/a.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / "val")
    assert f"Did you mean {tmp_path / 'val'}?" in message


@pytest.mark.parametrize("above", ["", "noise/"])
def test_a_tree_of_imagenet_c_is_known_for_what_it_is(tmp_path: Path, above: str) -> None:
    grow(tmp_path, f"{above}shot_noise/3/{TENCH}/a.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / (above or "shot_noise"))
    assert "a part of ImageNet-C, which is scored as `imagenet-c`" in message


def test_the_class_folders_are_looked_for_further_down(tmp_path: Path) -> None:
    grow(tmp_path, f"ILSVRC/val/{TENCH}/a.JPEG", "ILSVRC/licence.txt")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / "ILSVRC")
    assert f"Did you mean {tmp_path / 'ILSVRC' / 'val'}?" in message


def test_no_advice_is_to_remove_a_folder(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", "thesis/b.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / "thesis")
    assert "Move it elsewhere" in message
    assert "emove it" not in message


def test_an_image_beside_the_class_folders_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", "stray.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / "stray.JPEG")
    assert "is not in a class folder" in message
    assert "move it" in message


def test_a_file_in_a_class_folder_that_is_no_image_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", f"{TENCH}/notes.txt")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / TENCH / "notes.txt")
    assert ".jpeg" in message
    assert "Remove it" in message


def test_a_folder_among_the_images_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", f"{TENCH}/b.JPEG/c.JPEG")
    message = refusal(lambda: clean_items(tmp_path), tmp_path / TENCH / "b.JPEG")
    assert "expected an image" in message


@pytest.mark.parametrize("place", [f"{TENCH}/b.JPEG", TISSUE, "b.JPEG"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_to_nothing_is_refused(tmp_path: Path, place: str, target: str) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG")
    link = tmp_path / place
    link.symlink_to(link.name if target == "itself" else target)
    assert "link" in refusal(lambda: clean_items(tmp_path), link)


@needs_bytes_as_names
@pytest.mark.parametrize("place", [TENCH.encode() + b"/\xff.JPEG", b"\xff/a.JPEG", b"\xff.JPEG"])
def test_a_name_that_is_not_utf_8_is_refused_and_shown(tmp_path: Path, place: bytes) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG", os.fsdecode(place))
    refusal(lambda: clean_items(tmp_path), "\\udcff")


@needs_bytes_as_names
def test_a_file_with_a_name_that_is_not_utf_8_can_be_read_where_it_has_a_location(
    tmp_path: Path,
) -> None:
    path = os.path.join(tmp_path, os.fsdecode(b"\xff.JPEG"))
    refusal(lambda: read_file(path), "\\udcff.JPEG")
    Path(path).write_bytes(b"here")
    assert read_file(path) == b"here"


def test_a_file_that_vanishes_before_it_is_read_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG")
    source = FolderSource(tmp_path, [CLEAN])
    (item,) = source.items(CLEAN)
    Path(item.location).unlink()
    message = refusal(lambda: source.read(item), item.location)
    assert "No such file" in message
    Path(item.location).mkdir()
    assert "Is a directory" in refusal(lambda: source.read(item), item.location)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails when it is read")
def test_a_file_that_the_disk_cannot_give_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, f"{TENCH}/a.JPEG")
    (tmp_path / TENCH / "b.JPEG").symlink_to("/proc/self/mem")
    source = FolderSource(tmp_path, [CLEAN])
    message = refusal(lambda: source.read(source.items(CLEAN)[1]), tmp_path / TENCH / "b.JPEG")
    assert "Input/output error" in message


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_what_is_not_the_fault_of_one_file_is_not_told_of_one_image(tmp_path: Path) -> None:
    import resource

    grow(tmp_path, f"{TENCH}/a.JPEG")
    source = FolderSource(tmp_path, [CLEAN])
    (item,) = source.items(CLEAN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(InputError) as raised:
            source.read(item)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in str(raised.value)
    assert not isinstance(raised.value, ImageError)


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root may read everything; where the tests run as root, do this as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A tree that everybody may enter, which ``tmp_path`` is not."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    yield grow(root, f"tree/{TENCH}/a.JPEG", f"tree/weather/fog/1/{TENCH}/a.JPEG")
    for path in (root, root / "tree", root / "tree" / TENCH):
        path.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
@pytest.mark.parametrize("locked", ["tree", f"tree/{TENCH}"])
def test_a_folder_that_may_not_be_read_is_refused(open_root: Path, locked: str) -> None:
    shutil.rmtree(open_root / "tree" / "weather")
    clean_items(open_root / "tree")
    (open_root / locked).chmod(0)
    with as_an_ordinary_user():
        message = refusal(lambda: clean_items(open_root / "tree"), open_root / locked)
    assert "Permission denied" in message


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
@pytest.mark.parametrize(("locked", "mode"), [("tree", 0), ("tree", 0o111), ("", 0)])
def test_a_root_that_may_not_be_searched_is_refused(
    open_root: Path, locked: str, mode: int
) -> None:
    (open_root / locked).chmod(mode)
    with as_an_ordinary_user():
        message = refusal(lambda: FolderSource(open_root / "tree", CONDITIONS), open_root)
    assert "Permission denied" in message


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_an_image_that_may_not_be_read_is_refused(open_root: Path) -> None:
    shutil.rmtree(open_root / "tree" / "weather")
    source = FolderSource(open_root / "tree", [CLEAN])
    (item,) = source.items(CLEAN)
    Path(item.location).chmod(0)
    with as_an_ordinary_user():
        message = refusal(lambda: source.read(item), item.location)
    assert "Permission denied" in message


# ----------------------------------------------------------------------------- generated.json


def test_a_tree_without_generated_json_was_not_generated(tmp_path: Path) -> None:
    assert FolderSource(grow(tmp_path, f"{TENCH}/a.JPEG"), [CLEAN]).generated is None


def test_generated_json_is_given_as_it_is(tmp_path: Path) -> None:
    content: dict[str, Any] = {"tool": "evaluator", "seed": 3, "parameters": {"fog": [1.5, 2]}}
    (tmp_path / "generated.json").write_text(json.dumps(content), "utf-8")
    assert FolderSource(tmp_path, [CLEAN]).generated == content


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{} x", b"\xff\xfe\x00", b"not json", b"[1]", b"3", b"null", b"[" * 100_000],
)
def test_generated_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "generated.json"
    path.write_bytes(content)
    source = FolderSource(tmp_path, [CLEAN])
    refusal(lambda: source.generated, path)


@pytest.mark.parametrize("obstacle", ["folder", "link to nothing"])
def test_generated_json_that_cannot_be_read_is_refused(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "generated.json"
    path.mkdir() if obstacle == "folder" else path.symlink_to("nowhere")
    source = FolderSource(tmp_path, [CLEAN])
    refusal(lambda: source.generated, path)


def test_a_generated_tree_stays_marked_when_its_parent_is_given(tmp_path: Path) -> None:
    # `--data demo` finds demo/imagenet-c/fog/1: what was made must not pass for the benchmark.
    grow(tmp_path, f"made/fog/1/{TENCH}/a.JPEG")
    (tmp_path / "made" / "generated.json").write_text('{"seed": 3}', "utf-8")
    try:
        source = FolderSource(tmp_path, CONDITIONS)
    except InputError:
        return
    assert source.conditions() == [] or source.generated == {"seed": 3}


@pytest.mark.parametrize(
    ("comment", "generated"),
    [
        (COMMENT, True),
        (None, False),
        (b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 85", False),
        (b"not " + COMMENT, False),
        (COMMENT + b" at all", False),
    ],
)
def test_only_the_very_comment_of_what_is_made_here_counts(
    tmp_path: Path, comment: bytes | None, generated: bool
) -> None:
    path = tmp_path / "a.JPEG"
    with_comment = {} if comment is None else {"comment": comment}
    Image.new("RGB", (224, 224)).save(path, "JPEG", quality=85, optimize=True, **with_comment)
    assert (generator_command(path.read_bytes()) is not None) is generated


def test_no_sample_photo_is_taken_for_a_generated_one(photos: Path) -> None:
    found = list(photos.rglob("*.JPEG"))
    assert len(found) == 20
    assert not any(generator_command(path.read_bytes()) for path in found)


# ----------------------------------------------------------------------------- shared items


def tree_of(root: Path, **conditions: str) -> FolderSource:
    """``fog_1="ab"`` is the images a and b under fog at severity 1."""
    for name, images in conditions.items():
        folder = name.replace("_", "/")
        grow(root, *(f"{folder}/{TENCH}/{image}.JPEG" for image in images))
    return FolderSource(root, CONDITIONS)


def test_conditions_with_the_same_ids_are_shared_in_the_order_asked_for(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_3="ba", snow_1="ab")
    wanted = [cell("fog", 3), cell("snow", 1)]
    items = shared_items(source, wanted)
    assert list(items) == wanted
    assert all(ids(found) == [f"{TENCH}/a.JPEG", f"{TENCH}/b.JPEG"] for found in items.values())
    assert items[wanted[0]][0].location != items[wanted[1]][0].location


def test_a_condition_that_lacks_images_is_named_with_how_many_and_which_first(
    tmp_path: Path,
) -> None:
    source = tree_of(tmp_path, fog_1="abcde", fog_2="ace", snow_1="abcde")
    message = refusal(lambda: shared_items(source, source.conditions()), "fog, severity=2")
    assert "lacks 2 of 5 images" in message
    assert f"first {TENCH}/b.JPEG" in message
    assert "--corruptions" in message


def test_a_condition_with_an_extra_image_is_refused_by_what_the_others_lack(
    tmp_path: Path,
) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_2="abz", snow_1="ab")
    message = refusal(lambda: shared_items(source, source.conditions()), f"{TENCH}/z.JPEG")
    assert "lacks 1 of 3 images" in message


def test_as_many_images_with_other_names_are_refused(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_2="ac")
    message = refusal(lambda: shared_items(source, source.conditions()), f"{TENCH}/")
    assert "lacks 1 of 3 images" in message


def test_a_condition_that_was_not_asked_for_may_lack_images(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_2="a")
    assert list(shared_items(source, [cell("fog", 1)])) == [cell("fog", 1)]


# ----------------------------------------------------------------------------- photos


def test_photos_of_a_flat_folder_have_no_labels(tmp_path: Path) -> None:
    grow(tmp_path, "b.JPEG", "a.png", "notes.txt", ".hidden.jpg")
    items = photos_in(tmp_path)
    assert [(item.id, item.label) for item in items] == [("a.png", None), ("b.JPEG", None)]
    assert [read_file(item.location) for item in items] == [b"a.png", b"b.JPEG"]


def test_photos_in_class_folders_have_their_labels(tmp_path: Path) -> None:
    grow(tmp_path, f"{DALMATIAN}/b.JPEG", f"{TENCH}/a.JPEG", "LICENSE")
    assert [(item.id, item.label) for item in photos_in(tmp_path)] == [
        (f"{TENCH}/a.JPEG", 0),
        (f"{DALMATIAN}/b.JPEG", 251),
    ]


@pytest.mark.parametrize("files", [(), ("notes.txt",), (".hidden.jpg",)])
def test_a_folder_without_photos_is_refused(tmp_path: Path, files: tuple[str, ...]) -> None:
    refusal(lambda: photos_in(grow(tmp_path, *files)), tmp_path)


def test_photos_both_flat_and_in_class_folders_are_refused(tmp_path: Path) -> None:
    grow(tmp_path, "b.JPEG", f"{TENCH}/a.JPEG")
    refusal(lambda: photos_in(tmp_path), tmp_path / "b.JPEG")


@needs_bytes_as_names
def test_a_flat_photo_with_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, "a.JPEG", os.fsdecode(b"\xff.JPEG"))
    refusal(lambda: photos_in(tmp_path), "\\udcff.JPEG")


@pytest.mark.parametrize("target", ["nowhere", "b.JPEG"])
def test_a_flat_photo_that_is_a_link_to_nothing_is_refused(tmp_path: Path, target: str) -> None:
    grow(tmp_path, "a.JPEG")
    (tmp_path / "b.JPEG").symlink_to(target)
    refusal(lambda: [read_file(i.location) for i in photos_in(tmp_path)], tmp_path / "b.JPEG")
