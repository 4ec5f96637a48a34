"""LightGBM for revenue: Tweedie trees of all customers, and trees of the log of what buyers spend."""

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np

from models.boosted_trees import ENCODING_STRENGTH, SEED, staged, tree_matrix
from models.candidate import Floats, Member, Setting
from models.encoding import CodedRows, fit_target_encoding
from models.screening import affordable, strongest_columns

LEAF_SHARE = 0.01
COLUMNS = 60, 2.0


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
        self.seen = tree_matrix(self.rows, self.inputs, cross_fit=True)

    def grow(self, target: Floats, objective: dict[str, Any], setting: Setting) -> lgb.Booster:
        """Grow trees towards a target."""
        parameters = _parameters(objective, len(target), setting)
        data = lgb.Dataset(self.seen, target, params={"verbose": -1})
        return lgb.train(parameters, data, num_boost_round=setting["trees"])

    def staged(self, booster: lgb.Booster, valid: CodedRows | None, trees: Sequence[int]) -> Floats:
        """Raw predictions after each number of trees, counted upwards, for other rows or (None) those fitted on."""
        matrix = self.seen if valid is None else tree_matrix(valid, self.inputs, cross_fit=False)
        return staged(booster, matrix, trees)

    def member(self, booster: lgb.Booster, file: str) -> Member:
        """Return the document and the text of trees, as a bundle stores them."""
        return Member({"kind": "trees", "file": file, "inputs": self.inputs}, {file: booster.model_to_string()})
