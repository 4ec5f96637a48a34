"""Write simulated tables as Parquet files, and never over anything else."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.tables import TABLES
from pipeline.errors import ConfigError

MADE_BY = "leadsieve simulate"
"""What `clock.made_by` says in whatever the simulator wrote."""

TRUTH = "truth"
"""Folder beside the tables with what the simulator knows and no table shows."""

_PART = ".parquet.part"
_OURS = (*TABLES, "clock", "leaks", f"{TRUTH}/conversion", f"{TRUTH}/churn", f"{TRUTH}/criteria", f"{TRUTH}/manifest")


def write_files(tables: Mapping[str, pa.Table], folder: Path, *, force: bool = False) -> None:
    """Write one Parquet file per table: `write_parts` of a CRM in one part."""
    write_parts([tables], folder, force=force)


def write_parts(parts: Iterable[Mapping[str, pa.Table]], folder: Path, *, force: bool = False) -> dict[str, int]:
    """Write one Parquet file per table, part by part; all are complete before the first gets its name.

    Parameters
    ----------
    parts : iterable of mapping of str to pyarrow.Table
        Tables by name, as `simulate_crm` returns them; `truth/churn` lies in a folder `truth`. The rows
        of a table that several parts have are written one after the other.
    folder : Path
        Made if it is missing.
    force : bool
        Replace an earlier simulation. Anything else is never replaced.

    Returns
    -------
    dict of str to int
        Rows of each table.

    Raises
    ------
    ConfigError
        If the folder cannot be written, or holds something.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _holds_something(folder):
            check_replaceable(f"Folder {folder}", _is_simulated(folder), force)
        rows = _write_unnamed(parts, folder)
        _name_files(folder, tuple(rows))
    except OSError as error:
        raise ConfigError(
            f"Folder {folder} cannot be written ({error.strerror or error}). Pass a folder of your own with --out."
        ) from None
    return rows


def _write_unnamed(parts: Iterable[Mapping[str, pa.Table]], folder: Path) -> dict[str, int]:
    """Write all rows into files that have no name of their own yet; return the rows of each."""
    rows: Counter[str] = Counter()
    writers: dict[str, pq.ParquetWriter] = {}
    try:
        with ExitStack() as files:
            for tables in parts:
                for name, table in tables.items():
                    if name not in writers:
                        writers[name] = files.enter_context(_open(folder / f"{name}{_PART}", table.schema))
                    writers[name].write_table(table)
                    rows[name] += table.num_rows
    except BaseException:
        for name in writers:
            (folder / f"{name}{_PART}").unlink(missing_ok=True)
        raise
    return dict(rows)


def _open(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a file that gets its name when all are complete."""
    path.parent.mkdir(exist_ok=True)
    return pq.ParquetWriter(path, schema, compression="zstd")


def _name_files(folder: Path, names: tuple[str, ...]) -> None:
    """Give the files their names, the clock first, and remove what an earlier simulation had besides."""
    for name in sorted(names, key=lambda name: name != "clock"):
        os.replace(folder / f"{name}{_PART}", folder / f"{name}.parquet")
    for name in set(_OURS) - set(names):
        (folder / f"{name}.parquet").unlink(missing_ok=True)
    if (folder / TRUTH).is_dir() and not any((folder / TRUTH).iterdir()):
        (folder / TRUTH).rmdir()


def _holds_something(folder: Path) -> bool:
    """Whether a folder has anything in it but what a write that broke off has left."""
    paths = [path for path in folder.iterdir() if path.name != TRUTH]
    if (folder / TRUTH).is_dir():
        paths += (folder / TRUTH).iterdir()
    return any(not path.name.endswith(_PART) for path in paths)


def _is_simulated(folder: Path) -> bool:
    """Whether the clock in a folder says that the simulator wrote it."""
    path = folder / "clock.parquet"
    try:
        return path.is_file() and MADE_BY in pq.read_table(path, columns=["made_by"])["made_by"].to_pylist()
    except (pa.ArrowException, KeyError):
        return False


def check_replaceable(place: str, is_simulated: bool, force: bool) -> None:
    """Refuse to write over what the simulator did not write, and over a simulation unless told to.

    Raises
    ------
    ConfigError
        Naming the place.

    """
    if not is_simulated:
        raise ConfigError(
            f"{place} holds something that `leadsieve simulate` did not write, expected an empty place or an earlier "
            "simulation. Choose another place; --force does not help here."
        )
    if not force:
        raise ConfigError(
            f"{place} holds an earlier simulation, and the scores written to it would be lost. "
            "Pass --force to replace it."
        )
