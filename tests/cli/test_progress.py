"""Lines of progress: the rate is of the step that is under way, and its end is told once."""

import pytest

from evaluator.cli import console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("evaluator.cli.console.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(console, "say", lines.append)
    return lines


def test_a_step_that_comes_again_has_a_rate_of_its_own(clock: list[float], told: list[str]) -> None:
    progress = console.PlainProgress()
    for _ in range(2):
        for done in (0, 50, 100):
            progress.advance("attack", done, 100, "images")
            clock[0] += 10
    assert (
        told
        == [
            "attack: 0 of 100 images",
            "attack: 50 of 100 images 5 images/s, 10 s left",
            "attack: 100 of 100 images 5 images/s",
        ]
        * 2
    )


def test_the_end_is_told_once(clock: list[float], told: list[str]) -> None:
    progress = console.PlainProgress()
    for done in (0, 3, 3, 3):
        clock[0] += 1
        progress.advance("attack", done, 3, "images")
    assert told == ["attack: 0 of 3 images", "attack: 3 of 3 images 3 images/s"]


def test_what_was_there_before_does_not_count_as_done_now(
    clock: list[float], told: list[str]
) -> None:
    progress = console.PlainProgress()
    progress.advance("score", 900, 1000, "images")
    clock[0] += 10
    progress.advance("score", 950, 1000, "images")
    assert told[-1] == "score: 950 of 1,000 images 5 images/s, 10 s left"
