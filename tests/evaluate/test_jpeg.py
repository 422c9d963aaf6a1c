"""simplejpeg gives what Pillow gives, or is not asked."""

import io
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from evaluator.contracts import Interpolation, Preprocessing
from evaluator.errors import ImageError
from evaluator.evaluate import jpeg
from evaluator.evaluate.decode import photo_pixels, stimulus_pixels
from evaluator.tests.evaluate.jpegs import (
    ARITHMETIC,
    FAST,
    FOUR_BY_TWO,
    SIDES,
    SLOW,
    Pixels,
    pillow_pixels,
    scene,
    with_size,
)
from evaluator.tests.examples import examples

# Pillow warns of damaged EXIF; that the tool keeps it quiet is tested in test_decode.py.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

KINDS = {**FAST, **SLOW}
LOCATION = "/data/some.JPEG"
HOW = Preprocessing(24, 20, "bilinear", (0.5,) * 3, (0.5,) * 3)


def is_served(data: bytes) -> bool:
    return jpeg.supports(Image.open(io.BytesIO(data)), data) or jpeg.plain_size(data) is not None


def fast_pixels(data: bytes) -> Pixels | None:
    """What simplejpeg makes of a file; none where it is not asked, or has a remark."""
    image = Image.open(io.BytesIO(data))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    return pixels if is_served(data) and jpeg.decode_into(pixels, data) else None


def all_pixels(data: bytes) -> Pixels | None:
    """All pixels of a square file as decoded; ``None`` if it is refused by name."""
    side = 40
    try:
        return stimulus_pixels(data, LOCATION, side)
    except ImageError as error:
        message = str(error)
    assert LOCATION in message
    assert message.isprintable()
    return None


def expected_pixels(data: bytes) -> Pixels | None:
    """The same by Pillow alone."""
    try:
        pixels = pillow_pixels(data)
    except Exception:
        return None
    return pixels if pixels.shape == (40, 40, 3) else None


def check(data: bytes) -> bool:
    """Both have the same pixels, or both have none; whether there are some."""
    found, expected = all_pixels(data), expected_pixels(data)
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found, expected)
    return found is not None


def test_simplejpeg_is_used_on_this_machine_and_named() -> None:
    assert list(jpeg.decoder_versions()) == ["simplejpeg"]  # or the rest would prove nothing


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("name", FAST)
def test_simplejpeg_decodes_these_kinds_as_pillow_does(name: str, sides: tuple[int, int]) -> None:
    data = FAST[name](scene(*sides))
    found = fast_pixels(data)
    assert found is not None
    np.testing.assert_array_equal(found, pillow_pixels(data))


@pytest.mark.parametrize("name", SLOW)
def test_pillow_decides_on_all_other_kinds(name: str) -> None:
    data = SLOW[name](scene(40, 40))
    if check(data):
        assert fast_pixels(data) is None
    else:
        assert name in ("12 bits", "half of it", "without its end")


@pytest.mark.parametrize("data", [ARITHMETIC, FOUR_BY_TWO])
def test_rare_codings_are_left_to_pillow(data: bytes) -> None:
    assert fast_pixels(data) is None
    np.testing.assert_array_equal(stimulus_pixels(data, LOCATION, 9), pillow_pixels(data))


@given(
    name=st.sampled_from(sorted(FAST)),
    width=st.integers(20, 400),
    height=st.integers(20, 400),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_a_photo_is_resized_and_cropped_as_pillow_does(
    name: str, width: int, height: int, interpolation: Interpolation
) -> None:
    data = FAST[name](scene(width, height))
    how = Preprocessing(64, 56, interpolation, (0.5,) * 3, (0.5,) * 3)
    resize = Resize(64, InterpolationMode(interpolation))
    expected = CenterCrop(56)(resize(Image.fromarray(pillow_pixels(data))))
    np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(0, 8), (8, 0), (0, 0), (9, 8), (8, 16), (5000, 8)])
def test_a_size_that_is_not_the_data_s_is_judged_by_pillow(width: int, height: int) -> None:
    data = with_size(FAST["4:4:4"](scene(8, 8)), width, height)
    how = Preprocessing(8, 8, "bilinear", (0.5,) * 3, (0.5,) * 3)
    try:
        expected = np.asarray(CenterCrop(8)(Image.fromarray(pillow_pixels(data))))
    except Exception:
        with pytest.raises(ImageError, match=LOCATION):
            photo_pixels(data, LOCATION, how)
    else:
        np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), expected)


def test_pixels_are_put_where_the_caller_wants_them() -> None:
    batch = np.zeros((2, 40, 40, 3), np.uint8)
    for row, name in enumerate(("4:2:0", "CMYK")):
        data = KINDS[name](scene(40, 40, seed=row))
        assert np.shares_memory(stimulus_pixels(data, LOCATION, 40, batch[row]), batch)
        np.testing.assert_array_equal(batch[row], pillow_pixels(data))
    crop = np.zeros((20, 20, 3), np.uint8)
    data = FAST["4:2:0"](scene(90, 70))
    photo_pixels(data, LOCATION, HOW, crop)
    np.testing.assert_array_equal(crop, photo_pixels(data, LOCATION, HOW))


def test_photos_of_one_thread_do_not_overwrite_each_other() -> None:
    first, second = (FAST["4:2:0"](scene(90, 70, seed=seed)) for seed in (1, 2))
    kept = photo_pixels(first, LOCATION, HOW)
    before = kept.copy()
    photo_pixels(second, LOCATION, HOW)
    np.testing.assert_array_equal(kept, before)


# ------------------------------------------------------------------- where it cannot be relied on


@pytest.fixture
def asked_anew() -> Iterator[Callable[[], None]]:
    """Forget what was found out about simplejpeg, now and afterwards."""
    jpeg._simplejpeg.cache_clear()
    yield jpeg._simplejpeg.cache_clear
    jpeg._simplejpeg.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_without_simplejpeg_pillow_decodes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)  # importing it fails
    assert jpeg.decoder_versions() == {}
    for make in KINDS.values():
        check(make(scene(40, 40)))


@pytest.mark.usefixtures("asked_anew")
def test_a_simplejpeg_that_differs_by_one_level_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import simplejpeg

    right = simplejpeg.decode_jpeg

    def wrong(*words: object, **options: object) -> Pixels:
        pixels: Pixels = right(*words, **options)
        pixels[-1, -1, -1] ^= 1
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", wrong)
    assert jpeg.decoder_versions() == {}
    assert fast_pixels(FAST["4:2:0"](scene(40, 40))) is None


# ------------------------------------------------------------------- headers

PLAIN = ("4:4:4", "4:2:2", "4:2:0", "grey", "progressive", "restart markers", "comment")


@pytest.mark.parametrize("name", KINDS)
def test_pillow_need_not_be_asked_where_its_answer_is_known(name: str) -> None:
    data = KINDS[name](scene(17, 31))
    size = jpeg.plain_size(data)
    assert size is not None or name not in PLAIN
    if size is not None:
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size, image.mode in ("L", "RGB")) == ("JPEG", size, True)


@settings(max_examples=examples(30))
@given(name=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 2**32))
def test_pillow_reads_the_same_size_from_every_header_that_libjpeg_finds_plain(
    name: str, seed: int
) -> None:
    data = damaged(KINDS[name](scene(17, 31)), random.Random(seed))
    size = jpeg.plain_size(data)
    if size is None or size[0] * size[1] > 10**6:
        return
    if jpeg.decode_into(np.empty((*size[::-1], 3), np.uint8), data):
        assert Image.open(io.BytesIO(data)).size == size


# ------------------------------------------------------------------- damage


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A file with bytes changed, cut out, put in, doubled or lost, often in its header."""
    changed = bytearray(data)
    scan = data.rfind(b"\xff\xda")
    reach = len(changed) if rng.random() < 0.5 else min(scan + 14, len(changed))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(min(reach, len(changed) or 1))
        end = at + rng.choice((1, 2, 3, 16, 100))
        match rng.randrange(7):
            case 0:
                changed[at : at + 1] = bytes((rng.randrange(256),))
            case 1 if changed[at : at + 1]:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at:at] = rng.randbytes(rng.choice((1, 2, 16)))
            case 3:
                del changed[at:end]
            case 4:
                changed[at:at] = changed[at:end]
            case 5:
                changed[at:at] = bytes((0xFF, rng.randrange(0xC0, 0x100)))
            case 6 if rng.random() < 0.3:
                del changed[at:]
    return bytes(changed)


@settings(max_examples=examples(30))
@given(name=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 2**32))
def test_a_damaged_jpeg_is_decoded_as_by_pillow_or_refused_where_pillow_refuses_it(
    name: str, seed: int
) -> None:
    check(damaged(KINDS[name](scene(40, 40)), random.Random(seed)))


def test_damage_leaves_files_of_all_sorts() -> None:
    rng = random.Random(0)
    wholes = [make(scene(40, 40)) for make in KINDS.values()]
    mutants = [damaged(rng.choice(wholes), rng) for _ in range(400)]
    decoded = [check(data) for data in mutants]
    assert 80 < sum(decoded) < 320
    fast = 0
    for data, whole in zip(mutants, decoded, strict=True):
        fast += whole and fast_pixels(data) is not None
    assert fast > 40  # or the comparison would be of Pillow with itself


def test_threads_meet_damage_as_one_does() -> None:
    rng = random.Random(1)
    files = [damaged(make(scene(40, 40)), rng) for make in KINDS.values() for _ in range(4)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(all_pixels, files))
    for data, found in zip(files, together, strict=True):
        expected = expected_pixels(data)
        assert (found is None) == (expected is None)
        np.testing.assert_array_equal(found, expected)


def test_libjpeg_writes_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    rng, told = random.Random(2), 0
    for make in KINDS.values():
        whole = make(scene(40, 40))
        for _ in range(6):
            try:
                stimulus_pixels(damaged(whole, rng), "x", 40)
            except ImageError:
                told += 1
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert told > 40
