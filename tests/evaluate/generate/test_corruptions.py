import hashlib
import importlib.metadata
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from evaluator.contracts import Condition, Silence
from evaluator.errors import InputError, OutputError, UnavailableError
from evaluator.evaluate.benchmarks import imagenet_c
from evaluator.evaluate.generate.corruptions import (
    BENCHMARK_CORRUPTIONS,
    SEVERITIES,
    corrupted_pixels,
    image_seed,
    write_corrupted,
)
from evaluator.evaluate.generate.photos import sample_photos
from evaluator.evaluate.sources.folder import FolderSource

VARIANTS = tuple(itertools.product(BENCHMARK_CORRUPTIONS, SEVERITIES))
DETERMINISTIC = frozenset(
    ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
)
Images = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


class Told(Silence):
    """Progress that keeps what it was told."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.notes.append(f"{step} {done}/{total} {unit}")


class Impatient(Silence):
    """Somebody who presses Ctrl-C once the first image is there."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        if step == "corrupt" and done:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clean photos."""
    return photos_in(tmp_path_factory.mktemp("clean"), 2)


@pytest.fixture(scope="module")
def tree(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 75 variants of both, by two processes, with seed 0. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("made") / "tree"
    assert write_corrupted(source, folder, workers=2, progress=Silence()) == 150
    return folder


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """The tree, to be changed."""
    return Path(shutil.copytree(tree, tmp_path / "copy"))


def photos_in(folder: Path, count: int) -> Path:
    for photo in sample_photos()[:count]:
        (folder / photo.id).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, folder / photo.id)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of each image by its path in the tree."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/*/*/*")
        if not path.name.startswith(".")
    }


def some(folder: Path, *corruptions: str, severity: int | None = None) -> dict[str, bytes]:
    """The images of some corruptions."""
    found = {}
    for path, data in files(folder).items():
        corruption, level, *_ = path.split("/")
        if corruption in corruptions and severity in (None, int(level)):
            found[path] = data
    return found


def clean_crop(photo: Path) -> Image.Image:
    """The middle 224 x 224 of a photo whose short side was made 256, without our own decoder."""
    image = Image.open(photo).convert("RGB")
    width, height = image.size
    scale = 256 / min(width, height)
    size = (256, int(scale * height)) if width <= height else (int(scale * width), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return image.crop((left, top, left + 224, top + 224))


def correlation(image: Images, other: Images) -> float:
    return float(np.corrcoef(image.ravel(), other.ravel())[0, 1])


def jpeg(image: Image.Image | Images) -> bytes:
    """A corrupted image as the original generator stores it: cut to bytes, JPEG of quality 85."""
    stored = image if isinstance(image, Image.Image) else Image.fromarray(image.astype(np.uint8))
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


# ------------------------------------------------------------------------------- what is made


def test_corruptions_are_those_of_the_benchmark_in_its_order() -> None:
    assert BENCHMARK_CORRUPTIONS == imagenet_c.CORRUPTIONS
    assert SEVERITIES == imagenet_c.SEVERITIES


def test_all_75_variants_are_stored_as_the_benchmark_stores_them(source: Path, tree: Path) -> None:
    made = files(tree)
    ids = [path.relative_to(source).as_posix() for path in source.glob("*/*")]
    assert set(made) == {f"{c}/{s}/{photo}" for (c, s), photo in itertools.product(VARIANTS, ids)}
    expected = JpegImageFile(io.BytesIO(jpeg(clean_crop(source / ids[0]))))
    for path, data in made.items():
        image = JpegImageFile(io.BytesIO(data))
        assert (image.mode, image.size) == ("RGB", (224, 224)), path
        assert image.quantization == expected.quantization, path


def test_every_variant_differs_from_its_photo_and_shows_it(source: Path, tree: Path) -> None:
    clean = {
        path.relative_to(source).as_posix(): np.asarray(clean_crop(path), np.float64)
        for path in source.glob("*/*")
    }
    for path, data in files(tree).items():
        image = np.asarray(Image.open(io.BytesIO(data)), np.float64)
        own = path.split("/", 2)[2]
        likeness = {photo: correlation(image, pixels) for photo, pixels in clean.items()}
        assert max(likeness, key=lambda photo: likeness[photo]) == own, path
        assert np.abs(image - clean[own]).mean() > 1, path


def test_the_tree_is_read_back_as_a_generated_imagenet_c(source: Path, tree: Path) -> None:
    made = FolderSource(tree, imagenet_c.CONDITIONS)
    assert made.conditions() == list(imagenet_c.CONDITIONS)
    clean = FolderSource(source, [Condition()]).items(Condition())
    assert [i.id for i in made.items(imagenet_c.CONDITIONS[0])] == [i.id for i in clean]
    assert made.generated is not None


def test_the_mark_says_all_that_the_images_depend_on(source: Path, tree: Path) -> None:
    digest = hashlib.sha256()
    for path in sorted(source.glob("*/*"), key=lambda path: path.relative_to(source).as_posix()):
        photo = path.relative_to(source).as_posix()
        digest.update(f"{photo}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    packages = ("numpy", "opencv-python", "scikit-image", "Pillow", "numba", "scipy")
    generator = importlib.metadata.version("imagecorruptions-imaug")
    assert json.loads((tree / "generated.json").read_bytes()) == {
        "by": "evaluator data corrupt",
        "generator": f"imagecorruptions-imaug {generator}",
        "seed": 0,
        "jpeg_quality": 85,
        "resize_px": 256,
        "crop_px": 224,
        "interpolation": "bilinear",
        "source_sha256": digest.hexdigest(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def published(corruption: str, severity: int, clean: Image.Image) -> Image.Image | Images:
    """What needs no random number, written out from the published parameters."""
    x = np.asarray(clean) / 255.0
    if corruption == "contrast":
        means = x.mean(axis=(0, 1), keepdims=True)
        factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
        grey: Images = np.clip((x - means) * factor + means, 0, 1) * 255
        return grey
    if corruption == "pixelate":
        side = int(224 * (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1])
        small = clean.resize((side, side), Image.Resampling.BOX)
        return small.resize((224, 224), Image.Resampling.BOX)
    assert corruption == "jpeg_compression"
    buffer = io.BytesIO()
    clean.save(buffer, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    return Image.open(buffer)


@pytest.mark.parametrize("corruption", ["contrast", "pixelate", "jpeg_compression"])
def test_bytes_are_those_of_the_published_parameters(
    corruption: str, source: Path, tree: Path
) -> None:
    for path in source.glob("*/*"):
        for severity in SEVERITIES:
            made = tree / corruption / str(severity) / path.relative_to(source)
            assert made.read_bytes() == jpeg(published(corruption, severity, clean_crop(path)))


def test_brightness_adds_its_published_parameter_to_the_value_of_hsv(source: Path) -> None:
    clean = np.asarray(clean_crop(next(source.glob("*/*"))))
    x = clean / 255.0
    value = x.max(axis=2, keepdims=True)
    for severity, added in zip(SEVERITIES, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        # Hue and saturation stay, so a pixel is scaled; black has neither and becomes grey.
        new = np.minimum(value + added, 1)
        expected = np.where(value > 0, x * new / np.where(value > 0, value, 1), new) * 255
        made = corrupted_pixels(clean, "brightness", severity, 0)
        # Cut to bytes: up to 1 is lost.
        assert np.all((made <= expected + 1e-9) & (made > expected - 1 - 1e-9))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_is_that_of_the_published_parameters_and_the_image_s_own_seed(
    severity: int, source: Path, tree: Path
) -> None:
    path = next(source.glob("*/*"))
    photo = path.relative_to(source).as_posix()
    x = np.asarray(clean_crop(path)) / 255.0

    def random(corruption: str) -> np.random.RandomState:
        words = f"0\0{photo}\0{corruption}\0{severity}".encode()
        return np.random.RandomState(int(hashlib.sha256(words).hexdigest()[:8], 16))

    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    gaussian = x + random("gaussian_noise").normal(size=x.shape, scale=scale)
    photons = (60, 25, 12, 5, 3)[severity - 1]
    shot = random("shot_noise").poisson(x * photons) / photons
    for corruption, image in (("gaussian_noise", gaussian), ("shot_noise", shot)):
        made = tree / corruption / str(severity) / photo
        assert made.read_bytes() == jpeg(np.clip(image, 0, 1) * 255)


# ------------------------------------------------------------------- the same bytes, whatever else


def test_one_worker_and_a_subset_make_the_same_bytes_as_two_and_the_whole(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    reversed_names = BENCHMARK_CORRUPTIONS[::-1]
    written = write_corrupted(
        source, tmp_path, corruptions=reversed_names, severities=(3,), workers=1, progress=Silence()
    )
    assert written == 30
    assert files(tmp_path) == some(tree, *BENCHMARK_CORRUPTIONS, severity=3)
    assert (tmp_path / "generated.json").read_bytes() == (tree / "generated.json").read_bytes()


def test_another_seed_changes_what_is_random_and_nothing_else(source: Path) -> None:
    clean = np.asarray(clean_crop(next(source.glob("*/*"))))
    for corruption in BENCHMARK_CORRUPTIONS:
        first, again, other = (corrupted_pixels(clean, corruption, 2, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) == (corruption in DETERMINISTIC), corruption


def test_each_image_has_a_seed_of_its_own() -> None:
    parts = itertools.product((0, 1), ("n01440764/a.JPEG", "n01440764/b.JPEG"), VARIANTS)
    seeds = [image_seed(seed, photo, *variant) for seed, photo, variant in parts]
    assert len(set(seeds)) == 2 * 2 * 75
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_caller_s_random_numbers_and_warnings_are_left_alone(source: Path) -> None:
    clean = np.asarray(clean_crop(next(source.glob("*/*"))))
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    filters = list(warnings.filters)
    for corruption in BENCHMARK_CORRUPTIONS:
        corrupted_pixels(clean, corruption, 1, 5)
    np.testing.assert_array_equal(np.random.random(3), expected)
    assert warnings.filters == filters


# -------------------------------------------------------------------------- stopped and continued


def test_a_second_call_makes_only_what_is_missing(source: Path, tree: Path, copy: Path) -> None:
    lost = sorted(some(copy, "fog", "pixelate"))[::4]
    for path in lost:
        (copy / path).unlink()
    stray = copy / lost[0].rsplit("/", 1)[0] / ".a.JPEG.0123abcd.tmp"
    stray.write_bytes(b"half a file")
    times = {path: (copy / path).stat().st_mtime_ns for path in files(copy)}
    told = Told()
    assert write_corrupted(source, copy, progress=told) == 150
    assert files(copy) == files(tree)
    assert {path: (copy / path).stat().st_mtime_ns for path in times} == times
    corrupted = [note for note in told.notes if note.startswith("corrupt")]
    assert corrupted[0] == f"corrupt {150 - len(lost)}/150 images"
    assert corrupted[-1] == "corrupt 150/150 images"


def test_a_finished_tree_is_left_as_it_is(source: Path, copy: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    told = Told()
    assert write_corrupted(source, copy, progress=told) == 150
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == times
    assert told.notes == ["read 0/2 photos", "read 2/2 photos", "corrupt 150/150 images"]


def test_an_interrupt_ends_the_call_and_what_was_made_is_whole(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    names = ("gaussian_noise", "zoom_blur", "brightness", "elastic_transform")
    with pytest.raises(KeyboardInterrupt):
        write_corrupted(source, tmp_path, corruptions=names, workers=1, progress=Impatient())
    made = files(tmp_path)
    assert 20 <= len(made) < 40
    assert made.items() <= files(tree).items()


KILLED = """
import sys
from pathlib import Path
from evaluator.contracts import Silence
from evaluator.evaluate.generate.corruptions import write_corrupted
write_corrupted(
    Path(sys.argv[1]), Path(sys.argv[2]), corruptions=("zoom_blur", "snow"), workers=2,
    progress=Silence(),
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process as POSIX does")
def test_a_killed_call_leaves_a_marked_tree_and_is_continued(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(source), str(tmp_path / "tree")])
    deadline = time.monotonic() + 30
    while not files(tmp_path / "tree") and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (tmp_path / "tree/generated.json").is_file()
    made = files(tmp_path / "tree")
    assert made.items() <= files(tree).items()
    names = ("zoom_blur", "snow")
    write_corrupted(source, tmp_path / "tree", corruptions=names, progress=Silence())
    assert files(tmp_path / "tree") == some(tree, *names)


# ------------------------------------------------------------------------------------ names


def test_photos_that_are_no_jpeg_become_one_and_keep_their_stem(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    Image.open(path).save(path.with_name("drawn.png"))
    path.rename(path.with_name("taken.JpG"))
    write_corrupted(
        source, tmp_path / "tree", corruptions=["contrast"], severities=[1], progress=Silence()
    )
    wnid = path.parent.name
    assert sorted(files(tmp_path / "tree")) == [
        f"contrast/1/{wnid}/drawn.JPEG",
        f"contrast/1/{wnid}/taken.JpG",
    ]


def test_two_photos_that_would_get_one_name_are_refused(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    Image.open(path).save(path.with_suffix(".png"))
    with pytest.raises(InputError, match=r"\.JPEG and .*\.png would both become n\d+/.*\.JPEG"):
        write_corrupted(source, tmp_path / "tree", progress=Silence())
    assert not (tmp_path / "tree").exists()


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corruptions": ["fogg"]}, "no corruption 'fogg'. Did you mean fog"),
        ({"corruptions": ["spatter"]}, "no corruption 'spatter'"),
        ({"corruptions": ["x"]}, "no corruption 'x'. Expected some of gaussian_noise shot_noise"),
        ({"severities": [0]}, "no severity 0. Expected some of 1 2 3 4 5"),
        ({"corruptions": []}, "Nothing to make"),
        ({"severities": []}, "Nothing to make"),
        ({"workers": 0}, "cannot be 0 workers"),
    ],
)
def test_arguments_are_refused_before_anything_is_written(
    arguments: dict[str, object], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_corrupted(source, tmp_path / "tree", progress=Silence(), **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize(
    ("relative", "message"),
    [(".", "lie in each other"), ("tree", "lie in each other"), ("..", "lie in each other")],
)
def test_source_and_tree_that_lie_in_each_other_are_refused(
    relative: str, message: str, tmp_path: Path
) -> None:
    source = photos_in(tmp_path / "clean", 1)
    with pytest.raises(InputError, match=message):
        write_corrupted(source, source / relative, progress=Silence())
    assert len(list(tmp_path.rglob("*.JPEG"))) == 1
    assert not list(tmp_path.rglob("generated.json"))


@pytest.mark.parametrize("part", ["", "fog/3"])
def test_a_source_that_was_generated_is_refused(part: str, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"was itself generated, says .*generated\.json"):
        write_corrupted(tree / part, tmp_path / "other", progress=Silence())


def test_a_source_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"SOURCE .*nowhere is no folder"):
        write_corrupted(tmp_path / "nowhere", tmp_path / "tree", progress=Silence())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        write_corrupted(tmp_path / "empty", tmp_path / "tree", progress=Silence())


def test_nothing_is_written_into_data_of_others(source: Path, tmp_path: Path) -> None:
    theirs = photos_in(tmp_path / "theirs", 1)
    with pytest.raises(InputError, match=r"holds n\d+ and no generated.json"):
        write_corrupted(source, theirs, progress=Silence())
    assert len(list(theirs.rglob("*"))) == 2


def test_a_file_in_the_place_of_the_tree_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(b"a letter")
    with pytest.raises(OutputError, match="cannot be written"):
        write_corrupted(source, tmp_path / "tree", progress=Silence())


def test_a_mark_that_was_half_written_is_no_data_of_others(source: Path, tmp_path: Path) -> None:
    (tmp_path / ".generated.json.0123abcd.tmp").write_bytes(b"{")
    variant = {"corruptions": ["contrast"], "severities": [1]}
    assert write_corrupted(source, tmp_path, progress=Silence(), **variant) == 2  # type: ignore[arg-type]


def test_a_tree_of_another_seed_is_refused_by_name(source: Path, tree: Path) -> None:
    with pytest.raises(InputError, match="otherwise: seed is 0 there, 1 here"):
        write_corrupted(source, tree, seed=1, progress=Silence())


def test_a_tree_of_other_photos_is_refused_by_name(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="otherwise: source_sha256 is"):
        write_corrupted(photos_in(tmp_path, 1), tree, progress=Silence())


def test_a_tree_of_another_package_is_refused_by_name(source: Path, copy: Path) -> None:
    recipe = json.loads((copy / "generated.json").read_bytes())
    recipe["packages"]["numba"] = "0.1"
    recipe["extra"] = True
    (copy / "generated.json").write_text(json.dumps(recipe))
    with pytest.raises(InputError, match=r"extra is True there.*packages\.numba is 0\.1 there"):
        write_corrupted(source, copy, progress=Silence())


def test_a_mark_that_is_no_json_is_refused(source: Path, copy: Path) -> None:
    (copy / "generated.json").write_text("{")
    with pytest.raises(InputError, match=r"generated\.json cannot be read"):
        write_corrupted(source, copy, progress=Silence())


def test_a_damaged_photo_is_named_and_pickled_as_it_is(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError) as refused:
        write_corrupted(source, tmp_path / "tree", corruptions=["fog"], progress=Silence())
    assert type(refused.value) is InputError
    assert str(refused.value).startswith(f"{path} cannot be decoded: ")
    assert "\n" not in str(refused.value)


class Meddler(Silence):
    """Somebody who changes the photo of the first note after it was read for the mark."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        if step == "corrupt":
            Path(self.notes[0]).write_bytes(b"something else")


def test_a_photo_that_changes_meanwhile_is_named(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    with pytest.raises(InputError, match=rf"{path.name} changed"):
        write_corrupted(source, tmp_path / "tree", progress=Meddler([str(path)]))


@pytest.fixture
def _without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def lacking(name: str) -> str:
        if name == "imagecorruptions-imaug":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", lacking)


@pytest.mark.usefixtures("_without_package")
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match=r"pip install 'evaluator\[demo\]'"):
        write_corrupted(source, tmp_path / "tree", progress=Silence())
    assert not (tmp_path / "tree").exists()


def test_a_package_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    clean = np.zeros((224, 224, 3), np.uint8)
    with pytest.raises(UnavailableError, match="imagecorruptions-imaug cannot be imported: "):
        corrupted_pixels(clean, "fog", 1, 0)
