"""Benchmark: scores into PostgreSQL.

    python tests/bench_writeback.py [--rows 1000000] [--batch-rows 10000]

Starts a server on loopback that syncs its log as a real one does (and vacuums nothing meanwhile, least of all what
the bare script has left), and makes two equal tables. Into one a bare
script writes new scores: COPY into a staging table, one UPDATE ... FROM, commit. Into the other the write-back
does: plan, ledger on disk, batches, read-back. Then the same scores again (nothing to write), the undo, and three
fields of each record. Prints seconds, processor seconds (ours and the server's), rates, bytes of the ledger and
peak memory, and fails if 1,000,000 scores took more than 60 s (fewer in proportion, at least 10 s) or more than
twice as long as the bare script. Seconds depend on what else the machine does, both alike.
"""

import argparse
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_postgresql.dbapi
import crm_world
import numpy as np
import pandas as pd
import pyarrow as pa
from postgres_server import Database, run_server

from pipeline.config import Config
from pipeline.crm import open_crm
from pipeline.ledger import Ledger
from pipeline.undo_plan import make_undo_plan
from pipeline.write_plan import make_plan
from pipeline.write_report import WriteReport
from pipeline.writeback import apply_plan

BAR_SECONDS, BAR_ROWS, LEAST_SECONDS, BAR_RATIO = 60.0, 1_000_000, 10.0, 0.5
TABLE = "deal_id int PRIMARY KEY, name text, score double precision, grade text, why text"
ONE, THREE = {"score": "probability"}, {"score": "probability", "grade": "grade", "why": "reasons_en"}


@dataclass
class Cost:
    """What something took: seconds, and processor seconds of this process and of the server."""

    seconds: float = 0.0
    ours: float = 0.0
    server: float = 0.0

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s (processor: {self.ours:.1f} s here, {self.server:.1f} s in the server)"


@contextmanager
def timed(server: Database) -> Iterator[Cost]:
    cost = Cost()
    began = time.perf_counter(), time.process_time(), server_seconds(server)
    yield cost
    ended = time.perf_counter(), time.process_time(), server_seconds(server)
    cost.seconds, cost.ours, cost.server = (end - begin for begin, end in zip(began, ended, strict=True))


def server_seconds(server: Database) -> float:
    """Processor seconds of a server, with its processes that have ended; 0 where the system does not tell."""
    [(backend,)] = server.execute("SELECT pg_backend_pid()")
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[1] == _parent(backend):
            ticks += int(fields[11]) + int(fields[12])
        elif path.parent.name == _parent(backend):
            ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")


def _parent(backend: int) -> str:
    path = Path(f"/proc/{backend}/stat")
    return path.read_text().rsplit(")", 1)[1].split()[1] if path.exists() else ""


def make_table(server: Database, name: str, rows: int) -> None:
    """A table of deals, all with the same old score, as an analysed table that nobody has changed lately."""
    server.execute(f"CREATE TABLE {name} ({TABLE})")
    server.execute(f"INSERT INTO {name} SELECT i, 'deal ' || i, 0.1, 'B', 'x' FROM generate_series(1, {rows}) i")
    server.execute(f"VACUUM ANALYZE {name}")
    server.execute("CHECKPOINT")


def make_frame(rows: int, seed: int, run_id: str) -> pd.DataFrame:
    """Score frame of every deal."""
    one = crm_world.make_scores(run_id, [("1", 0.5, "A", ["客户活跃", "3 calls"])])
    frame = one.iloc[np.zeros(rows, dtype=int)].reset_index(drop=True)
    frame["entity_id"] = [str(number) for number in range(1, rows + 1)]
    frame["probability"] = np.random.default_rng(seed).random(rows)
    return frame


def write_bare(server: Database, frame: pd.DataFrame) -> None:
    """The least that gets the scores into the table, with no plan, no ledger and no way back."""
    table = pa.table({"id": frame["entity_id"].to_numpy(dtype=np.int32), "score": frame["probability"].round(4)})
    with adbc_driver_postgresql.dbapi.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE staging (id int PRIMARY KEY, score double precision)")
        cursor.adbc_ingest("staging", table, mode="append")
        cursor.execute(
            "UPDATE bare SET score = staging.score FROM staging "
            "WHERE staging.id = bare.deal_id AND bare.score IS DISTINCT FROM staging.score"
        )
        cursor.execute("DROP TABLE staging")
        connection.commit()


def write_ours(config: Config, ledger: Ledger, server: Database, frame: pd.DataFrame, run_id: str) -> WriteReport:
    """Plan and apply, each timed."""
    with open_crm(config) as crm:
        with timed(server) as planned:
            plan = make_plan(config, ledger, crm, frame, run_id)
        with timed(server) as applied:
            report = apply_plan(config, ledger, crm, plan)
    print(f"  plan {planned}, apply {applied}", flush=True)
    report.check()
    return report


def undo_ours(config: Config, ledger: Ledger, server: Database, run_id: str) -> int:
    """Plan and apply the undo, each timed; returns how many records were given back."""
    with open_crm(config) as crm:
        with timed(server) as planned:
            plan = make_undo_plan(config, ledger, crm, run_id)
        ledger.start_run(plan.run_id, "undo", {"of": run_id}, "")
        with timed(server) as applied:
            report = apply_plan(config, ledger, crm, plan)
    print(f"  undo: plan {planned}, apply {applied}", flush=True)
    return report.records


def make_config(server: Database, folder: Path, fields: dict[str, str], batch_rows: int) -> Config:
    os.environ[crm_world.CRM_URL] = server.url
    crm_world.SERVED[folder] = server
    return crm_world.make_config(folder, fields, batch_rows=batch_rows)


def tell(what: str, cost: Cost, values: int) -> None:
    print(f"{what}: {cost}, {values / cost.seconds:,.0f} values/s", flush=True)


def run(server: Database, folder: Path, rows: int, batch_rows: int) -> list[str]:
    """Measure everything; returns the bars that were missed."""
    for name in ("bare", "deals"):
        make_table(server, name, rows)
    frame = make_frame(rows, 0, "r1")
    with timed(server) as bare:
        write_bare(server, frame)
    tell("bare script", bare, rows)
    server.execute("CHECKPOINT")
    config = make_config(server, folder, ONE, batch_rows)
    with closing(crm_world.open_run(config, "r1", "r2", "r3")) as ledger:
        with timed(server) as ours:
            report = write_ours(config, ledger, server, frame, "r1")
        tell("write-back", ours, report.tables[0].fields)
        size = ledger_bytes(folder)
        print(f"  ledger: {size:,} bytes, {size / rows:.1f} per value; peak {peak():,.0f} MB")
        check(server, "SELECT count(*) FROM deals JOIN bare USING (deal_id, score)", rows)
        with timed(server) as again:
            report = write_ours(config, ledger, server, frame.assign(run_id="r2"), "r2")
        print(
            f"the same scores again: {again}, {report.tables[0].fields} written, {report.tables[0].unchanged:,} equal"
        )
        with timed(server) as undone:
            records = undo_ours(config, ledger, server, "r1")
        tell("undo", undone, records)
        check(server, "SELECT count(*) FROM deals WHERE score = 0.1", rows)
        config = make_config(server, folder, THREE, batch_rows)
        with timed(server) as three:
            report = write_ours(config, ledger, server, frame.assign(run_id="r3"), "r3")
        tell("three fields of each record", three, report.tables[0].fields)
    print(f"peak {peak():,.0f} MB; rate of the bare script: {bare.seconds / ours.seconds:.2f} of it")
    bar = max(BAR_SECONDS * rows / BAR_ROWS, LEAST_SECONDS)
    missed = [f"write-back took {ours.seconds:.1f} s, at most {bar:.0f}"] if ours.seconds > bar else []
    if bare.seconds / ours.seconds < BAR_RATIO:
        missed.append(f"{bare.seconds / ours.seconds:.2f} of the rate of the bare script, at least {BAR_RATIO}")
    return missed


def check(server: Database, query: str, expected: int) -> None:
    """Check by a query of its own what is in the table."""
    [(found,)] = server.execute(query)
    if found != expected:
        raise SystemExit(f"expected {expected:,}, found {found:,}: {query}")


def ledger_bytes(folder: Path) -> int:
    """Bytes of the ledger with nothing left in its log."""
    [path] = folder.rglob("ledger.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=BAR_ROWS)
    parser.add_argument("--batch-rows", type=int, default=10_000)
    options = parser.parse_args()
    settings = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "off"}
    with run_server(**settings) as server, tempfile.TemporaryDirectory() as folder:
        missed = run(server, Path(folder), options.rows, options.batch_rows)
    for bar in missed:
        print(f"missed: {bar}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
