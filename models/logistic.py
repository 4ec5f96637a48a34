"""Linear candidates: logistic regression on curves of all columns, or of the best single one."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from models.base_rate import smoothed_log_odds
from models.candidate import Floats, Member, Setting
from models.curves import RAMPS, make_design
from models.encoding import CodedRows
from models.ridge import fit_ridge_path
from models.screening import affordable, strongest_columns

PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
SINGLE_PENALTY = 3.0
COLUMNS = 40, 3.0
"""How many columns are looked at: see `affordable`."""
MAX_ROWS = 200_000
"""Rows a linear candidate is fitted on at most, evenly spread: more would hardly move its coefficients."""


def _fit(rows: CodedRows, ramps: int, penalty: float, names: Sequence[str] | None) -> Member:
    if len(rows) > MAX_ROWS:
        rows = rows.take(np.linspace(0, len(rows) - 1, MAX_ROWS).astype(np.intp))
    design = make_design(strongest_columns(rows, affordable(rows, *COLUMNS)) if names is None else rows, ramps, names)
    coefficients = fit_ridge_path(design.matrix(rows), rows.label, [penalty])[0]
    terms = design.terms(coefficients[1:])
    return Member({"kind": "linear", "intercept": float(coefficients[0]), "terms": terms})


class Logistic:
    """Logistic regression; `ramps` bends the curves, `penalty` shrinks them."""

    name = "logistic"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return straight and bent curves under every penalty."""
        has_numbers = any(entry["kind"] == "number" for entry in rows.contract)
        kinds = (0, RAMPS) if has_numbers else (0,)
        return [{"ramps": ramps, "penalty": penalty} for ramps in kinds for penalty in PENALTIES]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit each kind of curve once along its penalties."""
        found = np.empty((len(settings), len(valid)))
        train = strongest_columns(train, affordable(train, *COLUMNS))
        places = sorted(range(len(settings)), key=lambda at: (settings[at]["ramps"], -settings[at]["penalty"]))
        for ramps, group in groupby(places, key=lambda at: settings[at]["ramps"]):
            at = list(group)
            design = make_design(train, ramps)
            path = fit_ridge_path(design.matrix(train), train.label, [settings[place]["penalty"] for place in at])
            found[at] = path[:, :1] + path[:, 1:] @ design.matrix(valid).T
        return found

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on rows under one setting."""
        return _fit(rows, setting["ramps"], setting["penalty"], None)


class SingleColumn:
    """The best single column, as a curve: what one could read off a chart."""

    name = "single_column"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return one setting per column."""
        return [{"column": entry["name"]} for entry in rows.contract]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit each column by itself."""
        found = np.empty((len(settings), len(valid)))
        for at, setting in enumerate(settings):
            design = make_design(train, RAMPS, [setting["column"]])
            if not design.bases:
                found[at] = smoothed_log_odds(train.label)
                continue
            path = fit_ridge_path(design.matrix(train), train.label, [SINGLE_PENALTY])
            found[at] = path[0, 0] + design.matrix(valid) @ path[0, 1:]
        return found

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit the chosen column."""
        return _fit(rows, RAMPS, SINGLE_PENALTY, [setting["column"]])
