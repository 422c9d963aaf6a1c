"""A small ImageNet-P tree of real photos: simple perturbations, as H.264 with full colour."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from evaluator.evaluate.benchmarks.imagenet_p import CONDITIONS, frames_of

Pixels = npt.NDArray[np.uint8]
SIDE_PX = 224
ROOM_PX = 24


def perturbed_tree(photos: Path, root: Path, *, count: int) -> Path:
    """The first photos under all ten perturbations: ``root/<perturbation>/<wnid>/<file>.mp4``."""
    for path in sorted(photos.rglob("*.JPEG"))[:count]:
        with Image.open(path) as image:
            photo = np.asarray(image.convert("RGB").resize((SIDE_PX + 2 * ROOM_PX,) * 2))
        for condition in CONDITIONS:
            name = str(condition["perturbation"])
            place = root / name / path.parent.name
            place.mkdir(parents=True, exist_ok=True)
            middle = frames_of(condition) // 2
            frames = [FRAME_OF[name](photo, i - middle) for i in range(frames_of(condition))]
            write_video(place / f"{path.stem}.mp4", frames)
    return root


def write_video(path: Path, frames: list[Pixels]) -> None:
    """Frames of 224 px as ImageNet-P stores them."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv444p"
        stream.options = {"preset": "ultrafast", "crf": "20"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _crop(photo: Pixels, right: int = 0, down: int = 0) -> Pixels:
    top, left = ROOM_PX + down, ROOM_PX + right
    return np.ascontiguousarray(photo[top : top + SIDE_PX, left : left + SIDE_PX])


def _lighter(photo: Pixels, by: float) -> Pixels:
    return np.clip(_crop(photo).astype(float) + by, 0, 255).astype(np.uint8)


def _noisy(photo: Pixels, seed: int, sigma: float) -> Pixels:
    noise = np.random.default_rng(seed + 100).normal(scale=sigma, size=(SIDE_PX, SIDE_PX, 3))
    return np.clip(_crop(photo).astype(float) + noise, 0, 255).astype(np.uint8)


def _turned(photo: Pixels, degrees: float) -> Pixels:
    return _crop(np.asarray(Image.fromarray(photo).rotate(degrees)))


def _smaller(photo: Pixels, percent: int) -> Pixels:
    side = SIDE_PX * percent // 100
    small = Image.fromarray(photo).resize((side, side)).resize((SIDE_PX, SIDE_PX))
    return np.asarray(small)


FRAME_OF: dict[str, Callable[[Pixels, int], Pixels]] = {
    "gaussian_noise": lambda photo, i: _noisy(photo, i, 12),
    "shot_noise": lambda photo, i: _noisy(photo, i, 20),
    "motion_blur": lambda photo, i: _crop(photo) // 2 + _crop(photo, right=i) // 2,
    "zoom_blur": lambda photo, i: _smaller(photo, 40 + i),
    "snow": lambda photo, i: np.maximum(_crop(photo), _noisy(photo * 0, i, 60)),
    "brightness": lambda photo, i: _lighter(photo, 5 * i),
    "translate": lambda photo, i: _crop(photo, right=i),
    "rotate": lambda photo, i: _turned(photo, i),
    "tilt": lambda photo, i: _crop(photo, right=i // 2, down=i),
    "scale": lambda photo, i: _smaller(photo, 60 - 3 * i),
}
"""From a photo and the number of a frame, 0 in the middle."""
