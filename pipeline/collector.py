"""Python's search for cycles, paused where millions of values are moved that can be in none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Pause it: looking at a million values again and again takes two fifths of the time of a write-back.

    Examples
    --------
    >>> with no_search_for_cycles():
    ...     gc.isenabled()
    False

    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
