"""Customer files of a literal run: what is in them, what changed, and who has none."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import extract_world, make_config
from crm_world import make_scores
from search_state import search
from small_crm import Answer, run_cli

from features.errors import DataError
from features.tables import load_tables
from pipeline.config import Config
from pipeline.customer_facts import write_customer_facts
from pipeline.customer_file import CriterionPoints, CustomerFile, TargetScore
from pipeline.customer_files import make_customer_files, read_customer_file
from pipeline.forget import forget
from pipeline.ledger import Ledger, open_ledger

TABLES = {
    "customers": """
        customer_id  created_at  name    tax_number  employees  industry  annual_revenue
        K1           2024-01-01  Secret  T1          10         pharma    1000
        K2           2024-01-01  Secret  T2          -          -         -
        K3           2024-06-30  Secret  T3          20         -         -
    """,
    "deals": """
        deal_id  created_at  customer_id  amount  closed_at  outcome
        D1       2024-02-01  K1           500     -          -
        D2       2024-06-15  K2           700     -          -
    """,
    "orders": """
        order_id  occurred_at  customer_id  amount
        O1        2024-03-01   K1           100
        O2        2024-06-10   K1           300
        O3        2024-06-20   K2           250
    """,
}
TARGETS: dict[str, Any] = {
    "churn": {"kind": "churn", "by": "orders", "horizons_days": [90, 30], "spine": {"grid": "month"}},
    "conversion": {"kind": "conversion", "horizons_days": [90], "spine": {"grid": "month"}},
}
CARD = {
    "id": "small",
    "version": "1",
    "entity": "customer",
    "groups": [{"id": "need", "name": {"en": "Need", "zh": "需求"}}],
    "criteria": [
        {
            "id": "frequency",
            "name": {"en": "Orders", "zh": "订单"},
            "feature": "orders_count_365d",
            "group": "need",
            "weight": 60,
            "bands": [{"below": 2, "points": 0}, {"at_least": 2, "points": 100}],
            "missing": 0,
        },
        {
            "id": "size",
            "name": {"en": "Employees", "zh": "员工"},
            "feature": "customers_employees",
            "weight": 40,
            "bands": [{"below": 50, "points": 0}, {"at_least": 50, "points": 100}],
            "missing": 25,
            "ask": {"en": "How many people work there?", "zh": "有多少员工？"},
        },
    ],
    "flags": [{"id": "often", "name": {"en": "Often", "zh": "常客"}, "feature": "orders_count_365d",
               "when": {"at_least": 2}}],
    "vetoes": [{"id": "huge", "name": {"en": "Too large", "zh": "过大"}, "feature": "customers_employees",
                "when": {"at_least": 1000}}],
    "grades": [{"id": "priority", "at_least": 50, "name": {"en": "priority", "zh": "重点跟进"}},
               {"id": "drop", "at_least": 0, "name": {"en": "drop", "zh": "直接放弃"}}],
}  # fmt: skip


def reasons(**contributions: float) -> str:
    parts = [{"feature": name, "value": 1.0, "contribution": one, "en": f"en {name}", "zh": f"zh {name}"}
             for name, one in contributions.items()]  # fmt: skip
    return json.dumps([*parts, {"feature": "everything else", "value": None, "contribution": 9.0, "en": "", "zh": ""}])


def score(run_id: str, as_of: str, target: str, entity: str, probability: float, grade: str, **more: Any) -> Any:
    row = make_scores(run_id, [(entity, probability, grade, [])])
    judged = {"card": "small"} if target == "churn" else {"card": None, "card_version": None, "points": None}
    return row.astype(object).assign(target=target, as_of=pd.Timestamp(as_of), reasons="[]", **judged).assign(**more)


def write_run(config: Config, ledger: Ledger, run_id: str, as_of: str, orders: int, scores: list[Any]) -> None:
    """Keep a run as `leadsieve score` does; K1 has so many orders by then."""
    folder = config.folder / "runs" / run_id
    folder.mkdir(parents=True)
    counts = {"entity_id": ["K1", "K2"], "orders_count_365d": [orders, 1], "customers_employees": [10.0, None]}
    pd.DataFrame(counts).assign(as_of=pd.Timestamp(as_of)).to_parquet(folder / "features_churn.parquet")
    (folder / "card_churn.json").write_text(json.dumps(CARD), encoding="utf-8")
    (folder / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    frame = pd.concat(scores, ignore_index=True)
    numbers = ["probability", "probability_low", "probability_high", "value", "days_to_event", "unseen_share", "points"]
    frame = frame.astype({**dict.fromkeys(numbers, "float64"), "horizon_days": "int64", "log_odds": "float64"})
    texts = dict.fromkeys(("vetoes", "flags", "card", "card_version"), "str")
    frame.astype(texts).to_parquet(folder / "scores.parquet")
    tables = load_tables(config.folder / "tables")
    write_customer_facts(config, replace(tables, data_end=pd.Timestamp(as_of).to_pydatetime()), folder)
    ledger.start_run(run_id, "score", {"data_end": as_of}, config.model_dump_json())
    ledger.replace_scores(run_id, frame.astype(texts))
    ledger.finish_run(run_id, "done")


def config_of(state: Path) -> Config:
    mappings = {"customers": {"sensitive": ["name"]}, "orders": {}, "deals": {}}
    return make_config(state, mappings, targets=TARGETS)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with two runs, a month apart; shared, so nobody changes it."""
    folder = tmp_path_factory.mktemp("files")
    extract_world(folder, {"customers": {"sensitive": ["name"]}}, **TABLES)
    config = config_of(folder)
    with open_ledger(config.folder / "ledger.db") as opened:
        may, june = "2024-06-01", "2024-07-01"
        before = reasons(a=0.5, d=0.4, b=-0.2, c=0.1)
        write_run(config, opened, "score-may", may, 1, [
            score("score-may", may, "churn", "K1", 0.5, "drop", points=0.0, reasons=before),
            score("score-may", may, "churn", "K1", 0.7, "drop", horizon_days=30),
        ])  # fmt: skip
        write_run(config, opened, "score-june", june, 2, [
            score("score-june", june, "churn", "K1", 0.25, "priority", points=60.0, flags='["often"]',
                  probability_low=0.2, probability_high=0.3, reasons=reasons(a=0.5, b=-0.4, c=0.3, d=0.1)),
            score("score-june", june, "churn", "K1", 0.45, "priority", horizon_days=30),
            score("score-june", june, "churn", "K2", 0.75, "drop", points=10.0),
            score("score-june", june, "conversion", "D1", 0.6, "warm"),
            score("score-june", june, "conversion", "D2", 0.1, "cold"),
        ])  # fmt: skip
    return folder


@pytest.fixture
def config(state: Path) -> Config:
    return config_of(state)


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with open_ledger(config.folder / "ledger.db") as opened:
        yield opened


@pytest.fixture
def own(state: Path, tmp_path: Path) -> Config:
    """A copy to do anything with."""
    shutil.copytree(state, tmp_path / "own")
    return config_of(tmp_path / "own")


@pytest.fixture
def file(config: Config, ledger: Ledger) -> CustomerFile:
    return read_customer_file(config, ledger, "K1")


@pytest.fixture
def churn(file: CustomerFile) -> TargetScore:
    [only] = file.scores  # the primary horizon alone
    return only


def test_a_file_holds_profile_history_worth_and_stage(file: CustomerFile) -> None:
    assert (file.customer_id, file.run_id, file.as_of.isoformat()) == ("K1", "score-june", "2024-07-01T00:00:00")
    assert {name: file.profile[name] for name in ("employees", "industry", "annual_revenue")} == {
        "employees": 10, "industry": "pharma", "annual_revenue": 1000.0
    }  # fmt: skip
    assert (file.history["orders_count"], file.history["revenue_365d"]) == (2, 400)
    assert file.history["last_order_at"].isoformat() == "2024-06-10T00:00:00"
    assert (file.worth["abc_revenue"], file.worth["lifetime_value"]) == ("A", None)
    assert file.lifecycle == {"id": "new", "en": "New", "zh": "新客户"}


def test_no_name_is_in_a_file_whatever_the_config_calls_sensitive(file: CustomerFile) -> None:
    assert not {"name", "tax_number", "domain"} & set(file.profile)
    assert "Secret" not in json.dumps(file.to_json())


def test_a_file_holds_what_the_model_and_the_card_said(churn: TargetScore) -> None:
    assert (churn.probability, churn.probability_low, churn.probability_high) == (0.25, 0.2, 0.3)
    assert (churn.grade, churn.grade_en, churn.grade_zh, churn.points) == ("priority", "priority", "重点跟进", 60)
    assert [one["feature"] for one in churn.reasons] == ["a", "b", "c", "d", "everything else"]
    assert churn.criteria == (
        CriterionPoints("frequency", "Orders", "订单", 60, 60, 2, "need"),
        CriterionPoints("size", "Employees", "员工", 0, 40, 10, None),
    )
    assert churn.groups == {"need": 100}
    assert (churn.flags, churn.vetoes) == (({"id": "often", "en": "Often", "zh": "常客"},), ())
    assert churn.next_question == {"en": "How many people work there?", "zh": "有多少员工？"}


def test_a_file_says_what_changed_since_the_run_before(churn: TargetScore) -> None:
    change = churn.change
    assert change is not None
    assert (change.run_id, change.probability, change.points, change.grade) == ("score-may", 0.5, 0, "drop")
    assert [one["feature"] for one in change.reasons_added] == ["c"]  # a, b, c are strongest now; a, d, b were
    assert [one["feature"] for one in change.reasons_gone] == ["d"]
    assert change.criteria == {"frequency": 60}  # from one order to two; the size is as it was


def test_a_missing_value_has_the_points_for_it(config: Config, ledger: Ledger) -> None:
    [score] = read_customer_file(config, ledger, "K2").scores
    assert score.criteria[1] == CriterionPoints("size", "Employees", "员工", 10, 40, None, None)  # 25 of 100, weight 40
    assert score.change is None  # not in the run before


def test_deals_are_in_the_file_of_their_customer(config: Config, ledger: Ledger, file: CustomerFile) -> None:
    [deal] = file.deals
    assert (deal.entity, deal.entity_id, deal.probability) == ("deal", "D1", 0.6)
    assert (deal.grade, deal.grade_en, deal.criteria, deal.next_question) == ("warm", "warm", (), None)  # no card
    assert [one.entity_id for one in read_customer_file(config, ledger, "K2").deals] == ["D2"]


def test_a_customer_without_scores_has_a_file(config: Config, ledger: Ledger) -> None:
    file = read_customer_file(config, ledger, "K3")
    assert (file.scores, file.deals, file.lifecycle) == ((), (), None)
    assert file.profile["employees"] == 20


def test_a_file_of_an_earlier_run_knows_nothing_later(config: Config, ledger: Ledger) -> None:
    file = read_customer_file(config, ledger, "K1", "score-may")
    assert file.history["orders_count"] == 1  # O2 came in June
    assert [one.probability for one in file.scores] == [0.5]
    assert file.scores[0].change is None
    with pytest.raises(DataError, match="No customer 'K3' at the time of the run"):
        read_customer_file(config, ledger, "K3", "score-may")  # entered on 30 June


def test_many_files_come_in_the_order_asked_for_or_by_value(config: Config, ledger: Ledger) -> None:
    files = make_customer_files(config, ledger, customers=["K2", "K9", "K1", "K2"])
    assert [one.customer_id for one in files] == ["K2", "K1"]
    assert files[1] == read_customer_file(config, ledger, "K1")  # alone as in a batch
    ranked = make_customer_files(config, ledger)
    assert [one.customer_id for one in ranked] == ["K1", "K2", "K3"]  # 400, 250 and 0 in the last year
    assert [one.customer_id for one in make_customer_files(config, ledger, limit=1)] == ["K1"]
    assert json.loads(json.dumps([one.to_json() for one in ranked]))[0]["scores"][0]["grade"] == "priority"


def test_whoever_was_forgotten_has_no_file_and_is_in_none(own: Config) -> None:
    with open_ledger(own.folder / "ledger.db") as ledger:
        forget(own, ledger, "K1")
        with pytest.raises(DataError, match="Customer 'K1' was forgotten"):
            read_customer_file(own, ledger, "K1")
        assert [one.customer_id for one in make_customer_files(own, ledger)] == ["K2", "K3"]
    assert search(own.folder / "runs", "K1", "D1") == []


def test_without_a_run_there_is_no_file(config: Config, tmp_path: Path) -> None:
    with (
        open_ledger(tmp_path / "empty.db") as empty,
        pytest.raises(DataError, match="Nothing was scored yet, so there is no customer file"),
    ):
        read_customer_file(config, empty, "K1")


def test_a_run_that_is_gone_is_said(own: Config) -> None:
    (own.folder / "runs" / "score-june" / "scores.parquet").unlink()
    with open_ledger(own.folder / "ledger.db") as ledger:
        with pytest.raises(DataError, match=r"score-june is gone, which held what run score-june kept\. Restore it"):
            read_customer_file(own, ledger, "K1")
        with pytest.raises(DataError, match="There is no finished scoring run 'score-july'"):
            read_customer_file(own, ledger, "K1", "score-july")


def test_of_a_run_without_facts_a_customer_can_be_asked_for_by_id(own: Config) -> None:
    (own.folder / "runs" / "score-june" / "customers.parquet").unlink()
    with open_ledger(own.folder / "ledger.db") as ledger:
        file = read_customer_file(own, ledger, "K1")
        assert (file.history, file.worth, file.lifecycle) == ({}, {}, None)
        assert file.scores[0].points == 60
        with pytest.raises(DataError, match=r"score-june kept no facts about customers .* Score again"):
            make_customer_files(own, ledger)


def test_a_mistyped_id_is_an_error_with_a_remedy(config: Config, ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"No customer 'K9' .* run `leadsieve extract` and `leadsieve score` first"):
        read_customer_file(config, ledger, "K9")


def run_customer(config: Config, folder: Path, *arguments: str) -> Answer:
    place = folder / "world.yaml"
    place.write_text(config.model_dump_json(exclude_none=True), encoding="utf-8")  # JSON is YAML
    return run_cli("customer", *arguments, "--config", str(place))


def test_the_command_prints_the_file(config: Config, ledger: Ledger, tmp_path: Path) -> None:
    answer = run_customer(config, tmp_path, "K1")
    assert answer.code == 0, answer.err
    for said in (
        "K1 as of 2024-07-01 (run score-june, money in EUR)",
        "lifecycle: New 新客户",
        "churn, 90 days: probability 0.25, points 60, grade priority 重点跟进",
        "  flags: Often 常客",
        "  -0.40  en b  zh b",
        "  60 of 60 points: Orders 订单 (2)",
        "  ask next: How many people work there? 有多少员工？",
        "  before, as of 2024-06-01: probability 0.5, points 0, grade drop",
        "  no longer a main reason: en d  zh d",
        "conversion of deal D1, 90 days: probability 0.6, grade warm warm",
    ):
        assert said in answer.out.splitlines(), said
    assert "Secret" not in answer.out
    document = run_customer(config, tmp_path, "K1", "--json").document
    assert document == read_customer_file(config, ledger, "K1").to_json()


def test_the_command_says_who_is_not_scored_and_who_is_not_known(config: Config, tmp_path: Path) -> None:
    assert (
        "Not scored: eligible for no target at that moment, and no open deal.\n"
        in run_customer(config, tmp_path, "K3").out
    )
    unknown = run_customer(config, tmp_path, "K9")
    assert (unknown.code, unknown.err.startswith("Error: No customer 'K9' at the time of the run")) == (3, True)
