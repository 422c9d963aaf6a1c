"""Trees with folders above and between those of the conditions, on disk and in tars."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluator.contracts import Condition, NullProgress
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import IMAGENET_C
from evaluator.evaluate.benchmarks.imagenet_p import IMAGENET_P
from evaluator.evaluate.sources.open_source import MixedSource, open_source
from evaluator.tests.evaluate.sources.tars import TENCH, TISSUE, cell, refusal, tar_of

FOG, SNOW = cell("fog", 1), cell("snow", 5)
CELLS = [f"{place}/{wnid}/x.JPEG" for place in ("fog/1", "snow/5") for wnid in (TENCH, TISSUE)]
MARKER = json.dumps({"by": "evaluator data corrupt", "seed": 3})

Place = Callable[[Path, list[str]], Path]


def on_disk(path: Path, names: list[str]) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(MARKER if name.endswith("generated.json") else name)
    return path


def in_tar(path: Path, names: list[str]) -> Path:
    content = {n: (MARKER if n.endswith("generated.json") else n).encode() for n in names}
    return tar_of(path.with_suffix(".tar"), content)


def opened(place: Path, benchmark: str = "c") -> tuple[MixedSource, list[str]]:
    heard = NullProgress()
    chosen = IMAGENET_C if benchmark == "c" else IMAGENET_P
    source = open_source([place], chosen.conditions, progress=heard, layout=chosen.layout)
    return source, heard.notes


both = pytest.mark.parametrize("pack", [on_disk, in_tar])


@both
@pytest.mark.parametrize("above", ["", "ImageNet-C", "noise", "a/b/ImageNet-C", "a/b/c/d/e/f"])
def test_conditions_are_found_at_any_depth(tmp_path: Path, pack: Place, above: str) -> None:
    source, notes = opened(
        pack(tmp_path / "data", [f"{above}/{name}".strip("/") for name in CELLS])
    )
    assert source.conditions() == [SNOW, FOG]
    for condition in (FOG, SNOW):
        assert [item.id for item in source.items(condition)] == [
            f"{TENCH}/x.JPEG",
            f"{TISSUE}/x.JPEG",
        ]
    assert notes == []


@both
def test_conditions_may_lie_at_different_depths(tmp_path: Path, pack: Place) -> None:
    names = [f"weather/deep/{name}" if "fog" in name else name for name in CELLS]
    assert opened(pack(tmp_path / "data", names))[0].conditions() == [SNOW, FOG]


@both
def test_a_condition_that_is_twice_is_refused_at_any_depth(tmp_path: Path, pack: Place) -> None:
    place = pack(tmp_path / "data", [*CELLS, f"copy/of/it/fog/1/{TENCH}/x.JPEG"])
    refusal(lambda: opened(place), "fog, severity=1", "copy/of/it/fog/1", "exists twice")


@both
@pytest.mark.parametrize("marker", ["generated.json", "a/b/generated.json", "a/b/c/generated.json"])
def test_the_mark_of_generated_data_is_found_above_them(
    tmp_path: Path, pack: Place, marker: str
) -> None:
    names = [f"a/b/c/weather/{name}" for name in CELLS]
    source, _ = opened(pack(tmp_path / "data", [*names, marker]))
    assert source.generated == json.loads(MARKER)
    original, _ = opened(pack(tmp_path / "original", names))
    assert original.generated is None


def test_the_mark_is_found_above_a_part_that_is_given(tmp_path: Path) -> None:
    names = [f"weather/{name}" for name in CELLS]
    root = on_disk(tmp_path / "data", [*names, "generated.json"])
    for part in (root, root / "weather"):
        assert opened(part)[0].generated == json.loads(MARKER)


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    root = on_disk(tmp_path / "data", [f"weather/{name}" for name in CELLS])
    (root / "a").mkdir()
    (root / "weather" / "again").symlink_to(root)
    (root / "weather" / "above").symlink_to(tmp_path)
    (root / "weather" / "itself").symlink_to("itself")
    (root / "a" / "b").symlink_to(root / "weather" / "fog")
    (root / "weather" / "fog" / "a").symlink_to(root / "a")
    assert opened(root)[0].conditions() == [SNOW, FOG]


def test_conditions_may_be_links_to_the_same_folder(tmp_path: Path) -> None:
    root = on_disk(tmp_path / "data", [f"common/{TENCH}/x.JPEG"])
    for name, target in {"fog/1": "../common", "snow/5": "../common"}.items():
        (root / name).parent.mkdir()
        (root / name).symlink_to(target)
    assert opened(root)[0].conditions() == [SNOW, FOG]


# ------------------------------------------------------------------------ what is not read


@both
def test_corruptions_that_are_not_of_the_benchmark_are_reported(
    tmp_path: Path, pack: Place
) -> None:
    extra = [f"extra/speckle_noise/{s}/{TENCH}/x.JPEG" for s in "135"]
    place = pack(tmp_path / "data", [*CELLS, *extra, f"val/{TENCH}/x.JPEG"])
    source, notes = opened(place)
    assert source.conditions() == [SNOW, FOG]
    (note,) = notes
    assert note.startswith(f"Not read in {place}: extra/speckle_noise, val. The benchmark has no")


@both
def test_other_difficulties_of_imagenet_p_are_reported(tmp_path: Path, pack: Place) -> None:
    names = [f"{folder}/{TENCH}/x.mp4" for folder in ("tilt", "tilt_2", "tilt_3", "shear")]
    source, notes = opened(pack(tmp_path / "data", names), "p")
    assert [c["perturbation"] for c in source.conditions()] == ["tilt"]
    (note,) = notes
    assert ": shear, tilt_2, tilt_3. " in note


@both
def test_only_some_of_many_unread_folders_are_named(tmp_path: Path, pack: Place) -> None:
    names = [f"other_{n}/1/{TENCH}/x.JPEG" for n in range(9)]
    (note,) = opened(pack(tmp_path / "data", [*CELLS, *names]))[1]
    assert "other_5 and 3 more. " in note


@both
def test_imagenet_c_beside_imagenet_p_is_not_taken_for_it(tmp_path: Path, pack: Place) -> None:
    videos = [f"p/{name}/{TENCH}/x.mp4" for name in ("snow", "tilt")]
    images = [f"c/weather/{name}" for name in CELLS]
    place = pack(tmp_path / "data", [*videos, *images])
    source, _ = opened(place, "p")
    assert [c["perturbation"] for c in source.conditions()] == ["snow", "tilt"]
    snow = Condition((("perturbation", "snow"),))
    assert [item.id for item in source.items(snow)] == [f"{TENCH}/x.mp4"]
    assert opened(place, "c")[0].conditions() == [SNOW, FOG]


def test_a_clean_tree_is_still_not_looked_for_below(tmp_path: Path) -> None:
    root = on_disk(tmp_path / "data", [f"ILSVRC/val/{TENCH}/x.JPEG"])
    source = open_source([root], [Condition()], progress=NullProgress())
    with pytest.raises(InputError, match=r"Did you mean .*ILSVRC/val\?"):
        source.items(Condition())


def test_archives_in_a_folder_below_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "data" / "ImageNet-C").mkdir(parents=True)
    in_tar(tmp_path / "data" / "ImageNet-C" / "weather", CELLS)
    message = refusal(lambda: opened(tmp_path / "data"), tmp_path / "data" / "ImageNet-C")
    assert "holds archives. Did you mean that folder?" in message
    assert opened(tmp_path / "data" / "ImageNet-C")[0].conditions() == [SNOW, FOG]
    clean = open_source([tmp_path / "data"], [Condition()], progress=NullProgress())
    with pytest.raises(InputError, match=r"Did you mean .*ImageNet-C\?"):
        clean.items(Condition())


def test_archives_beside_conditions_change_nothing(tmp_path: Path) -> None:
    root = on_disk(tmp_path / "data", CELLS)
    (root / "archives").mkdir()
    in_tar(root / "archives" / "weather", CELLS)
    assert opened(root)[0].conditions() == [SNOW, FOG]
