"""Files that a reader finds as they were or as they are going to be, never half written."""

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let a function write a file beside another, sync it to disk, and rename it over that one.

    What a killed process left beside it is overwritten.
    """
    partial = path.with_name(f".{path.name}.part")
    write(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Replace a file with a text in UTF-8."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))
