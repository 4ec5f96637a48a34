"""The evaluation in sentences, each made of its figures."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.feature_use import FeatureUse
from models.metrics import TOP_SHARE
from models.selection import NOISE
from pipeline.audit_words import show_share
from pipeline.evaluation_report import EvaluationReport

SIMPLER = {
    "points": "it is what experts wrote down, and has only a level and a slope of its own",
    "single_column": "one column is the simplest model there is",
    "logistic": "it is the simpler one",
    "binned": "it is the simpler one",
    "blend": "among equals a mean of several models is the safest",
}
METHODS = {
    "base_rate": "the base rate for everybody",
    "single_column": "the best single column",
    "logistic": "logistic regression on curves",
    "binned": "points per band (weight of evidence)",
    "lightgbm": "boosted trees (LightGBM)",
    "blend": "mean of several of these",
    "bg_nbd": "purchase rhythm (BG/NBD)",
    "points": "the scorecard's points, calibrated",
}
LEVEL = "with the level of each fold taken out"
FLAT_SHARE = 0.005
"""Share of the log loss below which doubling the rows is said to bring little."""


def method_words(name: str) -> str:
    """Say what a candidate does.

    >>> method_words("lightgbm"), method_words("logistic_newest_half"), method_words("another")
    ('boosted trees (LightGBM)', 'logistic regression on curves, on the newest half of the rows', '')
    """
    kind, _, memory = name.partition("_newest_")
    words = METHODS.get(kind, "")
    return f"{words}, on the newest {memory} of the rows" if words and memory else words


def show_figure(value: float | None, digits: int = 3) -> str:
    """Write a figure; a dash where there is none.

    >>> show_figure(0.81249), show_figure(None)
    ('0.812', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def show_interval(bounds: Any, digits: int = 3) -> str:
    """Write an interval; nothing where there is none.

    >>> show_interval([0.1, 0.25]), show_interval([None, None]), show_interval(None)
    ('0.100 to 0.250', '', '')
    """
    if bounds is None or bounds[0] is None:
        return ""
    return f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"


def _loss(candidate: Mapping[str, Any]) -> float:
    return float(candidate.get("level_free_log_loss", candidate["log_loss"]))


def why_chosen(report: EvaluationReport) -> str:
    """Say why the chosen candidate was chosen."""
    document = report.evaluation.to_json()
    selected = document["selected"]
    losses = {one["name"]: _loss(one) for one in document["candidates"] if not one.get("refused")}
    if not report.has_signal:
        return (
            "No candidate saves enough on the log loss of the base rate, or ranks better than chance, beyond noise. "
            "So there is no model: a score would be noise in decimals."
        )
    if selected not in losses:
        return f"{selected} was chosen."
    best = min(losses, key=lambda name: losses[name])
    base = losses.get("base_rate")
    saves = "" if base is None else f" It saves {show_share(1 - losses[selected] / base)} of the base rate's."
    if best == selected:
        return f"{selected} has the least log loss out of fold: {losses[selected]:.4f}, {LEVEL}.{saves}"
    why = SIMPLER.get(selected, "it is preferred")
    return (
        f"{best} has the least log loss out of fold: {losses[best]:.4f}, {LEVEL}. {selected}, with "
        f"{losses[selected]:.4f}, is not behind it by more than {NOISE:.0f} standard errors, or by too little to "
        f"matter, and {why}.{saves}"
    )


def top_tenth(report: EvaluationReport) -> tuple[int, float, float] | None:
    """Rows in the top tenth, the share of events they hold, and their lift; None without lift."""
    test = report.evaluation.test
    if test["lift_at_10"] is None:
        return None
    count = math.ceil(TOP_SHARE * test["rows"])
    return count, float(test["lift_at_10"]) * count / test["rows"], float(test["lift_at_10"])


def headline(report: EvaluationReport) -> list[str]:
    """What a reader in a hurry has to know."""
    test, subject = report.evaluation.test, report.setting.subject
    events = round(test["base_rate"] * test["rows"])
    about = f"Among {test['rows']:,} {subject.rows} that no model saw there were {events:,} {subject.event}"
    if not report.has_signal:
        return [
            "Nothing beats the base rate beyond noise: there is no signal to score by.",
            f"{about}, which is {show_share(test['base_rate'])}.",
            "Until there are more rows or better columns, rank by the scorecard, or by no score at all.",
        ]
    said = [f"{about}, which is {show_share(test['base_rate'])}."]
    top = top_tenth(report)
    if top is not None:
        count, share, lift = top
        said.append(
            f"The tenth with the highest scores, {count:,} {subject.rows}, holds {show_share(share)} of them: "
            f"{lift:.1f} times as many as a tenth picked in any order."
        )
    said.append(calibration_sentence(report))
    interval = show_interval(test["interval"]["auc"])
    said.append(f"AUC {show_figure(test['auc'])} ({interval}), chosen: {report.evaluation.selected}.")
    return said


def calibration_sentence(report: EvaluationReport) -> str:
    """Say whether probabilities can be taken at their word, on average."""
    evaluation = report.evaluation
    predicted, observed = float(evaluation.test_probability.mean()), float(evaluation.test["base_rate"])
    told = f"predicted {show_share(predicted)} on average, observed {show_share(observed)}"
    error = evaluation.test["calibration_error"]
    off = "" if error is None else f"; by {100 * error:.1f} points off in a typical bin"
    interval = level_interval(report)
    if interval[0] <= predicted <= interval[1]:
        return f"Probabilities can be taken at their word: {told}{off}."
    way = "low" if predicted < observed else "high"
    return f"Probabilities were too {way} in this block: {told}{off}."


def level_interval(report: EvaluationReport) -> tuple[float, float]:
    """Where the observed share of all test rows lies, 95 times of 100."""
    from models.slices import measure_slice
    from pipeline.slice_columns import group_codes

    rows = report.evaluation.test_label, report.evaluation.test_probability, group_codes(report.test)
    return measure_slice("all", "all", *rows, resamples=1).interval


def direction_words(one: FeatureUse, event: str) -> str:
    """Say which way a feature points."""
    if one.direction == "up":
        return f"higher: more {event}"
    if one.direction == "down":
        return f"higher: fewer {event}"
    if one.direction == "levels":
        parts = [f"more: {', '.join(one.for_levels)}"] if one.for_levels else []
        parts += [f"fewer: {', '.join(one.against_levels)}"] if one.against_levels else []
        return "; ".join(parts) or "no level stands out"
    return "by the rhythm of purchases" if one.direction == "whole" else "up and down"


def feature_phrase(template: str | None) -> str:
    """Take a reason's phrase without its value.

    >>> feature_phrase("customer for {value:,.0f} days"), feature_phrase("industry {value}"), feature_phrase(None)
    ('customer for … days', 'industry …', '')
    """
    return "" if template is None else re.sub(r"\{[^{}]*\}", "…", template).replace("{{", "{").replace("}}", "}")


def split_sentence(report: EvaluationReport) -> str:
    """Say what a random split would have promised."""
    by_kind = {one.kind: one for one in report.splits.splits}
    if "random" not in by_kind:
        return ""
    lax, strict = by_kind["random"], report.splits.splits[-1]
    gap = f"{abs(lax.gain):.4f} of log loss (standard error {lax.error:.4f})"
    aucs = f"AUC {show_figure(lax.auc)} instead of {show_figure(strict.auc)}"
    if lax.gain > NOISE * lax.error:
        return (
            f"A random split would have promised too much: {aucs}, and {gap} that nobody gets when scores are needed. "
            f"The figures of this report come from the {strict.kind} kind."
        )
    if lax.gain < -NOISE * lax.error:
        return f"The {strict.kind} split does not do worse than the random one here: {aucs}, a difference of {gap}."
    return f"No gap beyond noise between a random split and the {strict.kind} one: {aucs}, a difference of {gap}."


def learning_sentence(report: EvaluationReport) -> str:
    """Say whether more rows of the same kind would help."""
    if len(report.curve) < 2:
        return "There are too few rows to draw a curve." if report.has_signal else "No model was chosen."
    last, before = report.curve[-1], report.curve[-2]
    newest = report.curve[-3:]
    slope = np.polyfit([math.log2(one.rows) for one in newest], [one.log_loss for one in newest], 1)[0]
    losses = f"the log loss went from {before.log_loss:.4f} to {last.log_loss:.4f}"
    told = f"From {before.rows:,} to {last.rows:,} rows {losses}"
    if -slope > FLAT_SHARE * last.log_loss:
        return f"{told}: more history, or more customers, would still help."
    return f"{told}: more rows of the same kind would bring little; better columns might."


def profit_sentences(report: EvaluationReport) -> list[str]:
    """Say what the rule "contact where it pays" would have brought."""
    one, unit = report.profit, f" {report.setting.currency}".rstrip()
    if one is None:
        return []
    low, high = one.interval
    rule = (
        f"A contact pays from a probability of {show_share(one.threshold)} on, its cost of {one.cost_per_contact:,.2f} "
        f"over the value of {one.value_per_event:,.2f}{unit}."
    )
    brought = (
        f"Contacting the {one.contacted:,} rows from there on would have brought {one.profit:,.0f}{unit} "
        f"({low:,.0f} to {high:,.0f}); contacting everybody, {one.all_profit:,.0f}; nobody, 0."
    )
    best = (
        f"With hindsight the best number of rows was {one.best_contacted:,}, for {one.best_profit:,.0f}{unit}: "
        f"{one.best_profit - one.profit:,.0f} more than the rule."
    )
    caution = "It counts every event that was contacted as gained, whatever the contact changed: set the value so."
    return [rule, brought, best, caution]


def slice_sentence(report: EvaluationReport) -> str:
    """Say how many slices are off, and how many would be by chance."""
    judged = [one for one in report.slices if one.rows >= 50]
    off = [one for one in judged if one.is_off]
    if not judged:
        return "No slice has enough rows to be judged."
    chance = 0.05 * len(judged)
    what = (
        f"In {len(off)} of {len(judged)} slices the mean probability lies outside of the interval of what was observed"
    )
    return f"{what}; about {chance:.0f} would by chance alone, if the model were right everywhere."
