"""Rows of the history of scores as columns, so that a database which takes columns gets them without a step per row."""

from collections.abc import Sequence
from functools import cached_property
from itertools import starmap
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from pipeline.adapters.target import HistoryRow

COLUMNS = tuple(HistoryRow.__dataclass_fields__)

_TYPES = {"horizon_days": pa.int64(), "probability": pa.float64(), "value": pa.float64()}
_SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
_LANGUAGES = ("en", "zh")
_LINE = pa.schema([("all", pa.list_(pa.struct([(language, pa.string()) for language in _LANGUAGES])))])


class HistoryRows(Sequence[HistoryRow]):
    """Rows that can be had as a table; whoever wants them one by one has them made at the first look.

    Parameters
    ----------
    table : Table
        The fields of `HistoryRow`, in their order.

    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @cached_property
    def _rows(self) -> list[HistoryRow]:
        columns = (column.to_pylist() for column in self.table.columns)
        return list(starmap(HistoryRow, zip(*columns, strict=True)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> HistoryRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[HistoryRow]: ...

    def __getitem__(self, index: int | slice) -> HistoryRow | list[HistoryRow]:
        return self._rows[index]


def make_table(rows: Sequence[HistoryRow]) -> pa.Table:
    """Return rows as a table of the columns of `HistoryRow`."""
    if isinstance(rows, HistoryRows):
        return rows.table
    return pa.table([[getattr(row, name) for row in rows] for name in COLUMNS], schema=_SCHEMA)


def make_rows(scores: pd.DataFrame, run_id: str) -> HistoryRows:
    """Rows of scores, in their order; what is null stays null.

    Examples
    --------
    >>> scores = pd.DataFrame({"entity_id": ["K1"], "as_of": pd.Timestamp("2024-05-01 02:00"), "target": "churn",
    ...     "horizon_days": 90, "probability": 0.25, "value": None, "grade": None, "model_version": "3",
    ...     "reasons": ['[{"en": "silent for 60 days", "zh": "60 天未联系"}, {"en": "2 late", "zh": "逾期 2"}]']})
    >>> [row] = make_rows(scores, "r1")
    >>> row.as_of, row.grade, row.reasons_zh
    ('2024-05-01 02:00:00', None, '60 天未联系; 逾期 2')

    """
    moments = scores["as_of"]
    said = {moment: moment.to_pydatetime().isoformat(sep=" ") for moment in moments.unique()}
    reasons = dict(zip(("reasons_en", "reasons_zh"), _join_reasons(scores["reasons"]), strict=True))
    columns: dict[str, Any] = {"run_id": pa.repeat(run_id, len(scores)), "as_of": moments.map(said), **reasons}
    return HistoryRows(pa.table([_to_arrow(columns.get(name, scores.get(name)), name) for name in COLUMNS], _SCHEMA))


def _to_arrow(values: Any, name: str) -> pa.Array:
    """Return a column as its type, whatever that of the frame is: one of nothing but None has none."""
    if isinstance(values, pd.Series):
        plain = {pa.string(): "str", pa.int64(): "int64", pa.float64(): "float64"}[_SCHEMA.field(name).type]
        values = pa.array(values.astype(plain), from_pandas=True)  # type: ignore[call-overload]
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return flat.cast(_SCHEMA.field(name).type)


def _join_reasons(texts: "pd.Series[Any]") -> list[pa.Array]:
    """Join the reasons of each row in each language, as fields of the CRM have them.

    Arrow reads the JSON of all rows at once: a reader of Python takes half of the time that the history takes.
    """
    if texts.empty:
        return [pa.array([], pa.string()) for _ in _LANGUAGES]
    found = pa.array(texts.astype("str"), from_pandas=True).cast(pa.large_string())
    parts = (pa.scalar(part, pa.large_string()) for part in ("[]", '{"all": ', "}\n", ""))
    nothing, before, after, between = parts
    lines = pc.binary_join_element_wise(before, pc.fill_null(found, nothing), after, between)
    block = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
    read = arrow_json.ReadOptions(use_threads=False, block_size=block.nbytes)
    parse = arrow_json.ParseOptions(explicit_schema=_LINE, unexpected_field_behavior="ignore")
    reasons = arrow_json.read_json(pa.BufferReader(block.buffers()[2]), read, parse)["all"].combine_chunks()
    flat, owners = pc.list_flatten(reasons), pc.list_parent_indices(reasons)
    return [_join(pc.struct_field(flat, language), owners, len(reasons)) for language in _LANGUAGES]


def _join(phrases: pa.Array, owners: pa.Array, rows: int) -> pa.Array:
    """Join the phrases of each row; those that are null or empty are left out."""
    is_said = pc.fill_null(pc.not_equal(phrases, ""), False)
    owned = np.bincount(owners.filter(is_said).to_numpy(), minlength=rows)
    starts = np.concatenate([[0], owned.cumsum()]).astype("int32")
    return pc.binary_join(pa.ListArray.from_arrays(starts, phrases.filter(is_said)), "; ")
