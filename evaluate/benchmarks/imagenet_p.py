"""ImageNet-P: ten perturbations of the 50,000 validation photos, each a video of 224 px.

The videos are those of difficulty 1, of 31 frames (``translate``: 41). Under noise every frame is
compared with the first, which is clean; under the other perturbations with the frame before it.

The source images are the same in all perturbations. A mean over perturbations is refused if one is
missing; it is never computed from the others.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; code in https://github.com/hendrycks/robustness, ImageNet-P.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import (
    ALEXNET_FLIP_PROBABILITY,
    BENCHMARK_INFO,
    Benchmark,
    Condition,
    ImageBatch,
    Number,
)
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from ..metrics.frame_changes import LARGEST, Pairs
from ..metrics.mean_interval import Floats, weighted_bounds, weighted_scores
from ..metrics.mean_ratio import mean_ratio, mean_ratio_weights, measured_ratio_scores
from ..video import decode_video
from .numbers import Mean, Model, Records, both_scored, count_fields, mean_number
from .pairs import check_same_images
from .sequences import Sequences, sequences_of
from .top5 import SCHEMA, record_top5

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
    return record_top5(logits, batch, FRAME_SCHEMA)


Videos = Mapping[str, Sequences]
"""Outcomes of the videos of each finished perturbation, of one model."""

MEASURED = "a measured baseline"
"""Value of ``normalize_by`` for the baseline's run, whose name is not known here."""

NO_BASELINE = (
    "nobody published AlexNet's T5D, so it needs a measured baseline: a run of alexnet on the same "
    "videos"
)
EVERY_VIDEO_SKIPPED = "every video was skipped"


@dataclass(frozen=True)
class Measure:
    """A quantity of each video, and its mean over the perturbations relative to a baseline.

    Attributes:
        metric: Name in reports, and of the attribute of ``Sequences`` that holds it.
        title: Name in messages.
        largest: Largest possible value.
        mean_metric: Name of the mean relative to a baseline.
    """

    metric: str
    title: str
    largest: float
    mean_metric: str

    def mean(self, sequences: Sequences) -> Mean:
        """The mean over the videos of a perturbation that were scored."""
        scores = getattr(sequences, self.metric)[sequences.scored]
        return Mean(float(scores.mean()), scores, (0, self.largest))

    def means(self, videos: Videos) -> dict[str, float]:
        """The mean of each perturbation."""
        return {name: self.mean(sequences).value for name, sequences in videos.items()}

    def stacked(self, videos: Videos) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The values, and whether each was scored, of P perturbations: twice (P, N)."""
        values = [getattr(sequences, self.metric) for sequences in videos.values()]
        return np.stack(values), np.stack([sequences.scored for sequences in videos.values()])

    def mean_relative_to(self, baseline: Videos, videos: Videos) -> Mean:
        """The mean over the perturbations, relative to a measured baseline."""
        value = mean_ratio(self.means(videos), self.means(baseline))
        scores = measured_ratio_scores(*self.stacked(videos), *self.stacked(baseline))
        return Mean(value, scores, (0, math.inf))


FLIPS = Measure("flip_probability", "flip probability", 1, "mfr")
DISTANCE = Measure("t5d", "T5D", LARGEST, "mt5d")
MEASURES = (FLIPS, DISTANCE)


@dataclass(frozen=True)
class PerturbedVideos:
    """The means over perturbations, then the measures of each perturbation.

    Attributes:
        published_items: Number of videos of each perturbation in the published benchmark.
    """

    published_items: int = INFO.published_items

    def numbers(self, *models: Model) -> Iterator[Number]:
        """The numbers of one model or of two."""
        videos = _videos([records for records, _ in models])
        refusal = _refusal(videos[0])
        fields = self._fields(FLIPS.mean_metric, videos[0])
        yield mean_number(fields, refusal, _published_mean, videos)
        if len(models) == 1:
            yield from self._measured_means(videos[0], refusal, models[0][1].baseline)
        for name, first in videos[0].items():
            reason = None if first.n else EVERY_VIDEO_SKIPPED
            for measure in MEASURES:
                fields = self._fields(measure.metric, {name: first}) | {"perturbation": name}
                sequences = [of_model[name] for of_model in videos]
                yield mean_number(fields, reason, measure.mean, sequences)

    def _fields(self, metric: str, *models: Videos) -> dict[str, Any]:
        """The name of a metric, and how many videos of each perturbation it is computed from."""
        sequences = [s for videos in models for s in videos.values()]
        return {"metric": metric, **count_fields(sequences, self.published_items)}

    def _measured_means(
        self, videos: Videos, refusal: str | None, records: Records | None
    ) -> Iterator[Number]:
        """Both means relative to a measured baseline; without one, why there is no mT5D."""
        if refusal is not None or records is None:
            fields = self._fields(DISTANCE.mean_metric, videos)
            yield Number({**fields, "reason": refusal or NO_BASELINE})
            return
        (baseline,) = _videos([records])
        for measure in MEASURES:
            fields = self._fields(measure.mean_metric, videos, baseline)
            fields["normalize_by"] = MEASURED
            reason = _measured_refusal(measure, videos, baseline)
            mean = partial(measure.mean_relative_to, baseline)
            yield mean_number(fields, reason, mean, [videos])


def _videos(records: Sequence[Records]) -> list[Videos]:
    """The perturbations that all models have, over the videos that all scored.

    Only one table of frames is in memory at a time, since few numbers of each video are kept.
    """
    videos: list[dict[str, Sequences]] = [{} for _ in records]
    for condition in CONDITIONS:
        if all(condition in of_model for of_model in records):
            frames, pairs = frames_of(condition), pairs_of(condition)
            sequences = [
                sequences_of(of_model[condition], condition, frames=frames, pairs=pairs)
                for of_model in records
            ]
            check_same_images(*(of_model.ids for of_model in sequences))
            for of_model, both in zip(videos, both_scored(sequences), strict=True):
                of_model[str(condition["perturbation"])] = both
    return list(videos)


def _refusal(videos: Videos) -> str | None:
    """Why a mean over the perturbations cannot be computed; `None` if it can."""
    missing = [name for name in PERTURBATIONS if name not in videos]
    if missing:
        names = f": {', '.join(missing)}" if len(missing) < len(PERTURBATIONS) else ""
        return f"{len(missing)} of {len(PERTURBATIONS)} perturbations are missing{names}"
    empty = [name for name, sequences in videos.items() if sequences.n == 0]
    return f"{EVERY_VIDEO_SKIPPED} in {empty[0]}" if empty else None


def _published_mean(videos: Videos) -> Mean:
    """The mean flip probability relative to that of the published baseline."""
    weights = mean_ratio_weights(np.array(list(ALEXNET_FLIP_PROBABILITY.values())))
    value = mean_ratio(FLIPS.means(videos), ALEXNET_FLIP_PROBABILITY)
    scores = weighted_scores(*FLIPS.stacked(videos), weights)
    return Mean(value, scores, weighted_bounds(weights))


def _measured_refusal(measure: Measure, videos: Videos, baseline: Videos) -> str | None:
    if (refusal := _refusal(baseline)) is not None:
        return f"of the baseline, {refusal}"
    if differs := _other_videos(videos, baseline):
        return f"the baseline is not of the same videos: {differs}"
    if zero := [name for name, mean in measure.means(baseline).items() if mean == 0]:
        return f"the baseline's {measure.title} is 0 for {', '.join(zero)}: no ratio exists"
    return None


def _other_videos(videos: Videos, baseline: Videos) -> str | None:
    """How the videos of two runs differ; in one run they are the same in all perturbations."""
    ours, theirs = (next(iter(v.values())).ids for v in (videos, baseline))
    if ours.equals(theirs):
        return None
    missing = set(ours.to_pylist()) - set(theirs.to_pylist())
    if not missing:
        return f"it has {len(theirs):,}, and {len(ours):,} were scored here"
    return f"it lacks {len(missing):,} of {len(ours):,}, first {min(missing)}"


VIDEOS = PerturbedVideos()

IMAGENET_P = Benchmark(
    info=INFO,
    conditions=CONDITIONS,
    stimuli_px=224,
    layout=replace(
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
    numbers=VIDEOS.numbers,
)
