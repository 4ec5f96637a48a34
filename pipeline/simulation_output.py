"""Write simulated tables as Parquet files, and never over anything else."""

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError

MADE_BY = "leadsieve simulate"
"""What `clock.made_by` says in whatever the simulator wrote."""

_PART = ".parquet.part"


def write_files(tables: Mapping[str, pa.Table], folder: Path, *, force: bool = False) -> None:
    """Write one Parquet file per table; all are complete before the first gets its name.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        What `simulate_crm` returns.
    folder : Path
        Made if it is missing.
    force : bool
        Replace an earlier simulation. Anything else is never replaced.

    Raises
    ------
    ConfigError
        If the folder cannot be written, or holds something.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(not path.name.endswith(_PART) for path in folder.iterdir()):
            check_replaceable(f"Folder {folder}", _is_simulated(folder), force)
        for name, table in tables.items():
            pq.write_table(table, folder / f"{name}{_PART}", compression="zstd")
        for name in sorted(tables, key=lambda name: name != "clock"):
            os.replace(folder / f"{name}{_PART}", folder / f"{name}.parquet")
    except OSError as error:
        raise ConfigError(
            f"Folder {folder} cannot be written ({error.strerror or error}). Pass a folder of your own with --out."
        ) from None


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
