"""The simulated CRM: what its tables promise, and where they are written."""

import hashlib
import json
import sqlite3
from pathlib import Path
from unittest.mock import Mock

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from features.tables import TABLES
from pipeline.commands.simulate import simulate
from pipeline.config import load_config
from pipeline.errors import ConfigError, CrmError
from pipeline.simulate import EVENT_TABLES, Plan, simulate_crm, simulate_parts, write_files, write_sql
from pipeline.simulation_world import DAY, START

CLOCK = pd.Timestamp("2025-06-30 22:00:00")
DEMO = Path(__file__).parent.parent / "configs" / "demo.yaml"

app = typer.Typer()
app.command()(simulate)


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return simulate_crm(300, seed=5)


@pytest.fixture(scope="module")
def frames(tables: dict[str, pa.Table]) -> dict[str, pd.DataFrame]:
    return {name: table.to_pandas() for name, table in tables.items()}


def connect(tables: dict[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def test_the_same_seed_gives_the_same_bytes(tables, tmp_path):
    again = simulate_crm(300, seed=5)
    for name, folder in (("a", tables), ("b", again)):
        write_files(folder, tmp_path / name)
        write_sql(folder, tmp_path / f"{name}.db")
    assert {path.stem for path in (tmp_path / "a").iterdir()} == {*TABLES, "clock"}
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()


def test_another_seed_gives_another_world(tables):
    other = simulate_crm(300, seed=6)
    assert other["deals"].num_rows != tables["deals"].num_rows
    assert not other["customers"].equals(tables["customers"])


def test_all_required_columns_are_there(tables):
    for name, table in tables.items():
        if name != "clock":
            assert set(TABLES[name].required) | {"known_at"} <= set(table.column_names)


@pytest.mark.parametrize("name", list(TABLES))
def test_no_row_is_known_before_it_occurred_nor_after_the_clock(frames, name):
    frame, time = frames[name], TABLES[name].time
    assert (frame.known_at >= frame[time]).all()
    assert (frame.known_at < CLOCK).all()


def test_closes_and_payments_are_known_no_earlier_than_they_happened(frames):
    for frame, time in ((frames["deals"], "closed_at"), (frames["invoices"], "paid_at")):
        happened = frame.dropna(subset=[time])
        assert (happened[f"{time}_known_at"] >= happened[time]).all()
        assert (frame[time].isna() == frame[f"{time}_known_at"].isna()).all()


def test_nothing_but_a_due_date_lies_after_the_clock(frames):
    for frame in frames.values():
        for column in frame.select_dtypes("datetime").columns.drop("due_at", errors="ignore"):
            assert not (frame[column] >= CLOCK).any() or column == "now", column


@pytest.mark.parametrize("name", [name for name, spec in TABLES.items() if spec.key])
def test_keys_are_unique(frames, name):
    assert frames[name][TABLES[name].key].is_unique


def test_foreign_keys_hold(frames):
    for name, spec in TABLES.items():
        for column, other in spec.references.items():
            if name in frames and column in frames[name]:
                values = frames[name][column].dropna()
                assert len(values)
                assert values.isin(frames[other][TABLES[other].key]).all(), (name, column)


def test_stage_changes_lie_between_creation_and_close(frames):
    moves = frames["stage_changes"].merge(frames["deals"], on="deal_id", suffixes=("", "_deal"))
    assert (moves.occurred_at >= moves.created_at).all()
    assert (moves.occurred_at <= moves.closed_at.fillna(CLOCK)).all()
    first = moves.drop_duplicates("deal_id")
    assert len(first) == len(frames["deals"])
    assert (first.occurred_at == first.created_at).all()


def test_an_open_deal_shows_the_stage_it_entered_last(frames):
    last = frames["stage_changes"].drop_duplicates("deal_id", keep="last").set_index("deal_id").stage
    deals = frames["deals"].set_index("deal_id")
    still_open = deals[deals.outcome.isna()]
    assert len(still_open) > 20
    assert (still_open.stage == last[still_open.index]).all()


@pytest.mark.parametrize("name", EVENT_TABLES)
def test_a_few_percent_of_the_rows_are_known_hours_to_days_late(frames, name):
    lag = frames[name].known_at - frames[name].occurred_at
    late = lag[lag > pd.Timedelta(0)]
    assert 0.005 < len(late) / len(lag) < 0.12
    assert late.min() >= pd.Timedelta(hours=1)
    assert late.max() <= pd.Timedelta(days=41)  # two lags of at most 20 days: a late close, and its overwritten amount


def test_every_change_starts_from_the_value_before_and_the_last_one_is_the_value_of_today(frames):
    for (name, field), rows in frames["attribute_changes"].groupby(["table_name", "field"]):
        before = rows.groupby("entity_id").new_value.shift()
        assert (rows.old_value[before.notna()] == before.dropna()).all()
        assert (rows.old_value != rows.new_value).all()
        last = rows.drop_duplicates("entity_id", keep="last").set_index("entity_id").new_value
        today = frames[name].set_index(TABLES[name].key)[field].astype(str)
        assert (today[last.index] == last).all(), (name, field)


def test_the_amount_of_a_lost_deal_is_overwritten_at_its_close_and_not_known_before_the_close_is(frames):
    changes, deals = frames["attribute_changes"], frames["deals"]
    zeroed = changes[(changes.field == "amount") & (changes.new_value == "0.00")]
    zeroed = zeroed.merge(deals, left_on="entity_id", right_on="deal_id", suffixes=("", "_deal"))
    assert len(zeroed) > 50
    assert (zeroed.outcome == "lost").all()
    assert (zeroed.occurred_at == zeroed.closed_at).all()
    assert (zeroed.known_at >= zeroed.closed_at_known_at).all()
    assert (zeroed.old_value.astype(float) > 0).all()


def test_the_credit_grade_falls_to_the_bottom_only_after_customers_have_left():
    (part,) = simulate_parts(Plan(4000, seed=3, duplicates=0))
    changes = part.tables["attribute_changes"].to_pandas()
    fallen = changes[
        (changes.field == "credit_grade") & (changes.new_value == "D") & changes.old_value.isin(["A", "B"])
    ]
    assert len(fallen) > 5
    gone_from = part.world.accounts.gone_from()[fallen.entity_id.str[1:].astype(int) - 1]
    days = (fallen.occurred_at - pd.Timestamp(START)).dt.total_seconds() / DAY - gone_from / DAY
    assert days.between(29, 151).all()


def test_activity_is_heavy_tailed(frames):
    per_customer = np.sort(frames["activities"].customer_id.value_counts().to_numpy())[::-1]
    assert per_customer[: len(per_customer) // 10].sum() > 0.3 * per_customer.sum()


def test_base_rates_are_in_range_and_behaviour_before_the_date_separates_the_labels():
    connection = connect(simulate_crm(1500, seed=11))
    churn = connection.execute("""
        SELECT count(*) FILTER (WHERE amount > 0 AND known_at >= as_of AND occurred_at >= as_of) = 0 AS churned,
            count(*) FILTER (WHERE known_at < as_of AND occurred_at >= as_of - INTERVAL 90 DAY) AS orders_90d
        FROM orders, (VALUES (TIMESTAMP '2024-06-01'), (TIMESTAMP '2025-03-01')) grid (as_of)
        WHERE occurred_at >= as_of - INTERVAL 365 DAY AND occurred_at < as_of + INTERVAL 90 DAY
        GROUP BY customer_id, as_of HAVING count(*) FILTER (WHERE amount > 0 AND known_at < as_of) > 0
    """).df()
    conversion = connection.execute("""
        SELECT d.deal_id, as_of, coalesce(d.outcome = 'won' AND closed_at < as_of + INTERVAL 90 DAY, false) AS won,
            count(activity_id) AS activities_30d
        FROM (VALUES (TIMESTAMP '2024-06-01'), (TIMESTAMP '2025-03-01')) grid (as_of)
        JOIN deals d ON d.known_at < as_of AND (closed_at IS NULL OR closed_at_known_at >= as_of)
        LEFT JOIN activities a ON a.deal_id = d.deal_id AND a.known_at < as_of
            AND a.occurred_at >= as_of - INTERVAL 30 DAY
        GROUP BY ALL
    """).df()
    assert 0.12 < churn.churned.mean() < 0.30
    assert 0.10 < conversion.won.mean() < 0.27
    orders = churn.groupby("churned").orders_90d.mean()
    assert orders[True] < 0.5 * orders[False]
    activities = conversion.groupby("won").activities_30d.mean()
    assert activities[True] > 1.15 * activities[False]


def test_the_number_of_events_is_what_was_asked_for():
    tables = simulate_crm(300, seed=5, events_per_customer=150)
    assert sum(tables[name].num_rows for name in EVENT_TABLES) == pytest.approx(300 * 150, rel=0.03)


@pytest.mark.parametrize(
    ("customers", "events", "message"),
    [
        (3, 80.0, r"customers is 3, expected at least 20"),
        (300, float("nan"), r"events_per_customer is nan"),
        (300, 0.5, r"events_per_customer is 0.5, expected 1 to 10,000"),
        (20, 10.0, r"events_per_customer is 10, but .* already make \d+\.\d per customer\. Pass at least \d\d\."),
    ],
)
def test_a_world_too_small_or_without_a_size_is_refused(customers, events, message):
    with pytest.raises(ConfigError, match=message):
        simulate_crm(customers, seed=1, events_per_customer=events)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"duplicates": 0.5}, r"duplicates is 0.5, expected 0 to 0.2"),
        ({"dirt": -0.1}, r"dirt is -0.1, expected 0 to 1"),
        ({"policy": 1.5}, r"policy is 1.5, expected 0 to 1"),
    ],
)
def test_a_share_out_of_range_is_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        simulate_crm(300, seed=1, **option)


def test_sqlite_holds_the_rows_times_as_text_and_empty_score_columns(tables, frames, tmp_path):
    write_sql(tables, f"sqlite:///{tmp_path / 'folder' / 'crm.db'}")
    with sqlite3.connect(tmp_path / "folder" / "crm.db") as connection:
        for name, table in tables.items():
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (table.num_rows,)
        row = connection.execute("SELECT created_at, expected_close_on, amount, lead_score FROM deals").fetchone()
        grades = connection.execute("SELECT DISTINCT churn_risk, churn_grade, churn_reasons FROM customers").fetchall()
    connection.close()
    first = frames["deals"].iloc[0]
    assert row == (str(first.created_at), str(first.expected_close_on), float(first.amount), None)
    assert grades == [(None, None, None)]


def test_the_demo_config_reads_every_table_and_writes_to_columns_that_exist(tables, tmp_path):
    config = load_config(DEMO)
    write_sql(tables, tmp_path / "crm.db")
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        now = connection.execute(config.source.data_end_select).fetchone()
        for name, mapping in config.tables.items():
            delivered = [column[0] for column in connection.execute(mapping.select).description]
            assert {*TABLES[name].required, *mapping.static, *mapping.tracked, mapping.known_at} <= set(delivered)
        for place in config.write_back.tables.values():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({place.target})")}
            assert {place.key, *place.fields} <= columns
    connection.close()
    assert now == (str(CLOCK),)
    assert set(config.tables) == set(tables) - {"clock"}
    assert all((DEMO.parent.parent / target.scorecard).is_file() for target in config.targets.values())


def test_an_earlier_simulation_is_replaced_only_with_force(tables, tmp_path):
    place = tmp_path / "crm.db"
    write_sql(tables, place)
    write_files(tables, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"crm.db holds an earlier simulation.*--force"):
        write_sql(tables, place)
    with pytest.raises(ConfigError, match=r"Folder .*out holds an earlier simulation.*--force"):
        write_files(tables, tmp_path / "out")
    write_files(tables, tmp_path / "out", force=True)
    write_sql(tables, place, force=True)


def test_a_write_that_breaks_off_leaves_the_earlier_simulation(tables, tmp_path, monkeypatch):
    write_sql(tables, tmp_path / "crm.db")
    write_files(tables, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    other = simulate_crm(60, seed=1) | {"orders": pa.table({"order_id": ["R1"], "amount": [{"no": "SQL type"}]})}
    with pytest.raises(CrmError, match=r"failed while writing the simulated tables.*run the same command again"):
        write_sql(other, tmp_path / "crm.db", force=True)
    monkeypatch.setattr(
        "pyarrow.parquet.ParquetWriter.write_table", Mock(side_effect=OSError(28, "No space left on device"))
    )
    with pytest.raises(ConfigError, match=r"cannot be written \(No space left on device\)"):
        write_files(other, tmp_path / "out", force=True)
    connection = sqlite3.connect(tmp_path / "crm.db")
    assert connection.execute("SELECT customers, seed FROM clock").fetchall() == [(300, 5)]
    assert connection.execute("SELECT count(*) FROM customers").fetchone() == (300,)
    connection.close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_folder_of_something_else_is_never_written_over(tables, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"did not write.*Choose another place"):
        write_files(tables, tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_tables_of_a_real_crm_are_never_replaced_and_other_tables_stay(tables, tmp_path):
    for table in ("customers", "employees"):
        connection = sqlite3.connect(tmp_path / f"{table}.db")
        connection.execute(f"CREATE TABLE {table} AS SELECT 1 AS id")
        connection.commit()
        connection.close()
    with pytest.raises(ConfigError, match=r"Table 'customers' of SQLite file .* did not write"):
        write_sql(tables, tmp_path / "customers.db", force=True)
    write_sql(tables, tmp_path / "employees.db")
    connection = sqlite3.connect(tmp_path / "employees.db")
    assert connection.execute("SELECT id FROM employees").fetchall() == [(1,)]
    connection.close()


def test_a_place_that_cannot_be_written_is_named(tables, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Folder .*file cannot be written .*--out"):
        write_files(tables, tmp_path / "file")
    with pytest.raises(ConfigError, match=r"Folder .*file cannot be made .*--sql"):
        write_sql(tables, tmp_path / "file" / "crm.db")
    with pytest.raises(CrmError, match=r"failed while writing the simulated tables"):
        write_sql(tables, tmp_path)


def test_the_command_writes_files_and_sqlite_and_reports_rows(tmp_path):
    size = ["--customers", "60", "--seed", "2", "--events-per-customer", "90"]
    written = CliRunner().invoke(app, [*size, "--out", str(tmp_path / "out")])
    assert written.exit_code == 0, written.output
    assert written.stdout.split()[:2] == ["customers", "60"]
    assert (tmp_path / "out" / "activities.parquet").is_file()
    written = CliRunner().invoke(app, [*size, "--sql", f"sqlite:///{tmp_path / 'crm.db'}", "--json"])
    document = json.loads(written.stdout)
    assert document["now"] == str(CLOCK)
    assert document["rows"]["customers"] == 60


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_command_writes_the_truth_and_the_leaks_beside_the_tables_and_the_same_bytes_twice(tmp_path):
    size = ["--customers", "60", "--events-per-customer", "90", "--leaks", "--policy", "0.5"]
    for name in ("a", "b"):
        written = CliRunner().invoke(app, [*size, "--out", str(tmp_path / name)])
        assert written.exit_code == 0, written.output
    first = files_of(tmp_path / "a")
    assert first == files_of(tmp_path / "b")
    assert {"leaks.parquet", "truth/conversion.parquet", "truth/churn.parquet"} <= set(first)
    deals = pd.read_parquet(tmp_path / "a" / "deals.parquet")
    assert pd.read_parquet(tmp_path / "a" / "truth" / "conversion.parquet").entity_id.isin(deals.deal_id).all()


def test_a_simulation_without_truth_and_leaks_leaves_none_of_an_earlier_one(tmp_path):
    size = ["--customers", "60", "--events-per-customer", "90", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, [*size, "--leaks"]).exit_code == 0
    assert CliRunner().invoke(app, [*size, "--no-truth", "--force"]).exit_code == 0
    assert set(files_of(tmp_path / "out")) == {f"{name}.parquet" for name in (*TABLES, "clock")}


def test_a_folder_named_truth_that_the_simulator_did_not_write_stays(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "churn.parquet").write_text("mine")
    with pytest.raises(ConfigError, match=r"did not write.*Choose another place"):
        write_files(simulate_crm(60, seed=1), tmp_path, force=True)
    assert files_of(tmp_path).keys() == {"truth/churn.parquet"}


def test_a_database_gets_the_planted_columns_but_no_list_of_them(tmp_path):
    size = ["--customers", "60", "--events-per-customer", "90", "--leaks", "--sql", f"sqlite:///{tmp_path / 'crm.db'}"]
    assert CliRunner().invoke(app, size).exit_code == 0
    connection = sqlite3.connect(tmp_path / "crm.db")
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {*TABLES, "clock"}
    assert connection.execute("SELECT count(lifetime_orders) FROM customers").fetchone() == (60,)
    connection.close()


@pytest.mark.parametrize(("places", "given"), [([], "neither"), (["--out", "a", "--sql", "sqlite:///b"], "both")])
def test_the_command_wants_exactly_one_place(places, given):
    result = CliRunner().invoke(app, places)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"simulate got {given} of --out and --sql")
