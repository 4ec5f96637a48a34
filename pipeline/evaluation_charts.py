"""The charts of the evaluation report."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.learning_curve import LearningPoint
from models.partial_dependence import Dependence
from models.profit import ProfitFigures
from pipeline import curves
from pipeline.svg_chart import Chart, Shape, make_plot, round_ticks

MOST_POINTS = 120
"""A line of a chart of 360 units shows no more."""
LONGEST_LEVEL = 20
SKEWED = 6.0
"""How many times its median the end of a grid must be for a root scale."""


def percent(value: float) -> str:
    """Write a share as a tick.

    >>> percent(0.25), percent(0.025), percent(0)
    ('25 %', '2.5 %', '0 %')
    """
    return f"{value * 100:.3g} %"


def short_number(value: float) -> str:
    """Write a number as a tick.

    >>> short_number(1_500_000), short_number(25_000), short_number(1500), short_number(0.125), short_number(-3.0)
    ('1.5 M', '25 k', '1,500', '0.125', '-3')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= (size if size > 1e3 else 1e4):
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ticks(low: float, high: float, write: Callable[[float], str], count: int = 4) -> list[tuple[float, str]]:
    return [(value, write(value)) for value in round_ticks(low, high, count)]


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows with their columns as attributes."""
    return frame.itertuples()


def _thin(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= MOST_POINTS:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, MOST_POINTS).round().astype(int)]


def draw_reliability(bins: pd.DataFrame, base_rate: float) -> Chart:
    """Observed over predicted, with the interval of each bin; on the dashed line the model means what it says."""
    top = min(1.0, float(max(bins["high"].max(), bins["predicted"].max())) * 1.05)
    plot = make_plot((0, top), (0, top), height=300)
    plot.axes(_ticks(0, top, percent), _ticks(0, top, percent), "predicted probability", "observed share")
    plot.rule(0, 0, top, top, "ideal")
    plot.rule(0, base_rate, top, base_rate, "base", f"base rate {percent(base_rate)}")
    for row in _rows(bins):
        seen = f"observed {row.observed:.1%} [{row.low:.1%}, {row.high:.1%}]"
        title = f"{row.rows:,} rows: predicted {row.predicted:.1%}, {seen}"
        plot.rule(row.predicted, row.low, row.predicted, row.high, "whisker", title)
        plot.dot(row.predicted, row.observed, "dot", title)
    legend = (("dot", "observed, with 95 % interval"), ("ideal", "as predicted"), ("base", "base rate"))
    return Chart("Observed share of events over the predicted probability", tuple(plot.shapes), legend, height=300)


def draw_histogram(counts: pd.DataFrame, event: str) -> Chart:
    """How many rows got which probability, those with the event apart."""
    top = float((counts["others"] + counts["events"]).max()) * 1.05
    plot = make_plot((0, float(counts["high"].max())), (0, top), height=300)
    across = _ticks(0, float(counts["high"].max()), percent)
    plot.axes(across, _ticks(0, top, short_number), "predicted probability", "rows")
    for row in _rows(counts):
        title = f"{row.low:.0%} to {row.high:.0%}: {row.events:,} with the event, {row.others:,} without"
        plot.bar(row.low, row.high, 0, row.others, "bar quiet", title)
        plot.bar(row.low, row.high, row.others, row.others + row.events, "bar", title)
    legend = (("bar", event), ("bar quiet", "others"))
    return Chart("Number of rows by predicted probability", tuple(plot.shapes), legend, height=300)


def draw_gains(gains: pd.DataFrame, base_rate: float) -> Chart:
    """Share of events found over the share of rows contacted."""
    plot = make_plot((0, 1), (0, 1), height=300)
    plot.axes(_ticks(0, 1, percent), _ticks(0, 1, percent), "contacted, likeliest first", "found, of all events")
    plot.rule(0, 0, 1, 1, "ideal")
    plot.line([0, base_rate, 1], [0, 1, 1], "base")
    shown = _thin(gains)
    plot.line(shown["contacted"].tolist(), shown["captured"].tolist(), "curve")
    legend = (("curve", "this model"), ("base", "perfect order"), ("ideal", "any order"))
    return Chart("Share of events found over share of rows contacted", tuple(plot.shapes), legend, height=300)


def draw_lift(gains: pd.DataFrame) -> Chart:
    """How many times more events than in any order; the first hundredth is left out, being noise."""
    steady = gains[gains["contacted"] >= min(0.01, float(gains["contacted"].max()))]
    steady = steady[steady["contacted"] > 0]
    top = max(1.2, float(steady["lift"].max()) * 1.1)
    plot = make_plot((0, 1), (0, top), height=300)
    plot.axes(_ticks(0, 1, percent), _ticks(0, top, lambda v: f"{v:.3g}x"), "contacted, likeliest first", "lift")
    plot.rule(0, 1, 1, 1, "ideal")
    shown = _thin(steady)
    plot.line(shown["contacted"].tolist(), shown["lift"].tolist(), "curve")
    return Chart(
        "Lift over share of rows contacted",
        tuple(plot.shapes),
        (("curve", "this model"), ("ideal", "any order")),
        height=300,
    )


def draw_profit(curve: pd.DataFrame, figures: ProfitFigures, currency: str) -> Chart:
    """Profit over the number of rows contacted."""
    low, high = float(curve["profit"].min()), float(curve["profit"].max())
    pad = 0.06 * max(high - low, 1e-9)
    plot = make_plot((0, float(curve["contacted"].max())), (min(low, 0) - pad, max(high, 0) + pad), height=300, left=56)
    across = _ticks(0, float(curve["contacted"].max()), short_number)
    plot.axes(across, _ticks(min(low, 0), max(high, 0), short_number), "rows contacted, likeliest first", currency)
    plot.rule(0, 0, float(curve["contacted"].max()), 0, "ideal")
    shown = _thin(curve)
    plot.line(shown["contacted"].tolist(), shown["profit"].tolist(), "curve")
    plot.dot(figures.best_contacted, figures.best_profit, "ring", f"best: {figures.best_contacted:,} rows", 5)
    plot.dot(figures.contacted, figures.profit, "dot", f"rule: {figures.contacted:,} rows", 5)
    rule = f"contact from {percent(figures.threshold)} on"
    legend = (("curve", "this model"), ("dot", rule), ("ring", "best in hindsight"), ("ideal", "nobody"))
    return Chart("Profit over the number of rows contacted", tuple(plot.shapes), legend, height=300)


@dataclass(frozen=True)
class _Measured:
    """One figure of a learning curve."""

    rows: int
    value: float
    low: float
    high: float


def draw_learning(points: Sequence[LearningPoint], what: str) -> Chart | None:
    """Draw log loss or AUC on the test rows over the number of training rows; None where there is no curve."""
    if what == "AUC":
        found = [_Measured(p.rows, p.auc, *p.auc_interval) for p in points if p.auc is not None and p.auc_interval]
    else:
        found = [_Measured(p.rows, p.log_loss, *p.interval) for p in points]
    if len(found) < 2:
        return None
    low, high = min(one.low for one in found), max(one.high for one in found)
    pad = 0.05 * (high - low)
    plot = make_plot((found[0].rows, found[-1].rows), (low - pad, high + pad), is_log=True)
    across = [(one.rows, short_number(one.rows)) for one in found]
    plot.axes(across, _ticks(low, high, lambda v: f"{v:.3g}"), "training rows", what)
    rows = [one.rows for one in found]
    plot.band(rows, [one.low for one in found], [one.high for one in found], "band")
    plot.line(rows, [one.value for one in found], "curve")
    for one in found:
        plot.dot(one.rows, one.value, "dot", f"{one.rows:,} rows: {one.value:.4f} [{one.low:.4f}, {one.high:.4f}]")
    return Chart(f"{what} on the test rows over the number of training rows", tuple(plot.shapes))


def draw_dependence(one: Dependence, write: Callable[[float], str], top: float) -> Chart:
    """Mean probability over the values of a column, with the distribution of values below."""
    return _draw_levels(one, top) if one.kind == "text" else _draw_numbers(one, write, top)


def _draw_numbers(one: Dependence, write: Callable[[float], str], top: float) -> Chart:
    low, high = float(one.grid[0]), float(one.grid[-1])
    is_skewed = low >= 0 and high > SKEWED * max(float(one.grid[len(one.grid) // 2]), 1.0)
    place: Callable[[float], float] = math.sqrt if is_skewed else float
    plot = make_plot((place(low), place(high) if high > low else place(low) + 1), (0, top), height=220)
    values = [value**2 for value in round_ticks(place(low), place(high))] if is_skewed else round_ticks(low, high)
    if all(float(value).is_integer() for value in one.grid):
        values = sorted({float(round(value)) for value in values if low <= round(value) <= high})
    across = [(place(value), write(value)) for value in values]
    plot.axes(across, _ticks(0, top, percent), "on a root scale" if is_skewed else "", "mean probability")
    most = max(one.shares, default=0.0) or 1.0
    step = (high - low) / len(one.shares) if one.shares else 0.0
    for at, share in enumerate(one.shares):
        ends = place(low + step * at), place(low + step * (at + 1))
        plot.bar(*ends, 0, 0.22 * top * share / most, "bar quiet", f"{share:.1%} of the known values")
    plot.line([place(float(value)) for value in one.grid], list(one.means), "curve")
    for value, mean in zip(one.grid, one.means, strict=True):
        plot.dot(place(float(value)), mean, "dot", f"{write(float(value))}: {mean:.1%}", 2.5)
    return Chart(f"Mean probability over {one.column}", tuple(plot.shapes), height=220)


def _draw_levels(one: Dependence, top: float) -> Chart:
    """One line per level: its mean probability as a bar, and how frequent it is."""
    rows = list(zip(one.grid, one.means, one.shares, strict=True))
    height = 66 + 30 * len(rows)
    plot = make_plot((0, 1.15 * top), (len(rows), 0), height=height, left=140)
    plot.axes(_ticks(0, top, percent, 3), [], "mean probability", "")
    for at, (level, mean, share) in enumerate(rows):
        title = f"{level}: {mean:.1%}; {share:.1%} of the rows"
        plot.bar(0, mean, at + 0.25, at + 0.75, "bar", title)
        text = str(level) if len(str(level)) <= LONGEST_LEVEL else f"{str(level)[: LONGEST_LEVEL - 1]}…"
        middle = round((plot.y(at) + plot.y(at + 1)) / 2, 1)
        plot.shapes.append(Shape("text", {"class": "level", "x": 134, "y": middle, "text-anchor": "end"}, text, title))
        plot.write(134, round(middle + 12, 1), f"{share:.0%} of rows".replace("%", " %"), "end", "axis-name")
        plot.write(plot.x(mean) + 4, round(middle + 4, 1), percent(round(mean, 3)))
    return Chart(f"Mean probability by {one.column}", tuple(plot.shapes), height=height)


def draw_level(months: pd.DataFrame) -> Chart | None:
    """Share of events per month of the training and the test rows; None where there are fewer than three months."""
    if len(months) < 3:
        return None
    top = min(1.0, float(months["high"].max()) * 1.05)
    since = pd.PeriodIndex(months["month"], freq="M").astype("int64").to_numpy()
    at = (since - since.min()).tolist()
    plot = make_plot((0, at[-1]), (0, top))
    step = max(1, -(-len(at) // 4))
    shown = [*range(0, max(len(at) - step, 1), step), len(at) - 1]
    plot.axes([(at[one], months["month"].iloc[one]) for one in shown], _ticks(0, top, percent), "", "share of events")
    plot.band(at, months["low"].tolist(), months["high"].tolist(), "band")
    plot.line(at, months["base_rate"].tolist(), "curve")
    for place, row in zip(at, _rows(months), strict=True):
        kind = "dot test" if row.part == "test" else "dot"
        plot.dot(place, row.base_rate, kind, f"{row.month}: {row.base_rate:.1%} of {row.rows:,} rows ({row.part})", 3)
    return Chart("Share of events by month", tuple(plot.shapes), (("dot", "training rows"), ("dot test", "test rows")))


def make_curves(label: np.ndarray, probability: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Bins of the reliability curve, gains, and the histogram of the test rows."""
    bins = curves.calibration_bins(label, probability, min(15, max(3, len(label) // 50)))
    return bins, curves.gains_curve(label, probability), curves.score_histogram(label, probability)
