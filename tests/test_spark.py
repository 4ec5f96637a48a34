"""The same groups on DuckDB and on Spark: equal to the bit, but for logarithms and ratios."""

import os
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from conftest import make_tables
from small_crm import write_configs
from stored import stored_world
from test_subscription_churn import CUSTOMERS, LAPSE, SUBSCRIPTIONS

from features import spark as engine
from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.engine import open_database
from features.errors import DataError
from features.labels import build_labels
from features.spine import build_spine
from features.tables import CrmTables, Engine, load_tables
from features.targets import SpinePlan, Target
from pipeline.deployment import load_extract, make_spine_plan, make_target
from pipeline.simulate import simulate_crm, write_sql

ENGINES: tuple[Engine, Engine] = ("duckdb", "spark")
EXACT = {"count", "days", "currency", "rank", "text"}
"""Units whose values are equal to the bit; shares and rates may go through a logarithm."""
QUICK_START = (
    '--conf spark.driver.extraJavaOptions="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" '
    "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN "
    "--conf spark.sql.shuffle.partitions=1 pyspark-shell"
)
"""Java and plans that are ready sooner and work slower: there are few rows."""


@pytest.fixture(scope="session")
def spark() -> None:
    """Spark on this machine; the test is skipped where PySpark or Java is absent."""
    if find_spec("pyspark") is None:
        pytest.skip("PySpark is not installed: pip install 'leadsieve[spark]'")
    if not engine.has_java():
        pytest.skip("Java is not installed: on Debian apt-get install default-jre-headless")
    with patch.dict(os.environ, {"PYSPARK_SUBMIT_ARGS": QUICK_START}), engine.quiet():
        engine.make_session()


def on(name: Engine, tables: CrmTables) -> CrmTables:
    return replace(tables, engine=name)


@pytest.fixture(scope="module")
def crm(spark: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Config of a simulated CRM that is extracted."""
    world = write_configs(tmp_path_factory.mktemp("crm"))
    write_sql(simulate_crm(150, seed=3), world.folder / "crm.db")
    assert world.run("extract").code == 0
    return world.config


@pytest.fixture(scope="module", params=["conversion", "churn"])
def target(request: pytest.FixtureRequest, crm: Any) -> Target:
    return make_target(crm, request.param)


@pytest.fixture(scope="module")
def spines(crm: Any, target: Target) -> list[pd.DataFrame]:
    """Snapshots at month starts and, for deals, at two ages, by each engine."""
    tables = load_extract(crm)
    return [build_spine(on(name, tables), target, make_spine_plan(crm, target.name)) for name in ENGINES]


@pytest.fixture(scope="module")
def built(crm: Any, target: Target, spines: list[pd.DataFrame]) -> list[FeatureFrame]:
    """All features of the shipped catalog, by each engine."""
    tables = load_extract(crm)
    return [build_features(on(name, tables), spines[0], CATALOG, target.table) for name in ENGINES]


def test_both_engines_look_at_the_same_snapshots(spines: list[pd.DataFrame], target: Target) -> None:
    assert len(spines[0]) > 300
    assert set(spines[0]["origin"]) == ({"grid", "age"} if target.name == "conversion" else {"grid"})
    pd.testing.assert_frame_equal(*spines)


def test_both_engines_give_the_same_labels(crm: Any, target: Target, spines: list[pd.DataFrame]) -> None:
    labels = [build_labels(on(name, load_extract(crm)), spines[0], target) for name in ENGINES]
    assert labels[0]["label"].nunique() == 2
    assert labels[0]["label"].isna().any()  # the newest are not ripe
    pd.testing.assert_frame_equal(*labels)


def test_both_engines_look_at_and_label_subscribers_alike(spark: None, tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, subscriptions=SUBSCRIPTIONS)
    spines = [build_spine(on(name, tables), LAPSE, SpinePlan("week", date(2024, 2, 1))) for name in ENGINES]
    pd.testing.assert_frame_equal(*spines)
    labels = [build_labels(on(name, tables), spines[0], replace(LAPSE, settle_days=None)) for name in ENGINES]
    pd.testing.assert_frame_equal(*labels)
    assert labels[0]["label"].value_counts(dropna=False).min() > 5  # left, stayed, and nobody can say


def test_both_engines_build_and_skip_the_same_features(built: list[FeatureFrame]) -> None:
    ours, theirs = built
    assert (ours.infos, ours.skipped) == (theirs.infos, theirs.skipped)
    pd.testing.assert_series_equal(ours.frame.dtypes, theirs.frame.dtypes)
    pd.testing.assert_frame_equal(ours.frame[["entity_id", "as_of"]], theirs.frame[["entity_id", "as_of"]])


def test_counts_times_and_sums_agree_to_the_bit_and_the_rest_to_1e_12(built: list[FeatureFrame]) -> None:
    ours, theirs = built
    apart = {}
    for info in ours.infos:
        here, there = ours.frame[info.name], theirs.frame[info.name]
        if info.unit in EXACT:
            is_equal = here.equals(there)
        else:
            is_equal = bool(np.isclose(here, there, rtol=1e-12, atol=0, equal_nan=True).all())
        if not is_equal:
            apart[info.name] = (here[here != there].head(3).tolist(), there[here != there].head(3).tolist())
    assert apart == {}
    assert sum(info.unit in EXACT for info in ours.infos) > 50


@pytest.mark.parametrize("name", ENGINES)
def test_both_engines_cut_time_at_the_same_microsecond(
    request: pytest.FixtureRequest, tmp_path: Path, name: Engine
) -> None:
    if name == "spark":
        request.getfixturevalue("spark")
    tables = make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "1960-01-01"}], orders="""
        order_id  occurred_at                 known_at                    customer_id  amount  quantity
        O1        1969-12-31 23:59:59.500000  1970-01-01                  C1           0.0001  1  # its second: ...:59
        O2        2024-02-29 11:59:59.999999  2024-02-29 12:00:00         C1           10      1  # and 1 µs earlier
        O3        2024-02-29 12:00:00         2024-02-29 12:00:00         C1           20      1  # 30 days before as_of
        O4        2024-03-30 11:59:59.999999  2024-03-30 11:59:59.999999  C1           40      1  # known just in time
        O5        2024-03-01                  2024-03-30 12:00:00         C1           80      1  # known too late
        O6        2024-03-30 12:00:00         2024-03-30 12:00:00         C1           160     1  # in the label
    """)  # fmt: skip
    tables = on(name, tables)
    churn = Target("churn", "churn", 30, settle_days=0)
    at = pd.Series(["2024-03-30 12:00:00.000000", "2024-03-30 12:00:00.000001"]).astype("datetime64[us]")
    spine = pd.DataFrame({"entity_id": "C1", "as_of": at, "customer_id": "C1"})
    groups = [group for group in CATALOG if group.name in {"order_demand", "order_history"}]
    frame = build_features(tables, spine, groups, "customers").frame
    assert frame["orders_count"].tolist() == [4, 6]
    assert frame["orders_amount"].tolist() == [70.0001, 310.0001]
    assert frame["orders_amount_90d"].tolist() == [70, 310]
    assert frame["orders_amount_30d"].tolist() == [60, 280]  # a microsecond later O3 has left the window
    assert frame["orders_days_since_last"].tolist() == [1 / 86_400, 0]  # whole seconds: 11:59:59 and 12:00:00
    assert frame["orders_days_since_first"].tolist() == [(1_711_800_000 + 1) / 86_400] * 2  # O1 is a second before 1970
    labels = build_labels(tables, spine, churn)
    assert labels["label"].tolist() == [0, 1]  # O6 is the only order after as_of, and no longer a microsecond later
    plan = SpinePlan(grid="month", ages_days=(0,))
    ages = build_spine(tables, churn, replace(plan, grid=None))
    assert ages.empty  # born without an order
    months = build_spine(tables, churn, plan)["as_of"]
    assert (months.iloc[0], months.iloc[-1]) == (pd.Timestamp("1970-02-01"), pd.Timestamp("2024-07-01"))


def test_nobody_to_look_at_gives_an_empty_frame(spark: None, tmp_path: Path) -> None:
    orders = [{"order_id": "O1", "occurred_at": "2024-01-01", "customer_id": "C1", "amount": 1}]
    tables = make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01"}], orders=orders)
    nobody = pd.DataFrame({"entity_id": [], "as_of": [], "customer_id": []}).astype({"as_of": "datetime64[us]"})
    groups = [group for group in CATALOG if group.name == "order_history"]
    frames = [build_features(on(name, tables), nobody, groups, "customers").frame for name in ENGINES]
    assert frames[0].empty
    pd.testing.assert_frame_equal(*frames)


def test_the_engine_is_that_of_the_tables_unless_another_is_asked_for(spark: None, tmp_path: Path) -> None:
    made = make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01"}])
    assert load_tables(made.folder).engine == "duckdb"
    with open_database(made, engine="spark") as database:
        assert isinstance(database, engine.SparkDatabase)
        assert database.value(database.table("customers").count()) == 1
    with open_database(on("spark", made), engine="duckdb") as database:
        assert not isinstance(database, engine.SparkDatabase)


def test_without_pyspark_or_java_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    absent: dict[str, Any] = {"pyspark": None}
    with patch.dict("sys.modules", absent), pytest.raises(DataError, match=r"'leadsieve\[spark\]'.*`engine: duckdb`"):
        engine.make_session()
