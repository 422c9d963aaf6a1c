"""ImageNet-P: what is recorded of a frame, what records add up to, and what is refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import evaluator
from evaluator.contracts import (
    ALEXNET_FLIP_PROBABILITY,
    AuxiliaryRecords,
    Condition,
    Difference,
    Item,
    Score,
)
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_p import (
    CONDITIONS,
    EVERY_VIDEO_SKIPPED,
    FRAME_SCHEMA,
    IMAGENET_P,
    MEASURED,
    NO_BASELINE,
    PERTURBATIONS,
    frames_of,
    pairs_of,
)
from evaluator.evaluate.metrics.mean_ratio import mean_ratio
from evaluator.evaluate.scoring import skipped_records
from evaluator.tests import second_imagenet_p as second
from evaluator.tests.score_rows import differences_by, scores_by
from evaluator.tests.written_videos import (
    Videos,
    random_videos,
    records_of,
    still_videos,
    video_records,
)

PAPER: dict[str, Any] = json.loads(
    (Path(evaluator.__file__).parent / "reporting/data/paper_results.json").read_text()
)
PRINTED_MFR = {
    "resnext101_32x8d": 46.1,
    "resnext101_32x8d_wsl": 38.8,
    "resnext101_32x16d_wsl": 32.7,
    "resnext101_32x32d_wsl": 29.7,
    "resnext101_32x48d_wsl": 27.8,
}

Skipped = Mapping[str, Sequence[int]]


def tables(videos: Videos, skipped: Skipped | None = None) -> dict[Condition, pa.Table]:
    make = records_of(videos, skipped)
    return {condition: make(condition) for condition in CONDITIONS}


def scores_of(
    records: Mapping[Condition, pa.Table], baseline: Mapping[Condition, pa.Table] | None = None
) -> list[Score]:
    return scores_by(IMAGENET_P, records, AuxiliaryRecords(baseline=baseline))


def find(scores: Sequence[Score], metric: str, **keys: str | None) -> Score:
    (found,) = (
        score
        for score in scores
        if score.metric == metric and all(getattr(score, k) == v for k, v in keys.items())
    )
    return found


def plain(videos: Videos, skipped: Skipped | None = None) -> dict[str, list[second.Video]]:
    return {
        name: [None if i in (skipped or {}).get(name, ()) else v for i, v in enumerate(those)]
        for name, those in ((name, top5.tolist()) for name, top5 in videos.items())
    }


def test_the_benchmark_is_the_published_one() -> None:
    assert PERTURBATIONS == (
        "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness",
        "translate", "rotate", "tilt", "scale",
    )  # fmt: skip
    assert [frames_of(condition) for condition in CONDITIONS] == [31] * 6 + [41] + [31] * 3
    assert [pairs_of(condition) for condition in CONDITIONS] == ["first"] * 2 + ["consecutive"] * 8
    assert (IMAGENET_P.info.published_items, IMAGENET_P.stimuli_px) == (50_000, 224)


def test_alexnets_flip_probabilities_are_those_of_the_papers_results_to_four_digits() -> None:
    published = PAPER["constants"]["alexnet_imagenet_p_flip_probability"]
    assert dict(ALEXNET_FLIP_PROBABILITY) == pytest.approx(published, abs=6e-5)
    assert list(ALEXNET_FLIP_PROBABILITY) == list(published)
    assert dict(ALEXNET_FLIP_PROBABILITY) == second.ALEXNET


@pytest.mark.parametrize("model", PRINTED_MFR)
def test_the_papers_flip_probabilities_give_its_printed_mfr(model: str) -> None:
    raw = PAPER["raw"][model]["imagenet_p"]
    measured = {name: values["flip_probability"] for name, values in raw.items()}
    found = 100 * mean_ratio(measured, ALEXNET_FLIP_PROBABILITY)
    # 46.15 is printed as 46.1, so a half and what the five digits leave open.
    assert found == pytest.approx(PRINTED_MFR[model], abs=0.051)
    assert found == pytest.approx(PAPER["derived"]["values"][model]["mFR"], abs=0.02)


def test_a_frame_is_a_row_and_a_skipped_video_is_one_row() -> None:
    top5 = random_videos(0, 3)["tilt"]
    rows = video_records(top5, skipped=[1])
    assert rows.schema == FRAME_SCHEMA
    assert rows.column_names == ["id", "frame", "label", "top5", "probability", "error"]
    assert rows["frame"].to_pylist() == [*range(31), None, *range(31)]
    assert rows["id"].to_pylist() == ["n01440764/00.mp4"] * 31 + ["n01440764/01.mp4"] + (
        ["n01440764/02.mp4"] * 31
    )
    assert rows["error"].to_pylist()[31] == "cannot be decoded"
    assert rows["top5"].to_pylist()[32:] == top5[2].tolist()


def test_numbers_by_hand() -> None:
    # The first two classes change places and back. Under noise every second frame differs from
    # the first, 15 of 30; else all 30 pairs differ. Each swap moves two classes by one.
    scores = scores_of(tables(still_videos(4, PERTURBATIONS)))
    assert find(scores, "flip_probability", perturbation="shot_noise").value == 0.5
    assert find(scores, "flip_probability", perturbation="tilt").value == 1
    assert find(scores, "flip_probability", perturbation="translate").value == 1
    assert find(scores, "t5d", perturbation="shot_noise").value == 1
    assert find(scores, "t5d", perturbation="tilt").value == 2
    expected = sum(
        (0.5 if "noise" in name else 1) / base for name, base in ALEXNET_FLIP_PROBABILITY.items()
    )
    assert find(scores, "mfr").value == pytest.approx(expected / 10)
    # Videos that are all alike say nothing of how videos spread.
    assert {score.low for score in scores} == {None}


@pytest.mark.parametrize("skipped", [{}, {"tilt": [0, 3], "scale": [3], "shot_noise": [7]}])
def test_every_number_and_interval_is_that_of_the_second_implementation(skipped: Skipped) -> None:
    ours, theirs = random_videos(1, 20), random_videos(2, 20, restless=0.8)
    scores = scores_of(tables(ours, skipped), tables(theirs, {"rotate": [1]}))
    a, b = plain(ours, skipped), plain(theirs, {"rotate": [1]})
    for name in PERTURBATIONS:
        for metric in ("flip_probability", "t5d"):
            found = find(scores, metric, perturbation=name)
            expected = second.perturbation_interval(metric, a[name], name)
            assert (found.value, found.low, found.high) == pytest.approx(expected)
            assert (found.n, found.skipped) == (
                20 - len(skipped.get(name, ())),
                len(skipped.get(name, ())),
            )
    # The jackknife of a sum of means is its standard error exactly, of ratios almost.
    exact = 1e-9 if not skipped else 0.01
    found = find(scores, "mfr", normalize_by=None)
    assert (found.value, found.low, found.high) == pytest.approx(second.mfr_interval(a), rel=exact)
    for mean, metric in (("mfr", "flip_probability"), ("mt5d", "t5d")):
        found = find(scores, mean, normalize_by=MEASURED)
        value, low, high = second.measured_interval(metric, a, b)
        assert found.value == pytest.approx(value)
        assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)
        assert found.skipped == 1 + sum(map(len, skipped.values()))


def upset(count: int, moving: Sequence[int]) -> Videos:
    """Videos that stand still, or in which each pair is as far apart as can be: T5D 18."""
    found = {}
    for name in PERTURBATIONS:
        top5 = np.tile(np.arange(5), (count, 31 + 10 * (name == "translate"), 1))
        frames = np.arange(top5.shape[1])
        steps = np.minimum(frames, 1) if "noise" in name else frames
        for video in moving:
            # The last two come first, and the others are gone.
            top5[video] += 3 * steps[:, None]
        found[name] = top5
    return found


def test_intervals_end_where_numbers_can() -> None:
    restless = tables(random_videos(2, 8, restless=0.8))
    few = scores_of(tables(upset(8, [3])), restless)
    most = scores_of(tables(upset(8, [0, 1, 2, 4, 5, 6, 7])), restless)
    for metric, largest in (("flip_probability", 1), ("t5d", 18)):
        for name in PERTURBATIONS:
            low, high = (find(scores, metric, perturbation=name) for scores in (few, most))
            assert low.value == pytest.approx(largest / 8)
            assert low.low == 0
            assert high.value == pytest.approx(largest * 7 / 8)
            assert high.high == largest
    for mean in ("mfr", "mt5d"):
        assert find(few, mean, normalize_by=MEASURED).low == 0
        found = find(most, mean, normalize_by=MEASURED)
        assert (found.high or 0) > (found.value or 0) > 1  # as bad as the baseline is no end


def test_numbers_of_the_whole_benchmark_alone_are_complete() -> None:
    small = replace_published_items(4)
    scores = scores_by(small, tables(random_videos(1, 4)))
    assert all(score.complete for score in scores)
    skipping = scores_by(small, tables(random_videos(1, 4), {"tilt": [1]}))
    assert {s.perturbation for s in skipping if not s.complete} == {None, "tilt"}
    assert not any(s.complete for s in scores_of(tables(random_videos(1, 4))))


def replace_published_items(items: int) -> Any:
    from evaluator.evaluate.benchmarks.imagenet_p import VIDEOS

    return replace(VIDEOS, published_items=items)


def test_without_a_baseline_mt5d_is_refused_and_t5d_is_there() -> None:
    scores = scores_of(tables(random_videos(1, 4)))
    mt5d = find(scores, "mt5d")
    assert (mt5d.value, mt5d.reason, mt5d.normalize_by) == (None, NO_BASELINE, None)
    assert find(scores, "mfr").value is not None
    assert len([score for score in scores if score.metric == "t5d"]) == 10


def test_missing_perturbations_are_named_and_what_is_there_is_kept() -> None:
    everything = tables(random_videos(1, 4))
    some = {c: t for c, t in everything.items() if c["perturbation"] not in ("snow", "scale")}
    scores = scores_of(some, everything)
    for mean in ("mfr", "mt5d"):
        found = [score for score in scores if score.metric == mean]
        assert all(score.value is None for score in found)
        assert {s.reason for s in found} == {"2 of 10 perturbations are missing: snow, scale"}
    assert len([score for score in scores if score.metric == "t5d"]) == 8
    of_baseline = find(scores_of(everything, some), "mt5d")
    assert of_baseline.reason == ("of the baseline, 2 of 10 perturbations are missing: snow, scale")
    nothing = find(scores_of({}), "mfr")
    assert (nothing.value, nothing.reason) == (None, "10 of 10 perturbations are missing")


def test_a_baseline_that_never_flips_is_refused_by_the_name_of_the_perturbation() -> None:
    ours = tables(random_videos(1, 4))
    still = tables(
        still_videos(4, [name for name in PERTURBATIONS if name not in ("tilt", "snow")])
    )
    scores = scores_of(ours, still)
    reason = "the baseline's flip probability is 0 for snow, tilt: no ratio exists"
    assert find(scores, "mfr", normalize_by=MEASURED).reason == reason
    assert str(find(scores, "mt5d").reason).startswith("the baseline's T5D is 0 for snow, tilt")
    assert find(scores, "mfr", normalize_by=None).value is not None


def test_a_baseline_of_other_videos_is_refused() -> None:
    ours, fewer = tables(random_videos(1, 6)), tables(random_videos(2, 4))
    reason = find(scores_of(ours, fewer), "mt5d").reason
    assert reason == (
        "the baseline is not of the same videos: it lacks 2 of 6, first n01440764/04.mp4"
    )
    assert str(find(scores_of(fewer, ours), "mt5d").reason).endswith(
        "it has 6, and 4 were scored here"
    )


def test_a_model_normalised_by_itself_is_one() -> None:
    ours = tables(random_videos(1, 10))
    scores = scores_of(ours, ours)
    for mean in ("mfr", "mt5d"):
        found = find(scores, mean, normalize_by=MEASURED)
        assert found.value == pytest.approx(1)
        assert (found.low, found.high) == (None, None)


def test_a_perturbation_of_which_all_videos_were_skipped_is_no_number() -> None:
    scores = scores_of(tables(random_videos(1, 3), {"tilt": [0, 1, 2]}))
    for metric in ("flip_probability", "t5d"):
        found = find(scores, metric, perturbation="tilt")
        assert (found.value, found.reason, found.skipped) == (None, EVERY_VIDEO_SKIPPED, 3)
    assert find(scores, "mfr").reason == f"{EVERY_VIDEO_SKIPPED} in tilt"


def test_one_video_has_numbers_and_no_interval() -> None:
    scores = scores_of(tables(random_videos(1, 1)))
    assert find(scores, "mfr").value is not None
    assert {score.low for score in scores} == {None}


TILT = next(c for c in CONDITIONS if c["perturbation"] == "tilt")


def doctored(rows: pa.Table) -> list[Score]:
    return scores_of({TILT: rows})


def test_frames_that_are_missing_doubled_or_in_disorder_are_named() -> None:
    rows = video_records(random_videos(1, 3)["tilt"])
    order = np.arange(93)
    swapped = order.copy()
    swapped[[40, 41]] = (41, 40)
    for wrong, found in (
        (np.delete(order, 35), "0, 1, 2, ..., 29, 30"),
        (np.delete(order, 61), "0, 1, 2, ..., 28, 29"),
        (np.delete(order, 31), "1, 2, 3, ..., 29, 30"),
        (np.insert(order, 40, 40), "0, 1, 2, ..., 29, 30"),
        (swapped, "0, 1, 2, ..., 29, 30"),
    ):
        with pytest.raises(InputError, match=rf"n01440764/01\.mp4 has frames {found}, expected 0"):
            doctored(rows.take(wrong))
    for wrong in (order[1:], order[:-1], np.concatenate([order, [92]])):
        with pytest.raises(
            InputError, match=r"of perturbation=tilt are not as .* expected 0 to 30"
        ):
            doctored(rows.take(wrong))


def test_frames_of_two_videos_under_one_name_and_of_one_under_two_are_named() -> None:
    rows = video_records(random_videos(1, 2)["tilt"])
    names = rows["id"].to_pylist()
    for other in ([names[0]] * 62, [*names[:5], "n01440764/99.mp4", *names[6:]]):
        with pytest.raises(InputError, match="expected 0 to 30"):
            doctored(rows.set_column(0, "id", pa.array(other)))


def test_a_skipped_video_with_frames_and_a_frame_with_an_error_are_named() -> None:
    rows = video_records(random_videos(1, 2)["tilt"])
    errors = pa.array([None] * 40 + ["broken"] + [None] * 21, pa.string())
    with pytest.raises(InputError, match=r"01\.mp4 has frames"):
        doctored(rows.set_column(5, "error", errors))
    gone = skipped_records(FRAME_SCHEMA, [(Item("n01440764/02.mp4", 0, ""), "broken")])
    silent = gone.set_column(5, "error", pa.nulls(1, pa.string()))
    with pytest.raises(InputError, match=r"02\.mp4 has frames none, expected"):
        doctored(pa.concat_tables([rows, silent]))
    assert doctored(pa.concat_tables([rows, gone]))


def test_translate_has_41_frames() -> None:
    short = video_records(random_videos(1, 2)["tilt"])
    translate = CONDITIONS[6]
    with pytest.raises(InputError, match="expected 0 to 40"):
        scores_of({translate: short})


def differences_of(a: Mapping[Condition, pa.Table], b: Mapping[Condition, pa.Table]) -> Any:
    return differences_by(IMAGENET_P, a, b)


def test_differences_are_over_the_videos_that_both_scored() -> None:
    ours, theirs = random_videos(1, 12), random_videos(2, 12, restless=0.8)
    skip_a, skip_b = {"tilt": [0, 1]}, {"tilt": [1, 2], "snow": [5]}
    found = differences_of(tables(ours, skip_a), tables(theirs, skip_b))
    either = {"tilt": [0, 1, 2], "snow": [5]}
    a, b = plain(ours, either), plain(theirs, either)
    by_key: dict[tuple[str, str | None], Difference] = {
        (d.metric, d.perturbation): d for d in found
    }
    for name in PERTURBATIONS:
        for metric in ("flip_probability", "t5d"):
            one = by_key[metric, name]
            expected = [second.of_perturbation(metric, v[name], name) for v in (a, b)]
            assert [one.a, one.b] == pytest.approx(expected)
            assert one.difference == pytest.approx(expected[1] - expected[0])
    tilt = by_key["t5d", "tilt"]
    assert (tilt.n, tilt.skipped) == (9, 3)
    paired = [
        second.distance(y, "tilt") - second.distance(x, "tilt")
        for x, y in zip(a["tilt"], b["tilt"], strict=True)
        if x is not None and y is not None
    ]
    margin = second.Z_95 * np.std(paired, ddof=1) / 3
    assert (tilt.low, tilt.high) == pytest.approx(
        (np.mean(paired) - margin, np.mean(paired) + margin)
    )
    mean = by_key["mfr", None]
    values = [second.mean_ratio("flip_probability", v, second.ALEXNET) for v in (a, b)]
    assert [mean.a, mean.b] == pytest.approx(values)
    assert mean.low is not None and mean.high is not None  # noqa: PT018
    assert mean.low < values[1] - values[0] < mean.high
    assert (mean.n, mean.skipped) == (9, 4)


def test_the_interval_of_the_difference_of_mfr_is_that_of_a_jackknife() -> None:
    ours, theirs = random_videos(1, 12), random_videos(2, 12, restless=0.8)
    (mean, *_) = differences_of(tables(ours), tables(theirs))
    a, b = plain(ours), plain(theirs)

    def value(without: int | None) -> float:
        x, y = (second.mean_ratio("flip_probability", v, second.ALEXNET, without) for v in (a, b))
        return y - x

    expected = second._jackknife(value, 12)
    assert (mean.difference, mean.low, mean.high) == pytest.approx(expected)


def test_differences_of_other_videos_are_refused_and_missing_perturbations_named() -> None:
    ours, fewer = tables(random_videos(1, 6)), tables(random_videos(2, 4))
    with pytest.raises(InputError, match=r"B lacks 2 of A's 6, first n01440764/04\.mp4"):
        differences_of(ours, fewer)
    (mean, *others) = differences_of(ours, {TILT: ours[TILT]})
    assert mean.difference is None
    assert str(mean.reason).startswith("9 of 10 perturbations are missing: gaussian_noise")
    assert [(d.metric, d.perturbation, d.difference) for d in others] == [
        ("flip_probability", "tilt", 0), ("t5d", "tilt", 0)
    ]  # fmt: skip
