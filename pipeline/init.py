# ruff: noqa: S608  (names are quoted)
"""Draft a config from a source: which tables it has, what they probably are, and what a person must check."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from pipeline.database import describe_error, describe_place, make_engine
from pipeline.errors import ConfigError, CrmError
from pipeline.guess import FoundTable, Guess, guess_tables
from pipeline.staging import open_duckdb, quote

_READERS = {".csv": "read_csv", ".tsv": "read_csv", ".txt": "read_csv", ".parquet": "read_parquet"}


def draft_from_files(folder: Path, name: str, spill: Path) -> str:
    """Draft a config for the CSV and Parquet files below a folder.

    Parameters
    ----------
    folder : Path
        Where the files are; subfolders count.
    name : str
        Name of the deployment.
    spill : Path
        Where DuckDB may put what does not fit into memory.

    Returns
    -------
    str
        YAML that `load_config` accepts; places to check are marked CHECK.

    Raises
    ------
    ConfigError
        If the folder has no such files.

    """
    if not folder.is_dir():
        raise ConfigError(f"The folder {folder} does not exist. Pass one with CSV or Parquet files.")
    connection = open_duckdb(spill)
    connection.execute("SET file_search_path = '{}'".format(str(folder.resolve()).replace("'", "''")))
    found = list(_found_files(connection, folder))
    if not found:
        raise ConfigError(f"No CSV or Parquet file can be read below {folder}. Pass a folder that has some.")
    guesses = guess_tables(found)
    times = [time for guess in guesses.values() if (time := _newest(connection, guess))]
    connection.close()
    source = [
        "  adapter: files",
        f"  folder: {as_yaml(str(folder))}   # or folder_env: the NAME of an environment variable",
        f"  data_end: {_day_after(max(times, default=datetime.now(UTC)))}   # CHECK: when the files were written (UTC)",
    ]
    return _draft(name, source, found, guesses)


def draft_from_database(place: Path | str, name: str, source: list[str]) -> str:
    """Draft a config for the tables and views of a database.

    Parameters
    ----------
    place : Path or str
        A SQLite file, or an SQLAlchemy URL; the draft never shows it.
    name : str
        Name of the deployment.
    source : list of str
        Lines of the section `source` that say where it is.

    """
    engine = make_engine(place)
    if isinstance(place, Path) and not place.is_file():
        raise CrmError(f"{describe_place(engine.url)} does not exist. Pass the path of an existing file.")
    try:
        found = list(_found_tables(engine))
    except SQLAlchemyError as error:
        raise CrmError(
            f"{describe_place(engine.url)} does not answer: {describe_error(error, engine.url)}. Run this again once "
            "it does."
        ) from None
    finally:
        engine.dispose()
    if not found:
        raise ConfigError(f"{describe_place(engine.url)} has no tables. Pass a database that has some.")
    clock = "  # data_end_select: SELECT ...   # a SELECT of the source's 'now' (UTC); default: the database's clock"
    return _draft(name, ["  adapter: sql", *source, clock], found, guess_tables(found))


def _found_files(connection: duckdb.DuckDBPyConnection, folder: Path) -> Iterator[FoundTable]:
    """Files whose names differ by a number only, such as orders_1 and orders_2, are read as one table."""
    groups: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        relative = str(path.relative_to(folder))
        if path.is_file() and _reader(path) and not relative.startswith("."):
            groups.setdefault(re.sub(r"\d+", "*", relative), []).append(relative)
    for pattern, paths in groups.items():
        for place in [pattern] if len(paths) > 1 else paths:
            reader = "{}('{}')".format(_reader(Path(paths[0])), place.replace("'", "''"))
            try:
                described = connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
            except duckdb.Error:
                continue  # not a table after all, or files that do not belong together
            yield FoundTable(place, reader, {column: kind for column, kind, *_ in described})


def _reader(path: Path) -> str | None:
    suffix = path.with_suffix("").suffix if path.suffix in (".gz", ".zst") else path.suffix
    return _READERS.get(suffix.lower())


def _found_tables(engine: Engine) -> Iterator[FoundTable]:
    inspector = inspect(engine)
    as_name = engine.dialect.identifier_preparer.quote
    for table in sorted({*inspector.get_table_names(), *inspector.get_view_names()}):
        yield FoundTable(table, as_name(table), {one["name"]: str(one["type"]) for one in inspector.get_columns(table)})


def _newest(connection: duckdb.DuckDBPyConnection, guess: Guess) -> datetime | None:
    """Newest time of what happened in a table, not counting the future."""
    names = dict.fromkeys([guess.spec.time, *guess.spec.revealed.values()])
    columns = [f"TRY_CAST({quote(guess.columns[name])} AS TIMESTAMP)" for name in names if name in guess.columns]
    now = f"TIMESTAMP '{datetime.now(UTC).replace(tzinfo=None)}'"
    newest = [f"max({column}) FILTER (WHERE {column} < {now})" for column in columns]
    if not newest:
        return None
    try:
        row = connection.execute(f"SELECT greatest({', '.join(newest)}) FROM {guess.found.reader}").fetchone()
    except duckdb.Error:
        return None  # a type that is no time: the data_end of the draft is a guess anyway
    return row[0] if row else None


def check_names(name: str, url_env: str | None) -> None:
    """Check the name of a deployment and of an environment variable; the latter may hold a secret by mistake.

    Raises
    ------
    ConfigError
        If one of them is no such name.

    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ConfigError(f"'{name}' is no name for a deployment. Use small letters, digits and _, such as mycrm.")
    if url_env is not None and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", url_env):
        raise ConfigError(
            "--url-env takes the name of an environment variable and got something else (not shown, it may be a "
            "secret). Put the URL into the environment and pass its name, such as CRM_URL."
        )


_STAGES = ("stages: []        # CHECK: deal stages in order, as [new, demo, offer]; none: no stage features",)


def _day_after(moment: datetime) -> str:
    return f"{moment + timedelta(days=1):%Y-%m-%d}"


def _draft(name: str, source: list[str], found: list[FoundTable], guesses: dict[str, Guess]) -> str:
    used = {name for guess in guesses.values() for name in (guess.found.name, *guess.others)}
    unused = [table.name for table in found if table.name not in used]
    lines = [
        "# Draft of `leadsieve init`: tables and columns were recognised by their names. Look at every CHECK, then",
        "# `leadsieve extract --dry-run --config THIS_FILE` shows what is kept, what is left out, and what is wrong.",
        f"name: {name}",
        "time_zone: UTC    # CHECK: the zone of times that name none, such as Europe/Berlin",
        "currency: EUR     # CHECK: one per deployment",
        *(_STAGES if "stage_changes" in guesses else ()),
        "",
        "source:",
        *source,
        "",
        "tables:",
        *(line for guess in guesses.values() for line in _table_lines(guess)),
    ]
    if not {"customers", "deals"} & set(guesses):
        lines += _customer_lines(guesses)
    if unused:
        lines.append(f"# Not recognised: {', '.join(unused)}")
    return "\n".join([*lines, "", *_target_lines(guesses), "", *_WRITE_BACK]) + "\n"


def _table_lines(guess: Guess) -> list[str]:
    """Return one table of the draft: its SELECT, and what has to be said about history."""
    name = guess.spec.name
    wanted = [*guess.columns, *guess.missing]
    columns = [
        f"{quote(guess.columns[column])} AS {column}" if column in guess.columns else f"NULL AS {column}"
        for column in wanted
    ]
    notes = [f"CHECK: nothing looks like {', '.join(guess.missing)}, which the table needs"] if guess.missing else []
    notes += [f"CHECK: also looks like {name}: {', '.join(guess.others)} (UNION ALL?)"] if guess.others else []
    notes += [f"not used: {', '.join(guess.unused)}"] if guess.unused else []
    lines = [f"  {name}:", *(f"    # {note}" for note in notes), "    select: |", "      SELECT"]
    lines += [f"        {column}{',' if place < len(columns) - 1 else ''}" for place, column in enumerate(columns)]
    lines.append(f"      FROM {guess.found.reader}")
    if "known_at" in guess.columns:
        lines.append("    known_at: known_at    # CHECK: is this when the CRM came to know the row?")
    if guess.spec.is_entity:
        kept = {guess.spec.key, guess.spec.time, "customer_id", "known_at", *guess.spec.revealed}
        attributes = [column for column in guess.columns if column not in kept and not column.endswith("_known_at")]
        lines.append(f"    static: []    # CHECK: which of these never change? {', '.join(attributes) or 'none found'}")
        lines.append(
            "    # tracked: []   # those that change and whose changes are in attribute_changes; others stay out"
        )
    return lines


def _customer_lines(guesses: dict[str, Guess]) -> list[str]:
    """Customers made of their orders or invoices, when the source has no table of them."""
    lines = ["  customers:", "    # CHECK: no table looks like customers or deals, of which one is needed"]
    for guess in guesses.values():
        if {"customer_id", "occurred_at"} <= set(guess.columns):
            customer, time = (quote(guess.columns[column]) for column in ("customer_id", "occurred_at"))
            return [
                *lines,
                "    select: |",
                f"      SELECT {customer} AS customer_id, min({time}) AS created_at",
                f"      FROM {guess.found.reader} WHERE {customer} IS NOT NULL GROUP BY {customer}",
            ]
    return [*lines, "    select: SELECT NULL AS customer_id, NULL AS created_at"]


def _target_lines(guesses: dict[str, Guess]) -> list[str]:
    lines = []
    if "deals" in guesses:
        lines += [
            "  conversion:                  # will this open deal be won within 90 days?",
            "    kind: conversion",
            "    horizons_days: [90]",
            "    spine: {grid: month, ages_days: [0, 7, 30]}",
        ]
    if "orders" in guesses:
        lines += [
            "  churn:                       # will this customer order nothing for 90 days?",
            "    kind: churn",
            "    by: orders",
            "    lookback_days: 365         # customers with an order in the last year; null: who ever ordered",
            "    horizons_days: [90]",
            "    spine: {grid: month}",
        ]
    return ["targets:", *lines] if lines else ["targets: {}    # CHECK: needs deals (conversion) or orders (churn)"]


_WRITE_BACK = [
    "# Where scores go, when you are ready:",
    "# write_back:",
    "#   adapter: sql",
    "#   url_env: CRM_URL             # the NAME of an environment variable that holds an SQLAlchemy URL",
    "#   owned_fields: {customers: [churn_risk, churn_grade]}     # nobody else writes these",
    "#   tables:",
    "#     churn: {target: customers, key: customer_id, fields: {churn_risk: probability, churn_grade: grade}}",
]


def as_yaml(value: str) -> str:
    """Text as a quoted YAML value."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
