"""The trees of a LightGBM text model, taken apart into leaves and the ways to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MISSING_NONE, MISSING_NAN = 0, 2


class UnreadableTreesError(Exception):
    """Trees of a kind that these tables do not know; `pred_contrib` does."""


@dataclass(frozen=True)
class Tree:
    """One tree of a LightGBM text model; children >= 0 are nodes, others are leaves (~place)."""

    feature: NDArray[np.int64]
    threshold: Floats
    decision: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    leaf_rows: Floats
    node_rows: Floats

    @property
    def missing_goes_left(self) -> NDArray[np.bool_]:
        """Whether a missing value goes left, per node."""
        return (self.decision & 2) > 0

    @property
    def missing_kind(self) -> NDArray[np.int64]:
        """What counts as missing, per node: nothing (null is 0 then), zero, or null."""
        return (self.decision >> 2) & 3


_FIELDS: Mapping[str, tuple[str, Any]] = {
    "feature": ("split_feature", np.int64),
    "threshold": ("threshold", np.float64),
    "decision": ("decision_type", np.int64),
    "left": ("left_child", np.int64),
    "right": ("right_child", np.int64),
    "value": ("leaf_value", np.float64),
    "leaf_rows": ("leaf_count", np.float64),
    "node_rows": ("internal_count", np.float64),
}


def read_trees(text: str) -> list[Tree]:
    """Read the trees of a LightGBM text model, in its order; one without a cut has no nodes.

    Raises
    ------
    UnreadableTreesError
        If a tree has categorical cuts, linear leaves, or takes zero for missing, or the trees are not added up.

    """
    header, *blocks = text.split("\nend of trees")[0].split("\nTree=")
    if "\naverage_output" in header:
        raise UnreadableTreesError("a mean of trees")
    trees = []
    for block in blocks:
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if facts.get("num_cat", "0") != "0" or facts.get("is_linear", "0") != "0":
            raise UnreadableTreesError("categorical cuts or linear leaves")
        trees.append(Tree(**{name: _numbers(facts.get(key, ""), kind) for name, (key, kind) in _FIELDS.items()}))
    if any(not np.isin(tree.missing_kind, (MISSING_NONE, MISSING_NAN)).all() for tree in trees):
        raise UnreadableTreesError("zero taken for missing")
    return trees


def _numbers(text: str, kind: Any) -> NDArray[Any]:
    return np.array(text.split(), dtype=kind)


@dataclass(frozen=True)
class Leaf:
    """One leaf with the way to it: nodes and whether it lies to their left, sorted by feature.

    `starts` says where the nodes of each of `features` begin; `shares` holds the share of training rows
    that their cuts let through.
    """

    value: float
    nodes: NDArray[np.int64]
    to_left: NDArray[np.bool_]
    features: NDArray[np.int64]
    starts: NDArray[np.int64]
    shares: Floats


def find_leaves(tree: Tree) -> list[Leaf]:
    """Leaves of a tree from left to right."""
    found: list[Leaf] = []
    stack: list[tuple[int, list[tuple[int, bool, float]]]] = [(0, [])]
    while stack:
        at, way = stack.pop()
        if at < 0:
            found.append(_make_leaf(tree, float(tree.value[~at]), way))
            continue
        for child, to_left in ((int(tree.right[at]), False), (int(tree.left[at]), True)):
            rows = tree.leaf_rows[~child] if child < 0 else tree.node_rows[child]
            stack.append((child, [*way, (at, to_left, float(rows / tree.node_rows[at]))]))
    return found


def _make_leaf(tree: Tree, value: float, way: Sequence[tuple[int, bool, float]]) -> Leaf:
    nodes = np.array([node for node, _, _ in way])
    order = np.argsort(tree.feature[nodes], kind="stable")
    features, starts = np.unique(tree.feature[nodes][order], return_index=True)
    shares = np.multiply.reduceat(np.array([share for _, _, share in way])[order], starts)
    return Leaf(value, nodes[order], np.array([left for _, left, _ in way])[order], features, starts, shares)
