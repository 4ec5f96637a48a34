"""From a frame to coded columns, and from categories to shrunk numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.expert_card import ExpertCard
from models.predict import MISSING, look_up, read_columns
from models.split import deal_groups, row_groups
from models.training_set import TrainingSet

Floats = NDArray[np.float64]

MAX_CATEGORIES = 10_000
MAX_LEVEL_COLUMNS = 30
MIN_LEVEL_ROWS = 10
CROSS_FIT_FOLDS = 5


@dataclass(frozen=True)
class CodedRows:
    """What candidates learn from: one array per column, as a bundle reads them.

    Numbers are float64 with NaN; text is the place among the categories of the contract, -1 when
    missing. `roles`, `horizon` and `card` are those of the training set; `order` is the place of each row's
    time among all times, None without times.
    """

    contract: Sequence[Mapping[str, Any]]
    columns: Mapping[str, NDArray[Any]]
    label: Floats
    group: NDArray[np.int64]
    directions: Mapping[str, int]
    roles: Mapping[str, str] = field(default_factory=dict)
    horizon: int = 0
    order: NDArray[np.int64] | None = None
    card: ExpertCard | None = None

    def __len__(self) -> int:
        return len(self.label)

    def only(self, names: Collection[str]) -> "CodedRows":
        """Return the same rows with these columns, in the order of the contract; a purchase history stays beside."""
        contract = [entry for entry in self.contract if entry["name"] in names]
        kept = {*(entry["name"] for entry in contract), *self.roles.values()}
        columns = {name: column for name, column in self.columns.items() if name in kept}
        return replace(self, contract=contract, columns=columns)

    def take(self, at: NDArray[np.intp]) -> "CodedRows":
        """Return the rows at these positions."""
        return replace(
            self,
            columns={name: column[at] for name, column in self.columns.items()},
            label=self.label[at],
            group=self.group[at],
            order=None if self.order is None else self.order[at],
        )


def make_contract(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Describe the columns a model is fitted on: name, kind and, for text, the categories.

    >>> make_contract(pd.DataFrame({"age": [1.0, 2.0], "source": ["web", None]}))
    [{'name': 'age', 'kind': 'number'}, {'name': 'source', 'kind': 'text', 'categories': ['web']}]

    """
    contract: list[dict[str, Any]] = []
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column):
            contract.append({"name": str(name), "kind": "number"})
            continue
        counts = column.dropna().astype(str).value_counts()
        kept = sorted(counts.index[:MAX_CATEGORIES]) if len(counts) > MAX_CATEGORIES else sorted(counts.index)
        contract.append({"name": str(name), "kind": "text", "categories": kept})
    return contract


def code_rows(rows: TrainingSet, contract: Sequence[Mapping[str, Any]]) -> CodedRows:
    """Read the rows of a training set as the bundle will read rows to score."""
    columns = read_columns(rows.frame, contract)
    order = None if rows.time is None else np.unique(rows.time, return_inverse=True)[1].astype(np.int64)
    roles = {role: name for role, name in rows.roles.items() if name in columns}  # somebody may have dropped columns
    group = row_groups(rows)
    return CodedRows(contract, columns, rows.label, group, rows.directions, roles, rows.horizon, order, rows.card)


def _table(codes: NDArray[Any], weights: Floats | None, categories: int) -> Floats:
    """Sum per category; one more place, the last, for missing values."""
    places = np.where(codes == MISSING, categories, codes)
    known = places >= 0
    summed = np.bincount(places[known], None if weights is None else weights[known], minlength=categories + 1)
    return np.asarray(summed, dtype=np.float64)


def _log_odds(share: Floats | float) -> Any:
    return np.log(share) - np.log1p(-np.asarray(share))


def _shrunk(positives: Floats, counts: Floats, base: float, strength: float) -> Floats:
    """Log-odds of shares pulled towards the base rate by `strength` imagined rows."""
    return np.asarray(_log_odds((positives + strength * base) / (counts + strength)))


@dataclass(frozen=True)
class TargetEncoding:
    """Each category as its shrunk log-odds; a category nobody has met is the base rate."""

    levels: Floats
    missing: float
    unseen: float

    def term(self) -> dict[str, Any]:
        """Return the tables as a bundle stores them."""
        return {"values": self.levels.tolist(), "missing": self.missing, "unseen": self.unseen}


def fit_target_encoding(codes: NDArray[Any], label: Floats, categories: int, strength: float) -> TargetEncoding:
    """Shrunk log-odds of each category over all rows given."""
    base = (label.sum() + 0.5) / (len(label) + 1.0)
    values = _shrunk(_table(codes, label, categories), _table(codes, None, categories), base, strength)
    return TargetEncoding(values[:-1], float(values[-1]), float(_log_odds(base)))


def cross_fit_target_encoding(rows: CodedRows, name: str, categories: int, strength: float, seed: int) -> Floats:
    """Encode each row by rows of other groups only, so that no row sees its own label.

    Returns
    -------
    array of float64
        Shrunk log-odds, one per row.

    """
    codes = rows.columns[name]
    count = min(CROSS_FIT_FOLDS, len(np.unique(rows.group)))
    encoded = np.zeros(len(rows))
    if count < 2:
        return encoded
    fold = deal_groups(np.unique(rows.group, return_inverse=True)[1].astype(np.int64), rows.label, count, seed)
    for k in range(count):
        inside = fold == k
        encoding = fit_target_encoding(codes[~inside], rows.label[~inside], categories, strength)
        encoded[inside] = look_up(codes[inside], encoding.term())
    return encoded


def level_columns(codes: NDArray[Any], categories: int) -> list[dict[str, Any]] | None:
    """Return one 0/1 table per level with enough rows, missing being a level; None if there are too many levels."""
    counts = _table(codes, None, categories)
    levels = np.flatnonzero(counts >= MIN_LEVEL_ROWS)
    if not 0 < len(levels) <= MAX_LEVEL_COLUMNS:
        return None
    tables = (np.arange(categories + 1) == level for level in levels)
    return [{"values": row[:-1].astype(float).tolist(), "missing": float(row[-1]), "unseen": 0.0} for row in tables]
