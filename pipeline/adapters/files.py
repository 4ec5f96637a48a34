# ruff: noqa: S608  (the SELECTs come from the deployment's own config)
"""Tables in files: CSV, gzip, Parquet and globs of them, read by DuckDB."""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from features.errors import DataError
from features.tables import TABLES
from pipeline.adapters.duckdb_select import first_paragraph, run_select
from pipeline.adapters.protocol import read_from, without_semicolon
from pipeline.config import Config, read_environment
from pipeline.errors import ConfigError
from pipeline.sentences import NOT_SHOWN
from pipeline.staging import open_duckdb


class FilesSource:
    """Runs the SELECT of each table over the files of one folder.

    Parameters
    ----------
    config : Config
        With `source.adapter: files`. Relative paths in a SELECT count from the data folder.
    spill : Path
        Where DuckDB may put what does not fit into memory.

    """

    def __init__(self, config: Config, spill: Path) -> None:
        self._config = config
        self._folder = _data_folder(config)
        self._connection = open_duckdb(spill)
        place = str(self._folder).replace("'", "''")
        self._connection.execute(f"SET file_search_path = '{place}'")

    def data_end(self) -> datetime:
        """Moment at which the files were written, from the config (UTC, naive)."""
        data_end = self._config.source.data_end
        if data_end is None:
            raise ConfigError("source.data_end is missing. Set it to the moment at which the files were written (UTC).")
        return data_end

    def clock(self) -> datetime | None:
        """None: files do not grow while they are read."""
        return None

    def warnings(self, table: str) -> Sequence[str]:
        """Nothing to say."""
        return ()

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        where = f" WHERE {TABLES[table].time} >= TIMESTAMP '{since}'" if since else ""
        batches = self._run(table, f"SELECT count(*) AS rows FROM ({self._select(table)}\n){where}")
        return int(next(batches).column(0)[0].as_py())

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        return self._run(table, f"SELECT {TABLES[table].key} FROM ({self._select(table)}\n)")

    def read(self, table: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, or those modified since a moment; at least one batch."""
        select = self._select(table)
        if since is not None:
            modified = f'"{self._config.tables[table].modified_at}"'
            moment = f"TIMESTAMP '{read_from(since, self._config.time_zone)}'"
            select = f"SELECT * FROM ({select}\n) WHERE coalesce(TRY_CAST({modified} AS TIMESTAMP) >= {moment}, true)"
        return self._run(table, select)

    def close(self) -> None:
        """Close DuckDB."""
        self._connection.close()

    def _select(self, table: str) -> str:
        select = without_semicolon(self._config.tables[table].select)
        return re.sub(r"'([^']+)'", lambda match: self._pin(table, match[1]), select)

    def _pin(self, table: str, text: str) -> str:
        """Keep a path from meaning a file of the same name in the current folder, which DuckDB looks into first."""
        if Path(text).is_absolute() or not os.path.isfile(text) or Path.cwd() == self._folder:
            return f"'{text}'"
        inside = self._folder / text
        if not inside.is_file():
            raise ConfigError(
                f"tables.{table}.select reads '{text}', which is not in the data folder {self._folder} "
                "(there is one in the current folder). Put the file there or correct the path."
            )
        return f"'{inside}'"

    def _run(self, table: str, query: str) -> Iterator[pa.RecordBatch]:
        """Yield the result in batches; what DuckDB says becomes one sentence."""
        try:
            yield from run_select(self._connection, table, query)
        except duckdb.Error as error:
            raise DataError(
                f"Table '{table}': the files in {self._folder} cannot be read: {self._say(table, error)}. "
                f"Check that they are there, complete and as tables.{table}.select expects."
            ) from None

    def _say(self, table: str, error: duckdb.Error) -> str:
        """Say what is wrong with a file; DuckDB shows whole lines of it, which may have sensitive values."""
        if self._config.tables[table].sensitive and not isinstance(error, duckdb.IOException):
            return f"{type(error).__name__} ({NOT_SHOWN})"
        return first_paragraph(error)


def _data_folder(config: Config) -> Path:
    """Folder of the data, absolute."""
    source = config.source
    if source.folder_env and (source.folder is None or os.environ.get(source.folder_env)):
        folder = Path(read_environment(source.folder_env, f"the folder that holds the data of '{config.name}'"))
        name = f"environment variable {source.folder_env}"
    else:
        folder, name = source.folder or Path(), "source.folder"
    if not folder.is_dir():
        raise ConfigError(f"The data folder {folder} ({name}) does not exist. Correct the path or create it.")
    if "," in str(folder.resolve()):
        raise ConfigError(f"The data folder {folder} ({name}) has a comma in its path. Rename it.")
    return folder.resolve()
