"""Expressions that several groups share. All are exact: whole numbers and decimals until one last division."""

from typing import Any

import ibis

SECONDS_PER_DAY = 86_400


def whole_seconds(time: Any) -> Any:
    """Seconds since 1970, rounded down, as int64 (DuckDB's own function gives fractions, Spark's does not)."""
    return time.epoch_seconds().cast("float64").floor().cast("int64")


def days_between(start: Any, end: Any) -> Any:
    """Days from one time to a later one, from whole seconds, as float64."""
    return (whole_seconds(end) - whole_seconds(start)).cast("float64") / SECONDS_PER_DAY


def ratio(part: Any, whole: Any) -> Any:
    """`part / whole` in float64; null where the whole is zero."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def latest(value: Any, time: Any, *, below: int) -> Any:
    """Value of the newest row, for whole values in `[0, below)`; of several in one second the largest.

    A plain "value at the greatest time" depends on row order where times tie.
    """
    packed = whole_seconds(time) * below + value
    return packed.max() % below


def spread(values: Any) -> Any:
    """Population standard deviation of whole numbers, from their exact sum and sum of squares; null without rows."""
    count = values.count().cast("float64").nullif(0.0)
    mean = values.sum().cast("float64") / count
    variance = (values * values).sum().cast("float64") / count - mean * mean
    return ibis.ifelse(variance < 0.0, 0.0, variance).sqrt()
