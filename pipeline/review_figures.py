"""Figures of a review: what came of each grade, for every team too, and of whom model and card disagree on."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from models.card_review import group_codes, wanted
from models.gate import MIN_GROUPS, compare
from models.information_value import Codes, Floats, wilson
from models.metrics import measure
from models.predict import to_probability
from models.ridge import fit_ridge_path
from models.selection import clustered_error
from models.split import deal_groups

SLICE_ROWS = 30
"""Rows that either grade of a slice needs to be compared."""
MOST_SLICES = 30
SHOWN = 10
FOLDS = 5
LIKELY, UNLIKELY = 0.75, 0.25
"""Shares of the rows below which a likelihood is not high, or is low."""


def by_grade(rows: pd.DataFrame, grades: Sequence[str], kind: str) -> list[dict[str, Any]]:
    """What came of each grade, from the best to the lowest: events with Wilson's interval, and revenue.

    An event is what the target asks for: a won deal, a customer who left. For a target of value there is none.
    """
    return [_outcome(rows[rows["grade"] == grade], kind, {"grade": grade}) for grade in grades]


def _outcome(rows: pd.DataFrame, kind: str, named: dict[str, Any]) -> dict[str, Any]:
    """Rows, events and their share, revenue and its interval."""
    found: dict[str, Any] = {**named, "rows": len(rows)}
    if kind != "value":
        events = float(rows["label"].sum())
        low, high = wilson(np.array([events]), np.array([len(rows)]))
        rate = events / len(rows) if len(rows) else None
        found |= {"events": int(events), "rate": rate, "low": float(low[0]), "high": float(high[0])}
    revenue = rows.loc[rows["revenue"].notna(), ["revenue", "customer"]]
    if len(revenue):
        values = revenue["revenue"].to_numpy(dtype=np.float64)
        half = 1.96 * clustered_error(values, group_codes(revenue["customer"].to_numpy()))
        mean = float(values.mean())
        found |= {"revenue_rows": len(values), "revenue": mean, "revenue_low": mean - half, "revenue_high": mean + half}
    return found


def by_slice(rows: pd.DataFrame, grades: Sequence[str], kind: str, column: str, title: str) -> list[dict[str, Any]]:
    """Whether the best grade still does better than the next, for each level of a column.

    `verdict` is `holds` or `reversed` where the difference of the shares that turned out as wanted is beyond its 95 %
    interval (Newcombe's, of two Wilson intervals), `not shown` where it is not, `too few rows` else.
    """
    if kind == "value" or len(grades) < 2:
        return []
    good = pd.Series(wanted(kind, rows["label"].to_numpy()), index=rows.index)
    counts = rows[column].dropna().astype(str).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    found = []
    for level in counts.index[:MOST_SLICES]:
        inside = rows[column].astype(str) == level
        parts = [good[inside & (rows["grade"] == grade)] for grade in grades]
        outcomes = [_outcome(rows[inside & (rows["grade"] == grade)], kind, {"grade": grade}) for grade in grades]
        found.append({"by": title, "level": level, "verdict": _still_better(*parts[:2]), "grades": outcomes})
    return found


def _still_better(best: "pd.Series[float]", following: "pd.Series[float]") -> str:
    """Whether the first does better than the second."""
    if min(len(best), len(following)) < SLICE_ROWS:
        return "too few rows"
    hits = np.array([best.sum(), following.sum()])
    rows = np.array([len(best), len(following)], dtype=np.float64)
    share, (low, high) = hits / rows, wilson(hits, rows)
    gap = share[0] - share[1]
    least = gap - np.hypot(share[0] - low[0], high[1] - share[1])
    most = gap + np.hypot(high[0] - share[0], share[1] - low[1])
    return "holds" if least > 0 else "reversed" if most < 0 else "not shown"


def model_against_card(rows: pd.DataFrame, kind: str, seed: int) -> dict[str, Any] | None:
    """Compare what the model said with what the points say and with both together; None where one of them is missing.

    The probability is the one that was given then. Points, and both, are made probabilities by a logistic regression
    that has not seen the customer (five folds of customers).
    """
    rows = rows[rows["probability"].notna() & rows["points"].notna()]
    label, group = rows["label"].to_numpy(), group_codes(rows["customer"].to_numpy())
    if kind == "value" or len(np.unique(label)) < 2 or len(np.unique(group)) < MIN_GROUPS:
        return None
    log_odds, points = rows["log_odds"].to_numpy(), rows["points"].to_numpy()
    said = {
        "model": rows["probability"].to_numpy(),
        "card": cross_fitted(points[:, None], label, group, seed),
        "both": cross_fitted(np.column_stack([log_odds, points]), label, group, seed),
    }
    figures: dict[str, Any] = {name: measure(label, one, group, 200, seed) for name, one in said.items()}
    against = compare(label, said["both"], {name: said[name] for name in ("model", "card")}, group, seed=seed)
    return {**figures, "both_minus": {name: asdict(one) for name, one in against.differences.items()}}


def cross_fitted(columns: Floats, label: Floats, group: Codes, seed: int) -> Floats:
    """Probability of each row by a logistic regression on the rows of other customers."""
    spread = columns.std(axis=0)
    design = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    fold, told = deal_groups(group, label, FOLDS, seed), np.zeros(len(label))
    for k in range(FOLDS):
        learn = fold != k
        found = fit_ridge_path(design[learn], label[learn], [1.0])[-1]
        told[~learn] = to_probability(found[0] + design[~learn] @ found[1:])
    return told


def disagreements(rows: pd.DataFrame, grades: Sequence[str], kind: str) -> dict[str, Any] | None:
    """Who was likely to turn out as wanted and graded low, and the reverse, with what came.

    Likely is the upper quarter of the rows by probability (of staying, for churn), unlikely the lower one; a low grade
    is one of the lower half. The `rows` shown lie furthest apart.
    """
    rows = rows[rows["probability"].notna() & rows["points"].notna() & rows["grade"].isin(list(grades))]
    if kind == "value" or rows.empty:
        return None
    likely = rows["probability"] if kind == "conversion" else 1.0 - rows["probability"]
    rank, place = likely.rank(pct=True), rows["points"].rank(pct=True)
    is_low = rows["grade"].isin(list(grades[len(grades) // 2 :]))
    good = pd.Series(wanted(kind, rows["label"].to_numpy()), index=rows.index)
    apart = rank - place
    return {
        "likely_but_low": _disagreement(rows, good, apart, (rank > LIKELY) & is_low),
        "unlikely_but_high": _disagreement(rows, good, -apart, (rank <= UNLIKELY) & ~is_low),
    }


def _disagreement(
    rows: pd.DataFrame, good: "pd.Series[float]", apart: "pd.Series[float]", chosen: "pd.Series[bool]"
) -> dict[str, Any]:
    """Count those chosen and how they turned out, and show those furthest apart."""
    count, hits = int(chosen.sum()), float(good[chosen].sum())
    low, high = wilson(np.array([hits]), np.array([count]))
    shown = apart[chosen].sort_values(ascending=False, kind="stable").index[:SHOWN]
    told = rows.loc[shown, ["entity_id", "as_of", "probability", "points", "grade"]].assign(good=good[shown] > 0.5)
    return {
        "rows": count,
        "good": int(hits),
        "rate": hits / count if count else None,
        "low": float(low[0]),
        "high": float(high[0]),
        "shown": told.assign(as_of=[one.isoformat() for one in told["as_of"]]).to_dict("records"),
    }
