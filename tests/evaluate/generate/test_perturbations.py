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
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from evaluator.contracts import Item, Silence
from evaluator.errors import ImageError, InputError, UnavailableError
from evaluator.evaluate.generate.encoding import GRAIN, PLAIN, mp4_from_frames
from evaluator.evaluate.generate.perturbations import PHOTO, write_perturbed
from evaluator.evaluate.generate.photos import sample_photos
from evaluator.evaluate.generate.sequences import PERTURBATIONS
from evaluator.evaluate.generate.trees import seed_of
from evaluator.evaluate.sources.marks import maker_of
from evaluator.evaluate.video import decode_video

Pixels = npt.NDArray[np.uint8]
QUICK = ("translate", "brightness")


class Told(Silence):
    """Progress that keeps what it was told."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.notes.append(f"{step} {done}/{total} {unit}")


class Impatient(Silence):
    """Somebody who presses Ctrl-C once the first video is there."""

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        if step == "perturb" and done:
            raise KeyboardInterrupt


def photos_in(folder: Path, count: int) -> Path:
    for photo in sample_photos()[:count]:
        (folder / photo.id).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, folder / photo.id)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clean photos."""
    return photos_in(tmp_path_factory.mktemp("clean"), 2)


@pytest.fixture(scope="module")
def tree(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All ten perturbations of both, by two processes, with seed 0. Copy before you change it."""
    folder = tmp_path_factory.mktemp("made") / "tree"
    assert write_perturbed(source, folder, workers=2, progress=Silence()) == 20
    return folder


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """The tree, to be changed."""
    return Path(shutil.copytree(tree, tmp_path / "copy"))


def files(folder: Path, *names: str) -> dict[str, bytes]:
    """The bytes of each video by its path in the tree, of all or some perturbations."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/*/*")
        if not path.name.startswith(".") and (not names or path.parts[-3] in names)
    }


def decoded(data: bytes, count: int) -> Pixels:
    frames = np.zeros((count, 224, 224, 3), np.uint8)
    decode_video(data, Item("a", None, "a video"), PHOTO, list(frames))
    return frames


# ------------------------------------------------------------------------------- what is made


def test_every_photo_becomes_ten_videos_named_like_it(source: Path, tree: Path) -> None:
    stems = [p.relative_to(source).with_suffix(".mp4").as_posix() for p in source.glob("*/*")]
    assert set(files(tree)) == {f"{name}/{stem}" for name in PERTURBATIONS for stem in stems}


def test_videos_are_coded_as_the_benchmark_s(tree: Path) -> None:
    for path, data in files(tree).items():
        name = path.split("/")[0]
        with av.open(io.BytesIO(data)) as container:
            (stream,) = container.streams
            assert isinstance(stream, av.VideoStream)
            assert stream.codec_context.name == "h264"
            assert stream.profile == "High 4:4:4 Predictive"
            assert stream.codec_context.pix_fmt == "yuv444p"
            assert (stream.width, stream.height) == (224, 224)
            assert stream.frames == (41 if name == "translate" else 31)
            assert stream.average_rate == 1
        # x264 writes its settings into the stream.
        assert (b"crf=23.0" if "noise" in name else b"crf=20.0") in data
        assert (b"deblock=1:-2:-2" in data) == ("noise" in name)  # which is --tune grain
        assert b"subme=10" in data  # which, with me=umh and 16 references, is veryslow
        assert b"threads=1 " in data


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_videos_show_their_sequence(name: str, source: Path, tree: Path) -> None:
    for path in source.glob("*/*"):
        photo = path.relative_to(source).as_posix()
        whole = Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
        words = f"0\0{photo}\0{name}".encode()
        random = np.random.default_rng(int(hashlib.sha256(words).hexdigest()[:8], 16))
        expected = np.stack(list(PERTURBATIONS[name].sequence(whole, random)))
        made = tree / name / Path(photo).with_suffix(".mp4")
        frames = decoded(made.read_bytes(), len(expected))
        loss = np.abs(frames.astype(int) - expected).mean(axis=(1, 2, 3))
        assert loss.max() < 6, name  # crf 20 and 23 are lossy
        for i in (1, 15, 30):  # and each frame is in its place
            distances = np.abs(expected.astype(int) - frames[i]).mean(axis=(1, 2, 3))
            assert distances[i] <= distances.min() + 0.3, (name, i)


def test_every_video_says_that_it_was_generated(tree: Path) -> None:
    for path, data in files(tree).items():
        assert maker_of(data) == "evaluator data perturb", path
        with av.open(io.BytesIO(data)) as container:
            assert container.metadata["comment"] == (
                "generated by evaluator data perturb, not ImageNet-P"
            )


def test_a_video_without_the_comment_was_not_made_here(tree: Path) -> None:
    data = next(iter(files(tree).values()))
    assert maker_of(data.replace(b"not ImageNet-P", b"now ImageNet-P")) is None
    assert maker_of(b"generated by evaluator data perturb, not ImageNet-P") is None


def test_the_mark_says_all_that_the_videos_depend_on(source: Path, tree: Path) -> None:
    digest = hashlib.sha256()
    for path in sorted(source.glob("*/*"), key=lambda path: path.relative_to(source).as_posix()):
        photo = path.relative_to(source).as_posix()
        digest.update(f"{photo}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    mark = json.loads((tree / "generated.json").read_bytes())
    assert mark.pop("libraries")["libavcodec"] == ".".join(
        map(str, av.library_versions["libavcodec"])
    )
    assert mark == {
        "by": "evaluator data perturb",
        "seed": 0,
        "encoder": "libx264",
        "settings": {
            "preset": "veryslow",
            "crf": "20",
            "x264-params": "cpu-independent=1",
        },
        "settings_noise": {
            "preset": "veryslow",
            "crf": "23",
            "tune": "grain",
            "x264-params": "cpu-independent=1",
        },
        "pixel_format": "yuv444p",
        "video_comment": "generated by evaluator data perturb, not ImageNet-P",
        "resize_px": 256,
        "crop_px": 224,
        "interpolation": "bilinear",
        "source_sha256": digest.hexdigest(),
        "packages": {
            name: importlib.metadata.version(name) for name in ("numpy", "scipy", "Pillow", "av")
        },
    }


@pytest.mark.parametrize("settings", [PLAIN, GRAIN])
def test_the_same_frames_are_the_same_bytes_without_a_time_or_a_version(
    settings: dict[str, str],
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    first = mp4_from_frames(frames, settings)
    assert mp4_from_frames(frames, settings) == first
    assert b"Lavf" not in first
    assert b"Lavc" not in first
    created = first.index(b"mvhd") + 8
    assert first[created : created + 8] == bytes(8)


# ------------------------------------------------------------------- the same bytes, whatever else


@pytest.mark.parametrize(("name", "settings"), [("rotate", PLAIN), ("shot_noise", GRAIN)])
def test_the_same_frames_are_the_same_bytes_on_every_processor(
    name: str, settings: dict[str, str], source: Path
) -> None:
    photo = Image.open(next(source.glob("*/*"))).convert("RGB").resize((256, 256))
    sequence = PERTURBATIONS[name].sequence(photo, np.random.default_rng(0))
    frames = list(itertools.islice(sequence, 8))
    # Without instructions that only some processors have. x264 decided otherwise with them, and
    # with AVX-512 otherwise on each call, as soon as frames moved.
    plain = mp4_from_frames(frames, {**settings, "x264-params": "cpu-independent=1:asm=0"})
    assert {mp4_from_frames(frames, settings) for _ in range(4)} == {plain}


def test_one_worker_and_a_subset_make_the_same_bytes_as_two_and_the_whole(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    names = ("shot_noise", *QUICK)
    written = write_perturbed(
        source, tmp_path, perturbations=names[::-1], workers=1, progress=Silence()
    )
    assert written == 6
    assert files(tmp_path) == files(tree, *names)
    assert (tmp_path / "generated.json").read_bytes() == (tree / "generated.json").read_bytes()


def test_each_sequence_has_a_seed_of_its_own() -> None:
    seeds = {
        seed_of(seed, photo, name) for seed in (0, 1) for photo in "ab" for name in PERTURBATIONS
    }
    assert len(seeds) == 2 * 2 * 10


# -------------------------------------------------------------------------- stopped and continued


def test_a_second_call_makes_only_what_is_missing(source: Path, tree: Path, copy: Path) -> None:
    lost = sorted(files(copy, *QUICK))[::3]
    for path in lost:
        (copy / path).unlink()
    (copy / lost[0]).with_name(".a.mp4.0123abcd.tmp").write_bytes(b"half a file")
    times = {path: (copy / path).stat().st_mtime_ns for path in files(copy)}
    told = Told()
    assert write_perturbed(source, copy, progress=told) == 20
    assert files(copy) == files(tree)
    assert {path: (copy / path).stat().st_mtime_ns for path in times} == times
    perturbed = [note for note in told.notes if note.startswith("perturb")]
    assert perturbed[0] == f"perturb {20 - len(lost)}/20 videos"
    assert perturbed[-1] == "perturb 20/20 videos"


def test_an_interrupt_ends_the_call_and_what_was_made_is_whole(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_perturbed(source, tmp_path, perturbations=QUICK, workers=1, progress=Impatient())
    made = files(tmp_path)
    assert 2 <= len(made) < 4
    assert made.items() <= files(tree).items()


KILLED = """
import sys
from pathlib import Path
from evaluator.contracts import Silence
from evaluator.evaluate.generate.perturbations import write_perturbed
write_perturbed(
    Path(sys.argv[1]), Path(sys.argv[2]), perturbations=("translate", "brightness"), workers=2,
    progress=Silence(),
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process as POSIX does")
def test_a_killed_call_leaves_a_marked_tree_and_is_continued(
    source: Path, tree: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(source), str(tmp_path / "tree")])
    deadline = time.monotonic() + 60
    while not files(tmp_path / "tree") and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (tmp_path / "tree/generated.json").is_file()
    assert files(tmp_path / "tree").items() <= files(tree).items()
    write_perturbed(source, tmp_path / "tree", perturbations=QUICK, progress=Silence())
    assert files(tmp_path / "tree") == files(tree, *QUICK)


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"perturbations": ["tilted"]}, "no perturbation 'tilted'. Did you mean tilt"),
        ({"perturbations": ["x"]}, "no perturbation 'x'. Expected some of gaussian_noise"),
        ({"perturbations": ["fog"]}, "no perturbation 'fog'"),
        ({"perturbations": []}, "Nothing to make: give at least one perturbation"),
        ({"workers": 0}, "cannot be 0 workers"),
    ],
)
def test_arguments_are_refused_before_anything_is_written(
    arguments: dict[str, object], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_perturbed(source, tmp_path / "tree", progress=Silence(), **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "tree").exists()


def test_source_and_tree_that_lie_in_each_other_are_refused(source: Path) -> None:
    with pytest.raises(InputError, match="so perturbed sequences would mix with clean photos"):
        write_perturbed(source, source / "tree", progress=Silence())


def test_two_photos_that_would_get_one_name_are_refused(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    Image.open(path).save(path.with_suffix(".png"))
    with pytest.raises(InputError, match=r"would both become n\d+/.*\.mp4"):
        write_perturbed(source, tmp_path / "tree", progress=Silence())
    assert not (tmp_path / "tree").exists()


def test_a_source_that_was_generated_is_refused(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    comment = b"generated by evaluator data corrupt, not ImageNet-C"
    Image.open(path).convert("RGB").save(path, "JPEG", comment=comment)
    with pytest.raises(InputError, match=r"itself generated, says .* gives no known perturbation"):
        write_perturbed(source, tmp_path / "tree", progress=Silence())


def test_a_tree_of_another_seed_or_encoder_is_refused_by_name(source: Path, copy: Path) -> None:
    with pytest.raises(InputError, match="otherwise: seed is 0 there, 1 here"):
        write_perturbed(source, copy, seed=1, progress=Silence())
    mark = json.loads((copy / "generated.json").read_bytes())
    mark["packages"]["av"] = "0.1"
    (copy / "generated.json").write_text(json.dumps(mark))
    with pytest.raises(InputError, match=r"packages\.av is 0\.1 there"):
        write_perturbed(source, copy, progress=Silence())


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    source = photos_in(tmp_path / "clean", 1)
    (path,) = source.glob("*/*")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"cannot be decoded: ") as refused:
        write_perturbed(source, tmp_path / "tree", perturbations=["tilt"], progress=Silence())
    assert str(refused.value).startswith(f"{path} ")
    assert not files(tmp_path / "tree")


def test_without_pyav_nothing_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnavailableError, match=r"pip install 'evaluator\[video\]'"):
        write_perturbed(source, tmp_path / "tree", progress=Silence())
    assert not (tmp_path / "tree").exists()


def test_an_ffmpeg_without_x264_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"h264", "mpeg4"})
    with pytest.raises(UnavailableError, match="lacks libx264"):
        write_perturbed(source, tmp_path / "tree", progress=Silence())
    assert not (tmp_path / "tree").exists()
