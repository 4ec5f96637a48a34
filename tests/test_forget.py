"""Forgetting: whatever belongs to an entity goes, whatever belongs to others stays."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pandas as pd
import pytest
from conftest import extract_world, make_config
from crm_world import make_scores
from search_state import search

from features.errors import DataError
from features.tables import load_tables
from models.training_set import TrainingSet, load_training_set, save_training_set
from pipeline.adapters.target import TargetTable, Value, WriteBatch
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.forget import ForgetReport, forget
from pipeline.ledger import Ledger, open_ledger
from pipeline.tombstones import Tombstones, load_tombstones

TABLES: Mapping[str, str] = {
    "customers": """
        customer_id  created_at  name    region   parent_id  merged_into
        ID-K1        2024-01-01  MARKER  north    -          -
        ID-K2        2024-01-02  Second  south    ID-K1      -             # loses its parent
        ID-K3        2024-01-03  Third   north    -          -
        ID-K4        2024-01-04  Fourth  west     ID-K2      -
    """,
    "contacts": """
        contact_id  created_at  customer_id  title
        ID-P1       2024-01-05  ID-K1        MARKER
        ID-P2       2024-01-05  ID-K2        buyer
    """,
    "deals": """
        deal_id  created_at  customer_id  source  closed_at   outcome
        ID-D1    2024-02-01  ID-K1        MARKER  -           -
        ID-D2    2024-02-01  ID-K2        web     2024-05-01  won
        ID-D3    2024-02-01  ID-K3        web     -           -
        ID-K4    2024-02-02  ID-K2        web     -           -            # the same id as a customer's
    """,
    "stage_changes": """
        deal_id  occurred_at  stage
        ID-D1    2024-02-02   MARKER
        ID-D2    2024-02-02   new
        ID-D3    2024-02-02   new
    """,
    "activities": """
        activity_id  occurred_at  customer_id  deal_id  contact_id  kind
        A1           2024-03-01   ID-K1        -        -           MARKER
        A2           2024-03-01   -            ID-D1    -           MARKER
        A3           2024-03-01   -            -        ID-P1       MARKER
        A4           2024-03-01   ID-K2        ID-D2    ID-P2       call
        A5           2024-03-01   ID-K3        -        -           call
    """,
    "orders": """
        order_id  occurred_at  customer_id  amount
        O1        2024-04-01   ID-K1        10
        O2        2024-04-01   ID-K2        20
        O4        2024-04-02   ID-K4        40
    """,
    "subscriptions": """
        subscription_id  occurred_at  customer_id  plan
        ID-S1            2024-04-01   ID-K1        MARKER
        ID-S2            2024-04-01   ID-K2        gold
    """,
    "assessments": """
        occurred_at  entity     entity_id  question  answer
        2024-05-01   customer   ID-K1      budget    MARKER
        2024-05-01   deal       ID-D1      budget    MARKER
        2024-05-01   customer   ID-K4      budget    yes
        2024-05-01   deal       ID-K4      budget    no
    """,
    "attribute_changes": """
        occurred_at  table_name     entity_id  field     old_value  new_value
        2024-05-01   customers      ID-K1      region    MARKER     north
        2024-05-01   deals          ID-D1      source    MARKER     web
        2024-05-02   subscriptions  ID-S1      plan      MARKER     x
        2024-05-03   customers      ID-K2      owner_id  -          Z
        2024-05-04   customers      ID-K4      parent_id  ID-K1      ID-K2
    """,
}
MAPPINGS: Mapping[str, Mapping[str, Any]] = {
    "customers": {"sensitive": ["name"], "static": ["region", "parent_id"]},
    "deals": {"static": ["source"]},
    "subscriptions": {"static": ["plan"]},
}
TARGETS = {
    "conversion": {"kind": "conversion", "horizons_days": [90], "spine": {"grid": "month"}},
    "churn": {"kind": "churn", "by": "orders", "horizons_days": [90], "spine": {"grid": "month"}},
}
SETTINGS = {"targets": TARGETS, "source": {"shrink_share": 1}}  # in so small a world every loss is half a table
THEIRS = ("ID-K1", "ID-P1", "ID-D1", "ID-S1", "MARKER")


def extract_all(state: Path) -> Any:
    return extract_world(state, MAPPINGS, config=SETTINGS, **TABLES)


def write_frames(folder: Path) -> None:
    """A scoring run, training sets and quarantine files, as the jobs leave them."""
    run = folder / "runs" / "score-1"
    run.mkdir(parents=True)
    as_of = pd.Timestamp("2024-06-30")
    for name, ids in (("conversion", ["ID-D1", "ID-D2", "ID-K4"]), ("churn", ["ID-K1", "ID-K2", "ID-K4"])):
        frame = pd.DataFrame({"entity_id": ids, "as_of": as_of, "x": [1.0, 2.0, 3.0], "t": ["MARKER", "b", "c"]})
        frame.to_parquet(run / f"features_{name}.parquet", index=False)
        made = TrainingSet(
            frame=frame[["x", "t"]], label=frame["x"].to_numpy() % 2, time=frame["as_of"].to_numpy(), horizon=90,
            group=pd.Series({"conversion": ["ID-K1", "ID-K2", "ID-K2"], "churn": ids}[name]).to_numpy(dtype=object),
            keys=frame[["entity_id", "as_of"]], manifest={"target": name},
        )  # fmt: skip
        save_training_set(folder / "training" / name, made)
    read_scores("score-1").to_parquet(run / "scores.parquet", index=False)
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "orders.csv").write_text(
        'reason,order_id,customer_id,amount\n"amount cannot be read",O8,ID-K1,MARKER\nlate,O9,ID-K2,5\n',
        encoding="utf-8",
    )


def read_scores(run_id: str) -> pd.DataFrame:
    deals = make_scores(
        run_id, [("ID-D1", 0.1, "A", ["MARKER"]), ("ID-D2", 0.2, "A", ["x"]), ("ID-K4", 0.3, "B", ["y"])]
    )
    customers = make_scores(
        run_id, [("ID-K1", 0.4, "C", ["MARKER"]), ("ID-K3", 0.4, "C", []), ("ID-K4", 0.5, None, [])]
    )
    return pd.concat([deals, customers.assign(target="churn")], ignore_index=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A deployment in which everything that can hold an entity does."""
    extract_all(tmp_path)
    made = make_config(tmp_path, {**{name: {} for name in TABLES}, **MAPPINGS}, targets=TARGETS)
    write_frames(made.folder)
    with open_ledger(made.folder / "ledger.db") as ledger:
        ledger.start_run("score-1", "score", {}, made.model_dump_json())
        ledger.replace_scores("score-1", read_scores("score-1"))
        ledger.finish_run("score-1", "done")
        ledger.start_run("score-2", "score", {}, made.model_dump_json())
        ledger.finish_run("score-2", "failed", {"error": "Table 'deals': 1 row has no source (deal_id ID-D1)."})
        old = {"ID-D1": "MARKER", "ID-D2": "cold"}
        columns: list[list[Value]] = [[*old.values()], [0.5, 0.5]]
        planned = WriteBatch(
            TargetTable("leads", "lead_id"), "update", ("score",), [*old], columns[:1], columns[1:], ""
        )
        [batch] = ledger.writes.store_plan("score-1", [planned], [])
        ledger.writes.intend(batch)
    return made


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with open_ledger(config.folder / "ledger.db") as opened:
        yield opened


def read(config: Config, table: str, columns: str) -> list[tuple[Any, ...]]:
    path = load_tables(config.folder / "tables").path(table)
    return duckdb.sql(f"SELECT {columns} FROM '{path}' ORDER BY ALL").fetchall()


def test_there_is_something_to_find(config: Config) -> None:
    for text in THEIRS:
        assert search(config.folder, text), text


def test_nothing_of_a_forgotten_customer_is_left_anywhere(config: Config, ledger: Ledger) -> None:
    report = forget(config, ledger, "ID-K1")
    assert search(config.folder, *THEIRS) == []
    ledger.close()
    assert search(config.folder, *THEIRS) == []  # neither in the file nor in its log
    assert dict(report.found.owned) == {"contacts": 1, "customers": 1, "deals": 1, "subscriptions": 1}
    assert dict(report.tables) == {
        "customers": 1, "contacts": 1, "deals": 1, "stage_changes": 1, "activities": 3, "orders": 1,
        "subscriptions": 1, "assessments": 2, "attribute_changes": 3,
    }  # fmt: skip
    assert (report.scores, report.writes, report.quarantine, report.runs, report.training) == (2, 1, 1, 4, 2)


def test_what_is_of_others_stays(config: Config, ledger: Ledger) -> None:
    forget(config, ledger, "ID-K1")
    assert read(config, "customers", "customer_id, parent_id") == [
        ("ID-K2", None),
        ("ID-K3", None),
        ("ID-K4", "ID-K2"),
    ]
    assert read(config, "deals", "deal_id") == [("ID-D2",), ("ID-D3",), ("ID-K4",)]
    assert read(config, "activities", "activity_id") == [("A4",), ("A5",)]
    assert read(config, "orders", "order_id") == [("O2",), ("O4",)]
    assert read(config, "assessments", "entity, entity_id") == [("customer", "ID-K4"), ("deal", "ID-K4")]
    assert read(config, "attribute_changes", "entity_id, old_value, new_value") == [
        ("ID-K2", None, "Z"),
        ("ID-K4", None, "ID-K2"),
    ]
    run = config.folder / "runs" / "score-1"
    assert pd.read_parquet(run / "features_churn.parquet")["entity_id"].tolist() == ["ID-K2", "ID-K4"]
    assert pd.read_parquet(run / "scores.parquet")["entity_id"].tolist() == ["ID-D2", "ID-K4", "ID-K3", "ID-K4"]
    assert ledger.scores("score-1")["entity_id"].tolist() == ["ID-K3", "ID-K4", "ID-D2", "ID-K4"]
    assert [write.record_id for write in ledger.writes.of_run("score-1")] == ["ID-D2"]
    rows = load_training_set(config.folder / "training" / "conversion")
    assert rows.keys is not None
    assert rows.keys["entity_id"].tolist() == ["ID-D2", "ID-K4"]
    assert rows.manifest["forgotten_rows"] == 1
    assert (config.folder / "quarantine" / "orders.csv").read_text() == (
        "reason,order_id,customer_id,amount\nlate,O9,ID-K2,5\n"
    )


def test_facts_and_parts_of_cards_go_with_the_entity_they_are_of(config: Config, ledger: Ledger) -> None:
    run = config.folder / "runs" / "score-1"
    for name, ids in (("conversion", ["ID-D1", "ID-D2", "ID-K4"]), ("churn", ["ID-K1", "ID-K2", "ID-K4"])):
        parts = pd.DataFrame({"entity_id": ids, "points": 50.0, "next_question_en": ["MARKER", "b", "c"]})
        parts.to_parquet(run / f"card_{name}.parquet", index=False)
    facts = pd.DataFrame({"customer_id": ["ID-K1", "ID-K2", "ID-K4"], "abc_revenue": ["MARKER", "B", "C"]})
    facts.to_parquet(run / "customers.parquet", index=False)
    assert forget(config, ledger, "ID-K1").runs == 4 + 3  # its deal ID-D1 has a card, too
    assert search(config.folder, *THEIRS) == []
    assert pd.read_parquet(run / "customers.parquet")["customer_id"].tolist() == ["ID-K2", "ID-K4"]
    forget(config, ledger, "ID-K4", "deals")  # a customer has the same id: the deal alone goes
    assert pd.read_parquet(run / "card_conversion.parquet")["entity_id"].tolist() == ["ID-D2"]
    assert pd.read_parquet(run / "card_churn.parquet")["entity_id"].tolist() == ["ID-K2", "ID-K4"]
    assert pd.read_parquet(run / "customers.parquet")["customer_id"].tolist() == ["ID-K2", "ID-K4"]


def test_forgotten_scores_are_counted_without_a_name(config: Config, ledger: Ledger) -> None:
    forget(config, ledger, "ID-K1")
    assert ledger.forgotten.counts("score-1") == [
        {"target": "churn", "horizon_days": 90, "grade": "C", "count": 1},
        {"target": "conversion", "horizon_days": 90, "grade": "A", "count": 1},
    ]
    run, failed = ledger.find_run("score-1"), ledger.find_run("score-2")
    assert run is not None
    assert failed is not None
    assert run.details["forgotten"] == {"scores": 2, "writes": 1}
    assert failed.details["error"] == "(its error text was removed when an entity was forgotten)"
    forget(config, ledger, "ID-K4", "customers")
    assert {"target": "churn", "horizon_days": 90, "grade": None, "count": 1} in ledger.forgotten.counts("score-1")


def test_a_deal_goes_alone(config: Config, ledger: Ledger) -> None:
    report = forget(config, ledger, "ID-D1")
    assert search(config.folder, "ID-D1") == []
    assert dict(report.tables) == {
        "deals": 1, "stage_changes": 1, "activities": 1, "assessments": 1, "attribute_changes": 1
    }  # fmt: skip
    assert read(config, "deals", "deal_id") == [("ID-D2",), ("ID-D3",), ("ID-K4",)]
    assert len(read(config, "customers", "customer_id")) == 4


def test_an_id_that_is_a_customers_and_a_deals_has_to_be_explained(config: Config, ledger: Ledger) -> None:
    with pytest.raises(
        ConfigError, match=r"Id 'ID-K4' is that of a customer and .* a deal\. Pass --table customers or"
    ):
        forget(config, ledger, "ID-K4")
    forget(config, ledger, "ID-K4", "deals")
    assert ("ID-K4",) in read(config, "customers", "customer_id")
    assert ledger.entity_scores("ID-K4")["target"].tolist() == ["churn"]
    assert read(config, "assessments", "entity, entity_id")[-1] == ("deal", "ID-D1")


def test_who_is_not_known_cannot_be_forgotten(config: Config, ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"No customer or deal 'ID-K9' in the tables, scores or writes .* Check the id"):
        forget(config, ledger, "ID-K9")
    with pytest.raises(DataError, match="No deal 'ID-K1' in the tables"):
        forget(config, ledger, "ID-K1", "deals")
    assert not load_tombstones(config.folder)


def test_an_entity_that_only_the_ledger_knows_is_forgotten_too(config: Config, ledger: Ledger) -> None:
    ledger.replace_scores("score-2", make_scores("score-2", [("ID-D7", 0.1, "A", [])]))
    assert forget(config, ledger, "ID-D7").scores == 1
    assert search(config.folder, "ID-D7") == []


def test_asking_twice_is_no_error_and_changes_nothing(config: Config, ledger: Ledger) -> None:
    def contents() -> dict[str, bytes]:
        kept = [path for path in config.folder.rglob("*") if path.is_file() and not path.name.startswith("ledger.db")]
        return {str(path): path.read_bytes() for path in kept}

    forget(config, ledger, "ID-K1")
    before = contents(), ledger.forgotten.counts("score-1"), ledger.find_run("score-1")
    again: ForgetReport = forget(config, ledger, "ID-K1")
    assert again.found.was_forgotten
    assert (dict(again.tables), again.runs, again.scores) == ({}, 0, 0)
    assert (contents(), ledger.forgotten.counts("score-1"), ledger.find_run("score-1")) == before


STEPS = (
    "pipeline.forget.StoredRows.remove",
    "pipeline.forget_tables._switch",
    "pipeline.forget_tables._sweep",
    "pipeline.forget.forget_in_training",
    "pipeline.forget.forget_in_quarantine",
    "pipeline.forget.forget_in_runs",
    "pipeline.forget_files.replace_file",
    "pipeline.ledger_forgotten._mark_runs",
    "pipeline.ledger_forgotten.ForgottenLedger._wipe",
)


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@pytest.mark.parametrize(("step", "other"), [*((step, "ID-K1") for step in STEPS), (STEPS[0], "ID-D2")])
def test_a_removal_that_was_killed_is_finished_by_the_next_one(
    config: Config, ledger: Ledger, step: str, other: str
) -> None:
    with patch(step, side_effect=Killed("at a step")), pytest.raises(Killed, match="at a step"):
        forget(config, ledger, "ID-K1")
    assert not load_tombstones(config.folder).is_finished
    load_tables(config.folder / "tables")  # whole, whichever they are
    forget(config, ledger, other)
    assert search(config.folder, *THEIRS) == []
    assert load_tombstones(config.folder).is_finished
    run = ledger.find_run("score-1")
    assert run is not None
    assert run.details["forgotten"]["scores"] == {"ID-K1": 2, "ID-D2": 3}[other]


def test_the_next_extract_leaves_out_who_was_forgotten(tmp_path: Path, config: Config, ledger: Ledger) -> None:
    forget(config, ledger, "ID-K1")
    before = load_tables(config.folder / "tables")
    report = extract_all(tmp_path)
    assert search(config.folder, *THEIRS) == []
    after = load_tables(config.folder / "tables")
    assert {name: table.rows for name, table in after.tables.items()} == {
        name: table.rows for name, table in before.tables.items()
    }
    assert read(config, "customers", "customer_id, parent_id") == [("ID-K2", None), ("ID-K3", None), ("ID-K4", "ID-K2")]
    counts = {one.name: one.dropped.get("their entity was forgotten") for one in report.tables}
    assert counts == {
        "customers": 1, "contacts": 1, "deals": 1, "stage_changes": 1, "activities": 3, "orders": 1,
        "subscriptions": 1, "assessments": 2, "attribute_changes": 3,
    }  # fmt: skip


def test_an_extract_after_a_kill_leaves_out_who_was_about_to_be_forgotten(
    tmp_path: Path, config: Config, ledger: Ledger
) -> None:
    with (
        patch("pipeline.forget.StoredRows.remove", side_effect=Killed("at a step")),
        pytest.raises(Killed, match="at a step"),
    ):
        forget(config, ledger, "ID-K1")
    report = extract_all(tmp_path)
    assert search(config.folder / "tables", *THEIRS) == []
    assert any("was interrupted" in warning for one in report.tables for warning in one.warnings)


def test_a_new_deal_of_a_forgotten_customer_is_left_out_for_good(
    tmp_path: Path, config: Config, ledger: Ledger
) -> None:
    forget(config, ledger, "ID-K1")
    deals = TABLES["deals"] + "    ID-D8  2024-06-01  ID-K1  web  -  -\n"
    extract_world(tmp_path, MAPPINGS, config=SETTINGS, **{**TABLES, "deals": deals})
    assert load_tombstones(config.folder).holds("deals", "ID-D8")
    assert search(config.folder, "ID-D8") == []


def test_a_bad_row_of_a_forgotten_customer_is_shown_nowhere(tmp_path: Path, config: Config, ledger: Ledger) -> None:
    forget(config, ledger, "ID-K1")
    orders = TABLES["orders"].replace("ID-K1        10", "ID-K1        MARKER")
    extract_world(tmp_path, MAPPINGS, config=SETTINGS, **{**TABLES, "orders": orders})
    assert search(config.folder, *THEIRS) == []


@pytest.mark.parametrize("delivered", ["17", "17.0", " 17 "])
def test_an_id_is_recognised_however_the_source_writes_it(tmp_path: Path, delivered: str) -> None:
    rows = {
        "customers": [
            {"customer_id": delivered, "created_at": "2024-01-01"},
            {"customer_id": "18", "created_at": "2024-01-01"},
        ]
    }
    extract_world(tmp_path, **rows)
    made = make_config(tmp_path, {"customers": {}})
    with open_ledger(made.folder / "ledger.db") as ledger:
        forget(made, ledger, "17")
    extract_world(tmp_path, **rows)
    assert read(made, "customers", "customer_id") == [("18",)]


def test_the_tombstones_name_nobody(config: Config, ledger: Ledger) -> None:
    forget(config, ledger, "ID-K1")
    document = json.loads((config.folder / "forgotten.json").read_text(encoding="utf-8"))
    assert {name: len(known) for name, known in document["hashes"].items()} == {
        "contacts": 1, "customers": 1, "deals": 1, "subscriptions": 1
    }  # fmt: skip
    assert all(len(one) == 64 for known in document["hashes"].values() for one in known)
    assert Tombstones("a").digest("customers", "1") != Tombstones("b").digest("customers", "1")
    assert Tombstones("a").digest("customers", "1") != Tombstones("a").digest("deals", "1")


def test_tombstones_that_cannot_be_read_stop_the_extract(tmp_path: Path, config: Config) -> None:
    (config.folder / "forgotten.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"forgotten\.json says who was forgotten and cannot be read .* Restore"):
        extract_all(tmp_path)


MERGED = """
    customer_id  created_at  region  merged_into
    ID-K1        2024-01-01  north   -
    ID-K2        2024-01-01  south   -
    ID-K3        2024-01-02  west    ID-K1          # the same customer, entered twice
"""
MERGED_ORDERS = """
    order_id  occurred_at  customer_id  amount
    O1        2024-03-01   ID-K1        10
    O2        2024-03-01   ID-K2        20
    O3        2024-03-01   ID-K3        30
"""


@pytest.mark.parametrize(
    ("entity_id", "gone", "orders"),
    [
        ("ID-K1", ("ID-K1", "ID-K3"), {"O2"}),  # whoever was merged into it is the same
        ("ID-K3", ("ID-K3",), {"O1", "O2", "O3"}),  # its order is the survivor's since the merge
    ],
)
def test_who_was_merged_goes_with_the_survivor_and_not_the_other_way_round(
    tmp_path: Path, entity_id: str, gone: tuple[str, ...], orders: set[str]
) -> None:
    rows = {"customers": MERGED, "orders": MERGED_ORDERS}
    mappings = {"customers": {"static": ["region"]}}
    source = {"source": {"shrink_share": 1}}
    extract_world(tmp_path, mappings, config=source, **rows)
    made = make_config(tmp_path, {"customers": {}, "orders": {}})
    with open_ledger(made.folder / "ledger.db") as ledger:
        forget(made, ledger, entity_id)
    assert search(made.folder, *gone) == []
    assert {order for (order,) in read(made, "orders", "order_id")} == orders
    extract_world(tmp_path, mappings, config=source, data_end="2024-07-02", **rows)
    assert search(made.folder, *gone) == []
