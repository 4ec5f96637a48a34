"""Exact Shapley values of trees for many rows at once: what a row gets is looked up, not worked out again.

For one leaf, write r for the share of training rows that a feature's cuts on the way to it let through, and x = 1
where a row passes all of them, else 0. With some features known and the others left to chance, the leaf counts with
the product of x over the known and of r over the others, so that the Shapley value of feature i is

    value * (x_i - r_i) * integral from 0 to 1 of prod_{j != i} (r_j (1 - t) + x_j t) dt,

a polynomial that Gauss-Legendre nodes integrate exactly. It depends on the row through the x alone. Leaves that lie
together share a table over all outcomes of their cuts, and a row needs one look-up per table and feature. The values
are those of `pred_contrib` (path-dependent TreeSHAP) up to rounding in float64. The leaf that a row ends in is looked
up beside them, and added up tree by tree as LightGBM does: that is its raw score, to the bit.

References
----------
Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees".
Wettenstein et al. 2025, "From decision trees to Boolean logic: a fast and unified SHAP algorithm".

"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tree_leaves import MISSING_NONE, Leaf, Tree, UnreadableTreesError, find_leaves, read_trees

Floats = NDArray[np.float64]

TABLE_BITS = 11
"""A table has at most this many cuts, unless one leaf alone has more."""
LEAF_BITS = 14
"""A leaf with more features than this has no table: its values are worked out for the outcomes that occur."""
CHUNK_ROWS = 16_384
"""Rows that are looked up together: enough to forget the cost of a call, few enough to stay in the cache."""
SCORE = -1
"""Stands for a feature: the place of the raw score below the Shapley values."""
ALMOST_ZERO = float(np.float32(1e-35))
"""LightGBM reads smaller numbers as zero."""


@cache
def _quadrature(features: int) -> tuple[tuple[float, float], ...]:
    """Places in [0, 1] and weights that integrate the product over all features but one exactly."""
    nodes, weights = np.polynomial.legendre.leggauss((features + 1) // 2)
    return tuple(zip(((nodes + 1.0) / 2.0).tolist(), (weights / 2.0).tolist(), strict=True))


def shapley(leaf: Leaf, passed: NDArray[np.uint8]) -> Floats:
    """Shapley values of a leaf (features x outcomes) for outcomes (features x outcomes of 0 and 1): see above."""
    known, chance = passed.astype(np.float64), leaf.shares[:, None]
    total = np.zeros(known.shape)
    for time, weight in _quadrature(len(chance)):
        factors = chance * (1.0 - time) + known * time
        total += weight * factors.prod(axis=0) / factors
    return np.asarray(total * (known - chance) * leaf.value)


def _tell(leaf: Leaf, passed: NDArray[np.uint8]) -> Floats:
    """Shapley values of a leaf, and below them its own value where a row ends in it, else 0."""
    return np.vstack([shapley(leaf, passed), np.where(passed.all(axis=0), leaf.value, 0.0)])


@cache
def outcomes(bits: int) -> NDArray[np.uint8]:
    """All outcomes of some cuts (bits x outcomes): column i holds the bits of i, the lowest first."""
    return ((np.arange(1 << bits)[None] >> np.arange(bits)[:, None]) & 1).astype(np.uint8)


@dataclass(frozen=True)
class Table:
    """Shapley values of some leaves of a tree and, for feature `SCORE`, the leaf's own, by the outcome of their cuts.

    Bit i of an outcome says whether a row goes left at the node `bits[i]`; where that is several nodes, with the
    side of each, whether it goes to these sides at all of them. Without `values` (too many bits, one leaf) they are
    worked out for the outcomes that occur.
    """

    bits: Sequence[Sequence[tuple[int, bool]]]
    features: NDArray[np.int64]
    values: Floats | None
    leaf: Leaf


def make_tables(tree: Tree) -> list[Table]:
    """Gather neighbouring leaves as long as their cuts fit into one table; a tree without a cut has none."""
    tables: list[Table] = []
    together: list[Leaf] = []
    nodes: set[int] = set()
    for leaf in find_leaves(tree) if len(tree.feature) else ():
        own = set(leaf.nodes.tolist())
        if len(own) > TABLE_BITS:
            tables.append(_make_deep_table(leaf))
            continue
        if len(nodes | own) > TABLE_BITS:
            tables.append(_make_table(together, nodes))
            together, nodes = [], set()
        together.append(leaf)
        nodes |= own
    return [*tables, _make_table(together, nodes)] if together else tables


def _make_table(leaves: Sequence[Leaf], nodes: set[int]) -> Table:
    """Add up the values of some leaves for all outcomes of their cuts."""
    cuts = np.array(sorted(nodes))
    features = np.unique(np.concatenate([leaf.features for leaf in leaves]))
    goes_left = outcomes(len(cuts))
    values = np.zeros((len(features) + 1, 1 << len(cuts)))
    for leaf in leaves:
        outcome = _number(_passed(leaf, goes_left[np.searchsorted(cuts, leaf.nodes)]))
        rows = np.append(np.searchsorted(features, leaf.features), SCORE)
        values[rows] += _tell(leaf, outcomes(len(leaf.features)))[:, outcome]
    return Table([[(int(node), True)] for node in cuts], np.append(features, SCORE), values, leaves[0])


def _make_deep_table(leaf: Leaf) -> Table:
    """Return the table of a leaf with many cuts, by the outcome of its features."""
    ways = np.split(np.arange(len(leaf.nodes)), leaf.starts[1:])
    bits = [[(int(leaf.nodes[at]), bool(leaf.to_left[at])) for at in way] for way in ways]
    if len(bits) > LEAF_BITS:
        return Table(bits, np.append(leaf.features, SCORE), None, leaf)
    values = _tell(leaf, outcomes(len(bits)))[:, np.arange(1 << len(bits)) ^ _turned(bits)]
    return Table(bits, np.append(leaf.features, SCORE), values, leaf)


def _turned(bits: Sequence[Sequence[tuple[int, bool]]]) -> int:
    """Bits that say 'goes left' of a node whose right side leads to the leaf."""
    return sum(1 << place for place, way in enumerate(bits) if len(way) == 1 and not way[0][1])


def _passed(leaf: Leaf, goes_left: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whether all cuts of each feature lead to the leaf (features x outcomes), from where its nodes send each."""
    leads_there = (goes_left == leaf.to_left[:, None]).astype(np.uint8)
    return np.asarray(np.minimum.reduceat(leads_there, leaf.starts, axis=0))


def _number(rows: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number whose bit i is row i, of each column."""
    total = np.zeros(rows.shape[1], dtype=np.uint64)
    for place, row in enumerate(rows):
        total |= np.left_shift(row, place, dtype=np.uint64)
    return total.astype(np.intp)


def _count_threads() -> int:
    """As many as OpenMP may use, which LightGBM goes by; NumPy lets go of Python while it looks up."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = os.cpu_count() or 1
    return min(int(asked), cores) if asked.isdecimal() and int(asked) else cores


class TreeReasons:
    """Tables of all trees of a LightGBM text model."""

    def __init__(self, text: str, features: int) -> None:
        self.features = features
        self.trees = read_trees(text)
        self.tables = [make_tables(tree) for tree in self.trees]
        self.never_missing = self._never_missing()

    def _never_missing(self) -> NDArray[np.int64]:
        """Features whose nulls the trees take for zero, since there were none when they were fitted."""
        kinds: dict[int, set[int]] = {}
        for tree in self.trees:
            for feature, kind in zip(tree.feature.tolist(), tree.missing_kind.tolist(), strict=True):
                kinds.setdefault(feature, set()).add(kind)
        if any(len(kind) > 1 for kind in kinds.values()):
            raise UnreadableTreesError("a feature with nulls in some trees only")
        return np.array([feature for feature, kind in kinds.items() if kind == {MISSING_NONE}], dtype=np.int64)

    def explain(self, matrix: Floats) -> Floats:
        """Shapley values in the raw score of the trees, below them that score: inputs + 1 x rows, for rows x inputs."""
        found = np.zeros((self.features + 1, len(matrix)))
        parts = [slice(start, start + CHUNK_ROWS) for start in range(0, len(matrix), CHUNK_ROWS)]
        if len(parts) < 2:
            for part in parts:
                self._explain_chunk(matrix[part], found[:, part])
            return found
        with ThreadPoolExecutor(_count_threads()) as threads:
            for _ in threads.map(lambda part: self._explain_chunk(matrix[part], found[:, part]), parts):
                pass
        return found

    def _explain_chunk(self, matrix: Floats, found: Floats) -> None:
        columns = np.ascontiguousarray(matrix.T)
        columns[np.abs(columns) <= ALMOST_ZERO] = 0.0
        for feature in self.never_missing:
            np.nan_to_num(columns[feature], copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
        parts = np.zeros((self.features + 1, len(matrix)))
        part = np.empty(len(matrix))
        for tree, tables in zip(self.trees, self.tables, strict=True):
            if not tables:
                parts[SCORE] += tree.value[0]
            goes_left = _decide(tree, columns)
            for table in tables:
                values, at = _find_outcome(table, goes_left)
                for feature, row in zip(table.features, values, strict=True):
                    np.take(row, at, out=part, mode="clip")
                    parts[feature] += part
        found[:] = parts


def _find_outcome(table: Table, goes_left: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.intp]]:
    """Values of a table, and the place among them of each row."""
    kind = np.dtype(np.uint16 if len(table.bits) <= 16 else np.uint64)
    outcome: NDArray[Any] = np.zeros(goes_left.shape[1], dtype=kind)
    shifted = np.empty_like(outcome)
    for place, way in enumerate(table.bits):
        np.left_shift(_follow(way, goes_left), place, out=shifted, dtype=kind)
        np.bitwise_or(outcome, shifted, out=outcome)
    at = outcome.astype(np.intp)
    if table.values is not None:
        return table.values, at
    occurring, at = np.unique(at ^ _turned(table.bits), return_inverse=True)
    passed = (occurring[None] >> np.arange(len(table.bits))[:, None]) & 1
    return _tell(table.leaf, passed.astype(np.uint8)), at


def _follow(way: Sequence[tuple[int, bool]], goes_left: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bit of each row."""
    if len(way) == 1:
        return np.asarray(goes_left[way[0][0]])
    passed = np.ones(goes_left.shape[1], dtype=np.uint8)
    for node, to_left in way:
        passed &= goes_left[node] if to_left else goes_left[node] ^ 1
    return passed


def _decide(tree: Tree, columns: Floats) -> NDArray[np.uint8]:
    """Whether each row goes left at each node (nodes x rows)."""
    goes_left = np.empty((len(tree.feature), columns.shape[1]), dtype=np.uint8)
    missing_left = tree.missing_goes_left
    for node, (feature, threshold) in enumerate(zip(tree.feature, tree.threshold, strict=True)):
        row = goes_left[node].view(np.bool_)
        if missing_left[node]:
            np.logical_not(np.greater(columns[feature], threshold, out=row), out=row)
        else:
            np.less_equal(columns[feature], threshold, out=row)
    return goes_left
