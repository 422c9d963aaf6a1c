"""Real videos for tests: made by PyAV from real photos, read by OpenCV."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from evaluator.evaluate.generate.photos import shipped_photos

Pixels = npt.NDArray[np.uint8]

SIDE = 224


@cache
def moving_photo(number: int = 0, count: int = 31, side: int = SIDE) -> Pixels:
    """A photo that moves by a pixel a frame: (F, S, S, 3)."""
    image = np.asarray(Image.open(shipped_photos()[number].path).convert("RGB").resize((320, 320)))
    return np.stack([image[40 : 40 + side, i : i + side] for i in range(count)])


def video(
    frames: Pixels,
    codec: str = "libx264",
    pix_fmt: str = "yuv444p",
    *,
    b_frames: int | None = None,
    container: str = "mp4",
    **options: str,
) -> bytes:
    """Frames (F, H, W, 3) as a video file, one frame a second."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as opened:
        stream: Any = opened.add_stream(codec, rate=1, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        for number, pixels in enumerate(frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            image = image.reformat(format=pix_fmt)
            image.pts, image.time_base = number, Fraction(1)
            opened.mux(stream.encode(image))
        opened.mux(stream.encode())
    return file.getvalue()


def remuxed(data: bytes, edit: Callable[[list[Any]], Sequence[Any]]) -> bytes:
    """The same packets, or some of them, in a new file."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as old, av.open(file, "w", format="mp4") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in edit([p for p in old.demux(video=0) if p.size]):
            packet.stream = stream
            new.mux(packet)
    return file.getvalue()


def opencv_frames(data: bytes, folder: Path) -> list[Pixels]:
    """What OpenCV's VideoCapture reads, in RGB, until it says that there is no more."""
    path = folder / "for_opencv.mp4"
    path.write_bytes(data)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1][..., ::-1], np.uint8))
    capture.release()
    return frames
