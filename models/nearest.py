"""The name that was probably meant, for the sentence of an error."""

import difflib
from collections.abc import Collection


def nearest(name: str, known: Collection[str], what: str) -> str:
    """Say which known name is nearest, or name the known ones.

    >>> nearest("orders_cuont", ["orders_count", "deal_amount"], "features")
    "Did you mean 'orders_count'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known {what}: {', '.join(sorted(known)[:20])}."
