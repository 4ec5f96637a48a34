"""The statistical scorecard as a candidate: logistic regression on binned columns.

Numbers are cut where a small decision tree would cut them, and every bin, like every category, stands
for its weight of evidence: its shrunk log-odds less those of all rows. What is fitted is one coefficient
per column. Source: Siddiqi, Credit Risk Scorecards, 2006; the cuts by a tree instead of by hand.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from models.candidate import Floats, Member, Setting
from models.curves import ColumnBasis, Design
from models.encoding import CodedRows, fit_target_encoding
from models.predict import MISSING
from models.ridge import fit_ridge_path
from models.screening import affordable, strongest_columns

PENALTIES = (300.0, 100.0, 30.0, 10.0, 3.0)
BINS = 8
"""Bins of a number at most, missing not counted."""
BIN_SHARE = 0.03
"""Share of the known values that a bin holds at least."""
MIN_BIN_ROWS = 10
COLUMNS = 40, 3.0
"""How many columns are looked at: see `affordable`."""
STRENGTH = 5.0
"""Imagined rows that pull the log-odds of a bin or category to those of all rows."""


def find_cuts(known: Floats, label: Floats) -> Floats:
    """Where a tree of at most `BINS` leaves cuts a number, ascending; a value equal to a cut lies left of it.

    >>> find_cuts(np.repeat([1.0, 2.0, 3.0], 20), np.repeat([0.0, 0.0, 1.0], 20)).tolist()
    [2.5]

    """
    if len(known) < 2 * MIN_BIN_ROWS or np.ptp(known) == 0:
        return np.zeros(0)
    smallest = max(MIN_BIN_ROWS, int(BIN_SHARE * len(known)))
    tree = DecisionTreeClassifier(criterion="entropy", max_leaf_nodes=BINS, min_samples_leaf=smallest, random_state=0)
    grown = tree.fit(known[:, None], label).tree_
    return np.unique(grown.threshold[grown.feature >= 0])


def _number_basis(rows: CodedRows, name: str) -> ColumnBasis | None:
    """Weights of evidence of the bins; steps are pairs of neighbouring knots."""
    column = rows.columns[name]
    is_known = np.isfinite(column)
    cuts = find_cuts(column[is_known], rows.label[is_known])
    bins = np.where(is_known, np.searchsorted(cuts, column), MISSING)
    encoding = fit_target_encoding(bins, rows.label, len(cuts) + 1, STRENGTH)
    knots = np.repeat(cuts, 2)
    knots[1::2] = np.nextafter(cuts, np.inf)
    if not len(cuts):
        knots = np.array([0.0, 1.0])
    values = np.repeat(encoding.levels, 2)[1:-1] if len(cuts) else np.repeat(encoding.levels, 2)
    return _scaled(rows, ColumnBasis(name, knots, np.append(values, [encoding.unseen, encoding.missing])[:, None]))


def _text_basis(rows: CodedRows, name: str, categories: int) -> ColumnBasis | None:
    encoding = fit_target_encoding(rows.columns[name], rows.label, categories, STRENGTH)
    return _scaled(
        rows, ColumnBasis(name, None, np.append(encoding.levels, [encoding.unseen, encoding.missing])[:, None])
    )


def _scaled(rows: CodedRows, basis: ColumnBasis) -> ColumnBasis | None:
    """Centre and scale the evidence of a column; None if all rows have the same."""
    evidence = basis.matrix(rows.columns[basis.name])
    spread = float(evidence.std())
    return ColumnBasis(basis.name, basis.knots, (basis.table - evidence.mean()) / spread) if spread > 1e-9 else None


def make_binned_design(rows: CodedRows) -> Design:
    """Weight of evidence of every column that says anything, in the order of the contract."""
    bases = [
        _text_basis(rows, entry["name"], len(entry["categories"]))
        if entry["kind"] == "text"
        else _number_basis(rows, entry["name"])
        for entry in rows.contract
    ]
    return Design(tuple(basis for basis in bases if basis is not None))


class Binned:
    """Logistic regression on weights of evidence; `penalty` shrinks the coefficients."""

    name = "binned"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return every penalty."""
        return [{"penalty": penalty} for penalty in PENALTIES]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Bin once, and fit along the penalties, which must fall."""
        design = make_binned_design(strongest_columns(train, affordable(train, *COLUMNS)))
        path = fit_ridge_path(design.matrix(train), train.label, [setting["penalty"] for setting in settings])
        return np.asarray(path[:, :1] + path[:, 1:] @ design.matrix(valid).T)

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on all rows given."""
        design = make_binned_design(strongest_columns(rows, affordable(rows, *COLUMNS)))
        coefficients = fit_ridge_path(design.matrix(rows), rows.label, [setting["penalty"]])[0]
        terms = design.terms(coefficients[1:])
        return Member({"kind": "linear", "intercept": float(coefficients[0]), "terms": terms})
