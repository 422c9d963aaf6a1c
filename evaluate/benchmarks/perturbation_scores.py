"""Metrics from records of perturbed videos: of one model, and of two on the same videos.

The source images are the same in all perturbations. A mean over perturbations is refused if one is
missing; it is never computed from the others.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import AuxiliaryRecords, Condition, Difference, Score
from ..metrics.flip_probability import mfr
from ..metrics.frame_pairs import Pairs
from ..metrics.mean_interval import mean_interval, weighted_bounds, weighted_scores
from ..metrics.mean_ratio import mean_ratio_weights, measured_ratio_scores
from ..metrics.top5_distance import LARGEST, mt5d
from .pairs import check_same_images
from .score_fields import count_fields, difference_fields, interval_fields
from .sequences import Sequences, sequences_of
from .top5 import Records

Floats = npt.NDArray[np.float64]
Videos = Mapping[str, Sequences]
"""Outcomes of the videos of each finished perturbation."""

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
        mean: Function that computes this mean from the means over videos of model and baseline.
    """

    metric: str
    title: str
    largest: float
    mean_metric: str
    mean: Callable[[Mapping[str, float], Mapping[str, float]], float]

    def values(self, sequences: Sequences) -> Floats:
        """The value of each video: (N,)."""
        return np.asarray(getattr(sequences, self.metric))

    def value(self, sequences: Sequences) -> float:
        """The mean over the videos that were scored."""
        return float(self.values(sequences)[sequences.scored].mean())

    def means(self, videos: Videos) -> dict[str, float]:
        """The mean of each perturbation."""
        return {name: self.value(sequences) for name, sequences in videos.items()}

    def stacked(self, videos: Videos) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The values, and whether each was scored, of P perturbations: twice (P, N)."""
        sequences = videos.values()
        return np.stack([self.values(s) for s in sequences]), np.stack(
            [s.scored for s in sequences]
        )


FLIPS = Measure("flip_probability", "flip probability", 1, "mfr", mfr)
DISTANCE = Measure("t5d", "T5D", LARGEST, "mt5d", mt5d)
MEASURES = (FLIPS, DISTANCE)


@dataclass(frozen=True)
class PerturbedVideos:
    """A benchmark of perturbed videos.

    Attributes:
        conditions: Conditions of the benchmark, one for each perturbation.
        frames: Number of frames of each video of a condition.
        pairs: Pairs of frames that are compared in a condition.
        flip_probability: Flip probability of the published baseline for each perturbation.
        published_items: Number of videos in each condition of the published benchmark.
    """

    conditions: tuple[Condition, ...]
    frames: Callable[[Condition], int]
    pairs: Callable[[Condition], Pairs]
    flip_probability: Mapping[str, float]
    published_items: int

    def scores(self, records: Records, auxiliary: AuxiliaryRecords) -> Iterator[Score]:
        """Every score of one model."""
        videos = self._videos(records)
        refusal = self._refusal(videos)
        yield self._published_mean(videos, refusal)
        if refusal is None and auxiliary.baseline is not None:
            baseline = self._videos(auxiliary.baseline)
            for measure in MEASURES:
                yield self._measured_mean(measure, videos, baseline)
        else:
            facts = self._facts(DISTANCE.mean_metric, videos)
            yield Score(**facts, reason=refusal or NO_BASELINE)
        for name, sequences in videos.items():
            for measure in MEASURES:
                yield self._score(measure, name, sequences)

    def differences(
        self, a: Records, b: Records, auxiliary_a: AuxiliaryRecords, auxiliary_b: AuxiliaryRecords
    ) -> Iterator[Difference]:
        """Every difference of two models, over the videos that both scored."""
        videos_a, videos_b = self._paired(a, b)
        facts = self._facts(FLIPS.mean_metric, videos_a)
        difference = Difference(**facts, reason=self._refusal(videos_a))
        if difference.reason is None:
            values = self._published_value(videos_a), self._published_value(videos_b)
            gains = self._published_scores(videos_b) - self._published_scores(videos_a)
            bound = weighted_bounds(self._weights())[1]
            difference = replace(difference, **_difference(*values, gains, bound))
        yield difference
        for name in videos_a:
            for measure in MEASURES:
                yield self._difference(measure, name, videos_a[name], videos_b[name])

    def _videos(self, records: Records) -> dict[str, Sequences]:
        return {
            str(condition["perturbation"]): self._sequences(records, condition)
            for condition in self.conditions
            if condition in records
        }

    def _sequences(self, records: Records, condition: Condition) -> Sequences:
        """A few numbers per video, so that only one table of frames is in memory at a time."""
        return sequences_of(
            records[condition],
            condition,
            frames=self.frames(condition),
            pairs=self.pairs(condition),
        )

    def _paired(self, a: Records, b: Records) -> tuple[Videos, Videos]:
        """Both models' perturbations that both have, over the videos that both scored."""
        videos_a, videos_b = {}, {}
        for condition in self.conditions:
            if condition in a and condition in b:
                ours, theirs = (self._sequences(records, condition) for records in (a, b))
                check_same_images(*(pa.table({"id": s.ids}) for s in (ours, theirs)))
                name = str(condition["perturbation"])
                videos_a[name] = ours.also_scored(theirs.scored)
                videos_b[name] = theirs.also_scored(ours.scored)
        return videos_a, videos_b

    def _facts(self, metric: str, *models: Videos) -> dict[str, Any]:
        """The name of a metric, and how many videos of each perturbation it is computed from."""
        sequences = [s for videos in models for s in videos.values()]
        return {"metric": metric, **count_fields(sequences, self.published_items)}

    def _refusal(self, videos: Videos) -> str | None:
        """Why a mean over the perturbations cannot be computed; `None` if it can."""
        expected = list(self.flip_probability)
        missing = [name for name in expected if name not in videos]
        if missing:
            names = f": {', '.join(missing)}" if len(missing) < len(expected) else ""
            return f"{len(missing)} of {len(expected)} perturbations are missing{names}"
        empty = [name for name, sequences in videos.items() if sequences.n == 0]
        return f"{EVERY_VIDEO_SKIPPED} in {empty[0]}" if empty else None

    def _measured_refusal(self, measure: Measure, videos: Videos, baseline: Videos) -> str | None:
        if (refusal := self._refusal(baseline)) is not None:
            return f"of the baseline, {refusal}"
        if differs := _other_videos(videos, baseline):
            return f"the baseline is not of the same videos: {differs}"
        if zero := [name for name, mean in measure.means(baseline).items() if mean == 0]:
            return f"the baseline's {measure.title} is 0 for {', '.join(zero)}: no ratio exists"
        return None

    def _published_mean(self, videos: Videos, refusal: str | None) -> Score:
        score = Score(**self._facts(FLIPS.mean_metric, videos), reason=refusal)
        if refusal is not None:
            return score
        interval = mean_interval(self._published_scores(videos), weighted_bounds(self._weights()))
        return replace(score, value=self._published_value(videos), **interval_fields(interval))

    def _published_value(self, videos: Videos) -> float:
        return mfr(FLIPS.means(videos), self.flip_probability)

    def _published_scores(self, videos: Videos) -> Floats:
        return weighted_scores(*FLIPS.stacked(videos), self._weights())

    def _weights(self) -> Floats:
        return mean_ratio_weights(np.array(list(self.flip_probability.values())))

    def _measured_mean(self, measure: Measure, videos: Videos, baseline: Videos) -> Score:
        facts = self._facts(measure.mean_metric, videos, baseline)
        refusal = self._measured_refusal(measure, videos, baseline)
        score = Score(**facts, normalize_by=MEASURED, reason=refusal)
        if refusal is not None:
            return score
        value = measure.mean(measure.means(videos), measure.means(baseline))
        scores = measured_ratio_scores(*measure.stacked(videos), *measure.stacked(baseline))
        return replace(score, value=value, **interval_fields(mean_interval(scores, (0, math.inf))))

    def _score(self, measure: Measure, name: str, sequences: Sequences) -> Score:
        score = Score(**self._facts(measure.metric, {name: sequences}), perturbation=name)
        if sequences.n == 0:
            return replace(score, reason=EVERY_VIDEO_SKIPPED)
        scores = measure.values(sequences)[sequences.scored]
        interval = interval_fields(mean_interval(scores, (0, measure.largest)))
        return replace(score, value=measure.value(sequences), **interval)

    def _difference(self, measure: Measure, name: str, a: Sequences, b: Sequences) -> Difference:
        difference = Difference(**self._facts(measure.metric, {name: a}), perturbation=name)
        if a.n == 0:
            return replace(difference, reason=EVERY_VIDEO_SKIPPED)
        gains = (measure.values(b) - measure.values(a))[a.scored]
        values = measure.value(a), measure.value(b)
        return replace(difference, **_difference(*values, gains, measure.largest))


def _difference(a: float, b: float, gains: Floats, bound: float) -> dict[str, Any]:
    return difference_fields(a, b, mean_interval(gains, (-bound, bound)))


def _other_videos(videos: Videos, baseline: Videos) -> str | None:
    """How the videos of two runs differ; in one run they are the same in all perturbations."""
    ours, theirs = (next(iter(v.values())).ids for v in (videos, baseline))
    if ours.equals(theirs):
        return None
    missing = set(ours.to_pylist()) - set(theirs.to_pylist())
    if not missing:
        return f"it has {len(theirs):,}, and {len(ours):,} were scored here"
    return f"it lacks {len(missing):,} of {len(ours):,}, first {min(missing)}"
