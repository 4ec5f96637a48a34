"""Look for a text in everything below a folder: names, raw bytes, and values decoded from Parquet and SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq


def search(folder: Path, *texts: str, without: tuple[str, ...] = ()) -> list[str]:
    """Places (file, or file and column) that have one of the texts in them, whatever their case.

    Parameters
    ----------
    folder : Path
        Searched with all folders below it.
    *texts : str
        What is looked for.
    without : tuple of str
        Globs of files that are not searched.

    """
    needles = [text.lower() for text in texts]
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(path.match(pattern) for pattern in without):
            continue
        name = str(path.relative_to(folder))
        places = [("its name", name), *_decoded(path)]
        places += [
            ("bytes", path.read_bytes().decode("latin-1")),
            ("text", path.read_bytes().decode("utf-8", "ignore")),
        ]
        found += [f"{name}: {place}" for place, value in places if any(needle in value.lower() for needle in needles)]
    return found


def _decoded(path: Path) -> Iterator[tuple[str, str]]:
    """Every column of a file that has columns, as one text."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        for name in table.column_names:
            yield name, "\n".join(map(str, table[name].to_pylist()))
        yield "metadata", str(table.schema.metadata)
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                yield name, "\n".join(map(str, rows))
