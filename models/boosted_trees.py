"""LightGBM as a candidate: missing values as they are, text as numbers, no class weights."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import lightgbm as lgb
import numpy as np

from models.candidate import Floats, Member, Setting
from models.encoding import CodedRows, cross_fit_target_encoding, fit_target_encoding, level_columns
from models.predict import look_up
from models.screening import affordable, strongest_columns

FILE = "trees.txt"
SHAPES = ({"leaves": 4, "random_cuts": False}, {"leaves": 12, "random_cuts": True})
LARGE, LARGE_ROWS = {"leaves": 31, "random_cuts": False}, 2_000
"""A shape for what many columns say together, and the rows from which it is tried, under one encoding."""
SLOW = 0.05, (20, 40, 80, 160, 320)
FAST = 0.1, (10, 20, 40, 80, 160)
MANY_ROWS = 10_000
"""From here on half as many trees, each counting twice, are as good."""
COLUMNS = 60, 2.0
"""How many columns are looked at: see `affordable`."""
LEAF_SHARE = 0.01
ENCODING_STRENGTH = 20.0
MANY_CELLS = 20_000_000
"""From here on two threads are faster than one even on a busy machine."""
SEED = 7


def _parameters(cells: int, rows: int, setting: Setting, constraints: Sequence[int]) -> dict[str, Any]:
    found = {
        "objective": "binary",
        "learning_rate": setting["learning_rate"],
        "num_leaves": setting["leaves"],
        "extra_trees": setting["random_cuts"],
        "min_data_in_leaf": int(np.clip(LEAF_SHARE * rows, 5, 200)),
        "min_sum_hessian_in_leaf": 1e-2,
        "lambda_l2": 10.0,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2 if cells > MANY_CELLS else 1,
        "seed": SEED,
        "verbose": -1,
    }
    return {**found, "monotone_constraints": list(constraints)} if any(constraints) else found


def _inputs(rows: CodedRows, encoding: str) -> list[dict[str, Any]]:
    """How each column enters: numbers as they are, text as shrunk log-odds or as a column per level.

    With 'levels', text of few levels becomes one column per level; text of many keeps its log-odds.
    """
    inputs: list[dict[str, Any]] = []
    for entry in rows.contract:
        name = entry["name"]
        if entry["kind"] == "number":
            inputs.append({"column": name, "kind": "number"})
            continue
        codes, categories = rows.columns[name], len(entry["categories"])
        levels = level_columns(codes, categories) if encoding == "levels" else None
        terms = levels or [fit_target_encoding(codes, rows.label, categories, ENCODING_STRENGTH).term()]
        inputs += [{"column": name, "kind": "text", "is_level": bool(levels), **term} for term in terms]
    return inputs


def tree_matrix(rows: CodedRows, inputs: Sequence[dict[str, Any]], cross_fit: bool) -> Floats:
    """Inputs of trees; for rows to fit on, the log-odds of text come from rows of other groups."""
    matrix = np.empty((len(rows), len(inputs)))
    for place, entry in enumerate(inputs):
        column = rows.columns[entry["column"]]
        if entry["kind"] == "number":
            matrix[:, place] = column
        elif cross_fit and not entry.get("is_level"):
            categories = len(entry["values"])
            matrix[:, place] = cross_fit_target_encoding(rows, entry["column"], categories, ENCODING_STRENGTH, SEED)
        else:
            matrix[:, place] = look_up(column, entry)
    return matrix


def _constraints(rows: CodedRows, inputs: Sequence[dict[str, Any]]) -> list[int]:
    """Directions of numbers as declared; shrunk log-odds can only speak for the event."""
    return [
        int(not entry["is_level"]) if entry["kind"] == "text" else int(rows.directions.get(entry["column"], 0))
        for entry in inputs
    ]


def _train(rows: CodedRows, data: lgb.Dataset, inputs: Sequence[dict[str, Any]], setting: Setting) -> lgb.Booster:
    parameters = _parameters(len(rows) * len(inputs), len(rows), setting, _constraints(rows, inputs))
    return lgb.train(parameters, data, num_boost_round=setting["trees"])


def _dataset(matrix: Floats, label: Floats) -> lgb.Dataset:
    """Return the inputs, which are cut into bins once, for the first of the trees that are grown on them."""
    return lgb.Dataset(matrix, label, params={"verbose": -1})


def _shape(setting: Setting) -> tuple[Any, ...]:
    return setting["encoding"], setting["leaves"], setting["random_cuts"]


class BoostedTrees:
    """Gradient-boosted trees; `leaves` and `random_cuts` set their shape, `trees` their number."""

    name = "lightgbm"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return every shape with every number of trees, and both encodings where there is text."""
        has_text = any(entry["kind"] == "text" for entry in rows.contract)
        encodings = ("log_odds", "levels") if has_text else ("log_odds",)
        learning_rate, numbers = FAST if len(rows) > MANY_ROWS else SLOW
        tried = [(encoding, shape) for encoding in encodings for shape in SHAPES]
        if len(rows) >= LARGE_ROWS:
            tried.append((encodings[0], LARGE))
        return [
            {"encoding": encoding, **shape, "learning_rate": learning_rate, "trees": trees}
            for encoding, shape in tried
            for trees in numbers
        ]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Grow each shape once, and predict after each number of trees."""
        train = strongest_columns(train, affordable(train, *COLUMNS))
        found = np.empty((len(settings), len(valid)))
        places = sorted(range(len(settings)), key=lambda at: (*_shape(settings[at]), settings[at]["trees"]))
        for encoding, same_encoding in groupby(places, key=lambda at: settings[at]["encoding"]):
            inputs = _inputs(train, encoding)
            seen = _dataset(tree_matrix(train, inputs, cross_fit=True), train.label)
            unseen = tree_matrix(valid, inputs, cross_fit=False)
            for _, same_shape in groupby(same_encoding, key=lambda at: _shape(settings[at])):
                at = list(same_shape)
                booster = _train(train, seen, inputs, settings[at[-1]])
                found[at] = staged(booster, unseen, [settings[place]["trees"] for place in at])
        return found

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Grow the trees on all rows given."""
        rows = strongest_columns(rows, affordable(rows, *COLUMNS))
        inputs = _inputs(rows, setting["encoding"])
        booster = _train(rows, _dataset(tree_matrix(rows, inputs, cross_fit=True), rows.label), inputs, setting)
        return Member({"kind": "trees", "file": FILE, "inputs": inputs}, {FILE: booster.model_to_string()})


def staged(booster: lgb.Booster, matrix: Floats, trees: Sequence[int]) -> Floats:
    """Raw log-odds after each number of trees, counted upwards."""
    total, done, stages = np.zeros(len(matrix)), 0, []
    for count in trees:
        part = booster.predict(matrix, raw_score=True, start_iteration=done, num_iteration=count - done, num_threads=1)
        total, done = total + np.asarray(part), count
        stages.append(total)
    return np.array(stages)
