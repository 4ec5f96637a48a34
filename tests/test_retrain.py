"""Retraining on a small CRM: a champion of the past meets a challenger that knows more."""

import json
from contextlib import chdir
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from small_crm import CHURN_ONLY, CONFIG, FEW_GROUPS, SIMPLE, World, copy_world, only_candidates

from features.tables import CrmTables
from features.targets import Target
from models.predict import load_bundle
from pipeline.config import Config, load_config
from pipeline.deployment import load_extract
from pipeline.labelling import label_rows
from pipeline.ledger import SCORE_COLUMNS, Decision, open_ledger
from pipeline.registry import open_mlflow, read_champion
from pipeline.training import label_spine, train_target
from pipeline.trigger_facts import gather_facts
from pipeline.triggers import Loss

PAST = datetime(2024, 12, 31, 22)
"""Its data end half a year before those of the extract, so that later snapshots are new to it."""


class KilledError(BaseException):
    """What stops a run where it stands; nothing catches it."""


def label_backwards(tables: CrmTables, spine: pd.DataFrame, target: Target) -> pd.DataFrame:
    labels = label_rows(tables, spine, target)
    return labels.assign(label=1.0 - labels["label"])


def train_backwards(world: World) -> None:
    """Make version 1 of churn from what was known at PAST, taking those who stay for those who leave."""
    with (
        chdir(world.folder),
        only_candidates(*SIMPLE),
        patch("pipeline.deployment.CATALOG", FEW_GROUPS),
        patch("pipeline.training.label_rows", label_backwards),
        patch("pipeline.training.write_training_report", write_line),
        open_ledger(world.state / "ledger.db") as ledger,
    ):
        config = load_config(Path(CONFIG))
        train_target(config, replace(load_extract(config), data_end=PAST), "churn", ledger, Path(CONFIG))


def retrain(world: World, *arguments: str):
    """Run the command; the evaluation report, which has tests of its own, is one line here."""
    with only_candidates(*SIMPLE), patch("pipeline.retrain.write_training_report", write_line):
        return world.run("retrain", "--json", *arguments)


def write_line(config: Config, *_: object) -> Path:
    path = config.folder / "reports" / "churn.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text("how the challenger did")
    return path


def churn_of(answer) -> dict:
    return json.loads(answer.out)["targets"]["churn"]


def decisions_of(world: World) -> list[Decision]:
    with open_ledger(world.state / "ledger.db") as ledger:
        return [one for one in ledger.decisions("churn") if one.kind == "retrain"]


def versions_of(world: World) -> list[int]:
    with open_mlflow(world.config) as mlflow:
        return sorted(int(one.version) for one in mlflow.MlflowClient().search_model_versions("name = 'small-churn'"))


@pytest.fixture(scope="module")
def weak(finished: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A CRM whose champion of churn has it backwards; shared, so nobody changes it."""
    world = copy_world(finished, tmp_path_factory.mktemp("weak") / "small")
    for path in world.state.iterdir():
        if path.name.startswith(("mlflow.db", "ledger.db")):
            path.unlink()
    world.change_config(**CHURN_ONLY, retrain={"slice_rows": 100})
    train_backwards(world)
    return world


@pytest.fixture(scope="module")
def promoted(weak: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same after a retraining that was killed twice; shared, so nobody changes it."""
    world = copy_world(weak, tmp_path_factory.mktemp("promoted") / "small")
    with (
        patch("pipeline.ledger.Ledger.record_decision", side_effect=KilledError("deciding")),
        pytest.raises(KilledError, match="deciding"),
    ):
        retrain(world)  # version 2 is registered, nothing is decided
    assert decisions_of(world) == []
    moving = patch("pipeline.retrain.move_champion", side_effect=KilledError("moving"))
    with moving, pytest.raises(KilledError, match="moving"):
        retrain(world)  # decided, and the alias has not moved
    assert [one.outcome for one in decisions_of(world)] == ["promoted"]
    assert read_champion(world.config, "churn").version == 1
    with patch("pipeline.retrain.challenge", side_effect=AssertionError("it must not train again")):
        assert retrain(world).code == 0
    return world


def test_a_better_challenger_goes_live_although_the_run_was_killed_twice(promoted: World):
    assert read_champion(promoted.config, "churn").version == 2
    assert versions_of(promoted) == [1, 2]
    (decision,) = decisions_of(promoted)
    found = decision.details
    assert found["why"].startswith("Promoted: log loss 0.")
    against = found["comparison"]["differences"]["champion"]
    assert against["high"] < 0
    assert against["challenger_loss"] == pytest.approx(found["test"]["log_loss"])
    assert set(found["comparison"]["differences"]) == {"champion", "logistic", "base_rate"}
    assert (found["version"], found["champion"]["version"]) == (2, 1)
    assert found["bundle_sha256"] == read_champion(promoted.config, "churn").bundle_sha256


def test_the_rows_of_the_comparison_are_new_to_both(promoted: World):
    found = decisions_of(promoted)[0].details
    manifest = json.loads(
        (promoted.state / "bundles" / found["champion"]["bundle_sha256"] / "manifest.json").read_text(encoding="utf-8")
    )
    assert manifest["fitted_on"]["to"][:10] == "2024-10-01"
    # its labels reach to December 30: fair are January to April, 917 rows, and the newer half begins with March
    assert (found["evaluated_on"]["from"][:10], found["evaluated_on"]["to"][:10]) == ("2025-03-01", "2025-04-01")
    assert found["challenger_fitted_on"]["to"][:10] == "2024-12-01"  # + 90 days = 03-01
    assert found["fitted_on"]["to"][:10] == "2025-04-01"  # what went live knows all ripe rows
    assert "region" in {one["column"] for one in found["slices"]}
    assert min(one["rows"] for one in found["slices"]) >= 100


def test_mlflow_tells_why(promoted: World):
    found = decisions_of(promoted)[0].details
    with open_mlflow(promoted.config) as mlflow:
        client = mlflow.MlflowClient()
        version = client.get_model_version("small-churn", "2")
        run = client.get_run(version.run_id)
        kept = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/gate.json")
        report = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.html")
    assert (version.tags["decision"], version.tags["trigger"]) == ("promoted", "schedule")
    assert run.data.tags["why"] == found["why"]
    assert run.data.metrics["gate_champion_high"] == found["comparison"]["differences"]["champion"]["high"]
    assert kept["slices"] == found["slices"]
    assert report == "how the challenger did"
    assert "entity_id" not in json.dumps(kept)  # people are counted, not named


def test_the_same_data_give_the_same_decision_and_nothing_new(promoted: World):
    before = promoted.fingerprint()
    with patch("pipeline.retrain.challenge", side_effect=AssertionError("it must not train again")):
        answers = [retrain(promoted), retrain(promoted, "--force")]
    for answer in answers:
        assert answer.code == 0
        assert (churn_of(answer)["outcome"], churn_of(answer)["is_new"]) == ("promoted", False)
    assert promoted.fingerprint() == before
    assert len(decisions_of(promoted)) == 1


def test_what_people_rolled_back_stays_rolled_back(promoted: World, tmp_path: Path):
    world = copy_world(promoted, tmp_path / "small")
    assert world.run("rollback", "--target", "churn").code == 0
    answer = retrain(world)
    assert answer.code == 0
    assert churn_of(answer)["outcome"] == "nothing_to_do"
    assert churn_of(answer)["why"] == (
        "Version 2 was promoted on these data, and another one was made live since by `rollback`."
    )
    assert read_champion(world.config, "churn").version == 1


def test_a_dry_run_decides_and_changes_nothing(weak: World):
    before = weak.fingerprint()
    answer = retrain(weak, "--dry-run")
    assert answer.code == 0
    assert (churn_of(answer)["outcome"], churn_of(answer)["is_dry_run"]) == ("promoted", True)
    assert weak.fingerprint() == before
    assert decisions_of(weak) == []
    assert versions_of(weak) == [1]


def test_too_many_movers_are_refused_and_the_challenger_is_kept(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    world.change_config(retrain__max_movers_share=0.0)
    with patch("pipeline.retrain.register_model", return_value=(2, "b" * 64)) as register:
        answer = retrain(world)
    assert register.call_count == 1
    assert answer.code == 1
    assert "would change grade" in answer.err
    assert "retrain.max_movers_share" in answer.err
    assert answer.err.endswith("What was live stays live.\n")
    document = churn_of(answer)
    assert (document["outcome"], document["version"]) == ("refused", 2)
    assert document["swap"]["movers"] > 0
    assert read_champion(world.config, "churn").version == 1
    again = retrain(world)
    assert (again.code, churn_of(again)["is_new"]) == (1, False)


def test_without_a_trigger_nothing_is_trained(finished: World, tmp_path: Path):
    world = copy_world(finished, tmp_path / "small")
    world.change_config(**CHURN_ONLY)
    answer = retrain(world)
    assert answer.code == 0
    assert churn_of(answer)["why"] == (
        "No trigger fired. The data go 0 days beyond the last training (every_days: 30)."
    )
    assert [one.outcome for one in decisions_of(world)] == ["nothing_to_do"]
    assert churn_of(retrain(world))["is_new"] is False
    assert len(decisions_of(world)) == 1
    # the champion was fitted on these very rows, so force finds nothing to compare on
    forced = churn_of(retrain(world, "--force"))
    assert forced["outcome"] == "nothing_to_do"
    assert "Since then 0 rows became ripe" in forced["why"]


def test_drift_is_told_by_what_was_expected_and_by_what_came(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    world.change_config(retrain={"max_expected_loss": 0.01})
    live, config = read_champion(world.config, "churn"), world.config
    bundle = load_bundle(live.folder, live.bundle_sha256)
    scores = pd.DataFrame({"target": "churn", "horizon_days": 90, "entity_id": ["C1", "C2"], "probability": [0.5, 0.1]})
    scores = scores.assign(as_of=PAST, bundle_sha256=live.bundle_sha256).reindex(columns=list(SCORE_COLUMNS))
    with patch("pipeline.deployment.CATALOG", FEW_GROUPS), open_ledger(world.state / "ledger.db") as ledger:
        tables = load_extract(config)
        labelled = label_spine(config, tables, "churn")
        before = gather_facts(config, tables, "churn", ledger, labelled, live, bundle)
        ledger.start_run("r1", "score", {}, "")
        ledger.replace_scores("r1", scores)
        after = gather_facts(config, tables, "churn", ledger, labelled, live, bundle)
    assert before.expected is None
    assert after.expected == Loss(pytest.approx(0.5091, abs=1e-4), 2)  # see test_triggers
    # newly ripe are the snapshots from November to April, which the live model was not fitted on
    new = labelled[labelled["label"].notna() & (labelled["as_of"] > "2024-10-01")]
    assert (after.newly_ripe, after.settled.rows) == (len(new), len(new))
    assert after.settled.mean > 0.6931  # it has it backwards: worse than a coin
    assert after.trained_at == PAST


def test_where_nothing_beats_the_base_rate_there_is_no_challenger(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    with only_candidates("base_rate"):
        answer = world.run("retrain")
    assert answer.code == 1
    assert "no candidate beats the base rate, so there is no challenger. What was live stays live." in answer.err
    assert "the base rate" in answer.out  # people see the comparison, too
    assert versions_of(world) == [1]
    assert [one.outcome for one in decisions_of(world)] == ["refused"]


def test_a_target_without_a_model_gets_one_when_the_base_rate_is_beaten(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    for path in world.state.iterdir():
        if path.name.startswith(("mlflow.db", "ledger.db")):
            path.unlink()
    with only_candidates("base_rate"), patch("pipeline.training.write_training_report", write_line):
        assert world.run("train").code == 1  # no signal: nothing is live, and the card grades alone
    assert churn_of(retrain(world))["outcome"] == "nothing_to_do"  # the data have not moved since
    assert world.run("score", "--json").code == 0  # the card still grades alone
    with (
        patch("pipeline.retrain.register_model", return_value=(1, "b" * 64)),
        patch("pipeline.aliases.set_champion") as to,
    ):
        document = churn_of(retrain(world, "--force"))
    assert (document["outcome"], document["version"], document["champion"]) == ("promoted", 1, None)
    assert to.call_args.args[1:] == ("churn", 1)
    assert set(document["comparison"]["differences"]) == {"base_rate", "logistic"}
    assert document["why"].startswith("Promoted: log loss 0.")
    assert " of the base rate on " in document["why"]


def test_a_live_model_that_looks_further_ahead_cannot_be_compared(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    world.change_config(targets__churn__horizons_days=[60])
    answer = retrain(world)
    assert answer.code == 2
    assert answer.err == (
        "Error: The live model looks 90 days ahead, and the config asks for 60: they cannot be compared. "
        "Run `leadsieve train` to replace it.\n"
    )


def test_a_part_that_rows_cannot_be_cut_by_is_named(weak: World, tmp_path: Path):
    world = copy_world(weak, tmp_path / "small")
    world.change_config(retrain={"slices": ["region", "shoe size"]})
    answer = retrain(world, "--dry-run")
    assert answer.code == 2
    assert "retrain.slices names 'shoe size', and rows of target 'churn' can be cut by: " in answer.err


def test_options_of_the_replay_need_it(finished: World):
    for option in (("--from", "2024-10-01"), ("--choose-anew",), ("--html", "page.html")):
        answer = finished.run("retrain", *option)
        assert answer.code == 2
        assert answer.err == (
            "Error: --from, --choose-anew and --html belong to --replay. Add it, or leave them out.\n"
        )


def test_the_policy_is_replayed_and_nothing_changes(finished: World, tmp_path: Path):
    before = finished.fingerprint()
    with only_candidates(*SIMPLE):
        answer = finished.run("retrain", "--replay", "--target", "churn", "--html", str(tmp_path / "replay.html"))
    assert answer.code == 0, answer.err
    assert "churn: what each policy would have brought" in answer.out
    assert "<html" in (tmp_path / "replay.html").read_text(encoding="utf-8")
    assert finished.fingerprint() == before
