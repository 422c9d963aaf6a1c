"""Decoding videos to frames, bit for bit as OpenCV's ``VideoCapture`` does.

    H.264 or MPEG-4 in MP4  ->  PyAV (FFmpeg), one thread  ->  RGB, 224 x 224, a frame an array

ImageNet-P was scored with OpenCV, which is FFmpeg with ``SWS_BICUBIC``: PyAV is used in the same
way here, and a test compares. FFmpeg conceals damage: it shows what it can, and reports the rest in
a log. Here a frame that it marks as corrupt, a truncated packet, and a sequence of another length
than the benchmark's are errors, since each would give a wrong number (hendrycks/robustness#50).
H.264 has no checksums: a flipped bit that leads to another valid video is not detected.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..contracts import Item, Preprocessing
from ..errors import ImageError, InputError, UnavailableError, printable, reason_of
from .decode import Pixels, damaged, refuse_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CODECS = ("h264", "mpeg4")
"""The codec of ImageNet-P, and OpenCV's default for MP4; FFmpeg's others are not needed."""

MAX_PIXELS = 2**20
"""Largest frame that is decoded, so that a header of a few bytes cannot take gigabytes."""

_STRICT = {"err_detect": "explode+crccheck+bitstream+buffer+careful"}
"""Stops decoding at damage, before FFmpeg marks frames or reports it in its log."""


def decode_video(
    data: bytes, item: Item, preprocessing: Preprocessing, frames: Sequence[Pixels]
) -> None:
    """Decode a stored video's frames into arrays, unchanged: neither resized nor rotated.

    Several threads may decode, each its own video: FFmpeg releases Python's lock.

    Args:
        data: An MP4 file.
        item: The item, whose location errors name.
        preprocessing: Preprocessing of the model; not used.
        frames: An array (S, S, 3) for each expected frame.

    Raises:
        ImageError: If the bytes are not such a video, are damaged, or have other frames than
            expected; the arrays are undefined then.
        InputError: If memory runs out, for which the video may not be the reason.
        UnavailableError: If PyAV is not installed.
    """
    location, side_px = printable(item.location), frames[0].shape[0]
    count = 0
    with _opened(data, location) as container:
        stream = _only_video(container, location)
        context = stream.codec_context
        refuse_size((context.width, context.height), side_px, location)
        for count, image in enumerate(_images(container, stream, location), start=1):
            if count > len(frames):
                break
            refuse_size((image.width, image.height), side_px, location)
            frames[count - 1][...] = image.to_ndarray()
    if count != len(frames):
        actual = count if count < len(frames) else f"more than {len(frames)}"
        raise ImageError(
            f"{location} has {actual} frames, expected {len(frames)}: it is damaged, or of another "
            "benchmark. Restore it: a missing frame would shift all pairs of frames after it."
        )


@contextmanager
def _opened(data: bytes, location: str) -> "Iterator[InputContainer]":
    """The file, opened only as MP4: some of FFmpeg's formats name further files to open."""
    av = pyav()
    _refuse_incomplete(data, location)
    limits = {"codec_whitelist": ",".join(CODECS), "max_pixels": str(MAX_PIXELS)}
    try:
        with (
            _refuse_logged_errors(location),
            av.open(
                io.BytesIO(data), format="mov", options=limits, **lenient_metadata()
            ) as container,
        ):
            yield container
    except MemoryError as error:  # FFmpeg's own error is a subclass
        # Not an ImageError: a machine short of memory would skip many good videos.
        raise InputError(
            f"Out of memory while decoding {location}. Free some memory. If enough is free, the "
            "file is damaged and asks for far too much: remove it."
        ) from error
    except av.FFmpegError as error:
        raise damaged(location, error.strerror or reason_of(error)) from error


@contextmanager
def _refuse_logged_errors(location: str) -> Iterator[None]:
    """Refuse a video for which FFmpeg reports an error in its log only."""
    from av import logging

    if (level := logging.get_level()) is None or level < logging.ERROR:
        logging.set_level(logging.ERROR)
    logging.set_skip_repeated(False)  # the second thread's report would be missing
    with logging.Capture() as reports:  # of this thread only, and FFmpeg uses no other
        yield
    errors = [text for level, _, text in reports if level <= logging.ERROR]
    if errors:
        raise damaged(location, f"FFmpeg reports {printable(errors[0].strip())!r}")


def _refuse_incomplete(data: bytes, location: str) -> None:
    """Refuse what is not an MP4 file, or ends before its last box does."""
    if data[4:8] != b"ftyp":
        raise ImageError(
            f"{location} is not an MP4 video ({len(data)} bytes). Expected H.264 or MPEG-4 in an "
            "MP4 file; restore or remove it."
        )
    position = 0
    while position < len(data):
        size, header = int.from_bytes(data[position : position + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        if size == 0:  # until the end of the file
            return
        if size < header or position + size > len(data):
            raise damaged(location, f"the box at byte {position} of {len(data)} is incomplete")
        position += size


def _only_video(container: "InputContainer", location: str) -> "VideoStream":
    streams = container.streams.video
    if len(streams) != 1:
        others = {stream.type for stream in container.streams} - {"video"}
        content = f"{len(streams)} videos" if streams else " and ".join(sorted(others)) or "nothing"
        raise ImageError(f"{location} holds {content}, expected one video. Restore or remove it.")
    codec = streams[0].codec_context.name if streams[0].codec_context else "unknown"
    if codec not in CODECS:
        raise ImageError(
            f"{location} is coded as {codec}, expected {' or '.join(CODECS)}. "
            "Are these the benchmark's original data?"
        )
    if container.streams.audio:
        raise ImageError(
            f"{location} has an audio track, expected video only. Remove the track with "
            "`ffmpeg -i OLD.mp4 -an -c copy NEW.mp4`, which does not change the frames."
        )
    return streams[0]


def _images(
    container: "InputContainer", stream: "VideoStream", location: str
) -> "Iterator[VideoFrame]":
    """Each frame in RGB, up to the first error."""
    from av.video.reformatter import Interpolation, VideoReformatter

    stream.codec_context.thread_count = 1
    stream.codec_context.options = _STRICT
    converter = VideoReformatter()
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise damaged(location, "a packet is truncated")
        for image in packet.decode():
            if image.is_corrupt:
                raise damaged(location, "FFmpeg had to conceal a part of a frame")
            _refuse_unusual(image, location)
            yield converter.reformat(
                image, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
            )


def _refuse_unusual(image: "VideoFrame", location: str) -> None:
    """Refuse properties that decoders treat differently.

    OpenCV rotates frames if a file says so, and does not convert the colours of interlaced ones;
    FFmpeg does the opposite.
    """
    fault = "is interlaced" if image.interlaced_frame else None
    if image.rotation:
        fault = f"has a rotation of {image.rotation} degrees in its metadata"
    if fault is not None:
        raise ImageError(
            f"{location} {fault}, unlike the benchmark's videos. Restore or remove it."
        )
    bits = max(component.bits for component in image.format.components)
    if bits > 8:
        raise ImageError(
            f"{location} has {bits} bits a channel ({image.format.name}), which would be rounded. "
            "Expected 8 bits a channel. Are these the benchmark's original data?"
        )


def lenient_metadata() -> dict[str, Any]:
    """Arguments of ``av.open`` with which a title that is not UTF-8 is not an error.

    Without them PyAV up to 18 raises ``UnicodeDecodeError``. PyAV 19 never does, and has no such
    argument. Its ``open`` has no signature to inspect, so the container's attributes are inspected.
    """
    container: Any = pyav().container.Container
    return {"metadata_errors": "replace"} if hasattr(container, "metadata_errors") else {}


def pyav() -> Any:
    """The module ``av``, imported on first use.

    Raises:
        UnavailableError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UnavailableError(
            f"Videos need PyAV, which cannot be imported: {reason_of(error)}. "
            "Install it with `pip install 'evaluator[video]'`."
        ) from error
    return av
