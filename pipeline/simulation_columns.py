"""Turn arrays of the simulator into Arrow columns, and draw when a row became known."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.simulation_world import DAY, HISTORY, START, Codes, Flags, Floats

_START_S = int((START - datetime(1970, 1, 1)).total_seconds())
OFFICE_OPENS, OFFICE_SHARE = 7 * 3600.0, 11 / 24

LATENESS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "customers": (0.01, 12.0),
        "contacts": (0.03, 48.0),
        "deals": (0.02, 6.0),
        "stage_changes": (0.05, 20.0),
        "activities": (0.06, 30.0),
        "orders": (0.02, 8.0),
        "invoices": (0.03, 24.0),
        "tickets": (0.05, 10.0),
        "subscriptions": (0.04, 48.0),
        "assessments": (0.10, 48.0),
        "attribute_changes": (0.04, 36.0),
        "deals.closed_at": (0.04, 40.0),
        "invoices.paid_at": (0.10, 30.0),
        "invoices.written_off_at": (0.05, 72.0),
        "tickets.closed_at": (0.06, 24.0),
        "subscriptions.ended_at": (0.08, 72.0),
    }
)
"""Share of rows that are entered late, and the median lag in hours."""


def office_time(times: Floats) -> Floats:
    """Move times of day into 07:00 to 18:00, in whole seconds, keeping their order.

    Parameters
    ----------
    times : array of float
        Seconds since `START`; infinite stays infinite.

    """
    days = np.floor(times / DAY)
    with np.errstate(invalid="ignore"):
        moved = days * DAY + OFFICE_OPENS + np.floor((times - days * DAY) * OFFICE_SHARE)
    return np.where(np.isfinite(times), moved, np.inf)


def draw_known(rng: np.random.Generator, name: str, occurred: Floats, must_be_in: bool = False) -> Floats:
    """Draw when rows became known: with themselves, or for some of them hours to days later.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    name : str
        Key of `LATENESS`.
    occurred : array of float
        Seconds since `START`, already in office time.
    must_be_in : bool
        Whether a row that would be entered after the clock counts as entered at once. Otherwise its
        `known_at` lies after the clock and the caller leaves it out.

    """
    share, hours = LATENESS[name]
    lag = np.clip(rng.lognormal(np.log(hours), 1.0, len(occurred)), 1.0, 20 * 24.0)
    late = occurred + np.where(rng.random(len(occurred)) < share, np.floor(lag * 3600), 0.0)
    return np.where(late >= HISTORY, occurred, late) if must_be_in else late


def id_column(prefix: str, numbers: Codes, digits: int) -> pa.StringArray:
    """Return ids such as C000042; a negative number is null."""
    width = len(prefix) + digits
    text = np.empty((len(numbers), width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    rest = np.maximum(numbers, 0)
    for place in range(width - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, place] = digit + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int64) * width
    large = pa.LargeStringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))
    plain = large.cast(pa.string())
    return pc.if_else(pa.array(numbers >= 0), plain, pa.scalar(None, pa.string())) if (numbers < 0).any() else plain


def label_column(labels: Sequence[str] | pa.StringArray, codes: Codes) -> pa.StringArray:
    """Return the label of each code; a negative code is null."""
    labels = labels if isinstance(labels, pa.Array) else pa.array(labels, pa.string())
    return labels.take(pa.array(np.maximum(codes, 0), mask=codes < 0))


def time_column(times: Floats) -> pa.TimestampArray:
    """Return UTC timestamps; one that the clock has not passed is null."""
    is_there = times < HISTORY
    micros = (np.where(is_there, times, 0).astype(np.int64) + _START_S) * 1_000_000
    return pa.array(micros, mask=~is_there).cast(pa.timestamp("us"))


def planned_column(times: Floats) -> pa.TimestampArray:
    """Return UTC timestamps that may lie after the clock, such as when an invoice is due."""
    return pa.array((times.astype(np.int64) + _START_S) * 1_000_000).cast(pa.timestamp("us"))


def date_column(days: Floats) -> pa.Date32Array:
    """Return dates from days since `START`, which may be negative."""
    return pa.array((days + _START_S // int(DAY)).astype(np.int32)).cast(pa.date32())


def money_column(amounts: Floats, mask: Flags | None = None) -> pa.Decimal128Array:
    """Return exact amounts with two decimals; masked ones are null."""
    cents = np.round(amounts * 100).astype(np.int64)
    words = np.stack([cents, cents >> 63], axis=1)
    column = pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(words)])
    return column if mask is None else pc.if_else(pa.array(mask), pa.scalar(None, column.type), column)


def number_column(values: Floats, mask: Flags | None = None) -> pa.Int64Array:
    """Return whole numbers; masked ones are null."""
    return pa.array(values.astype(np.int64), mask=mask)


def text_column(values: pa.Array) -> pa.StringArray:
    """Return values as a field history writes them: 1200.50, 2024-03-01, 42."""
    return values.cast(pa.string())
