"""ImageNet-P: ten perturbations of the 50,000 validation photos, each a video of 224 px.

The videos are those of difficulty 1, of 31 frames (``translate``: 41). Under noise every frame is
compared with the first, which is clean; under the other perturbations with the frame before it.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; code in https://github.com/hendrycks/robustness, ImageNet-P.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import ALEXNET_FLIP_PROBABILITY, BENCHMARK_INFO, Benchmark, Condition, ImageBatch
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from ..metrics.frame_pairs import Pairs
from ..video import decode_video
from .perturbation_scores import PerturbedVideos
from .top5 import SCHEMA, records_of, top5_columns

INFO = BENCHMARK_INFO["imagenet-p"]
FRAMES = 31
TRANSLATE_FRAMES = 41
VIDEO_SUFFIXES = frozenset({".mp4"})

PERTURBATIONS = tuple(ALEXNET_FLIP_PROBABILITY)
CONDITIONS = tuple(Condition((("perturbation", name),)) for name in PERTURBATIONS)


def frames_of(condition: Condition) -> int:
    """The number of frames of each video of a perturbation."""
    return TRANSLATE_FRAMES if condition["perturbation"] == "translate" else FRAMES


def pairs_of(condition: Condition) -> Pairs:
    """The pairs of frames that are compared."""
    return "first" if "noise" in str(condition["perturbation"]) else "consecutive"


FRAME_SCHEMA = SCHEMA.insert(1, pa.field("frame", pa.int32()))
"""Columns of a record of a frame. A skipped video is a single record without a frame, and ``error``
says why."""


def record_frames(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    """Records of N frames, from their logits (N, C)."""
    return records_of(FRAME_SCHEMA, batch, top5_columns(logits))


VIDEOS = PerturbedVideos(
    CONDITIONS, frames_of, pairs_of, ALEXNET_FLIP_PROBABILITY, INFO.published_items
)

IMAGENET_P = Benchmark(
    info=INFO,
    conditions=CONDITIONS,
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
