"""What records of perturbed videos add up to: of one model, and of two on the same videos.

The source images are the same in all perturbations. A mean over perturbations is refused where one
is missing, never made of the others.
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
from .score_fields import difference_fields, interval_fields
from .sequences import Sequences, sequences_of

Records = Mapping[Condition, pa.Table]
Floats = npt.NDArray[np.float64]
Videos = Mapping[str, Sequences]
"""Of each perturbation that is there."""

MEASURED = "a measured baseline"
"""Stands in ``normalize_by`` for the run that was handed in, whose name is not known here."""

NO_BASELINE = (
    "nobody published AlexNet's T5D, so it needs a measured baseline: a run of alexnet on the same "
    "videos"
)
EVERY_VIDEO_SKIPPED = "every video was skipped"


@dataclass(frozen=True)
class Measure:
    """Something that each video has, and its mean over the perturbations.

    Attributes:
        metric: Its name; ``Sequences`` calls it so too.
        title: For messages.
        largest: That it can be.
        mean: The name of its mean relative to a baseline.
        of: From the means over videos, the model's and the baseline's, to that.
    """

    metric: str
    title: str
    largest: float
    mean: str
    of: Callable[[Mapping[str, float], Mapping[str, float]], float]

    def values(self, sequences: Sequences) -> Floats:
        """Of each video: (N,)."""
        return np.asarray(getattr(sequences, self.metric))

    def value(self, sequences: Sequences) -> float:
        """The mean over the videos that were scored."""
        return float(self.values(sequences)[sequences.scored].mean())


FLIPS = Measure("flip_probability", "flip probability", 1, "mfr", mfr)
DISTANCE = Measure("t5d", "T5D", LARGEST, "mt5d", mt5d)
MEASURES = (FLIPS, DISTANCE)


@dataclass(frozen=True)
class PerturbedVideos:
    """A benchmark of perturbed videos.

    Attributes:
        conditions: Its perturbations, one each.
        frames: Of each video of a condition.
        pairs: Which of them are compared.
        flip_probability: The published baseline's, of each perturbation.
        published_items: Videos in each condition.
    """

    conditions: tuple[Condition, ...]
    frames: Callable[[Condition], int]
    pairs: Callable[[Condition], Pairs]
    flip_probability: Mapping[str, float]
    published_items: int

    def scores(self, records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
        """Every number of one model."""
        ours = self._videos(records)
        refusal = self._refusal(ours)
        yield self._published_mean(ours, refusal)
        if refusal is None and beside.baseline is not None:
            theirs = self._videos(beside.baseline)
            for measure in MEASURES:
                yield self._measured_mean(measure, ours, theirs)
        else:
            yield Score(**self._facts(DISTANCE.mean, ours), reason=refusal or NO_BASELINE)
        for name, sequences in ours.items():
            for measure in MEASURES:
                yield self._score(measure, name, sequences)

    def differences(
        self, a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
    ) -> Iterator[Difference]:
        """Every number of two models, over the videos that both scored."""
        first, second = self._paired(a, b)
        found = Difference(**self._facts(FLIPS.mean, first), reason=self._refusal(first))
        if found.reason is None:
            of_a, of_b = (self._published_value(videos) for videos in (first, second))
            scores = self._published_scores(second) - self._published_scores(first)
            bound = weighted_bounds(self._weights())[1]
            found = replace(found, **_difference(of_a, of_b, scores, bound))
        yield found
        for name in first:
            for measure in MEASURES:
                yield self._difference(measure, name, first[name], second[name])

    def _videos(self, records: Records) -> dict[str, Sequences]:
        return {
            str(condition["perturbation"]): self._sequences(records, condition)
            for condition in self.conditions
            if condition in records
        }

    def _sequences(self, records: Records, condition: Condition) -> Sequences:
        """A few numbers a video: the table of its frames is let go before the next is read."""
        return sequences_of(
            records[condition],
            condition,
            frames=self.frames(condition),
            pairs=self.pairs(condition),
        )

    def _paired(self, a: Records, b: Records) -> tuple[Videos, Videos]:
        """Both models' perturbations that both have, over the videos that both scored."""
        first, second = {}, {}
        for condition in self.conditions:
            if condition in a and condition in b:
                ours, theirs = (self._sequences(records, condition) for records in (a, b))
                check_same_images(*(pa.table({"id": one.ids}) for one in (ours, theirs)))
                name = str(condition["perturbation"])
                first[name] = ours.also_scored(theirs.scored)
                second[name] = theirs.also_scored(ours.scored)
        return first, second

    def _facts(self, mean: str, *models: Videos) -> dict[str, Any]:
        """Of a mean over all perturbations: on how many videos of each it stands."""
        those = [one for videos in models for one in videos.values()]
        return {
            "metric": mean,
            "n": min((one.n for one in those), default=0),
            "skipped": sum(one.skipped for one in those),
            "complete": bool(those) and all(one.n == self.published_items for one in those),
        }

    def _refusal(self, videos: Videos) -> str | None:
        """Why a mean over the perturbations cannot be had, if so."""
        wanted = list(self.flip_probability)
        missing = [name for name in wanted if name not in videos]
        if missing:
            names = f": {', '.join(missing)}" if len(missing) < len(wanted) else ""
            return f"{len(missing)} of {len(wanted)} perturbations are missing{names}"
        empty = [name for name, one in videos.items() if one.n == 0]
        return f"{EVERY_VIDEO_SKIPPED} in {empty[0]}" if empty else None

    def _measured_refusal(self, measure: Measure, ours: Videos, theirs: Videos) -> str | None:
        if (refusal := self._refusal(theirs)) is not None:
            return f"of the baseline, {refusal}"
        if other := _other_videos(ours, theirs):
            return f"the baseline is not of the same videos: {other}"
        if zero := [name for name, one in theirs.items() if measure.value(one) == 0]:
            return f"the baseline's {measure.title} is 0 for {', '.join(zero)}: no ratio can be had"
        return None

    def _published_mean(self, ours: Videos, refusal: str | None) -> Score:
        score = Score(**self._facts(FLIPS.mean, ours), reason=refusal)
        if refusal is not None:
            return score
        interval = mean_interval(self._published_scores(ours), weighted_bounds(self._weights()))
        return replace(score, value=self._published_value(ours), **interval_fields(interval))

    def _published_value(self, videos: Videos) -> float:
        return mfr(_means(FLIPS, videos), self.flip_probability)

    def _published_scores(self, videos: Videos) -> Floats:
        return weighted_scores(*_stacked(FLIPS, videos), self._weights())

    def _weights(self) -> Floats:
        return mean_ratio_weights(np.array(list(self.flip_probability.values())))

    def _measured_mean(self, measure: Measure, ours: Videos, theirs: Videos) -> Score:
        facts = self._facts(measure.mean, ours, theirs)
        refusal = self._measured_refusal(measure, ours, theirs)
        score = Score(**facts, normalize_by=MEASURED, reason=refusal)
        if refusal is not None:
            return score
        value = measure.of(_means(measure, ours), _means(measure, theirs))
        scores = measured_ratio_scores(*_stacked(measure, ours), *_stacked(measure, theirs))
        return replace(score, value=value, **interval_fields(mean_interval(scores, (0, math.inf))))

    def _score(self, measure: Measure, name: str, sequences: Sequences) -> Score:
        score = Score(**self._place(measure, name, sequences))
        if sequences.n == 0:
            return replace(score, reason=EVERY_VIDEO_SKIPPED)
        scores = measure.values(sequences)[sequences.scored]
        interval = interval_fields(mean_interval(scores, (0, measure.largest)))
        return replace(score, value=measure.value(sequences), **interval)

    def _difference(self, measure: Measure, name: str, a: Sequences, b: Sequences) -> Difference:
        difference = Difference(**self._place(measure, name, a))
        if a.n == 0:
            return replace(difference, reason=EVERY_VIDEO_SKIPPED)
        scores = (measure.values(b) - measure.values(a))[a.scored]
        values = measure.value(a), measure.value(b)
        return replace(difference, **_difference(*values, scores, measure.largest))

    def _place(self, measure: Measure, name: str, sequences: Sequences) -> dict[str, Any]:
        facts = self._facts(measure.metric, {name: sequences})
        return {**facts, "perturbation": name}


def _means(measure: Measure, videos: Videos) -> dict[str, float]:
    return {name: measure.value(sequences) for name, sequences in videos.items()}


def _stacked(measure: Measure, videos: Videos) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Of each perturbation and video: what it has, and whether it was scored; (P, N)."""
    those = videos.values()
    return np.stack([measure.values(one) for one in those]), np.stack([one.scored for one in those])


def _difference(a: float, b: float, scores: Floats, bound: float) -> dict[str, Any]:
    return difference_fields(a, b, mean_interval(scores, (-bound, bound)))


def _other_videos(ours: Videos, theirs: Videos) -> str | None:
    """How the videos of two runs differ; in one run they are the same in all perturbations."""
    wanted, there = (next(iter(videos.values())).ids for videos in (ours, theirs))
    if wanted.equals(there):
        return None
    missing = set(wanted.to_pylist()) - set(there.to_pylist())
    if not missing:
        return f"it has {len(there):,}, and {len(wanted):,} were scored here"
    return f"it lacks {len(missing):,} of {len(wanted):,}, first {min(missing)}"
