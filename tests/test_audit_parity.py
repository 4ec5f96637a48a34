"""Parity: what was scored is what is built again from the stored tables, to the bit, or the audit says why not."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from conftest import make_config, read_rows

from features.group import Group
from features.groups.orders import order_demand, order_history
from features.spine import build_scoring_spine
from pipeline.adapters.memory import MemorySource
from pipeline.audit import Audit
from pipeline.audit_findings import find, sum_up
from pipeline.audit_parity import Difference, Parity, check_parity
from pipeline.audit_quality import Quality
from pipeline.config import Config
from pipeline.deployment import features_of, load_extract, make_target
from pipeline.extract import extract
from pipeline.ledger import open_ledger
from pipeline.tombstones import Tombstones, save_tombstones

CUSTOMERS = """
    customer_id  created_at
    C1           2024-01-01
    C2           2024-01-02
    C3           2024-01-03
"""
ORDERS = """
    order_id  occurred_at  known_at     customer_id  amount
    O1        2024-02-01   2024-02-01   C1           10
    O2        2024-02-03   2024-02-04   C1           20
    O3        2024-02-05   2024-02-05   C2           30
"""
LATER = ORDERS + "    O4        2024-03-05   2024-03-05   C1           40\n"  # known after the run of March 1
BACKDATED = ORDERS + "    O4        2024-02-05   2024-02-06   C1           40\n"  # says it was known before it
SCORED_AT = "2024-03-01"
CHURN = {"kind": "churn", "by": "orders", "horizons_days": [30], "spine": {"grid": "month"}}


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    """Ship one group: what is asked here is not which there are."""
    with shipped(order_history):
        yield


def shipped(*groups: Group) -> Any:
    return patch("pipeline.deployment.CATALOG", groups)


def deployment(state: Path, data_end: str = SCORED_AT, **keys: Any) -> Config:
    return make_config(
        state, {"customers": {}, "orders": {}}, data_end=data_end, targets={"churn": CHURN}, seed=7, **keys
    )


def extract_orders(config: Config, orders: str = ORDERS, **options: bool) -> None:
    delivered = {"customers": read_rows("customers", CUSTOMERS), "orders": read_rows("orders", orders)}
    extract(config, source=MemorySource(delivered, config.source.data_end, {}), **options)


def score(config: Config) -> pd.DataFrame:
    """Store a scoring run as `leadsieve score` does, without a model; its frame."""
    tables = load_extract(config)
    frame = features_of(config, tables, "churn", build_scoring_spine(tables, make_target(config, "churn"))).frame
    store(config, frame)
    with open_ledger(config.folder / "ledger.db") as ledger:
        details = {"data_end": tables.data_end.isoformat(), "tables": tables.sha256}
        ledger.start_run("score-1", "score", details, config.model_dump_json())
        ledger.finish_run("score-1", "done")
    return frame


def store(config: Config, frame: pd.DataFrame) -> None:
    folder = config.folder / "runs" / "score-1"
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "features_churn.parquet", index=False)


def check(config: Config) -> Parity:
    return check_parity(config, load_extract(config))


def told(parity: Parity) -> tuple[str, str]:
    """Level of what the audit says of it, and the sentence."""
    [finding] = find(Audit("world", None, {}, (), Quality((), (), ()), parity=parity))
    return finding.level, finding.what


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State of a deployment that was extracted and scored on March 1."""
    state = tmp_path_factory.mktemp("scored")
    made = deployment(state)
    extract_orders(made)
    with shipped(order_history):
        score(made)
    return state


@pytest.fixture
def config(scored: Path, tmp_path: Path) -> Config:
    """A copy of that deployment to do anything with."""
    shutil.copytree(scored, tmp_path / "state")
    return deployment(tmp_path / "state")


def test_without_a_run_nothing_is_compared(tmp_path: Path) -> None:
    made = deployment(tmp_path)
    extract_orders(made)
    parity = check(made)
    assert (parity.state, parity.run_id, parity.targets) == ("no run", None, ())
    assert told(parity) == (
        "note", "Parity was not checked: nothing was scored yet, or the frames of past runs are gone."
    )  # fmt: skip
    assert not (made.folder / "ledger.db").exists()  # a check changes nothing


def test_the_same_tables_give_the_same_bits(config: Config) -> None:
    parity = check(config)
    [churn] = parity.targets
    assert (parity.state, parity.run_id, parity.is_same_extract, parity.notes) == ("agrees", "score-1", True, ())
    assert (churn.target, churn.rows, churn.gone, churn.differing) == ("churn", 2, 0, 0)  # C3 never ordered
    assert churn.features > 5
    assert told(parity) == (
        "note",
        f"Run score-1, built again from the same tables, agrees to the bit (churn 2 rows x {churn.features} features).",
    )


def test_rows_that_became_known_since_change_nothing(config: Config) -> None:
    later = deployment(config.state, "2024-04-01")
    extract_orders(later, LATER)
    parity = check(later)
    assert (parity.state, parity.is_same_extract, parity.targets[0].rows) == ("agrees", False, 2)
    assert "from tables extracted since, agrees" in told(parity)[1]


def test_a_row_that_was_dated_back_is_an_error_with_entity_feature_and_both_values(config: Config) -> None:
    later = deployment(config.state, "2024-04-01")
    extract_orders(later, BACKDATED)
    parity = check(later)
    [churn] = parity.targets
    assert parity.state == "differs"
    assert Difference("churn", "C1", "orders_count", 2.0, 3.0) in churn.differences
    assert {one.entity_id for one in churn.differences} == {"C1"}
    level, what = told(parity)
    assert level == "error"
    assert "rows came with a known_at before 2024-03-01 00:00:00" in what


def test_one_bit_is_a_difference(config: Config) -> None:
    path = config.folder / "runs" / "score-1" / "features_churn.parquet"
    frame = pd.read_parquet(path)
    value = frame.loc[0, "orders_amount"]
    frame.loc[0, "orders_amount"] = np.nextafter(value, 100.0)
    store(config, frame)
    parity = check(config)
    [churn] = parity.targets
    assert (parity.state, churn.differing) == ("differs", 1)
    assert churn.differences == (Difference("churn", "C1", "orders_amount", float(np.nextafter(30.0, 100.0)), 30.0),)
    level, what = told(parity)
    assert (level, "Tables and config are those that were scored." in what) == ("error", True)
    assert sum_up(Audit("w", None, {}, (), Quality((), (), ()), parity=parity)) == (
        "Not passed: the last scores cannot be computed again."
    )


def test_a_missing_value_is_no_zero(config: Config) -> None:
    path = config.folder / "runs" / "score-1" / "features_churn.parquet"
    frame = pd.read_parquet(path)
    frame.loc[1, "orders_amount"] = np.nan
    store(config, frame)
    assert check(config).targets[0].differences == (Difference("churn", "C2", "orders_amount", None, 30.0),)


def test_a_catalog_that_changed_since_may_be_why(config: Config) -> None:
    frame = pd.read_parquet(config.folder / "runs" / "score-1" / "features_churn.parquet")
    store(config, frame.rename(columns={"orders_count": "orders_old"}).assign(orders_amount=0.0))
    with shipped(order_history, order_demand):
        parity = check(config)
    [churn] = parity.targets
    assert churn.dropped == ("orders_old",)
    assert {"orders_count", "orders_count_90d"} <= set(churn.added)
    assert (parity.state, churn.differing) == ("changed since", 2)
    level, what = told(parity)
    assert level == "look"
    assert f"The features have changed since: 1 of the run are not built today, {len(churn.added)} are new." in what


@pytest.mark.parametrize("keys", [{"questions": ["need"]}, {"time_zone": "Europe/Berlin"}])
def test_a_config_that_changed_since_may_be_why(config: Config, keys: dict[str, Any]) -> None:
    frame = pd.read_parquet(config.folder / "runs" / "score-1" / "features_churn.parquet")
    store(config, frame.assign(orders_amount=0.0))
    parity = check(deployment(config.state, **keys))
    assert (parity.state, parity.notes) == ("changed since", (f"The config has changed since: {next(iter(keys))}.",))


def test_a_forgetting_since_may_be_why_and_one_before_may_not(config: Config) -> None:
    frame = pd.read_parquet(config.folder / "runs" / "score-1" / "features_churn.parquet")
    store(config, frame.assign(orders_amount=0.0))
    save_tombstones(config.folder, Tombstones("salt").adding({"customers": ["C9"]}))
    parity = check(config)
    assert parity.state == "changed since"
    assert parity.notes == ("Entities were forgotten since; rates that many share are without them today.",)
    os.utime(config.folder / "forgotten.json", (0, 0))
    assert check(config).state == "differs"


def test_tables_that_were_begun_anew_may_be_why(config: Config) -> None:
    later = deployment(config.state, "2024-04-01")
    extract_orders(later, BACKDATED, start_over=True)
    parity = check(later)
    assert parity.state == "changed since"
    assert parity.notes == ("The tables were begun anew since, and forgot what was known at that time.",)


def test_entities_that_are_not_there_any_more_are_counted(config: Config) -> None:
    frame = pd.read_parquet(config.folder / "runs" / "score-1" / "features_churn.parquet")
    store(config, pd.concat([frame, frame.tail(1).assign(entity_id="C9")]))
    [churn] = check(config).targets
    assert (churn.rows, churn.gone, churn.differing) == (2, 1, 0)
    store(config, frame.tail(1).assign(entity_id="C9"))
    [churn] = check(config).targets
    assert (churn.rows, churn.features, churn.gone) == (0, 0, 1)


def test_a_sample_of_so_many_is_built_again(config: Config) -> None:
    with patch("pipeline.audit_parity.SAMPLED", 1):
        assert [check(config).targets[0].rows for _ in range(2)] == [1, 1]


def test_a_run_whose_frames_were_removed_is_passed_over(config: Config) -> None:
    with open_ledger(config.folder / "ledger.db") as ledger:
        ledger.start_run("score-2", "score", {"data_end": "2024-03-01T00:00:00", "tables": ""}, "{}")
        ledger.finish_run("score-2", "done")
    assert check(config).run_id == "score-1"
