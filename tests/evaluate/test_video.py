import io
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluator.contracts import Item, Preprocessing
from evaluator.errors import ImageError, InputError, UnavailableError
from evaluator.evaluate.generate.encoding import PLAIN, mp4_from_frames
from evaluator.evaluate.sources.generated_marker import VIDEO_COMMENT
from evaluator.evaluate.video import decode_video, lenient_metadata
from evaluator.tests.evaluate.videos import (
    SIDE,
    Pixels,
    moving_photo,
    opencv_frames,
    remuxed,
    video,
)

HOW = Preprocessing(256, SIDE, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LOCATION = "/data/tilt/n01440764/some video.mp4"

KINDS: Mapping[str, Callable[[], bytes]] = {
    "4:4:4, as ImageNet-P": lambda: video(moving_photo(0), preset="veryslow", crf="20"),
    "4:4:4, for grain": lambda: video(moving_photo(1), preset="veryslow", crf="23", tune="grain"),
    "4:2:0": lambda: video(moving_photo(2), pix_fmt="yuv420p", crf="28"),
    "4:2:0, full range": lambda: video(moving_photo(3), pix_fmt="yuvj420p"),
    "4:2:2": lambda: video(moving_photo(4), pix_fmt="yuv422p"),
    "4:4:4, BT.709": lambda: video(moving_photo(5), colorspace="bt709"),
    "without CABAC and B-frames": lambda: video(moving_photo(6), tune="fastdecode", b_frames=0),
    "many B-frames": lambda: video(moving_photo(7), b_frames=8, x264opts="b-adapt=0"),
    "every frame a keyframe": lambda: video(moving_photo(8), g="1"),
    "RGB": lambda: video(moving_photo(9), "libx264rgb", "rgb24"),
    "MPEG-4": lambda: video(moving_photo(10), "mpeg4", "yuv420p"),
    "MPEG-4, B-frames": lambda: video(moving_photo(11), "mpeg4", "yuv420p", b_frames=2),
}


@cache
def data_of(kind: str) -> bytes:
    return KINDS[kind]()


def decoded(data: bytes, count: int = 31, side: int = SIDE) -> Pixels:
    """All frames, in arrays that held something else."""
    frames = np.full((count, side, side, 3), 7, np.uint8)
    decode_video(data, Item("a/b.mp4", None, LOCATION), HOW, list(frames))
    return frames


def refusal(data: bytes, count: int = 31, side: int = SIDE) -> str:
    """What the one line says behind the location."""
    with pytest.raises(ImageError) as refused:
        decoded(data, count, side)
    text = str(refused.value)
    assert text.startswith(f"{LOCATION} ")
    assert "\n" not in text
    return text.removeprefix(f"{LOCATION} ")


# ----------------------------------------------------------------------------- the same pixels


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_opencv_bit_for_bit(kind: str, tmp_path: Path) -> None:
    expected = opencv_frames(data_of(kind), tmp_path)
    assert len(expected) == 31
    np.testing.assert_array_equal(decoded(data_of(kind)), expected)


@pytest.mark.parametrize("code", ["mp4v", "avc1"])
def test_frames_of_a_file_that_opencv_wrote_are_those_that_it_reads(
    code: str, tmp_path: Path
) -> None:
    path = tmp_path / "written.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 1, (SIDE, SIDE))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {code}")
    for pixels in moving_photo(0):
        writer.write(pixels[..., ::-1])
    writer.release()
    data = path.read_bytes()
    np.testing.assert_array_equal(decoded(data), opencv_frames(data, tmp_path))


def test_lossless_frames_are_the_pixels_that_were_encoded() -> None:
    data = video(moving_photo(0), "libx264rgb", "rgb24", qp="0")
    np.testing.assert_array_equal(decoded(data), moving_photo(0))


def test_a_video_of_41_frames_and_one_of_another_side_are_decoded() -> None:
    assert len(decoded(video(moving_photo(0, 41)), 41)) == 41
    data = video(moving_photo(0, 5, 128), "libx264rgb", "rgb24", qp="0")
    np.testing.assert_array_equal(decoded(data, 5, 128), moving_photo(0, 5, 128))


def test_a_comment_that_is_not_utf_8_changes_nothing() -> None:
    # PyAV 18 reads it strictly unless told otherwise; PyAV 19 cannot be told, and never does.
    data = mp4_from_frames(moving_photo(0), PLAIN)
    other = data.replace(VIDEO_COMMENT, b"\xff" * len(VIDEO_COMMENT))
    assert other != data
    np.testing.assert_array_equal(decoded(other), decoded(data))


def test_arrays_that_are_no_block_of_memory_are_filled() -> None:
    batch = np.zeros((62, SIDE, SIDE, 3), np.uint8)
    data = data_of("4:4:4, as ImageNet-P")
    decode_video(data, Item("a", None, LOCATION), HOW, list(batch[::2]))
    np.testing.assert_array_equal(batch[::2], decoded(data))
    assert not batch[1::2].any()


def test_threads_decode_at_once_what_one_does() -> None:
    alone = [decoded(data_of(kind)) for kind in KINDS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda kind: decoded(data_of(kind)), list(KINDS) * 3))
    for number, frames in enumerate(together):
        np.testing.assert_array_equal(frames, alone[number % len(alone)])


# ----------------------------------------------------------------------------- damage


def _bit(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _bit_of_the_index(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(data.index(b"moov"), len(data))] ^= 1 << chance.randrange(8)


def _some_bytes(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at : at + 20] = chance.randbytes(len(data[at : at + 20]))


def _zeros(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(data)), chance.randrange(1, 400)
    data[at : at + size] = bytes(len(data[at : at + size]))


def _tail(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _hole(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 50)]


def _other_place(data: bytearray, chance: random.Random) -> None:
    here, there = chance.randrange(len(data) - 300), chance.randrange(len(data) - 300)
    data[here : here + 300] = data[there : there + 300]


DAMAGES = (_bit, _bit_of_the_index, _some_bytes, _zeros, _tail, _hole, _other_place)


def check_damaged(data: bytes, folder: Path) -> bool:
    """Whether it was decoded; then FFmpeg has nothing to say of it, and OpenCV has the same."""
    try:
        frames = decoded(data)
    except ImageError:
        refusal(data)
        return False
    except InputError:
        check_no_memory(data)
        return False
    np.testing.assert_array_equal(frames, opencv_frames(data, folder))
    assert errors_of(data) == []
    return True


def errors_of(data: bytes) -> list[str]:
    """What FFmpeg calls an error, when it decodes plainly."""
    with (
        av.logging.Capture() as told,
        av.open(io.BytesIO(data), "r", **lenient_metadata()) as file,
    ):
        file.streams.video[0].codec_context.thread_count = 1
        for _ in file.decode(video=0):
            pass
    return [text for level, _, text in told if level <= av.logging.ERROR]


DAMAGED = ("4:4:4, as ImageNet-P", "4:4:4, for grain", "4:2:0", "MPEG-4", "many B-frames")


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("times", [6, pytest.param(12, marks=pytest.mark.slow)])
def test_damage_is_named_or_gives_what_opencv_gives(
    kind: str, damage: Callable[[bytearray, random.Random], None], times: int, tmp_path: Path
) -> None:
    chance = random.Random(f"{kind} {damage.__name__}")
    outcomes = []
    for _ in range(times):
        data = bytearray(data_of(kind))
        damage(data, chance)
        outcomes.append(check_damaged(bytes(data), tmp_path))
    if times == 12:  # FFmpeg conceals most kinds of damage, which kinds depends on its version
        assert not all(outcomes), "not one was refused"


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_few_bytes_may_be_others(data: st.DataObject, tmp_path: Path) -> None:
    damaged = bytearray(data_of(data.draw(st.sampled_from(DAMAGED))))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check_damaged(bytes(damaged), tmp_path)


@pytest.mark.parametrize("kind", ["4:4:4, as ImageNet-P", "4:2:0", "MPEG-4"])
def test_a_missing_packet_is_never_made_up(kind: str) -> None:
    for missing in range(31):
        data = remuxed(data_of(kind), lambda packets: packets[:missing] + packets[missing + 1 :])  # noqa: B023
        refusal(data)


def test_packets_in_the_wrong_order_are_named() -> None:
    def swap(packets: list[Any]) -> list[Any]:
        one, other = packets[4], packets[17]
        one.pts, other.pts, one.dts, other.dts = other.pts, one.pts, other.dts, one.dts
        packets[4], packets[17] = other, one
        return packets

    assert "damaged" in refusal(remuxed(data_of("without CABAC and B-frames"), swap))


def test_damage_that_ffmpeg_only_tells_its_log_is_named() -> None:
    # A clock that does not tick: FFmpeg says so to whoever listens, and decodes all 31 frames.
    data = bytearray(data_of("4:4:4, as ImageNet-P"))
    clock = data.index(b"mvhd") + 4 + 4 + 8
    data[clock : clock + 4] = bytes(4)
    with av.open(io.BytesIO(bytes(data)), "r") as file:
        assert len(list(file.decode(video=0))) == 31
    assert "FFmpeg reports 'Invalid mvhd time scale" in refusal(bytes(data))


def check_no_memory(data: bytes) -> None:
    """An error that nobody may skip: the next video may meet the same."""
    with pytest.raises(
        InputError, match=f"Out of memory while decoding {LOCATION}.*remove it"
    ) as refused:
        decoded(data)
    assert not isinstance(refused.value, ImageError)


def test_want_of_memory_is_no_damage_of_one_video(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_for_much = bytearray(data_of("4:4:4, as ImageNet-P"))
    count = asks_for_much.index(b"stts") + 4 + 4
    asks_for_much[count : count + 4] = (2**28).to_bytes(4, "big")
    check_no_memory(bytes(asks_for_much))

    def full(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(av.VideoFrame, "to_ndarray", full, raising=False)
    check_no_memory(data_of("4:2:0"))


def test_each_of_several_files_with_the_same_damage_is_named() -> None:
    data = bytearray(data_of("4:4:4, as ImageNet-P"))
    clock = data.index(b"mvhd") + 4 + 4 + 8
    data[clock : clock + 4] = bytes(4)
    with ThreadPoolExecutor(4) as pool:  # PyAV would tell what is said twice only once
        told = list(pool.map(lambda _: refusal(bytes(data)), range(12)))
    assert all("Invalid mvhd time scale" in text for text in told)


# ------------------------------------------------------------------------ what is no such video


def audio() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return file.getvalue()


def with_sound() -> bytes:
    """The video, and a track of silence beside it."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(data_of("4:2:0")), "r") as old,
        av.open(io.BytesIO(audio()), "r") as sound,
        av.open(file, "w", format="mp4") as new,
    ):
        parts = [part.streams[0] for part in (old, sound)]
        streams: list[Any] = [new.add_stream_from_template(part) for part in parts]
        for part, stream in zip((old, sound), streams, strict=True):
            for packet in part.demux():
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    return file.getvalue()


def two_videos() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        streams = [container.add_stream("mpeg4", rate=1) for _ in range(2)]
        for stream in streams:
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame(SIDE, SIDE, "yuv420p")))
            container.mux(stream.encode())
    return file.getvalue()


def turned() -> bytes:
    """A file whose header asks for a quarter turn."""
    data = bytearray(data_of("4:2:0"))
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    matrix = np.array([0, one, 0, -one, 0, 0, SIDE * one, 0, 1 << 30], ">i4")
    data[at : at + 36] = matrix.tobytes()
    return bytes(data)


def interlaced(codec: str) -> bytes:
    return video(moving_photo(0), codec, "yuv420p", flags="+ildct+ilme", x264opts="interlaced=1")


REFUSED: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", r"not an MP4 video \(0 bytes\)"),
    "text": (lambda: b"404: not found" * 9, "not an MP4 video"),
    "a playlist of other files": (
        lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hosts\n",
        "not an MP4",
    ),
    "another container": (
        lambda: video(moving_photo(0, 3), container="matroska"),
        "not an MP4 video",
    ),
    "sound only": (audio, "holds audio, expected one video"),
    "a video with sound": (with_sound, "has an audio track, expected video only.*ffmpeg .*-an"),
    "two videos": (two_videos, "holds 2 videos, expected one"),
    "another codec": (lambda: video(moving_photo(0, 3), "libx265", "yuv420p"), "coded as hevc"),
    "another size": (lambda: video(moving_photo(0, 3, 256)), "256x256, expected 224x224"),
    "a large one": (lambda: video(np.zeros((1, 2048, 2048, 3), np.uint8)), "is 2048x2048"),
    "10 bits": (lambda: video(moving_photo(0, 3), pix_fmt="yuv420p10le"), "10 bits a channel"),
    "a quarter turn": (turned, "rotation of -90 degrees"),
    "interlaced": (lambda: interlaced("libx264"), "is interlaced, unlike the benchmark's videos"),
    "interlaced, MPEG-4": (lambda: interlaced("mpeg4"), "is interlaced"),
    "colours unknown": (lambda: video(moving_photo(0), colorspace="ycgco"), "cannot be decoded"),
    "half of it": (lambda: data_of("4:2:0")[: len(data_of("4:2:0")) // 2], "is incomplete"),
    "without its last byte": (lambda: data_of("4:2:0")[:-1], "is incomplete"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_video_is_named(what: str) -> None:
    make, message = REFUSED[what]
    assert re.search(message, refusal(make()))


@pytest.mark.parametrize(("there", "got"), [(30, "has 30 frames"), (32, "more than 31 frames")])
def test_another_number_of_frames_is_named(there: int, got: str) -> None:
    message = refusal(video(moving_photo(0, there)))
    assert got in message
    assert "expected 31" in message


def test_a_sequence_of_31_frames_is_no_translation() -> None:
    assert "has 31 frames, expected 41" in refusal(data_of("4:2:0"), 41)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The same stream under a header that says another size."""
    changed = bytearray(data)
    at = changed.index(b"avc1", changed.index(b"stsd")) + 4 + 24
    changed[at : at + 4] = width.to_bytes(2, "big") + height.to_bytes(2, "big")
    return bytes(changed)


ALONE = """
import resource, sys
import numpy as np
from evaluator.contracts import Item, Preprocessing
from evaluator.errors import ImageError
from evaluator.evaluate.video import decode_video

how = Preprocessing(256, 224, "bilinear", (0.5,) * 3, (0.5,) * 3)
frames = list(np.zeros((31, 224, 224, 3), np.uint8))
small, large = (open(path, "rb").read() for path in sys.argv[1:3])
decode_video(small, Item("a", None, "small"), how, frames)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_video(large, Item("a", None, "large"), how, frames)
    print("decoded")
except ImageError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    black = video(np.zeros((1, 8192, 8192, 3), np.uint8), preset="ultrafast", pix_fmt="yuv420p")
    assert len(black) < 2**20  # of 67 million pixels
    (tmp_path / "small.mp4").write_bytes(data_of("4:2:0"))
    for large in (black, with_size(data_of("4:2:0"), 65535, 65535)):
        (tmp_path / "large.mp4").write_bytes(large)
        done = subprocess.run(
            [sys.executable, "-c", ALONE, str(tmp_path / "small.mp4"), str(tmp_path / "large.mp4")],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        megabytes, said = done.stdout.split(" ", 1)
        assert "expected 224x224" in said or "65535x65535 is invalid" in said
        assert int(megabytes) < 40
        assert done.stderr == ""


def test_without_pyav_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of("4:2:0")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnavailableError, match=r"pip install 'evaluator\[video\]'"):
        decoded(data)
