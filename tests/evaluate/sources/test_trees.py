"""Trees other than class folders of images: videos, and files whose names say everything."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator.contracts import Condition, DatasetLayout, NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.layouts import IMAGES_IN_CLASS_FOLDERS
from evaluator.evaluate.sources.items import Items, refuse_missing, shared_items
from evaluator.evaluate.sources.open_source import open_source
from evaluator.tests.evaluate.sources.tars import CLEAN, DALMATIAN, TENCH, tar_of

SNOW, TILT = (Condition((("perturbation", name),)) for name in ("snow", "tilt"))

VIDEOS = replace(
    IMAGES_IN_CLASS_FOLDERS,
    suffixes=frozenset((".mp4",)),
    noun="video",
    example=f"{TENCH}/ILSVRC2012_val_00000293.mp4",
    listed=False,
    frames=lambda condition: 41 if condition == TILT else 31,
)

SHAPES = ("bear", "cat", "dog")


def attributes(name: str) -> tuple[tuple[str, str], ...]:
    match = re.fullmatch(r"([a-z]+)\d+-([a-z]+)\d+\.png", name)
    if match is None or match[1] not in SHAPES:
        raise InputError("its name is not <shape><n>-<texture><m>.png. Rename or remove it.")
    return ("shape", match[1]), ("texture", match[2])


STIMULI = DatasetLayout(
    folders=lambda: dict.fromkeys(SHAPES),
    suffixes=frozenset((".png",)),
    noun="image",
    class_dir_name="category",
    example="cat7-elephant3.png",
    id_includes_dir=False,
    attributes=attributes,
    folder_attribute="shape",
    is_benchmark_item=lambda id: not id.startswith("dog9"),
)

NAMES = ("cat10-dog1.png", "cat2-bear1.png", "dog1-cat3.png")


def shape_of(name: str) -> str:
    return name.rstrip(".png").partition("-")[0].rstrip("0123456789")


def folder_of(path: Path, files: tuple[str, ...]) -> Path:
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def items_in(place: Path, tree: DatasetLayout = STIMULI, *conditions: Condition) -> Items:
    chosen = conditions or (CLEAN,)
    return open_source([place], chosen, progress=NullProgress(), layout=tree).items(chosen[0])


FLAT = NAMES
NESTED = tuple(f"{shape_of(name)}/{name}" for name in NAMES)
MIXED = (NESTED[0], *FLAT[1:])
Place = Callable[[Path, tuple[str, ...]], Path]


def tar_there(path: Path, files: tuple[str, ...]) -> Path:
    path.mkdir(exist_ok=True)
    return tar_of(path / "stimuli.tar", [f"some/where/{name}" for name in files])


def bare_tar(path: Path, files: tuple[str, ...]) -> Path:
    path.mkdir(exist_ok=True)
    return tar_of(path / "bare.tar", files)


@pytest.mark.parametrize("files", [FLAT, NESTED, MIXED])
@pytest.mark.parametrize("place", [folder_of, tar_there, bare_tar])
def test_the_same_items_come_from_flat_and_nested_folders_and_tars(
    tmp_path: Path, place: Place, files: tuple[str, ...]
) -> None:
    where = place(tmp_path / "stimuli", (*files, "licence.txt", "dog/dog9-dog1.png"))
    source = open_source([where], [CLEAN], progress=NullProgress(), layout=STIMULI)
    items = list(source.items(CLEAN))
    assert [item.id for item in items] == list(NAMES)
    assert [item.label for item in items] == [None] * 3
    assert dict(items[0].attributes) == {"shape": "cat", "texture": "dog"}
    for item, file in zip(items, files, strict=True):
        assert item.location.endswith(file)
        assert source.read(item).decode().endswith(file)


@pytest.mark.parametrize("place", [folder_of, bare_tar])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("cat/dog7-cat1.png", "is in the folder cat, but its name says dog. Move or rename it"),
        ("cat/cat2-bear1.png", r"cat2-bear1\.png exists twice: .* and .*Keep only one of them"),
    ],
)
def test_what_contradicts_its_folder_or_is_there_twice_is_named(
    tmp_path: Path, place: Place, file: str, message: str
) -> None:
    where = place(tmp_path / "stimuli", (*FLAT, file))
    with pytest.raises(InputError, match=message) as error:
        items_in(where)
    assert Path(file).name in str(error.value)


@pytest.mark.parametrize("files", [(*FLAT, "selfie.png"), (*NESTED, "dog/selfie.png")])
@pytest.mark.parametrize("place", [folder_of, tar_there, bare_tar])
def test_a_picture_among_the_stimuli_whose_name_says_nothing_is_named(
    tmp_path: Path, place: Place, files: tuple[str, ...]
) -> None:
    where = place(tmp_path / "stimuli", files)
    with pytest.raises(InputError, match=r"selfie\.png: its name is not <shape>"):
        items_in(where)


def test_a_tar_may_hold_other_pictures_beside_the_stimuli(tmp_path: Path) -> None:
    where = bare_tar(tmp_path, (*(f"stimuli/{name}" for name in NESTED), "figures/plot.png"))
    assert [item.id for item in items_in(where)] == list(NAMES)


def test_stimuli_in_two_folders_of_a_tar_are_there_twice(tmp_path: Path) -> None:
    where = bare_tar(tmp_path, tuple(f"{top}/{name}" for top in "ab" for name in NESTED))
    with pytest.raises(InputError, match="exists twice"):
        items_in(where)


def test_a_folder_that_is_no_category_is_refused(tmp_path: Path) -> None:
    where = folder_of(tmp_path, (*NESTED, "spoon/spoon1-cat1.png"))
    words = "spoon is not a class folder: expected a category, such as bear"
    with pytest.raises(InputError, match=words):
        items_in(where)


@pytest.mark.parametrize("place", [folder_of, bare_tar])
def test_a_place_without_stimuli_is_refused(tmp_path: Path, place: Place) -> None:
    where = place(tmp_path / "empty", ("licence.txt",))
    source = open_source([where], [CLEAN], progress=NullProgress(), layout=STIMULI)
    if source.conditions():
        with pytest.raises(InputError, match=r"no images\. Expected files, such as cat7-eleph"):
            source.items(CLEAN)
    else:
        assert where.suffix == ".tar"


def test_flat_files_with_a_list_are_of_imagenet_only(tmp_path: Path) -> None:
    where = folder_of(tmp_path, ("ILSVRC2012_val_00000001.JPEG",))
    other = replace(IMAGES_IN_CLASS_FOLDERS, listed=False)
    with pytest.raises(InputError, match="is not in a class folder"):
        items_in(where, other)
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(InputError, match="the class of these images is known"):
        open_source(
            [where], [CLEAN], progress=NullProgress(), layout=other, labels=tmp_path / "val.txt"
        )


@pytest.mark.parametrize("place", [folder_of, bare_tar])
def test_videos_lie_in_class_folders_and_have_the_frames_of_their_condition(
    tmp_path: Path, place: Place
) -> None:
    files = tuple(f"{p}/{w}/x.mp4" for p in ("snow", "tilt") for w in (TENCH, DALMATIAN))
    source = open_source(
        [place(tmp_path / "p", files)], [SNOW, TILT], progress=NullProgress(), layout=VIDEOS
    )
    for condition, frames in ((SNOW, 31), (TILT, 41)):
        items = list(source.items(condition))
        assert [(i.id, i.label, i.frames) for i in items] == [
            (f"{TENCH}/x.mp4", 0, frames),
            (f"{DALMATIAN}/x.mp4", 251, frames),
        ]


@pytest.mark.parametrize("place", [folder_of, bare_tar])
def test_an_image_among_videos_is_refused(tmp_path: Path, place: Place) -> None:
    where = place(tmp_path / "p", (f"snow/{TENCH}/x.mp4", f"snow/{TENCH}/x.JPEG"))
    words = r"x\.JPEG is not a video: expected a file name that ends in one of \.mp4"
    with pytest.raises(InputError, match=words):
        items_in(where, VIDEOS, SNOW)


@pytest.mark.parametrize("place", [folder_of, bare_tar])
def test_imagenet_c_is_not_taken_for_videos(tmp_path: Path, place: Place) -> None:
    where = place(tmp_path / "c", tuple(f"snow/{s}/{TENCH}/x.JPEG" for s in "12345"))
    words = r"snow/\d is not a class folder: expected .* It looks like a part of ImageNet-C, which"
    with pytest.raises(InputError, match=words):
        items_in(where, VIDEOS, SNOW)


def test_items_that_a_condition_lacks_keep_their_frames(tmp_path: Path) -> None:
    where = folder_of(tmp_path, (f"snow/{TENCH}/x.mp4", f"snow/{TENCH}/y.mp4"))
    found = items_in(where, VIDEOS, SNOW).among(
        (f"{TENCH}/w.mp4", f"{TENCH}/x.mp4", f"{TENCH}/y.mp4")
    )
    assert [(item.missing, item.frames, item.label) for item in found] == [
        (True, 31, 0), (False, 31, 0), (False, 31, 0),
    ]  # fmt: skip


def test_videos_that_a_condition_lacks_are_called_so_with_the_option_that_helps(
    tmp_path: Path,
) -> None:
    where = folder_of(
        tmp_path, (f"snow/{TENCH}/x.mp4", f"snow/{TENCH}/y.mp4", f"tilt/{TENCH}/x.mp4")
    )
    source = open_source([where], (SNOW, TILT), progress=NullProgress(), layout=VIDEOS)
    with pytest.raises(
        InputError, match=r"lacks 1 of 2 videos, .* with --perturbations"
    ) as refused:
        shared_items(source, (SNOW, TILT))
    assert "image" not in str(refused.value)
    lacking = shared_items(source, (SNOW, TILT), missing_ok=True)[TILT][1]
    with pytest.raises(ImageError, match=r"y\.mp4 is missing, but other conditions have it"):
        refuse_missing(lacking)
