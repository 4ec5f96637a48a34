"""Which rows of a view a feature takes: read off the conditions of its reductions."""

from collections.abc import Iterator
from typing import Any

import ibis
import ibis.expr.operations as ops

from features.group import window_start
from features.view import BOOKKEEPING


def counted_rows(value: Any) -> Any:
    """Condition under which a row of the view counts: for one reduction of the feature at least.

    A row counts where the `where=` of the reduction holds and what is reduced is not null; in a sum of
    flags, where the flag holds. A reduction of `as_of` alone counts no row.

    Parameters
    ----------
    value : ibis expression
        Reductions over a stored view, and arithmetic on them; reductions of the view itself would be found, too.

    Examples
    --------
    >>> orders = ibis.table({"amount": "int64", "quantity": "int64"}, name="orders")
    >>> bought = orders.quantity > 0
    >>> counted = counted_rows(orders.amount.sum(where=bought))
    >>> counted.equals((bought & orders.amount.notnull()).fill_null(False))
    True

    """
    counted = [_counts(one) for one in _reductions(value)]
    return ibis.or_(*counted) if counted else ibis.literal(False)


def window_conditions(value: Any, days: int) -> list[Any]:
    """Comparisons of a time with the beginning of a window that a feature makes: `window.mask`, `window.on(...)`."""
    begin = window_start(days)
    return [
        node.to_expr()
        for node in value.op().find(ops.GreaterEqual)
        if isinstance(node.right, ops.Field) and node.right.name == begin
    ]


def stays_within(value: Any, mask: Any) -> bool:
    """Whether rows outside a window can be left out of the view: every reduction asks for rows inside.

    Examples
    --------
    >>> orders = ibis.table({"amount": "int64", "is_late": "boolean"}, name="orders")
    >>> stays_within(orders.amount.sum(where=orders.is_late & (orders.amount > 5)), orders.amount > 5)
    True
    >>> stays_within(orders.amount.sum(where=~(orders.amount > 5)), orders.amount > 5)
    False

    """
    return all(mask.op() in set(_demands(one)) for one in _reductions(value))


def _reductions(value: Any) -> list[Any]:
    """Return the reductions that take rows: all but `as_of.max()` and its like, the same in every row of a snapshot."""
    return [one for one in value.op().find(ops.Reduction) if not _is_bookkeeping(one)]


def _is_bookkeeping(reduction: Any) -> bool:
    fields = {field.name for field in reduction.find(ops.Field)}
    is_same = all(name in BOOKKEEPING or name.startswith("as_of_minus_") for name in fields)
    return isinstance(reduction, ops.Max | ops.Min) and bool(fields) and is_same


def _demands(reduction: Any) -> Iterator[Any]:
    """Yield conditions that all hold for a row that counts."""
    if reduction.where is not None:
        yield from _conjuncts(reduction.where)
    if isinstance(reduction, ops.Sum | ops.Any) and _flag(reduction.arg) is not None:
        yield from _conjuncts(_flag(reduction.arg))


def _conjuncts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, ops.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    else:
        yield condition


def _flag(value: Any) -> Any:
    """Return the flag that is summed up, if it is one."""
    bare = value.arg if isinstance(value, ops.Cast) else value
    return bare if bare.dtype.is_boolean() else None


def _counts(reduction: Any) -> Any:
    """Condition under which a row counts for one reduction."""
    held = [one.to_expr() for one in _demands(reduction)]
    reduced = [getattr(reduction, name) for name in ("arg", "key") if hasattr(reduction, name)]
    held += [one.to_expr().notnull() for one in reduced if isinstance(one, ops.Value)]
    return ibis.and_(*held).fill_null(False)
