# ruff: noqa: S608  (the SELECTs come from the deployment's own config, the rest is quoted)
"""Tables in Odoo: its models are read over the JSON-2 API into DuckDB, which runs the SELECTs over them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.errors import DataError
from features.tables import TABLES
from pipeline.adapters.duckdb_select import first_paragraph, run_select
from pipeline.adapters.odoo_client import OdooClient
from pipeline.adapters.odoo_models import (
    WRITTEN,
    Shape,
    count_records,
    describe_model,
    read_ids,
    read_pages,
    read_some,
    since_condition,
)
from pipeline.adapters.patient import Patience
from pipeline.adapters.protocol import without_semicolon
from pipeline.config import Config, read_environment
from pipeline.errors import ConfigError, CrmError
from pipeline.mapping import nearest
from pipeline.sentences import NOT_SHOWN
from pipeline.staging import open_duckdb, quote


@dataclass(frozen=True)
class ModelRead:
    """How many records of a model were read, and the seconds that took."""

    name: str
    records: int
    seconds: float


class OdooSource:
    """Reads models of Odoo and runs the SELECT of each table over them.

    A model is read when the first table needs it, and once. One of which every row of a table is a record
    (`rows_of`) is read from a moment on where the extract asks for changes and no other table needs it.

    Parameters
    ----------
    config : Config
        With `source.adapter: odoo`.
    spill : Path
        Where DuckDB may put what does not fit into memory.

    Raises
    ------
    ConfigError
        If the environment does not say where Odoo is, a SELECT reads a model that `source.models` does not
        have, or Odoo does not have a model or field.

    """

    def __init__(self, config: Config, spill: Path) -> None:
        self._config = config
        self._client, self._patience = open_client(config), Patience()
        self._connection = open_duckdb(spill)
        self._since: dict[str, datetime | None] = {}
        self.reads: list[ModelRead] = []
        try:
            self._look_up()
        except Exception:
            self.close()
            raise

    def _look_up(self) -> None:
        """Find out which models the SELECTs need, and what Odoo has of them, before anything is read."""
        config = self._config
        self._owners = {one.rows_of: name for name, one in config.source.models.items() if one.rows_of}
        names = {name.replace(".", "_"): name for name in config.source.models}
        self._needs = {table: self._find_models(table, names) for table in config.tables}
        self._data_end = config.source.data_end or self._read_clock()
        needed = {name for models in self._needs.values() for name in models}
        models = config.source.models
        self._shapes = {name: describe_model(self._call, name, models[name]) for name in models if name in needed}

    def data_end(self) -> datetime:
        """Moment at which reading began (UTC, naive): from the config, or Odoo's clock."""
        return self._data_end

    def clock(self) -> datetime | None:
        """Odoo's clock now; None if the config fixes the end of the data."""
        return None if self._config.source.data_end else self._read_clock()

    def warnings(self, table: str) -> Sequence[str]:
        """Models that are not there, so that they count as empty."""
        shapes = (self._shapes[name] for name in self._needs[table])
        return [f"{shape.model} counts as empty: it {shape.absent}" for shape in shapes if shape.absent]

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        owner = self._owners.get(table)
        if owner and since is None and not self._is_whole(owner):
            shape = self._shapes[owner]
            return 0 if shape.absent else count_records(self._call, shape, shape.domain)
        where = f" WHERE {TABLES[table].time} >= TIMESTAMPTZ '{since}+00'" if since else ""
        self._load_all(table)
        batches = self._run(table, f"SELECT count(*) AS row_count FROM ({self._select(table)}\n){where}")
        return int(next(batches).column(0)[0].as_py())

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        key, owner = str(TABLES[table].key), self._owners.get(table)
        if owner and not self._is_whole(owner):
            shape = self._shapes[owner]
            ids = [] if shape.absent else read_ids(self._call, shape, shape.domain)
            yield pa.RecordBatch.from_arrays([pa.array(ids, pa.int64())], names=[key])
            return
        self._load_all(table)
        yield from self._run(table, f"SELECT {key} FROM ({self._select(table)}\n)")

    def read(self, table: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, or those written since a moment; at least one batch."""
        self._load_all(table, since)
        owner = self._owners.get(table)
        if owner is None:
            yield from self._run(table, self._select(table))
            return
        rows = quote(f"delivered {table}")
        list(self._run(table, f"CREATE OR REPLACE TABLE {rows} AS {self._select(table)}"))
        self._check_rows(table, owner, rows)
        where = f" WHERE {self._modified(table)} >= TIMESTAMPTZ '{since}+00'" if since else ""
        yield from self._run(table, f"SELECT * FROM {rows}{where}")
        self._connection.execute(f"DROP TABLE {rows}")

    def close(self) -> None:
        """Close DuckDB and the connections to Odoo."""
        self._connection.close()
        self._client.close()

    def _call(self, model: str, method: str, **arguments: Any) -> Any:
        """Call Odoo, again where the error may pass: nothing is changed by it."""
        return self._patience.call(lambda: self._client.call(model, method, **arguments))

    def _read_clock(self) -> datetime:
        """Odoo's clock (UTC), in whole seconds: the moment at which a message that is written now would be dated."""
        moment = self._call("mail.message", "default_get", fields=["date"]).get("date")
        try:
            return datetime.strptime(str(moment), "%Y-%m-%d %H:%M:%S")
        except ValueError:
            raise CrmError(
                f"Odoo says that it is now {moment!r}, expected a time such as 2024-05-01 02:00:00. "
                "Set source.data_end to it."
            ) from None

    def _find_models(self, table: str, names: dict[str, str]) -> list[str]:
        """Models that the SELECT of a table reads."""
        try:
            read = self._connection.get_table_names(self._select(table))
        except duckdb.Error as error:
            raise ConfigError(f"tables.{table}.select fails: {first_paragraph(error)}. Correct the SELECT.") from None
        for one in sorted(read):
            if one.lower() not in names:
                raise ConfigError(
                    f"tables.{table}.select reads '{one}', which is no model of source.models."
                    f"{nearest(one, names)} A model is a table with underscores for dots: crm.lead is crm_lead."
                )
        owner = self._owners.get(table)
        found = [names[one.lower()] for one in sorted(read)]
        if owner is not None and owner not in found:
            raise ConfigError(
                f"source.models.{owner} says rows_of: {table}, and tables.{table}.select does not read it."
            )
        return found

    def _select(self, table: str) -> str:
        return without_semicolon(self._config.tables[table].select)

    def _modified(self, table: str) -> str:
        return quote(str(self._config.tables[table].modified_at))

    def _is_whole(self, name: str) -> bool:
        return name in self._since and self._since[name] is None

    def _load_all(self, table: str, since: datetime | None = None) -> None:
        """Load the models that a table needs and that are not there yet."""
        for name in self._needs[table]:
            is_alone = name == self._owners.get(table) and not any(
                name in needs for other, needs in self._needs.items() if other != table
            )
            wanted = since if is_alone else None
            if not self._is_whole(name) and (name not in self._since or self._since[name] != wanted):
                self._load(self._shapes[name], wanted)
                self._since[name] = wanted

    def _load(self, shape: Shape, since: datetime | None) -> None:
        """Read a model into a table of its name, and see that all of it came."""
        empty = shape.schema.empty_table()
        self._connection.register("batch", empty)
        self._connection.execute(f"CREATE OR REPLACE TABLE {quote(shape.table)} AS SELECT * FROM batch")
        if shape.absent:
            return
        domain = [*shape.domain, since_condition(since)] if since else list(shape.domain)
        began = time.perf_counter()
        self._insert(shape, read_pages(self._call, shape, domain))
        records = self._complete(shape, domain)
        self.reads.append(ModelRead(shape.name, records, time.perf_counter() - began))

    def _insert(self, shape: Shape, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            self._connection.register("batch", pa.Table.from_batches([batch]))
            self._connection.execute(f"INSERT INTO {quote(shape.table)} SELECT * FROM batch")

    def _complete(self, shape: Shape, domain: list[Any]) -> int:
        """See that all came: look after records that came or went meanwhile, or that a short page kept back.

        Odoo may go on changing: what counts is that every record is here that one list of ids names.
        """
        read = self._ids(shape)
        if count_records(self._call, shape, domain) == len(read):
            return len(read)
        ids = read_ids(self._call, shape, domain)
        self._insert(shape, read_some(self._call, shape, [one for one in ids if one not in read]))
        gone = ", ".join(map(str, read.difference(ids)))
        self._connection.execute(f"DELETE FROM {quote(shape.table)} WHERE id IN ({gone or 'NULL'})")
        read = self._ids(shape)
        there = count_records(self._call, shape, domain)
        if there != len(read) and read_ids(self._call, shape, domain) == ids:
            raise CrmError(
                f"{shape.model}: Odoo counts {there:,} records and delivers {len(read):,}, and nothing changed "
                "meanwhile. Nothing was stored. See whether a rule of Odoo or a proxy cuts its answers, then run this "
                "again."
            )
        if kept := read_ids(self._call, shape, [*domain, ["id", "in", sorted(set(ids) - read)]]):
            shown = ", ".join(map(str, kept[:5]))
            raise CrmError(
                f"{shape.model}: {len(kept):,} of {len(ids):,} records are missing (id {shown}): Odoo names them and "
                "does not deliver them. Nothing was stored. Run this again."
            )
        return len(read)

    def _ids(self, shape: Shape) -> set[int]:
        """Ids of the records of a model that are here."""
        return {row[0] for row in self._connection.execute(f"SELECT id FROM {quote(shape.table)}").fetchall()}

    def _check_rows(self, table: str, owner: str, rows: str) -> None:
        """Check that the rows of a table are the records of the model that the config names, one each."""
        key = f"CAST(delivered.{TABLES[table].key} AS VARCHAR)"
        modified = f"delivered.{self._modified(table)}"
        query = (
            f"SELECT count(*) FILTER (delivered.rowid IS NULL), count(*) FILTER (records.id IS NULL), "
            f"count(delivered.rowid) - count(DISTINCT {key}), "
            f"count(*) FILTER (records.id IS NOT NULL AND delivered.rowid IS NOT NULL "
            f"AND {modified} IS DISTINCT FROM records.{WRITTEN}) "
            f"FROM {rows} AS delivered FULL JOIN {quote(self._shapes[owner].table)} AS records "
            f"ON {key} = CAST(records.id AS VARCHAR)"
        )
        lacking, foreign, twice, otherwise = (column[0].as_py() for column in next(self._run(table, query)).columns)
        found = {
            "records that the SELECT leaves out (put the condition into `domain`)": lacking,
            f"rows whose {TABLES[table].key} is no id of a record": foreign,
            "records that it delivers more than once": twice,
            f"rows whose {self._config.tables[table].modified_at} is not the record's {WRITTEN}": otherwise,
        }
        for what, number in found.items():
            if number:
                raise ConfigError(
                    f"source.models.{owner} says rows_of: {table}, and tables.{table}.select has {number:,} {what}. "
                    "Correct the SELECT, or remove rows_of and modified_at: the table is then read in full."
                )

    def _run(self, table: str, query: str) -> Iterator[pa.RecordBatch]:
        try:
            yield from run_select(self._connection, table, query)
        except duckdb.Error as error:
            hidden = self._config.tables[table].sensitive
            said = f"{type(error).__name__} ({NOT_SHOWN})" if hidden else first_paragraph(error)
            raise DataError(
                f"Table '{table}': what Odoo delivers does not fit tables.{table}.select: {said}. Correct the SELECT."
            ) from None


def open_client(config: Config) -> OdooClient:
    """Make a client for the Odoo that a config reads."""
    source = config.source
    url = read_environment(str(source.url_env), f"the address of the Odoo of '{config.name}'")
    key = read_environment(str(source.key_env), f"an API key for the Odoo of '{config.name}'")
    return OdooClient(url, str(source.database), key)
