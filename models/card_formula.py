"""A criterion's own formula: arithmetic on features, read by a parser and never run as Python.

Allowed are numbers, names of features, + - * /, comparisons (1 if true, else 0), parentheses and the
functions of `FUNCTIONS`. Null in gives null out, except through `coalesce`; what has no finite value
(a division by zero, the logarithm of a negative number) is null.
"""

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LONGEST = 500
"""Characters of a formula."""
DEEPEST = 50
"""Operations inside one another."""


def _compare(test: Callable[[Floats, Floats], Any]) -> Callable[[Floats, Floats], Floats]:
    """Return a comparison that gives 1, 0, or null if either side is."""

    def compared(left: Floats, right: Floats) -> Floats:
        return np.where(np.isnan(left) | np.isnan(right), np.nan, test(left, right).astype(np.float64))

    return compared


def _clip(value: Floats, low: Floats, high: Floats) -> Floats:
    return np.minimum(np.maximum(value, low), high)


def _coalesce(*values: Floats) -> Floats:
    return reduce(lambda first, second: np.where(np.isnan(first), second, first), values)


OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Gt: _compare(np.greater),
    ast.GtE: _compare(np.greater_equal),
    ast.Lt: _compare(np.less),
    ast.LtE: _compare(np.less_equal),
    ast.Eq: _compare(np.equal),
    ast.NotEq: _compare(np.not_equal),
}
FUNCTIONS: Mapping[str, tuple[Callable[..., Floats], int, int | None]] = {
    "min": (lambda *values: reduce(np.minimum, values), 2, None),
    "max": (lambda *values: reduce(np.maximum, values), 2, None),
    "abs": (np.abs, 1, 1),
    "log1p": (np.log1p, 1, 1),
    "clip": (_clip, 3, 3),
    "coalesce": (_coalesce, 2, None),
}
"""What may be called, with the least and the largest number of arguments."""
_ALLOWED = f"Use numbers, names of features, + - * /, comparisons and {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Formula:
    """A checked formula.

    Parameters
    ----------
    text : str
    names : tuple of str
        Features it reads, each once, in the order of the text.

    """

    text: str
    names: tuple[str, ...]
    _tree: ast.expr

    def evaluate(self, columns: Mapping[str, Floats]) -> Floats:
        """Value of each row; NaN where it is null.

        Parameters
        ----------
        columns : mapping of feature to float64 array
            All of `names`.

        """
        with np.errstate(all="ignore"):
            found = np.asarray(_evaluate(self._tree, columns))
        return np.where(np.isfinite(found), found, np.nan)

    def can_have_value(self, present: Collection[str]) -> bool:
        """Tell whether rows may have a value where only these features are there at all.

        >>> parse_formula("coalesce(paid, 0) + owed").can_have_value({"owed"})
        True
        """
        return _can_have_value(self._tree, present)


@lru_cache(maxsize=1000)
def parse_formula(text: str) -> Formula:
    """Read and check a formula.

    Raises
    ------
    ValueError
        With what is not allowed in it and what is.

    Examples
    --------
    >>> spent = parse_formula("amount / orders")
    >>> spent.names
    ('amount', 'orders')
    >>> spent.evaluate({"amount": np.array([100.0, 50.0]), "orders": np.array([4.0, 0.0])}).tolist()
    [25.0, nan]

    """
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise ValueError(f"the formula has {len(text):,} characters, at most {LONGEST} are read. Shorten it")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        raise ValueError(f"the formula '{text}' cannot be read ({reason}). {_ALLOWED}") from None
    names: list[str] = []
    _check(tree, text, names, 0)
    if not names:
        raise ValueError(f"the formula '{text}' reads no feature, so all rows get the same. {_ALLOWED}")
    return Formula(text, tuple(dict.fromkeys(names)), tree)


def _check(node: ast.expr, text: str, names: list[str], depth: int) -> None:
    """Check a part of a formula and what is inside it, and note the features it reads."""
    if depth > DEEPEST:
        raise ValueError(f"the formula '{text}' is nested more than {DEEPEST} deep. Split it into two criteria")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not _is_finite(value):
                raise ValueError(f"the formula '{text}' has a number that is too large. Use a smaller one")
            return
        case ast.Name(id=name):
            if name in FUNCTIONS:
                raise ValueError(f"the formula '{text}' names function '{name}' without (...). Give it arguments")
            names.append(name)
            return
        case ast.UnaryOp() | ast.BinOp() if type(node.op) in OPERATORS:
            inner = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        case ast.Compare(ops=[_]) if type(node.ops[0]) in OPERATORS:
            inner = [node.left, *node.comparators]
        case ast.Call(func=ast.Name(id=name), args=inner, keywords=[]) if name in FUNCTIONS:
            _check_count(name, len(inner), text)
        case _:
            part = ast.get_source_segment(text, node) or text
            raise ValueError(f"the formula '{text}' has '{part}', which is not allowed. {_ALLOWED}")
    for argument in inner:
        _check(argument, text, names, depth + 1)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _check_count(name: str, count: int, text: str) -> None:
    _, least, most = FUNCTIONS[name]
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if least == most else f"{least} or more"
        raise ValueError(f"the formula '{text}' gives {name} {count} arguments, expected {wanted}. Correct it")


def _evaluate(node: ast.expr, columns: Mapping[str, Floats]) -> Any:
    """Value of a checked part; what is not finite is null at once, so that no infinity turns into a number again."""
    match node:
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]  # checked to be a number
        case ast.Name(id=name):
            return columns[name]
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_evaluate(operand, columns))
        case ast.Compare(left=left, ops=ops, comparators=others):
            return OPERATORS[type(ops[0])](_evaluate(left, columns), _evaluate(others[0], columns))
        case ast.BinOp(left=left, op=op, right=right):
            found = OPERATORS[type(op)](_evaluate(left, columns), _evaluate(right, columns))
        case ast.Call(func=ast.Name(id=name), args=inner):
            found = FUNCTIONS[name][0](*(_evaluate(one, columns) for one in inner))
        case _:
            raise TypeError(f"unchecked part of a formula: {ast.dump(node)}")
    return np.where(np.isfinite(found), found, np.nan)


def _can_have_value(node: ast.AST, present: Collection[str]) -> bool:
    """Whether a checked part may be something else than null."""
    match node:
        case ast.Name(id=name):
            return name in present
        case ast.Call(func=ast.Name(id="coalesce"), args=inner):
            return any(_can_have_value(one, present) for one in inner)
        case ast.Call(args=inner):
            return all(_can_have_value(one, present) for one in inner)
    return all(_can_have_value(one, present) for one in ast.iter_child_nodes(node))
