"""From the bytes of a video to its frames, bit for bit as OpenCV's ``VideoCapture`` has them.

    H.264 or MPEG-4 in MP4  ->  PyAV (FFmpeg), one thread  ->  RGB, 224 x 224, a frame an array

ImageNet-P was scored with OpenCV, which is FFmpeg with ``SWS_BICUBIC``: the same is asked of PyAV
here, and a test compares. FFmpeg conceals damage: it shows what it can, and says so in a log that
nobody reads. Here a frame that it marks, a packet that is cut, and a sequence of another length
than the benchmark's are errors, for each of them would be a wrong number (hendrycks/robustness#50).
H.264 has no checksums: a flipped bit that makes another video as valid as the first is not seen.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..contracts import Item, Preprocessing
from ..errors import ImageError, InputError, UnavailableError, printable, reason_of
from .decode import Pixels

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CODECS = ("h264", "mpeg4")
"""ImageNet-P's, and OpenCV's own for MP4. FFmpeg knows hundreds, which nobody needs here."""

MAX_PIXELS = 2**20
"""Of a frame that is decoded at all, so that a header of a few bytes cannot take gigabytes."""

_STRICT = {"err_detect": "explode+crccheck+bitstream+buffer+careful"}
"""Ends the decoding at damage; its marks and its log would tell of the same a little later."""


def decode_video(
    data: bytes, item: Item, preprocessing: Preprocessing, frames: Sequence[Pixels]
) -> None:
    """Put a stored video's frames into arrays, exactly as they are: neither resized nor turned.

    Several threads may decode, each its own video: FFmpeg works without Python's lock.

    Args:
        data: An MP4 file.
        item: Whose location an error names.
        preprocessing: Of the model; plays no part.
        frames: An array (S, S, 3) for each frame that is expected.

    Raises:
        ImageError: If the bytes are no such video, are damaged, or have other frames than expected;
            what the arrays hold is then of no account.
        InputError: If there is no memory for it, which may be no fault of the video.
        UnavailableError: If PyAV is not installed.
    """
    location, side_px = printable(item.location), frames[0].shape[0]
    count = 0
    with _opened(data, location) as container:
        stream = _only_video(container, location)
        _refuse_size(stream.codec_context, side_px, location)
        for count, image in enumerate(_images(container, stream, location), start=1):
            if count > len(frames):
                raise _wrong_count(f"more than {len(frames)} frames", len(frames), location)
            _refuse_size(image, side_px, location)
            frames[count - 1][...] = image.to_ndarray()
    if count < len(frames):
        raise _wrong_count(f"{count} frames", len(frames), location)


@contextmanager
def _opened(data: bytes, location: str) -> "Iterator[InputContainer]":
    """The file, as nothing but an MP4: some of FFmpeg's formats name further files to open."""
    av = pyav()
    _refuse_cut(data, location)
    limits = {"codec_whitelist": ",".join(CODECS), "max_pixels": str(MAX_PIXELS)}
    try:
        with (
            _nothing_reported(location),
            av.open(
                io.BytesIO(data), format="mov", options=limits, **lenient_metadata()
            ) as container,
        ):
            yield container
    except MemoryError as error:  # FFmpeg's own is one as well
        raise _no_memory(location) from error
    except av.FFmpegError as error:
        raise _damaged(error.strerror or reason_of(error), location) from error


@contextmanager
def _nothing_reported(location: str) -> Iterator[None]:
    """Refuse what FFmpeg calls an error in its log, and in no other place."""
    from av import logging

    if (level := logging.get_level()) is None or level < logging.ERROR:
        logging.set_level(logging.ERROR)
    logging.set_skip_repeated(False)  # whoever was the second to say so would not be heard
    with logging.Capture() as reports:  # of this thread only, and FFmpeg is in no other
        yield
    errors = [text for level, _, text in reports if level <= logging.ERROR]
    if errors:
        raise _damaged(f"FFmpeg says {printable(errors[0].strip())!r}", location)


def _refuse_cut(data: bytes, location: str) -> None:
    """Refuse what is no MP4 at all, or ends before the last of its boxes does."""
    if data[4:8] != b"ftyp":
        raise ImageError(
            f"{location} is no MP4 video ({len(data)} bytes). Expected H.264 or MPEG-4 in an MP4 "
            "file; restore or remove it."
        )
    at = 0
    while at < len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:  # until the end of the file
            return
        if size < header or at + size > len(data):
            raise _damaged(f"what begins at byte {at} of {len(data)} is not whole", location)
        at += size


def _only_video(container: "InputContainer", location: str) -> "VideoStream":
    streams = container.streams.video
    if len(streams) != 1:
        others = {stream.type for stream in container.streams} - {"video"}
        held = f"{len(streams)} videos" if streams else " and ".join(sorted(others)) or "nothing"
        raise ImageError(f"{location} holds {held}, expected one video. Restore or remove it.")
    codec = streams[0].codec_context.name if streams[0].codec_context else "unknown"
    if codec not in CODECS:
        raise ImageError(
            f"{location} is coded as {codec}, expected {' or '.join(CODECS)}. "
            "Is this the benchmark's own tree?"
        )
    if container.streams.audio:
        raise ImageError(
            f"{location} has an audio track beside its video, expected a video alone. Make it again"
            " with `ffmpeg -i OLD.mp4 -an -c copy NEW.mp4`, which keeps the frames as they are."
        )
    return streams[0]


def _images(
    container: "InputContainer", stream: "VideoStream", location: str
) -> "Iterator[VideoFrame]":
    """Each frame in RGB, as long as nothing was wrong."""
    from av.video.reformatter import Interpolation, VideoReformatter

    stream.codec_context.thread_count = 1
    stream.codec_context.options = _STRICT
    converter = VideoReformatter()
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise _damaged("a part of it is cut off", location)
        for image in packet.decode():
            if image.is_corrupt:
                raise _damaged("FFmpeg had to make up a part of a frame", location)
            _refuse_unusual(image, location)
            yield converter.reformat(
                image, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
            )


def _refuse_size(what: "VideoFrame | VideoCodecContext", side_px: int, location: str) -> None:
    if (what.width, what.height) != (side_px, side_px):
        raise ImageError(
            f"{location} is {what.width}x{what.height}, expected {side_px}x{side_px}: stored "
            "stimuli are never resized or padded. Is this the benchmark's own tree?"
        )


def _refuse_unusual(image: "VideoFrame", location: str) -> None:
    """Refuse what decoders differ in.

    OpenCV turns frames where a file says so, and does not convert the colours of interlaced ones;
    FFmpeg does the opposite.
    """
    if image.interlaced_frame:
        raise ImageError(
            f"{location} is interlaced, which the benchmark's videos never are. Restore or remove "
            "it."
        )
    if image.rotation:
        raise ImageError(
            f"{location} says that it is to be turned by {image.rotation} degrees, which the "
            "benchmark's videos never do. Restore or remove it."
        )
    bits = max(component.bits for component in image.format.components)
    if bits > 8:
        raise ImageError(
            f"{location} has {bits} bits a channel ({image.format.name}), which would be rounded. "
            "Expected 8 bits a channel. Is this the benchmark's own tree?"
        )


def _damaged(reason: str, location: str) -> ImageError:
    return ImageError(
        f"{location} cannot be decoded: {reason}. The video is damaged or truncated; restore it."
    )


def _no_memory(location: str) -> InputError:
    """No ``ImageError``: going on without each video that met a full machine would lose many."""
    return InputError(
        f"There was no memory to decode {location}. Free some. If there is plenty, the file asks "
        "for absurdly much, so it is damaged: remove it."
    )


def _wrong_count(got: str, expected: int, location: str) -> ImageError:
    return ImageError(
        f"{location} has {got}, expected {expected}: it is damaged, or of another benchmark. "
        "Restore it; with frames missing, each pair behind them would be another."
    )


def lenient_metadata() -> dict[str, Any]:
    """Arguments of ``av.open`` with which a title that is not UTF-8 is no error.

    PyAV up to 18 raises ``UnicodeDecodeError`` without them. PyAV 19 never does, and takes no such
    argument. Its ``open`` has no signature to ask, so the container is asked, which stores it.
    """
    container: Any = pyav().container.Container
    return {"metadata_errors": "replace"} if hasattr(container, "metadata_errors") else {}


def pyav() -> Any:
    """The module ``av``, imported late.

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
