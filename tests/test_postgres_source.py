"""PostgreSQL as a source, on a real server: its types, its one snapshot, and what happens when it goes away."""

import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from postgres_server import Database

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.sql import SqlSource
from pipeline.config import Config
from pipeline.errors import ConfigError, CrmError
from pipeline.extract import ExtractReport, extract

CUSTOMERS = "CREATE TABLE customers (customer_id bigint PRIMARY KEY, created_at timestamptz NOT NULL)"
ONE_CUSTOMER = "INSERT INTO customers VALUES (7, '2024-01-01 10:00:00+00')"
ALL = "SELECT * FROM customers"


@pytest.fixture
def crm(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with one customer, and its URL in the environment."""
    postgres.execute(CUSTOMERS)
    postgres.execute(ONE_CUSTOMER)
    monkeypatch.setenv("CRM_URL", postgres.url)
    return postgres


def make_config(folder: Path, source: dict | None = None, time_zone: str = "UTC", **tables: str | dict) -> Config:
    mappings = {name: {"select": table} if isinstance(table, str) else table for name, table in tables.items()}
    values = {"adapter": "sql", "url_env": "CRM_URL", "data_end": "2024-07-01", **(source or {})}
    return Config.model_validate(
        {
            "name": "shop",
            "state": str(folder / "state"),
            "time_zone": time_zone,
            "source": values,
            "tables": mappings,
            "targets": {},
        }
    )


def stored(report: ExtractReport, name: str, columns: str = "*") -> list[tuple]:
    return duckdb.sql(f"SELECT {columns} FROM '{load_tables(report.folder).path(name)}' ORDER BY 1").fetchall()


def deliver(crm: Database, folder: Path, select: str, time_zone: str = "UTC") -> pa.Table:
    """What the source delivers for a SELECT."""
    source = SqlSource(make_config(folder, time_zone=time_zone, customers=select))
    try:
        return pa.Table.from_batches(list(source.read("customers")))
    finally:
        source.close()


@pytest.mark.parametrize(
    ("value", "kind", "delivered"),
    [
        ("numeric '12.50'", "decimal128(38, 18)", Decimal("12.50")),
        ("12345678901234567.89::numeric(20, 2)", "decimal128(20, 2)", Decimal("12345678901234567.89")),
        ("2::numeric / 3", "decimal128(38, 18)", Decimal("0.666666666666666666")),
        ("(1::numeric / 3)::numeric(30, 20)", "decimal128(30, 20)", Decimal("0.33333333333333333333")),
        ("0.12345678901234567890129::numeric", "decimal128(38, 18)", Decimal("0.123456789012345678")),
        ("numeric 'NaN'", "decimal128(38, 18)", None),  # no value, as everywhere
        ("numeric 'Infinity'", "string", "inf"),
        ("1e30::numeric", "string", "1" + "0" * 30),
        ("money '12.34'", "decimal128(38, 18)", Decimal("12.34")),
        ("bigint '9007199254740993'", "int64", 9007199254740993),
        ("smallint '3'", "int16", 3),
        ("1.5::float8", "double", 1.5),
        ("true", "bool", True),
        ("'逾期'::text", "string", "逾期"),
        ("'ab'::char(5)", "string", "ab"),
        ("'Ab'::citext", "string", "Ab"),
        ("'10.0.0.1'::inet", "string", "10.0.0.1/32"),
        ("'won'::outcome", "string", "won"),
        ("date '2024-02-29'", "date32[day]", date(2024, 2, 29)),
        ("timestamp '2024-01-01 10:00:00.123456'", "timestamp[us]", datetime(2024, 1, 1, 10, 0, 0, 123456)),
        (
            "timestamptz '2024-01-01 10:00:00+08'",
            "timestamp[us, tz=UTC]",
            datetime(2024, 1, 1, 2, tzinfo=UTC),
        ),
        ("'{\"a\": 1}'::jsonb", "string", '{"a": 1}'),
        ("NULL", "string", None),
    ],
)
def test_every_type_arrives_as_it_is(crm, tmp_path, value, kind, delivered):
    if "citext" in value:
        crm.execute("CREATE EXTENSION citext")
    crm.execute("CREATE TYPE outcome AS ENUM ('won', 'lost')")
    table = deliver(crm, tmp_path, f"SELECT {value} AS x")
    assert str(table.schema.field("x").type) == kind
    found = table["x"].to_pylist()
    assert [v.astimezone(UTC) if isinstance(v, datetime) and v.tzinfo else v for v in found] == [delivered]


def test_canonical_types_of_a_whole_extract(crm, tmp_path):
    crm.execute(
        "CREATE TABLE sales (id numeric, uid uuid, at timestamptz, day date, local_at timestamp, client numeric(10, 0),"
        " total numeric(12, 2), cost numeric, note jsonb)"
    )
    crm.execute(
        "INSERT INTO sales VALUES (1, '12345678-1234-5678-1234-567812345678', '2024-02-01 08:00+08', '2024-02-03',"
        " '2024-02-02 08:00', 7, 10.005, 2.00005, '{\"b\": 2}')"
    )
    report = extract(
        make_config(
            tmp_path,
            time_zone="Europe/Berlin",
            customers=ALL,
            orders="SELECT uid AS order_id, at AS occurred_at, client AS customer_id, total AS amount, cost, local_at,"
            " note FROM sales;",
        )
    )
    assert stored(report, "orders", "order_id, occurred_at, customer_id, amount, cost, local_at, note") == [
        (
            "12345678-1234-5678-1234-567812345678",
            datetime(2024, 2, 1),
            "7",
            Decimal("10.0100"),  # the column has rounded it
            Decimal("2.0001"),  # and we half away from zero, to four digits
            datetime(2024, 2, 2, 7),  # a time without zone is Berlin's
            '{"b": 2}',
        )
    ]


def test_a_moment_becomes_a_day_in_the_time_zone_of_the_deployment(crm, tmp_path):
    select = "SELECT (timestamptz '2024-01-01 23:30:00+00')::date AS x"
    assert deliver(crm, tmp_path, select)["x"].to_pylist() == [date(2024, 1, 1)]
    assert deliver(crm, tmp_path, select, "Asia/Tokyo")["x"].to_pylist() == [date(2024, 1, 2)]


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("created_at", "'infinity'::timestamptz", "infinity"),
        ("created_at", "'-infinity'::timestamp", "-infinity"),
        ("created_at", "'infinity'::date", "infinity"),
        ("created_at", "'294276-12-31'::timestamp", "infinity"),
        ("annual_revenue", "'-Infinity'::numeric", "-inf"),
        ("annual_revenue", "'Infinity'::float8", "inf"),
    ],
)
def test_what_is_infinite_cannot_be_read(crm, tmp_path, column, value, shown):
    values = {"customer_id": "1", "created_at": "timestamptz '2024-01-01'", "annual_revenue": "1.5", column: value}
    select = "SELECT " + ", ".join(f"{expression} AS {name}" for name, expression in values.items())
    mapping = {"select": select, "static": ["annual_revenue"]}
    with pytest.raises(DataError, match=rf"'customers'.* of column '{column}' cannot be read \({shown}\)"):
        extract(make_config(tmp_path, customers=mapping))


def test_all_tables_are_as_they_were_when_the_read_began(crm, tmp_path):
    source = SqlSource(make_config(tmp_path, customers=ALL, contacts=ALL))
    first = next(source.read("customers")).num_rows
    crm.execute("INSERT INTO customers VALUES (8, now())")
    assert [first, source.count("customers"), next(source.read("contacts")).num_rows] == [1, 1, 1]
    source.close()
    assert deliver(crm, tmp_path, ALL).num_rows == 2


def test_a_source_cannot_be_changed_by_a_select(crm, tmp_path):
    crm.execute(
        "CREATE FUNCTION grow() RETURNS int LANGUAGE sql AS 'INSERT INTO customers VALUES (9, now()); SELECT 1'"
    )
    for select in ("DELETE FROM customers", "SELECT grow() AS customer_id, now() AS created_at"):
        with pytest.raises(
            ConfigError, match=r"tables.customers.select fails: cannot execute .* read-only transaction"
        ):
            extract(make_config(tmp_path, customers=select))
    assert crm.execute("SELECT customer_id FROM customers") == [(7,)]


def test_data_ends_at_the_clock_of_the_server_in_utc_when_the_read_begins(crm, tmp_path):
    sources = [
        SqlSource(make_config(tmp_path, {"data_end": None, **keys}, customers=ALL))
        for keys in ({}, {"data_end_select": "SELECT timestamptz '2024-06-30 22:00:00+02';"})
    ]
    begun = sources[0].data_end()
    assert abs((begun - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 60
    assert sources[1].data_end() == datetime(2024, 6, 30, 20)
    assert sources[0].data_end() == begun < sources[0].clock()  # it goes on while we read
    for source in sources:
        source.close()


def test_rows_are_counted_since_a_moment_that_is_bound(crm, tmp_path):
    crm.execute("CREATE TABLE local (customer_id int, created_at timestamp)")
    crm.execute("INSERT INTO local VALUES (1, '2024-02-01 09:59'), (2, '2024-02-01 10:00')")
    source = SqlSource(make_config(tmp_path, time_zone="Europe/Berlin", customers="SELECT * FROM local"))
    assert [source.count("customers"), source.count("customers", datetime(2024, 2, 1, 9))] == [2, 1]
    assert [batch.to_pydict() for batch in source.keys("customers")] == [{"customer_id": [1, 2]}]
    source.close()


@pytest.mark.parametrize("declared", ["timestamptz", "timestamp", "date"])
def test_an_incremental_read_delivers_what_changed_since_a_moment_and_what_has_no_time(crm, tmp_path, declared):
    crm.execute(f"CREATE TABLE changing (customer_id int, created_at timestamptz, modified {declared})")
    rows = "(1, now(), '2024-01-30'), (2, now(), '2024-02-03'), (3, now(), NULL), (4, now(), '2024-02-01 23:00')"
    crm.execute(f"INSERT INTO changing VALUES {rows}")
    mapping = {"select": "SELECT * FROM changing WHERE '%' <> 'a';", "modified_at": "modified"}
    source = SqlSource(make_config(tmp_path, time_zone="Europe/Berlin", customers=mapping))
    batches = list(source.read("customers", datetime(2024, 2, 1, 12)))
    source.close()
    found = sorted(one for batch in batches for one in batch.to_pydict()["customer_id"])
    assert found == [2, 3, 4]


def test_tables_of_another_schema_views_and_an_empty_table_are_read(crm, tmp_path):
    crm.execute("CREATE SCHEMA crm")
    crm.execute("CREATE VIEW crm.clients AS SELECT * FROM customers")
    crm.execute('CREATE TABLE crm."Deals" ("Deal ID" int, created_at timestamptz)')
    report = extract(
        make_config(
            tmp_path,
            customers="SELECT * FROM crm.clients",
            contacts="SELECT 'a' AS contact_id, * FROM customers LIMIT 0",
        )
    )
    assert [(table.name, table.rows) for table in report.tables] == [("customers", 1), ("contacts", 0)]
    assert deliver(crm, tmp_path, 'SELECT "Deal ID", created_at FROM crm."Deals"').column_names == [
        "Deal ID",
        "created_at",
    ]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SELECT * FROM clients", r'select fails: relation "clients" does not exist. Correct the SELECT'),
        ("SELECT nope FROM customers", r'select fails: column "nope" does not exist. Correct'),
        ("SELEKT", r'select fails: syntax error at or near "SELEKT". Correct'),
        ("SELECT 1/(customer_id - 7) AS customer_id FROM customers", r"select fails: division by zero. Correct"),
        ("SELECT 1; SELECT 2", r"select fails: cannot insert multiple commands into a prepared statement"),
        ("SELECT $1", r"select fails: there is no parameter \$1"),
        ("SELECT 1/(30000 - i) AS customer_id FROM generate_series(1, 40000) AS i", r"select fails: division by zero"),
        ("SELECT customer_id, created_at, 1 AS x, 2 AS x FROM customers", r"delivers column 'x' twice"),
        ("SELECT 1 AS customer_id, inet '::1' AS x, 2 AS x FROM customers", r"delivers column 'x' twice"),
    ],
)
def test_a_select_that_the_server_refuses_is_named_with_what_it_says(crm, tmp_path, select, expected):
    with pytest.raises(ConfigError, match=expected):
        extract(make_config(tmp_path, customers=select))


def test_a_table_that_the_account_may_not_read_asks_for_a_grant(crm, tmp_path, monkeypatch):
    crm.execute("CREATE ROLE reader LOGIN PASSWORD 'r3ader-secret'")
    try:
        monkeypatch.setenv("CRM_URL", crm.url_of("reader", "r3ader-secret"))
        with pytest.raises(ConfigError, match=r"permission denied for table customers. Grant the account .* SELECT"):
            extract(make_config(tmp_path, customers=ALL))
        crm.execute("GRANT SELECT ON customers TO reader")
        assert extract(make_config(tmp_path, customers=ALL)).tables[0].rows == 1
    finally:
        crm.execute("DROP OWNED BY reader")
        crm.execute("DROP ROLE reader")


def test_without_the_driver_one_sentence_says_what_to_install(crm, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(
        ConfigError, match=r"'adbc-driver-postgresql', which is not installed. Install it with .*postgres"
    ):
        extract(make_config(tmp_path, customers=ALL))


MANY = (
    "SELECT i AS customer_id, timestamptz '2024-01-01' AS created_at, repeat('x', 100) AS name "
    "FROM generate_series(1, 1000000) AS i"
)


def test_a_connection_that_is_killed_while_reading_leaves_the_tables_of_the_run_before(crm, tmp_path):
    before = load_tables(extract(make_config(tmp_path, customers=ALL)).folder)
    source = SqlSource(make_config(tmp_path, customers=MANY))

    class Killed:
        """Its server process is terminated after the first batch."""

        def __getattr__(self, name):
            return getattr(source, name)

        def read(self, table):
            batches = source.read(table)
            yield next(batches)
            crm.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leadsieve' "
                "AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            yield from batches

    with pytest.raises(CrmError, match=r"stopped answering: .*\. Nothing was changed; run this again") as caught:
        extract(make_config(tmp_path, customers=MANY), source=Killed())
    assert crm.password not in str(caught.value)
    assert load_tables(before.folder) == before


def test_options_of_the_url_are_those_of_libpq(crm, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "CRM_URL", crm.url.replace("postgresql://", "postgres://") + "?sslmode=disable&connect_timeout=5"
    )
    assert extract(make_config(tmp_path, customers=ALL)).tables[0].rows == 1
    monkeypatch.setenv("CRM_URL", crm.url + "?sslmode=require")
    with pytest.raises(CrmError, match=r"does not answer: .*server does not support SSL"):
        extract(make_config(tmp_path, customers=ALL))


def test_a_password_of_any_characters_is_one(crm, tmp_path, monkeypatch):
    odd = "p@ss/w:rd %2F?#[ü] '"
    crm.execute("CREATE ROLE odd LOGIN PASSWORD '" + odd.replace("'", "''") + "'")
    try:
        crm.execute("GRANT SELECT ON customers TO odd")
        monkeypatch.setenv("CRM_URL", crm.url_of("odd", odd))
        assert extract(make_config(tmp_path, customers=ALL)).tables[0].rows == 1
    finally:
        crm.execute("DROP OWNED BY odd")
        crm.execute("DROP ROLE odd")
