"""What the model cannot say: made of facts about its rows, never of habit."""

from collections.abc import Iterator

import numpy as np

from models.selection import NOISE, clustered_error
from pipeline.audit_words import count_of, list_some, show_share
from pipeline.evaluation_report import EvaluationReport
from pipeline.slice_columns import group_codes

WIDE_AUC = 0.05
OUTSIDE_SHARE = 0.01
CAUSE = (
    "It says who, not why: a column that goes with the event need not cause it, and what a contact changes is not in "
    "these rows."
)


def find_limits(report: EvaluationReport) -> list[str]:
    """Sentences about what no score of this model can tell, those about all rows first."""
    return [
        *_horizon(report),
        *_unripe(report),
        *_intervals(report),
        *_drift(report),
        *_ages(report),
        *_unseen(report),
        *_outside(report),
        *_empty(report),
        *_slices(report),
        *report.evaluation.notes,
        CAUSE,
    ]


def _horizon(report: EvaluationReport) -> Iterator[str]:
    horizon = report.train.horizon
    if not horizon:
        return
    if report.train.time is not None and report.train.time.dtype.kind == "M":
        yield f"It speaks of the {horizon:,} days after a score, and of nothing that comes later."
    else:
        yield f"Labels look {horizon:,} rows ahead; what comes later is not in them."


def _unripe(report: EvaluationReport) -> Iterator[str]:
    left_out = report.train.manifest.get("unripe")
    newest = report.evaluation.evaluated_on.get("to")
    if left_out and newest:
        yield (
            f"{left_out:,} snapshots have no ripe label yet and are in no figure: the newest that are judged here are "
            f"of {str(newest)[:10]}."
        )


def _intervals(report: EvaluationReport) -> Iterator[str]:
    low, high = report.evaluation.test["interval"]["auc"]
    if low is not None and high - low > WIDE_AUC:
        yield (
            f"With {report.evaluation.test['rows']:,} test rows its AUC is only known to lie between {low:.3f} and "
            f"{high:.3f}: a rival within that range need not be worse."
        )
    low, high = report.evaluation.test["interval"]["lift_at_10"]
    if low is not None and high - low > 1:
        yield f"The lift of the top tenth lies between {low:.1f} and {high:.1f}: plan with the lower end."


def _drift(report: EvaluationReport) -> Iterator[str]:
    train, test = report.train, report.test
    rates = float(train.label.mean()), float(test.label.mean())
    errors = [clustered_error(rows.label, group_codes(rows)) for rows in (train, test)]
    error = float(np.hypot(errors[0], errors[1]))
    if error > 0 and abs(rates[1] - rates[0]) > NOISE * error:
        yield (
            f"The base rate moved, from {show_share(rates[0])} in the training rows to {show_share(rates[1])} in the "
            "test rows. Nobody knows where it is when the next scores are written."
        )


def _ages(report: EvaluationReport) -> Iterator[str]:
    ages = report.train.manifest.get("ages_days")
    if ages:
        yield (
            f"It was fitted on {report.setting.subject.rows} that had been known for {ages[0]:,.0f} to {ages[1]:,.0f} "
            "days; of others it has seen none."
        )


def _unseen(report: EvaluationReport) -> Iterator[str]:
    shares = report.evaluation.fitted.bundle.unseen_share(report.test.frame)
    found = {name: share for name, share in sorted(shares.items(), key=lambda one: -one[1]) if share > 0}
    if found:
        told = [f"{name} ({show_share(share)} of the test rows)" for name, share in found.items()]
        yield f"It meets categories that it has never seen, and takes them for average: {list_some(told)}."


def _outside(report: EvaluationReport) -> Iterator[str]:
    found = []
    for one in report.features[:20]:
        if one.name not in report.train.frame.columns or one.direction == "levels":
            continue
        known = report.train.frame[one.name].dropna()
        values = report.test.frame[one.name].dropna()
        if len(known) and len(values):
            share = float(((values < known.min()) | (values > known.max())).mean())
            if share > OUTSIDE_SHARE:
                found.append(f"{one.name} ({show_share(share)} of the test rows)")
    if found:
        yield f"Some values lie outside of anything in the training rows, where it only guesses: {list_some(found)}."


def _empty(report: EvaluationReport) -> Iterator[str]:
    train, test = report.train.frame, report.test.frame
    never = [str(name) for name in train if train[name].isna().all()]
    gone = [str(name) for name in train if test[name].isna().all() and str(name) not in set(never)]
    if never:
        yield f"Nothing was ever filled in for {count_of(len(never), 'column')}: {list_some(never)}."
    if gone:
        yield f"No test row has a value any more in {count_of(len(gone), 'column')}: {list_some(gone)}. Ask why."
    skipped = report.train.manifest.get("skipped") or {}
    silent = [name for name, why in skipped.items() if not str(why).startswith("it describes")]
    if silent:
        yield f"Left out, as they are not there or tell nothing here: {list_some(silent)}."


def _slices(report: EvaluationReport) -> Iterator[str]:
    small = [f"{one.by} {one.level} ({one.rows:,})" for one in report.slices if one.is_small]
    if small:
        slices = count_of(len(small), "slice")
        yield f"How well it ranks is not known for {slices} with too few rows: {list_some(small, 8)}."
