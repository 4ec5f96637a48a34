"""The replay of a deployment's policy, from its extract to the page."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from small_crm import FEW_GROUPS, SIMPLE, World, only_candidates

from features.errors import DataError
from models.policy import Policy
from models.predict import to_probability
from models.replay_figures import Contacts
from models.training_set import TrainingSet
from pipeline.config_schema import Capacity, Profit
from pipeline.deployment import load_extract
from pipeline.errors import ConfigError
from pipeline.replay import Replayed, contacts_of, policies_around, replay_deployment, replay_rows
from pipeline.replay_page import make_page, make_tables, write_page

EVERY_90 = Policy(every=90, window=None, gate=True)


def reversing(rows: int = 1200, *, has_signal: bool = True) -> TrainingSet:
    """Two years of rows; what speaks for the event in the first year speaks against it in the second."""
    generator = np.random.default_rng(3)
    day = np.sort(generator.integers(0, 730, rows))
    number = generator.normal(0.0, 1.0, rows)
    slope = np.where(day < 400, 1.5, -1.5) if has_signal else np.zeros(rows)
    return TrainingSet(
        frame=pd.DataFrame({"number": number}),
        label=(generator.random(rows) < to_probability(slope * number)).astype(float),
        time=np.datetime64("2022-01-01", "us") + day * np.timedelta64(1, "D"),
        horizon=20,
        group=np.array([f"C{at}" for at in range(rows)], dtype=object),
        manifest={"target": "<b>churn</b>"},
    )


@pytest.fixture(scope="module")
def replayed() -> Iterator[Replayed]:
    policies = (Policy(None), Policy(90, window=180), Policy(180, window=180), replace(EVERY_90, window=180))
    prices = Contacts(10.0, 5.0)
    with only_candidates(*SIMPLE):
        yield replay_rows(reversing(), policies[1], policies, contacts=prices, currency="CHF")


def test_a_world_that_turns_around_is_retrained(replayed: Replayed) -> None:
    never, quarterly, *_ = replayed.summary.accounts
    assert never.overall.auc < 0.45  # the first model believes the opposite of what is true from day 400 on
    assert quarterly.overall.auc > never.overall.auc + 0.1
    assert replayed.advice.place == 1
    assert "every 90 days on the last 180" in replayed.sentence
    assert re.search(r"retraining would have brought \+[\d,]+ CHF", replayed.sentence)
    assert "Every training fits logistic" in replayed.compared


def test_the_document_has_every_period_of_every_policy(replayed: Replayed) -> None:
    document = json.loads(json.dumps(replayed.to_json(), default=str))
    assert document["recommended"] == "every 90 days on the last 180"
    assert document["policies"][0]["name"] == "never"
    assert all(len(one["periods"]) == len(document["periods"]) for one in document["policies"])
    assert document["periods"][-1] == "2023-12"
    assert {"auc", "log_loss", "base_rate", "mean_probability", "regret", "profit", "missed", "trainings"} <= set(
        document["policies"][1]
    )


def test_the_page_needs_nothing_else_and_escapes_names(replayed: Replayed, tmp_path: Path) -> None:
    write_page(replayed, tmp_path / "reports" / "replay.html")
    page = (tmp_path / "reports" / "replay.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;churn&lt;/b&gt;" in page
    assert "<b>churn" not in page
    assert not re.search(r"https?://|<script|<link|src=", page)
    assert len(re.findall(r"<figure>", page)) == 4  # log loss, saved, AUC, money
    assert len(re.findall(r'<polyline class="policy p3"', page)) >= 3
    assert "2023-12" in page
    assert replayed.sentence in page


def test_the_tables_fit_a_terminal(replayed: Replayed) -> None:
    console = Console(width=160, record=True, file=StringIO())
    console.print(*make_tables(replayed))
    told = console.export_text()
    assert "<b>churn</b>: what each policy would have brought" in told
    assert "profit, CHF" in told


def test_without_prices_no_money_is_told() -> None:
    with only_candidates(*SIMPLE):
        found = replay_rows(reversing(600), EVERY_90, (Policy(None), Policy(90)))
    assert any("add `profit`" in note for note in found.notes)
    assert "Profit" not in make_page(found)
    assert "EUR" not in found.sentence


def test_noise_is_not_replayed() -> None:
    with only_candidates(*SIMPLE):
        found = replay_rows(reversing(600, has_signal=False), EVERY_90, (Policy(None), Policy(90)))
    assert found.summary is None
    assert "nothing beats the base rate" in found.sentence
    assert make_tables(found) == []
    assert "nothing beats the base rate" in make_page(found)


def test_the_recipe_may_choose_at_every_training() -> None:
    with only_candidates(*SIMPLE):
        found = replay_rows(reversing(600), EVERY_90, (Policy(180),), choose_anew=True)
    assert found.compared.startswith("At every training the recipe chooses anew")
    assert found.summary.accounts[0].played.trainings > 0


def test_without_a_schedule_the_usual_one_is_looked_at() -> None:
    assert [one.every for one in policies_around(Policy(None, gate=True))] == [None, 15, 30, 60, 30]
    assert policies_around(Policy(1))[1] == Policy(1)  # half a day is a day


def test_the_command_replays_the_policy_of_the_config_and_changes_nothing(world: World, tmp_path: Path) -> None:
    counted = "SELECT count(*) FROM decisions"
    before = world.sql(counted, file=str(world.state / "ledger.db"))
    page = tmp_path / "replay.html"
    with only_candidates(*SIMPLE):
        found = world.run("retrain", "--replay", "--target", "churn", "--html", str(page), "--json").document
    played = found["targets"]["churn"]["policies"]
    assert [one["name"] for one in played[:4]] == [
        "never",
        "every 15 days, gated",
        "every 30 days, gated",
        "every 60 days, gated",
    ]
    assert {one["rows"] for one in played} == {found["targets"]["churn"]["replayed"]["rows"]}
    assert "retraining policy</h1>" in page.read_text(encoding="utf-8")
    assert world.sql(counted, file=str(world.state / "ledger.db")) == before


def test_money_has_no_probabilities_to_replay(finished: World) -> None:
    config = finished.config
    churn = config.targets["churn"].model_copy(update={"kind": "value"})
    changed = config.model_copy(update={"targets": {"value": churn}})
    with pytest.raises(ConfigError, match="kind value"):
        replay_deployment(changed, load_extract(config), "value")


def test_contacts_are_priced_by_the_config_and_limited_by_the_capacity(finished: World) -> None:
    config = finished.config
    unpriced = {name: target.model_copy(update={"profit": None}) for name, target in config.targets.items()}
    assert contacts_of(config.model_copy(update={"targets": unpriced}), "churn") is None
    profit = Profit(value_per_event=100.0, cost_per_contact=5.0)
    targets = {name: target.model_copy(update={"profit": profit}) for name, target in config.targets.items()}
    priced = config.model_copy(update={"targets": targets, "capacity": Capacity(contacts_per_week=20)})
    assert contacts_of(priced, "churn") == Contacts(100.0, 5.0, capacity=87)  # 20 x 4.348 weeks of a month
    assert contacts_of(priced, "churn").line == 0.05


def test_a_start_before_anything_was_ripe_says_so(finished: World) -> None:
    config = finished.config
    with (
        only_candidates(*SIMPLE),
        patch("pipeline.deployment.CATALOG", FEW_GROUPS),
        pytest.raises(DataError, match="starts at 2000-01-01, when no row was ripe yet"),
    ):
        replay_deployment(config, load_extract(config), "churn", start=date(2000, 1, 1))
