"""LightGBM for revenue: Tweedie trees of all customers, and trees of the log of what buyers spend."""

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np

from models.candidate import Floats, Member, Setting
from models.encoding import CodedRows, cross_fit_target_encoding, fit_target_encoding
from models.predict import look_up
from models.screening import affordable, strongest_columns

ENCODING_STRENGTH = 20.0
LEAF_SHARE = 0.01
COLUMNS = 60, 2.0
SEED = 7


def _parameters(objective: dict[str, Any], rows: int, setting: Setting) -> dict[str, Any]:
    return {
        **objective,
        "learning_rate": setting["learning_rate"],
        "num_leaves": setting["leaves"],
        "min_data_in_leaf": int(np.clip(LEAF_SHARE * rows, 5, 200)),
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": 10.0,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": SEED,
        "verbose": -1,
    }


def _inputs(rows: CodedRows) -> list[dict[str, Any]]:
    """Numbers as they are; text as shrunk log-odds of the mean rank of its rows, 0.5 being the middle."""
    inputs: list[dict[str, Any]] = []
    for entry in rows.contract:
        name = entry["name"]
        if entry["kind"] == "number":
            inputs.append({"column": name, "kind": "number"})
        else:
            found = fit_target_encoding(rows.columns[name], rows.label, len(entry["categories"]), ENCODING_STRENGTH)
            inputs.append({"column": name, "kind": "text", **found.term()})
    return inputs


def _matrix(rows: CodedRows, inputs: Sequence[dict[str, Any]], is_fitted_on: bool) -> Floats:
    """Inputs of the trees; text of rows to fit on is told by rows of other customers."""
    matrix = np.empty((len(rows), len(inputs)))
    for place, entry in enumerate(inputs):
        column = rows.columns[entry["column"]]
        if entry["kind"] == "number":
            matrix[:, place] = column
        elif is_fitted_on:
            count = len(entry["values"])
            matrix[:, place] = cross_fit_target_encoding(rows, entry["column"], count, ENCODING_STRENGTH, SEED)
        else:
            matrix[:, place] = look_up(column, entry)
    return matrix


class RevenueTrees:
    """Trees over rows whose label is a rank from 0 to 1, by which text is encoded and columns are screened.

    Parameters
    ----------
    rows : CodedRows
        Rows to fit on.

    """

    def __init__(self, rows: CodedRows) -> None:
        self.rows = strongest_columns(rows, affordable(rows, *COLUMNS))
        self.inputs = _inputs(self.rows)
        self.seen = _matrix(self.rows, self.inputs, is_fitted_on=True)

    def grow(self, target: Floats, objective: dict[str, Any], setting: Setting) -> lgb.Booster:
        """Grow trees towards a target."""
        parameters = _parameters(objective, len(target), setting)
        data = lgb.Dataset(self.seen, target, params={"verbose": -1})
        return lgb.train(parameters, data, num_boost_round=setting["trees"])

    def staged(self, booster: lgb.Booster, valid: CodedRows | None, trees: Sequence[int]) -> Floats:
        """Raw predictions after each number of trees, counted upwards, for other rows or (None) those fitted on."""
        matrix = self.seen if valid is None else _matrix(valid, self.inputs, is_fitted_on=False)
        total, done, stages = np.zeros(len(matrix)), 0, []
        for count in trees:
            part = booster.predict(matrix, done, count - done, raw_score=True, num_threads=1)
            total, done = total + np.asarray(part), count
            stages.append(total)
        return np.array(stages)

    def member(self, booster: lgb.Booster, file: str) -> Member:
        """Return the document and the text of trees, as a bundle stores them."""
        return Member({"kind": "trees", "file": file, "inputs": self.inputs}, {file: booster.model_to_string()})
