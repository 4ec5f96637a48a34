"""The evaluation as one HTML page that needs nothing else: no network, no script, fit for a phone and for paper."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.partial_dependence import Dependence
from models.profit import profit_curve
from models.slices import MIN_ROWS, SliceFigures
from pipeline import curves
from pipeline import evaluation_charts as charts
from pipeline.audit_page import split_name
from pipeline.audit_words import count_of, show_share
from pipeline.evaluation_limits import find_limits
from pipeline.evaluation_report import SHOWN_FEATURES, EvaluationReport
from pipeline.evaluation_words import (
    calibration_sentence,
    direction_words,
    feature_phrase,
    headline,
    learning_sentence,
    method_words,
    profit_sentences,
    show_figure,
    show_interval,
    slice_sentence,
    split_sentence,
    why_chosen,
)
from pipeline.svg_chart import Chart

PAGES = Path(__file__).parent / "pages"
SECTIONS = {
    "summary": "In short",
    "candidates": "Candidates",
    "reliability": "Reliability",
    "gains": "Gains and lift",
    "profit": "Profit",
    "slices": "Slices",
    "splits": "Three splits",
    "learning": "Learning curve",
    "features": "Features",
    "dependence": "Partial dependence",
    "audit": "Audit",
    "limits": "What it cannot say",
    "made": "How this was made",
}
LEAST_SHARE = 0.0005
"""Share below which a feature is not listed: it would be shown as 0.0 %."""
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Ruler:
    """A common axis for intervals in the cells of a column, in percent of the cell."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, from 0 to 100."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(100 * min(max(share, 0.0), 1.0), 1)


def make_ruler(bounds: list[Any], values: list[Any]) -> Ruler:
    """Axis that holds all intervals and values there are."""
    known = [float(one) for pair in bounds if pair is not None for one in pair if one is not None]
    known += [float(one) for one in values if one is not None]
    return Ruler(min(known), max(known)) if known else Ruler(0.0, 1.0)


def make_evaluation_page(report: EvaluationReport) -> str:
    """Return the page of a report. All that comes from the data is text there, never HTML."""
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    document = report.evaluation.to_json()
    members = report.evaluation.fitted.bundle.reason_words
    words = {**report.setting.words, **{name: one["en"] for name, one in members.items()}}
    return pages.get_template("evaluation.html").render(
        report=report,
        document=document,
        setting=report.setting,
        sections=SECTIONS,
        headline=headline(report),
        why=why_chosen(report),
        calibration=calibration_sentence(report),
        limits=find_limits(report),
        method=method_words,
        contacts=_contacts(report),
        profit_lines=profit_sentences(report),
        slice_line=slice_sentence(report),
        split_line=split_sentence(report),
        learning_line=learning_sentence(report),
        shown_features=[one for one in report.features[:SHOWN_FEATURES] if one.share >= LEAST_SHARE],
        least_rows=MIN_ROWS,
        verdicts=[one for one in report.setting.verdicts or () if one.verdict != "use"],
        **_rulers(report, document),
        **_charts(report),
        count=count_of,
        share=show_share,
        figure=show_figure,
        interval=show_interval,
        phrase=lambda name: feature_phrase(words.get(name)),
        pieces=split_name,
        slices=_slices(report),
        direction=lambda one: direction_words(one, "events"),
    )


def _slices(report: EvaluationReport) -> list[tuple[str, list[SliceFigures]]]:
    """Slices by what they are cut by, in the order of the cuts."""
    return [(by, list(group)) for by, group in itertools.groupby(report.slices, key=lambda one: one.by)]


def _contacts(report: EvaluationReport) -> list[dict[str, float]]:
    """Rows, events found and lift at some shares contacted."""
    evaluation = report.evaluation
    gains = curves.gains_curve(evaluation.test_label, evaluation.test_probability)
    rows, events = len(evaluation.test_label), float(evaluation.test_label.sum())
    found = []
    for share in SHARES:
        captured = curves.captured_at(gains, share)
        found.append(
            {
                "share": share,
                "rows": round(share * rows),
                "found": captured,
                "events": captured * events,
                "lift": captured / share,
            }
        )
    return found


def _rulers(report: EvaluationReport, document: Mapping[str, Any]) -> dict[str, Ruler]:
    candidates = [one for one in document["candidates"] if one["name"] != "base_rate"]
    splits = report.splits.splits
    slices = report.slices
    return {
        "loss_ruler": make_ruler([c["interval"]["log_loss"] for c in candidates], [c["log_loss"] for c in candidates]),
        "auc_ruler": make_ruler([c["interval"]["auc"] for c in candidates], [c["auc"] for c in candidates]),
        "split_ruler": make_ruler([one.auc_interval for one in splits], [one.auc for one in splits]),
        "level_ruler": make_ruler([one.interval for one in slices if one.rows >= MIN_ROWS], [0.0]),
        "slice_ruler": make_ruler([one.auc_interval for one in slices], [one.auc for one in slices]),
    }


def _charts(report: EvaluationReport) -> dict[str, Any]:
    evaluation = report.evaluation
    label, probability = evaluation.test_label, evaluation.test_probability
    bins, gains, histogram = charts.make_curves(label, probability)
    base_rate = float(label.mean())
    made: dict[str, Any] = {
        "reliability_chart": charts.draw_reliability(bins, base_rate),
        "histogram_chart": charts.draw_histogram(histogram, report.setting.subject.event),
        "gains_chart": charts.draw_gains(gains, base_rate),
        "lift_chart": charts.draw_lift(gains),
        "learning_charts": [
            chart for what in ("log loss", "AUC") if (chart := charts.draw_learning(report.curve, what)) is not None
        ],
        "level_chart": charts.draw_level(report.months),
        "bins": bins.to_dict("records"),
        "profit_chart": None,
        "dependence_charts": _dependence_charts(report),
    }
    if report.profit is not None:
        curve = profit_curve(label, probability, report.profit.value_per_event, report.profit.cost_per_contact)
        made["profit_chart"] = charts.draw_profit(curve, report.profit, report.setting.currency)
    return made


def _dependence_charts(report: EvaluationReport) -> list[tuple[Dependence, Chart]]:
    """Draw them on one scale, so that a steep curve is one that counts."""
    drawn = [one for one in report.dependences if one.grid]
    top = min(1.0, 1.1 * max((max(one.means) for one in drawn), default=1.0))
    write: Callable[[float], str] = charts.short_number
    return [(one, charts.draw_dependence(one, write, top)) for one in drawn]
