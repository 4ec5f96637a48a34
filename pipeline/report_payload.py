"""Data inside a page: packed, or as JSON that no text of the data can break out of."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

_ESCAPES = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\N{LINE SEPARATOR}": "\\u2028",
        "\N{PARAGRAPH SEPARATOR}": "\\u2029",
    }
)
"""What could end a script element, or a line of a script, as JSON also writes it."""


def safe_json(value: Any) -> str:
    r"""JSON that may stand inside a script element, whatever texts are in it.

    >>> print(safe_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def pack(value: Any) -> str:
    """Compress JSON (zlib, base64), to be read by `unpack` of the page; same value, same text.

    >>> pack([1, 2])
    'eJyLNtQxigUAA9UBSA=='
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 6)).decode("ascii")


def numbers(values: Iterable[float | None], digits: int) -> list[float | int | None]:
    """Round numbers for a page; null for what is not finite.

    >>> numbers([0.12345, float("nan"), 7.0], 3)
    [0.123, None, 7]
    """
    rounded = np.round(np.asarray(values if hasattr(values, "__len__") else list(values), dtype=np.float64), digits)
    whole = np.isfinite(rounded) & (rounded == np.floor(rounded))
    known = zip(rounded.tolist(), np.isfinite(rounded).tolist(), whole.tolist(), strict=True)
    return [None if not is_known else int(one) if is_whole else one for one, is_known, is_whole in known]


class Texts:
    """Texts (or pairs of them) that a page has once, and names by their places."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, text: Any) -> int:
        """Place of a text; a text that is met first is added."""
        return self._places.setdefault(text, len(self._places))

    def to_json(self) -> list[Any]:
        """All texts, in the order of their places."""
        return list(self._places)


def source_hash(text: str) -> str:
    """Source of a Content-Security-Policy that allows exactly this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
