"""The arithmetic of a benchmark, by hand."""

import pytest

from evaluator.engine.throughput import (
    bottleneck,
    images_until_first_end,
    latency_of,
    rate_of,
    steady_from,
)


def test_a_rate_is_the_median_of_the_rounds_with_its_spread() -> None:
    rate = rate_of([10.0, 50.0, 20.0, 30.0])
    assert (rate.images_per_second, rate.low, rate.high, rate.rounds) == (25.0, 10.0, 50.0, 4)


def test_percentiles_are_milliseconds_between_neighbours() -> None:
    # 101 batches of 0, 1, ... 100 ms: the p-th percentile is p ms.
    latency = latency_of([i / 1000 for i in range(101)])
    assert latency.p50_ms == pytest.approx(50)
    assert latency.p90_ms == pytest.approx(90)
    assert latency.p99_ms == pytest.approx(99)
    assert latency.batches == 101


def test_what_comes_after_the_first_caller_ended_does_not_count() -> None:
    # Two callers, 4 images a second each; one is held up and does its last batch alone, faster.
    marks = [(11.0, 4), (11.0, 4), (12.0, 4), (12.5, 4)]
    assert images_until_first_end(marks, [12.0, 12.5], began=10.0) == 12 / 2


def test_batches_are_steady_once_three_in_a_row_are() -> None:
    assert steady_from([5.0, 1.0, 4.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == 4
    assert steady_from([1.0] * 6) == 0
    assert steady_from([7.0]) == 0


def test_sides_that_share_cores_add_up_their_times() -> None:
    # 10 ms and 10 ms an image on the same cores: 50 images/s is all there is.
    assert bottleneck(100, 49, 100, shared=True).part == "engine"
    assert bottleneck(100, 49, 100, shared=False).part == "loop"
    assert bottleneck(1000, 95, 100, shared=False).part == "data"


def test_the_sentence_says_how_near_and_how_far() -> None:
    sentence = bottleneck(200, 190, 4000, shared=True).sentence
    assert "95 % of what it reaches alone" in sentence
    assert "20.0 times as much" in sentence


def test_a_loop_that_was_faster_than_its_engine_alone_is_called_noise() -> None:
    assert "noise" in bottleneck(60.9, 74.3, 4000, shared=True).sentence
    assert "noise" not in bottleneck(60.9, 58.0, 4000, shared=True).sentence
