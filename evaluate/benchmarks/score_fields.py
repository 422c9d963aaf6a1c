"""The fields that an interval, and a difference with its interval, fill of a score."""

from typing import Any

Interval = tuple[float, float]


def interval_fields(interval: Interval | None) -> dict[str, Any]:
    """Both ends; `None` each if there is no interval."""
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def difference_fields(a: float, b: float, interval: Interval | None) -> dict[str, Any]:
    """The values of two models, their difference and its interval."""
    return {"a": a, "b": b, "difference": b - a, **interval_fields(interval)}
