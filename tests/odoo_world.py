"""A simulated CRM in a real Odoo, with its dates: they cannot be set over the API, so SQL puts it into the database.

    python tests/odoo_world.py PREFIX [--customers 300]

PREFIX is the folder of a server that `odoo_up.sh` started. What an earlier load put there is replaced.
"""

import argparse
import configparser
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as postgres
import duckdb
import pyarrow as pa

HERE = Path(__file__).resolve().parent
TABLES = ("customers", "contacts", "deals", "stage_changes", "activities", "orders", "invoices", "attribute_changes")


def simulate(folder: Path, customers: int, events: float = 40) -> None:
    """Simulate a CRM into Parquet files, with no customer entered twice and no clerical errors."""
    command = [sys.executable, "-m", "pipeline.cli", "simulate", "--out", str(folder), "--json", "--no-truth"]
    command += [
        "--customers",
        str(customers),
        "--events-per-customer",
        str(events),
        "--duplicates",
        "0",
        "--dirt",
        "0",
        "--force",
    ]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent)


def database_of(server: Path) -> str:
    """Address of the database of a server that was started in a folder."""
    read = configparser.ConfigParser()
    read.read(server / "odoo.conf")
    options = read["options"]
    return (
        f"postgresql://{options['db_user']}:{options['db_password']}@{options['db_host']}:{options['db_port']}/"
        f"{options['db_name']}"
    )


def read_server(server: Path) -> dict[str, str]:
    """Address and keys of a server that was started in a folder."""
    lines = (server / "env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def load_world(server: Path, folder: Path) -> timedelta:
    """Put simulated tables into the database of a server, moved in time so that they end now.

    Returns
    -------
    timedelta
        What was added to every time: whole days.

    """
    end = duckdb.sql(f"SELECT now FROM '{folder / 'clock.parquet'}'").fetchall()[0][0]
    shift = timedelta(days=(datetime.now(UTC).replace(tzinfo=None) - end).days)
    script = re.sub("^--.*$", "", (HERE / "odoo_world.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    with postgres.connect(database_of(server)) as connection, connection.cursor() as cursor:
        for name in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS sim_{name}")
            cursor.adbc_ingest(f"sim_{name}", shifted(folder / f"{name}.parquet", shift).to_reader(), mode="create")
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement.replace(":now", f"timestamp '{end + shift}'"))
        for name in TABLES:
            cursor.execute(f"DROP TABLE sim_{name}")
        connection.commit()
        cursor.execute("ANALYZE")
        connection.commit()
    return shift


def look_up(server: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query in the database of a server."""
    with postgres.connect(database_of(server)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]


def shifted(path: Path, shift: timedelta) -> pa.Table:
    """One simulated table with all of its times moved, as Arrow."""
    kinds = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    moved = [f"{name} + INTERVAL {shift.days} DAY AS {name}" for name, kind, *_ in kinds if kind == "TIMESTAMP"]
    moved += [f"{name} + {shift.days} AS {name}" for name, kind, *_ in kinds if kind == "DATE"]
    return duckdb.sql(f"SELECT * REPLACE ({', '.join(moved)}) FROM '{path}'").to_arrow_table()


def main() -> int:
    """Simulate and load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", type=Path)
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--events", type=float, default=40, help="rows of all event tables per customer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), arguments.customers, arguments.events)
        print(f"times moved by {load_world(arguments.server, Path(folder)).days} days")
    return 0


if __name__ == "__main__":
    sys.exit(main())
