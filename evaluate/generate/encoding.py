"""Frames to a video as ImageNet-P's are: H.264 High 4:4:4 Predictive in MP4, a frame a second.

    ffmpeg -r 1 -i img%01d.png -vcodec libx264 -crf 20 -preset veryslow         (noise: -tune grain)

From RGB input without a pixel format ffmpeg makes 4:4:4; without ``-crf`` it uses 23. The same
frames give the same bytes: one thread, no metadata about FFmpeg, and ``cpu-independent``. Without
the last, x264 decides differently on different processors, and on those with AVX-512 (core 165)
even from one call to the next. x264 writes its version and settings into each video.

Source: hendrycks/robustness, ``ImageNet-P/create_p/make_imagenet_p.py``.
"""

import io
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np

from ...errors import UnavailableError
from ..decode import Pixels
from ..sources.generated_marker import VIDEO_COMMENT
from ..video import pyav

ENCODER = "libx264"
_REPRODUCIBLE = {"x264-params": "cpu-independent=1"}
PLAIN: Mapping[str, str] = {"preset": "veryslow", "crf": "20", **_REPRODUCIBLE}
GRAIN: Mapping[str, str] = {"preset": "veryslow", "crf": "23", "tune": "grain", **_REPRODUCIBLE}


def check_encoder() -> None:
    """Refuse an FFmpeg that cannot encode.

    Raises:
        UnavailableError: If PyAV is missing, or its FFmpeg has no x264.
    """
    if ENCODER not in pyav().codecs_available:
        raise UnavailableError(
            f"The FFmpeg of this PyAV lacks the encoder {ENCODER}. Install "
            "PyAV's own wheel with `pip install --force-reinstall --only-binary av av`."
        )


def mp4_from_frames(frames: Iterable[Pixels], settings: Mapping[str, str]) -> bytes:
    """A video of frames (S, S, 3), with a comment that says that it was generated.

    Raises:
        UnavailableError: If PyAV is missing.
    """
    av = pyav()
    file, stream = io.BytesIO(), None
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = VIDEO_COMMENT.decode()
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(ENCODER, rate=1, options=dict(settings))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv444p"
                stream.codec_context.thread_count = 1
                stream.codec_context.time_base = Fraction(1)
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            image = rgb.reformat(format="yuv444p", interpolation="BICUBIC", threads=1)
            image.pts, image.time_base = number, Fraction(1)
            container.mux(stream.encode(image))
        assert stream is not None, "a video has frames"
        container.mux(stream.encode())
    return file.getvalue()
