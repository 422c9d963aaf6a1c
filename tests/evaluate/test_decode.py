import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from evaluator.contracts import Interpolation, Item, Preprocessing
from evaluator.errors import InputError
from evaluator.evaluate.decode import decode_photo, photo_pixels, stimulus_pixels
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.tests.evaluate.jpegs import encoded, pillow_pixels, scene, with_size

Pixels = npt.NDArray[np.uint8]

LOCATION = "/data/n01440764/some photo.JPEG"
SIZES = ((256, 224), (232, 224), (342, 299), (224, 224), (518, 518))
FILTERS: tuple[Interpolation, ...] = ("bilinear", "bicubic")


def preprocessing(
    resize_px: int = 256, crop_px: int = 224, interpolation: Interpolation = "bilinear"
) -> Preprocessing:
    return Preprocessing(
        resize_px, crop_px, interpolation, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


def torchvision_pixels(data: bytes, how: Preprocessing) -> Pixels:
    """What everybody else scores: torchvision's transforms on Pillow's image."""
    transform = Compose(
        [Resize(how.resize_px, InterpolationMode(how.interpolation)), CenterCrop(how.crop_px)]
    )
    return np.asarray(transform(Image.fromarray(pillow_pixels(data))))


def is_pixels(array: Pixels, side: int) -> bool:
    return array.shape == (side, side, 3) and array.dtype == np.dtype(np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum


def png(
    width: int, height: int, *, depth: int = 8, raw: bytes | None = None, first: bytes = b""
) -> bytes:
    """An RGB PNG written by hand; without ``raw``, one whose rows are not there."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(raw)) if raw is not None else b""
    return b"\x89PNG\r\n\x1a\n" + first + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def tiff_rgb_16(side: int) -> bytes:
    """A 16-bit RGB TIFF, which Pillow reads but cannot write."""
    count, rows = 9, bytes(range(6)) * side * side
    after = 8 + 2 + 12 * count + 4
    short, long = 3, 4
    tags = (
        (256, short, 1, side),
        (257, short, 1, side),
        (258, short, 3, after),  # BitsPerSample: three numbers, so they stand elsewhere
        (259, short, 1, 1),
        (262, short, 1, 2),
        (273, long, 1, after + 6),
        (277, short, 1, 3),
        (278, short, 1, side),
        (279, long, 1, len(rows)),
    )
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, count)
    return head + directory + struct.pack("<I", 0) + struct.pack("<3H", 16, 16, 16) + rows


def sgi_rgb_16(side: int) -> bytes:
    head = struct.pack(">hBBHHHH", 474, 0, 2, 3, side, side, 3)
    return head.ljust(512, b"\0") + bytes(side * side * 6)


def refusal(decode: Callable[[], object], location: str = LOCATION) -> str:
    """The message of the InputError that this raises: one line that says where."""
    with pytest.raises(InputError) as raised:
        decode()
    message = str(raised.value)
    assert message.isprintable()
    assert location in message
    return message


# ------------------------------------------------------------------- the same as torchvision


@given(
    short=st.integers(1, 400),
    ratio=st.floats(1, 12),
    tall=st.booleans(),
    size=st.sampled_from(SIZES),
    interpolation=st.sampled_from(FILTERS),
)
def test_a_photo_of_any_size_is_resized_and_cropped_as_by_torchvision(
    short: int, ratio: float, tall: bool, size: tuple[int, int], interpolation: Interpolation
) -> None:
    long = min(400, int(short * ratio))
    width, height = (short, long) if tall else (long, short)
    data = encoded(scene(width, height), "PNG", compress_level=0)
    how = preprocessing(*size, interpolation)
    np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), torchvision_pixels(data, how))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "sides", [(1, 1), (1, 2), (1, 60), (60, 1), (3, 399), (400, 7), (400, 400), (399, 400)]
)
def test_the_thinnest_photos_are_cropped_as_by_torchvision(
    sides: tuple[int, int], size: tuple[int, int]
) -> None:
    data = encoded(scene(*sides), "PNG", compress_level=0)
    how = preprocessing(*size, "bicubic")
    np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), torchvision_pixels(data, how))


@given(crop_px=st.integers(1, 40), extra=st.integers(0, 40), width=st.integers(1, 90))
@example(crop_px=7, extra=1, width=9)  # a margin of half a pixel, rounded to even
def test_an_odd_margin_is_cut_as_by_torchvision(crop_px: int, extra: int, width: int) -> None:
    data = encoded(scene(width, 30), "PNG", compress_level=0)
    how = preprocessing(crop_px + extra, crop_px)
    np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), torchvision_pixels(data, how))


@pytest.mark.parametrize("interpolation", FILTERS)
def test_the_sample_photos_are_as_torchvision_has_them(interpolation: Interpolation) -> None:
    for photo in shipped_photos():
        data = photo.path.read_bytes()
        how = preprocessing(256, 224, interpolation)
        pixels = photo_pixels(data, LOCATION, how)
        assert is_pixels(pixels, 224)
        np.testing.assert_array_equal(pixels, torchvision_pixels(data, how))


def _with_palette(transparency: bytes | int | None) -> bytes:
    image = scene(90, 70).quantize(64)
    options = {} if transparency is None else {"transparency": transparency}
    return encoded(image, "PNG", **options)


def _with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(scene(90, 70), "JPEG", exif=exif)


FILES: Mapping[str, Callable[[], bytes]] = {
    "1": lambda: encoded(scene(90, 70).convert("1"), "PNG"),
    "L": lambda: encoded(scene(90, 70).convert("L"), "PNG"),
    "L, one level transparent": lambda: encoded(scene(90, 70).convert("L"), "PNG", transparency=9),
    "LA": lambda: encoded(scene(90, 70).convert("LA"), "PNG"),
    "P": lambda: _with_palette(None),
    "P, one colour transparent": lambda: _with_palette(3),
    "P, bytes of transparency": lambda: _with_palette(bytes(range(64))),
    "P, 4 bits": lambda: encoded(scene(90, 70).quantize(9), "PNG", bits=4),
    "RGB, one colour transparent": lambda: encoded(scene(90, 70), "PNG", transparency=(1, 2, 3)),
    "RGB, interlaced": lambda: encoded(scene(90, 70), "PNG", interlace=True),
    "RGBA": lambda: encoded(_translucent(), "PNG"),
    "RGBA, WebP": lambda: encoded(_translucent(), "WEBP", lossless=True),
    "JPEG 4:4:4": lambda: encoded(scene(91, 71), "JPEG", subsampling=0),
    "JPEG 4:2:2": lambda: encoded(scene(91, 71), "JPEG", subsampling=1),
    "JPEG 4:2:0": lambda: encoded(scene(91, 71), "JPEG", subsampling=2),
    "JPEG, progressive": lambda: encoded(scene(91, 71), "JPEG", progressive=True),
    "JPEG, grey": lambda: encoded(scene(91, 71).convert("L"), "JPEG"),
    "JPEG, CMYK with Adobe's marker": lambda: encoded(scene(91, 71).convert("CMYK"), "JPEG"),
    "JPEG, two pictures": lambda: encoded(
        scene(91, 71), "MPO", save_all=True, append_images=[scene(40, 40)]
    ),
    "JPEG, RGB inside": lambda: encoded(scene(91, 71), "JPEG", keep_rgb=True),
    "GIF": lambda: encoded(scene(90, 70), "GIF"),
    "BMP": lambda: encoded(scene(90, 70), "BMP"),
    "PPM": lambda: encoded(scene(90, 70), "PPM"),
    "TIFF": lambda: encoded(scene(90, 70), "TIFF"),
    "TIFF, CMYK": lambda: encoded(scene(90, 70).convert("CMYK"), "TIFF"),
    "WebP": lambda: encoded(scene(90, 70), "WEBP"),
}


def _translucent() -> Image.Image:
    image = scene(90, 70)
    image.putalpha(scene(90, 70, seed=1).convert("L"))
    return image


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_decoded_as_by_pillow(
    name: str, interpolation: Interpolation
) -> None:
    data = FILES[name]()
    how = preprocessing(64, 56, interpolation)
    np.testing.assert_array_equal(photo_pixels(data, LOCATION, how), torchvision_pixels(data, how))


def test_a_cmyk_jpeg_has_adobes_marker_and_is_not_inverted() -> None:
    data = encoded(Image.new("RGB", (32, 32), (250, 10, 20)).convert("CMYK"), "JPEG", quality=100)
    assert b"Adobe" in data
    red, green, blue = stimulus_pixels(data, LOCATION, 32)[16, 16].astype(int)
    assert (red > 200, green < 50, blue < 50) == (True, True, True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_left_alone(orientation: int) -> None:
    how = preprocessing(64, 56)
    np.testing.assert_array_equal(
        photo_pixels(_with_orientation(orientation), LOCATION, how),
        photo_pixels(encoded(scene(90, 70), "JPEG"), LOCATION, how),
    )


def test_many_threads_decode_as_one_does() -> None:
    files = [make() for make in FILES.values()] * 4
    how = preprocessing(64, 56)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: photo_pixels(data, LOCATION, how), files))
    for pixels, data in zip(together, files, strict=True):
        np.testing.assert_array_equal(pixels, torchvision_pixels(data, how))


# --------------------------------------------------------------------------- stored stimuli


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_stored_stimulus_is_taken_byte_for_byte(kind: str) -> None:
    data = encoded(scene(224, 224), kind)
    pixels = stimulus_pixels(data, LOCATION, 224)
    assert is_pixels(pixels, 224)
    np.testing.assert_array_equal(pixels, pillow_pixels(data))


@pytest.mark.parametrize(
    ("width", "height"), [(223, 224), (224, 225), (256, 256), (500, 375), (1, 1)]
)
def test_a_stimulus_of_another_size_is_refused_with_both_sizes(width: int, height: int) -> None:
    data = encoded(scene(width, height), "JPEG")
    message = refusal(lambda: stimulus_pixels(data, LOCATION, 224))
    assert f"{width}x{height}" in message
    assert "224x224" in message


# --------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_exactly_where_pillow_refuses_it(progressive: bool) -> None:
    whole = encoded(scene(120, 90), "JPEG", progressive=progressive)
    cuts = {*range(0, len(whole), len(whole) // 60), *range(len(whole) - 12, len(whole))}
    refused = sum(not _as_pillow_has_it(whole[:cut]) for cut in cuts)
    assert refused > 40


def test_a_truncated_png_is_refused() -> None:
    whole = encoded(scene(120, 90), "PNG")
    for cut in range(0, len(whole) - 16, len(whole) // 60):
        assert not _as_pillow_has_it(whole[:cut])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
def test_a_file_with_flipped_bytes_is_decoded_as_by_pillow_or_refused(kind: str) -> None:
    rng = random.Random(kind)
    whole = encoded(scene(48, 40), kind)
    decoded = []
    for _ in range(300 if kind in ("JPEG", "PNG") else 120):
        mutated = bytearray(whole)
        reach = len(mutated) if rng.random() < 0.5 else min(len(mutated), 200)  # or the header only
        for _ in range(rng.randint(1, 8)):
            mutated[rng.randrange(reach)] = rng.randrange(256)
        decoded.append(_as_pillow_has_it(bytes(mutated)))
    assert 0 < sum(decoded) < len(decoded)


def test_a_png_with_flipped_bytes_and_right_checksums_is_decoded_as_by_pillow_or_refused() -> None:
    rng = random.Random(0)
    sources = [_with_palette(bytes(range(64))), encoded(scene(48, 40), "PNG")]
    decoded = []
    for _ in range(300):
        chunks = png_chunks(rng.choice(sources))
        name, data = chunks[at := rng.randrange(len(chunks) - 1)]
        mutated = bytearray(data)
        mutated[rng.randrange(min(len(mutated), 40))] = rng.randrange(256)
        chunks[at] = (name, bytes(mutated))
        whole = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*pair) for pair in chunks)
        decoded.append(_as_pillow_has_it(whole))
    assert 0 < sum(decoded) < len(decoded)


def _as_pillow_has_it(data: bytes) -> bool:
    """Whether a file was decoded, and then as Pillow does; else Pillow or a rule refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether damage warns is the next test's affair
        try:
            pixels = photo_pixels(data, LOCATION, preprocessing(32, 28))
        except InputError:
            message = refusal(lambda: photo_pixels(data, LOCATION, preprocessing(32, 28)))
            if "more than" not in message:
                with pytest.raises(Exception):  # noqa: B017, PT011 - Pillow raises what it likes
                    pillow_pixels(data)
            return False
    np.testing.assert_array_equal(pixels, torchvision_pixels(data, preprocessing(32, 28)))
    return True


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"not an image\n", "not an image"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image"),
        (bytes(1000), "not an image"),
        (b"\xff\xd8", "not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "not an image"),
    ],
)
def test_a_file_that_is_no_image_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(lambda: photo_pixels(data, LOCATION, preprocessing()))
    assert said in refusal(lambda: stimulus_pixels(data, LOCATION, 224))


def test_a_format_that_pillow_hands_to_another_program_is_never_opened() -> None:
    # Pillow runs Ghostscript on what begins like PostScript, whatever the file is called.
    data = encoded(scene(40, 40), "EPS")
    assert "Ghostscript" not in refusal(lambda: photo_pixels(data, LOCATION, preprocessing()))


def test_a_name_with_a_newline_stays_on_one_line() -> None:
    item = Item("n01440764/a\nb.JPEG", 0, "/data/n01440764/a\nb.JPEG")
    message = refusal(lambda: decode_photo(b"", item, preprocessing(), []), "a\\nb.JPEG")
    assert "is not an image" in message


# --------------------------------------------------------------------------- more than 8 bits


def _rgb_rows(side: int, depth: int) -> bytes:
    return (b"\0" + bytes(range(3 * depth // 8)) * side) * side


DEEP: Mapping[str, Callable[[], bytes]] = {
    "grey PNG": lambda: encoded(Image.new("I;16", (9, 9), 300), "PNG"),
    "RGB PNG": lambda: png(9, 9, depth=16, raw=_rgb_rows(9, 16)),
    "RGB PNG after another chunk": lambda: png(
        9, 9, depth=16, raw=_rgb_rows(9, 16), first=chunk(b"tEXt", b"a\0\0\0\0\0\0\0\0\0\0\0")
    ),
    "grey TIFF": lambda: encoded(Image.new("I;16", (9, 9), 300), "TIFF"),
    "RGB TIFF": lambda: tiff_rgb_16(9),
    "float TIFF": lambda: encoded(Image.new("F", (9, 9), 0.5), "TIFF"),
    "32-bit TIFF": lambda: encoded(Image.new("I", (9, 9), 70_000), "TIFF"),
    "grey PGM": lambda: b"P5 9 9 65535\n" + bytes(9 * 9 * 2),
    "RGB PPM": lambda: b"P6 9 9 65535\n" + bytes(9 * 9 * 6),
    "float PFM": lambda: b"Pf 9 9 -1.0\n" + bytes(9 * 9 * 4),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_a_channel_is_refused(name: str) -> None:
    data = DEEP[name]()
    assert Image.open(io.BytesIO(data)).size == (9, 9)
    assert "8 bits" in refusal(lambda: photo_pixels(data, LOCATION, preprocessing()))
    assert "8 bits" in refusal(lambda: stimulus_pixels(data, LOCATION, 9))


def test_16_bits_in_a_rare_format_are_refused_too() -> None:
    # Pillow opens it whatever its suffix, and cuts it down to 8 bits.
    refusal(lambda: photo_pixels(sgi_rgb_16(9), LOCATION, preprocessing()))


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (encoded(Image.new("I;16", (9, 9)), "PNG"), "16 bits"),
        (encoded(Image.new("F", (9, 9)), "TIFF"), "32 bits"),
        (b"Pf 9 9 -1.0\n" + bytes(9 * 9 * 4), "32 bits"),
    ],
)
def test_the_refusal_says_how_many_bits_there_are(data: bytes, bits: str) -> None:
    assert bits in refusal(lambda: photo_pixels(data, LOCATION, preprocessing()))


def test_an_8_bit_png_with_a_chunk_before_its_header_is_decoded() -> None:
    # Pillow reads chunks in any order; byte 24 is the depth only where the header comes first.
    first = chunk(b"tEXt", b"Title\0" + b"x" * 20)
    data = png(9, 9, raw=_rgb_rows(9, 8), first=first)
    np.testing.assert_array_equal(stimulus_pixels(data, LOCATION, 9), pillow_pixels(data))


# --------------------------------------------------------------------------- bombs

BOMBS = {
    "PNG, beyond Pillow's error": png(60_000, 60_000),
    "PNG, beyond Pillow's warning": png(10_000, 10_000),
    "PNG, just above the bound": png(9_460, 9_460),
    "JPEG": with_size(encoded(scene(8, 8), "JPEG"), 60_000, 60_000),
    "JPEG, just above the bound": with_size(encoded(scene(8, 8), "JPEG"), 9_460, 9_460),
    "JPEG, whose header Pillow reads": with_size(_with_orientation(6), 9_460, 9_460),
}
DECODE_ALONE = """
import io, resource, struct, sys, threading
from PIL import Image
from evaluator.contracts import Preprocessing
from evaluator.errors import InputError
from evaluator.evaluate.decode import photo_pixels

data = sys.stdin.buffer.read()
how = Preprocessing(256, 224, "bilinear", (0.5,) * 3, (0.5,) * 3)
told = []

def decode():
    try:
        photo_pixels(data, "somewhere", how)
        told.append("decoded")
    except InputError as error:
        told.append(str(error))
    except BaseException as error:
        told.append(f"a traceback: {type(error).__name__}")

small = io.BytesIO()
Image.new("RGB", (8, 8)).save(small, "PNG")
photo_pixels(small.getvalue(), "warm-up", how)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
limit = int(sys.argv[1]) << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
threads = [threading.Thread(target=decode) for _ in range(int(sys.argv[2]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
print(grown, len(told), sorted(set(told)), sep="|")
"""


def decoded_elsewhere(data: bytes, *, threads: int = 1) -> tuple[int, int, str]:
    """Megabytes, threads that ended well, and what they were told; in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", DECODE_ALONE, "2", str(threads)],
        input=data,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    megabytes, count, told = done.stdout.decode().strip().split("|", 2)
    return int(megabytes), int(count), told


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    message = refusal(lambda: photo_pixels(BOMBS[name], LOCATION, preprocessing()))
    assert "million pixels" in message
    assert "million pixels" in refusal(lambda: stimulus_pixels(BOMBS[name], LOCATION, 224))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_neither_memory_nor_a_warning_in_any_thread(name: str) -> None:
    megabytes, count, told = decoded_elsewhere(BOMBS[name], threads=8)
    assert count == 8
    assert "million pixels" in told
    assert "decoded" not in told
    assert "a traceback" not in told
    assert megabytes < 64


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_a_photo_one_pixel_wide_and_very_tall_is_no_bomb_either() -> None:
    # Its short side becomes 256 px and its long one 25.6 million: 26 GB from a file of 300 bytes.
    data = encoded(Image.new("L", (1, 100_000), 7), "PNG")
    assert len(data) < 400
    megabytes, _, told = decoded_elsewhere(data)
    assert "a traceback" not in told
    assert megabytes < 1000


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_a_damaged_exif_block_neither_warns_nor_refuses_the_photo() -> None:
    # The block says that it is longer than it is: Pillow warns, and goes on.
    data = bytearray(_with_orientation(6))
    entries = data.index(b"Exif\0\0") + 14
    data[entries : entries + 2] = b"\x00\xff"
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(data))
    assert decoded_elsewhere(bytes(data))[2] == "['decoded']"


def test_text_that_inflates_without_end_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 80_000_000, zip=True)
    data = encoded(scene(40, 40), "PNG", pnginfo=info)
    assert len(data) < 200_000
    message = refusal(lambda: photo_pixels(data, LOCATION, preprocessing()))
    assert "too large" in message
