"""Five nights of a flag in a real Odoo: fields, activities and history, by the nightly user, and their undo."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import make_scores, open_run
from odoo_deployment import describe_deployment
from odoo_server import RealOdoo
from test_follow_ups import CARD, UP

from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.config import Config
from pipeline.own_rows import OwnReport
from pipeline.writeback import undo_run, write_back

ARCHIVED = {"active_test": False}


@pytest.fixture
def config(odoo: RealOdoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A deployment whose nightly user may write fields, history and activities."""
    monkeypatch.setenv("TEST_ODOO_URL", odoo.url)
    monkeypatch.setenv("TEST_ODOO_KEY", odoo.keys["nightly"])
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    tasks = {"flags": {"conversion": ["early_warning"]}, "language": "zh"}
    document = describe_deployment(tmp_path, {"x_score": "probability"}, database=odoo.database, follow_ups=tasks)
    document["targets"]["conversion"]["scorecard"] = str(tmp_path / "card.yaml")
    made = Config.model_validate(document)
    installer = OdooInstaller(odoo.admin, made)
    installer.install()
    if not installer.is_member("nightly"):
        installer.add_member("nightly")
    return made


@pytest.fixture
def leads(odoo: RealOdoo, config: Config) -> Iterator[list[str]]:
    """A lead of the nightly user's own, and one that nobody owns."""
    [owner] = odoo.admin.call("res.users", "search", domain=[["login", "=", "nightly"]])
    made = odoo.add_leads([{"name": "owned", "user_id": owner}, {"name": "nobody's", "user_id": False}])
    yield made
    odoo.remove_leads(made)


def write_night(config: Config, run_id: str, number: int, leads: list[str], is_up: bool) -> OwnReport:
    scores = make_scores(run_id, [(lead, number / 10, "priority", ["30 days old"]) for lead in leads])
    flags = pd.Series([f'["{UP[0]}"]' if is_up else None for _ in leads], dtype="str")
    scores = scores.assign(as_of=pd.Timestamp(2024, 5, number), flags=flags)
    with open_run(config, run_id) as ledger:
        ledger.replace_scores(run_id, scores)
        report = write_back(config, ledger, scores, run_id)
        ledger.finish_run(run_id, "done")
    report.check()
    assert report.own is not None
    return report.own


def read_activities(odoo: RealOdoo, leads: list[str]) -> list[dict[str, Any]]:
    domain = [["res_model", "=", "crm.lead"], ["res_id", "in", [int(lead) for lead in leads]]]
    fields = ["summary", "note", "active", "user_id"]
    found: list[dict[str, Any]] = odoo.admin.call(
        "mail.activity", "search_read", domain=domain, fields=fields, order="id", context=ARCHIVED
    )
    return found


def count_history(odoo: RealOdoo, leads: list[str]) -> int:
    counted: int = odoo.admin.call("x_lead_score", "search_count", domain=[["x_entity_id", "in", leads]])
    return counted


def test_an_activity_comes_back_with_the_flag_and_an_undo_takes_it_away(
    odoo: RealOdoo, config: Config, leads: list[str]
) -> None:
    name = secrets.token_hex(4)
    first = write_night(config, f"{name}-1", 1, leads, is_up=True)
    assert first.follow_ups is not None
    assert first.history is not None
    assert (first.follow_ups.raised, first.follow_ups.missing, first.history.added) == (1, 1, 2)
    [task] = read_activities(odoo, leads)
    assert task["summary"] == "预警：久未联系"
    assert "等级：重点跟进<br>90 天内成交可能性：10%<br>原因：原因" in task["note"]
    write_night(config, f"{name}-1", 1, leads, is_up=True)  # twice is once
    assert (len(read_activities(odoo, leads)), count_history(odoo, leads)) == (1, 2)
    odoo.admin.call("mail.activity", "action_done", ids=[task["id"]])
    nights = {2: (True, [False]), 3: (False, [False]), 4: (True, [False, True])}  # done; the flag goes down; up anew
    for number, (is_up, expected) in nights.items():
        write_night(config, f"{name}-{number}", number, leads, is_up)
        assert [one["active"] for one in read_activities(odoo, leads)] == expected, number
    assert count_history(odoo, leads) == 8
    for number in (4, 3, 2, 1):
        with open_run(config) as ledger:
            undo_run(config, ledger, f"{name}-{number}").check()
    assert [one["id"] for one in read_activities(odoo, leads)] == [task["id"]]  # what a person has done stays
    assert count_history(odoo, leads) == 0
    rows = odoo.admin.call("crm.lead", "read", ids=[int(lead) for lead in leads], fields=["x_score"])
    assert [row["x_score"] for row in rows] == [0.0, 0.0]
