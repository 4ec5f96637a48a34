"""The page "Model and card health": which version was live, how its scores came out, and what moved."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from features.tables import CrmTables
from pipeline.config import Config
from pipeline.errors import CrmError
from pipeline.ledger import Ledger
from pipeline.model_history import History, make_history
from pipeline.report_drift import MovedColumn, read_drift
from pipeline.report_page import make_report_page
from pipeline.report_pipeline import show_day
from pipeline.report_quality import Month, Quality, Share, read_quality
from pipeline.report_today import Judged, Today
from pipeline.report_words import VERDICTS, Pair
from pipeline.svg_chart import Chart, Plot, make_plot, round_ticks
from pipeline.versions import read_history

SHOWN_MONTHS = 6
REVIEW = "review/latest.json"


def make_health_page(config: Config, ledger: Ledger, tables: CrmTables, today: Today, monthly: pd.DataFrame) -> str:
    """Return the page; `monthly` comes from `read_monthly_scores`."""
    qualities = {one.target: one for one in read_quality(config, tables, monthly)}
    targets = []
    for one in today.targets:
        quality = qualities[one.name]
        drift = read_drift(
            config.folder / "training" / one.name,
            config.folder / "runs" / today.run.run_id / f"features_{one.name}.parquet",
        )
        targets.append(_target(one, quality, _history(config, ledger, one), drift))
    return make_report_page(
        "health.html",
        config.name,
        show_day(today.as_of),
        None,
        {},
        run_id=today.run.run_id,
        targets=targets,
        review=_review(config),
        names={one.name: {"grades": one.grades, "criteria": names_of(one, "criteria")} for one in today.targets},
        verdicts=VERDICTS,
    )


def names_of(target: Judged, part: str) -> dict[str, Pair]:
    """English and Chinese names in a part of the target's card, by id."""
    found = target.card_document.get(part, ())
    return {str(one["id"]): (str(one["name"]["en"]), str(one["name"]["zh"])) for one in found}


def _history(config: Config, ledger: Ledger, target: Judged) -> History:
    """Which version was live when; where MLflow does not answer, as the ledger has it."""
    try:
        return read_history(config, ledger, target.name)
    except CrmError:
        live = target.model_version
        return make_history(target.name, ledger.decisions(target.name), int(live) if live else None)


def _review(config: Config) -> Mapping[str, Any] | None:
    """Findings of the newest review, as its command left them; None if there was none."""
    place = config.folder / REVIEW
    if not place.is_file():
        return None
    document = json.loads(place.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else None


def _target(one: Judged, quality: Quality, history: History, drift: Sequence[MovedColumn]) -> dict[str, Any]:
    order = {grade: at for at, grade in enumerate(one.grades)}
    grades = sorted(quality.grades, key=lambda share: order.get(share.name, len(order)))
    return {
        "name": one.name,
        "kind": one.kind,
        "days": one.horizon_days,
        "names": one.grades,
        "history": history,
        "quality": quality,
        "months": list(reversed(quality.months)),
        "grades": grades,
        "charts": draw_quality(quality),
        "calibration": draw_calibration(quality.bins) if quality.bins else None,
        "grade_chart": draw_grades(grades, one.grades) if grades else None,
        "drift": drift,
    }


def draw_quality(quality: Quality) -> list[tuple[Pair, Chart, list[tuple[str, Pair]]]]:
    """Draw AUC, log loss and the level over the months; nothing where no label is ripe."""
    months = [one for one in quality.months if one.ripe]
    if not months:
        return []
    charts = []
    if any(one.auc is not None for one in months):
        bands = [one.auc_interval for one in months]
        lines = {"curve": [one.auc for one in months], "base": [one.card_auc for one in months]}
        legend = [("curve", ("model, with its 95 % interval", "模型（95% 区间）")), ("base", ("card", "评分卡"))]
        charts.append((("AUC by month of scoring", "各评分月份的 AUC"), _over_time(months, lines, bands), legend))
        lines = {"curve": [one.log_loss for one in months], "base": [one.base_loss for one in months]}
        legend = [("curve", ("model", "模型")), ("base", ("base rate, known in hindsight", "事后得知的基准率"))]
        charts.append((("Log loss by month of scoring", "各评分月份的对数损失"), _over_time(months, lines), legend))
    lines = {"curve": [one.said for one in months], "base": [one.seen for one in months]}
    legend = [("curve", ("said", "预测")), ("base", ("happened", "实际"))]
    charts.append((("Said and happened", "预测与实际"), _over_time(months, lines), legend))
    return charts


def _over_time(
    months: Sequence[Month],
    lines: Mapping[str, Sequence[float | None]],
    bands: Sequence[tuple[float, float] | None] = (),
) -> Chart:
    """One line per figure over the months, over a band if there is one; a month without it leaves a gap."""
    known = [value for line in lines.values() for value in line if value is not None]
    known += [end for band in bands if band for end in band]
    low, high = min(known), max(known)
    room = (high - low) / 10 or 0.05
    plot = make_plot((0, max(len(months) - 1, 1)), (low - room, high + room), height=210)
    step = -(-len(months) // SHOWN_MONTHS)
    ticks = [(float(at), months[at].month) for at in range(0, len(months), step)]
    plot.axes(ticks, [(value, f"{value:g}") for value in round_ticks(low - room, high + room)], "", "")
    shown = [(at, band) for at, band in enumerate(bands) if band]
    if shown:
        plot.band([at for at, _ in shown], [band[0] for _, band in shown], [band[1] for _, band in shown], "band")
    for kind, line in lines.items():
        _draw_line(plot, months, kind, line)
    return Chart(
        "One line per figure over the months; the table below has the figures.", tuple(plot.shapes), height=210
    )


def _draw_line(plot: Plot, months: Sequence[Month], kind: str, line: Sequence[float | None]) -> None:
    for is_known, part in groupby(enumerate(line), key=lambda pair: pair[1] is not None):
        if is_known:
            pairs = [(float(x), float(y)) for x, y in part if y is not None]
            plot.line([x for x, _ in pairs], [y for _, y in pairs], kind)
            for x, y in pairs:
                plot.dot(x, y, f"dot {kind}", f"{months[int(x)].month}: {y:.3f}", 2.5)


def draw_calibration(bins: Sequence[Share]) -> Chart:
    """Draw what was said of each tenth of the scores against what happened; on the dotted line both are equal."""
    top = min(1.0, 1.1 * max(max(one.said, one.high) for one in bins))
    plot = make_plot((0, top), (0, top), height=240)
    ticks = [(value, f"{value:.0%}") for value in round_ticks(0, top)]
    plot.axes(ticks, ticks, "", "")
    plot.rule(0, 0, top, top, "ideal")
    for one in bins:
        plot.rule(one.said, one.low, one.said, one.high, "whisker")
        plot.dot(one.said, one.seen, "dot", f"said {one.said:.1%}, happened {one.seen:.1%} of {one.rows:,}")
    return Chart("Tenths of the scores: what was said across, what happened upwards.", tuple(plot.shapes))


def draw_grades(grades: Sequence[Share], names: Mapping[str, Pair]) -> Chart:
    """Draw the share that happened in each grade, with its interval."""
    top = min(1.0, 1.1 * max(one.high for one in grades))
    plot = make_plot((-0.5, len(grades) - 0.5), (0, top), height=240)
    plot.axes([], [(value, f"{value:.0%}") for value in round_ticks(0, top)], "", "")
    for at, one in enumerate(grades):
        title = (
            f"{names.get(one.name, (one.name,))[0]}: {one.seen:.1%} of {one.rows:,} ({one.low:.1%} to {one.high:.1%})"
        )
        plot.bar(at - 0.3, at + 0.3, 0, one.seen, f"g{at}", title)
        plot.rule(at, one.low, at, one.high, "mark")
    return Chart("Share that happened, by grade.", tuple(plot.shapes))
