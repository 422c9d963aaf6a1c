"""ImageNet-P: ten perturbations of the 50,000 validation photos, each a video of 224 px.

The videos of difficulty 1, of 31 frames (``translate``: 41), are taken as they are. Under noise
every frame is compared with the first, which has none; the other perturbations move on from frame
to frame.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; code in https://github.com/hendrycks/robustness, ImageNet-P.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import Benchmark, Condition, ImageBatch
from ..metrics.frame_pairs import Pairs
from ..trees import IMAGES_IN_CLASS_FOLDERS
from ..video import decode_video
from .perturbation_scores import PerturbedVideos
from .top5 import SCHEMA, records_of, top5_columns

PUBLISHED_ITEMS = 50_000
FRAMES = 31
TRANSLATE_FRAMES = 41
VIDEO_SUFFIXES = frozenset({".mp4"})

ALEXNET_FLIP_PROBABILITY: Mapping[str, float] = {
    "gaussian_noise": 0.23653,
    "shot_noise": 0.30062,
    "motion_blur": 0.09297,
    "zoom_blur": 0.05942,
    "snow": 0.11928,
    "brightness": 0.04889,
    "translate": 0.11007,
    "rotate": 0.13104,
    "tilt": 0.07050,
    "scale": 0.23531,
}
"""AlexNet's flip probabilities, as published for mFR (Hendrycks & Dietterich 2019; to five digits
in https://github.com/clovaai/assembled-cnn). Its keys are the ten. Its T5D is not published."""

PERTURBATIONS = tuple(ALEXNET_FLIP_PROBABILITY)
CONDITIONS = tuple(Condition((("perturbation", name),)) for name in PERTURBATIONS)


def frames_of(condition: Condition) -> int:
    """How many frames each video of a perturbation has."""
    return TRANSLATE_FRAMES if condition["perturbation"] == "translate" else FRAMES


def pairs_of(condition: Condition) -> Pairs:
    """Which frames are compared."""
    return "first" if "noise" in str(condition["perturbation"]) else "consecutive"


FRAME_SCHEMA = SCHEMA.insert(1, pa.field("frame", pa.int32()))
"""A row a frame. A skipped video is a single row, without a frame, whose ``error`` says why."""


def record_frames(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    """Records of N frames, from their logits (N, C)."""
    return records_of(FRAME_SCHEMA, batch, top5_columns(logits))


VIDEOS = PerturbedVideos(CONDITIONS, frames_of, pairs_of, ALEXNET_FLIP_PROBABILITY, PUBLISHED_ITEMS)

IMAGENET_P = Benchmark(
    name="imagenet-p",
    title="ImageNet-P",
    conditions=CONDITIONS,
    published_items=PUBLISHED_ITEMS,
    stimuli_px=224,
    tree=replace(
        IMAGES_IN_CLASS_FOLDERS,
        suffixes=VIDEO_SUFFIXES,
        noun="video",
        example="n01440764/ILSVRC2012_val_00000293.mp4",
        listed=False,
        frames=frames_of,
    ),
    protocol="imagenet-p-1",
    schema=FRAME_SCHEMA,
    decode=decode_video,
    record=record_frames,
    scores=VIDEOS.scores,
    differences=VIDEOS.differences,
)
