"""Retraining: a challenger is trained when it is due, and goes live only on evidence.

The decision is noted in the ledger before the alias moves. A run that is killed between the two leaves a
note, and the next one on the same data finds it and moves the alias; one that is killed earlier has
decided nothing, and is done again with the same result.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.tables import CrmTables
from models.fair_rows import newest_window
from models.predict import Bundle, load_bundle
from models.training_set import TrainingSet, save_training_set
from pipeline import __version__
from pipeline.aliases import move_champion
from pipeline.challenge import Challenge, challenge, find_split, make_trial
from pipeline.config import Config
from pipeline.errors import GateError
from pipeline.ledger import Decision, Ledger
from pipeline.registry import Champion, read_champion
from pipeline.swap_population import make_population
from pipeline.swap_versions import Version, make_swap_report
from pipeline.tracking import Evidence
from pipeline.training import Refitted, as_training_set, build_ripe_rows, label_spine, refit_choice, register_model
from pipeline.training_report import write_training_report
from pipeline.trigger_facts import gather_facts
from pipeline.triggers import check_triggers

PROMOTED, REFUSED, NOTHING = "promoted", "refused", "nothing_to_do"
MOVES = (("train", "champion"), ("promote", "promoted"), ("rollback", "rolled_back"), ("retrain", PROMOTED))
"""Kind and outcome of decisions after which another version is live."""


@dataclass(frozen=True)
class Retraining:
    """What became of one target; `is_new` is False where the ledger knew the decision already."""

    target: str
    outcome: str
    why: str
    details: Mapping[str, Any]
    is_new: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return a target's part of `leadsieve retrain --json`."""
        return {"outcome": self.outcome, "is_new": self.is_new, **self.details, "why": self.why}


@dataclass(frozen=True)
class _Task:
    """What a retraining of one target works on."""

    config: Config
    tables: CrmTables
    name: str
    ledger: Ledger
    config_path: Path
    live: Champion | None
    bundle: Bundle | None
    dry_run: bool

    @property
    def key(self) -> str:
        """Name of the data: extract, config but for places, feature modules and leadsieve's version."""
        asked = self.config.model_dump_json(exclude={"state", "mlflow", "write_back"})
        parts = [__version__, self.tables.sha256, asked]
        parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.config.feature_modules]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    @property
    def live_sha256(self) -> str | None:
        return None if self.live is None else self.live.bundle_sha256

    def end(self, outcome: str, why: str, details: Mapping[str, Any]) -> Retraining:
        """Note how it ended."""
        if not self.dry_run:
            self.ledger.record_decision("retrain", self.name, outcome, {**details, "why": why})
        return Retraining(self.name, outcome, why, details)


def retrain_target(
    config: Config,
    tables: CrmTables,
    name: str,
    ledger: Ledger,
    config_path: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Retraining:
    """Train a challenger if one is due, and promote it if the gate says yes.

    The challenger is chosen and fitted without the newest rows and compared with the live model on these,
    which the live model has not seen either. What is registered is the same choice refitted on all ripe
    rows (of the window) with frozen settings. The same data and the same live model give the decision that
    is in the ledger.

    Parameters
    ----------
    force : bool
        Train even if no trigger fired.
    dry_run : bool
        Decide, and change nothing.

    Raises
    ------
    ConfigError
        If the live model answers another question than the config asks.
    DataError, BundleError
        If there is nothing to learn from, or the live model cannot score the rows.

    """
    if config.targets[name].kind == "value":
        why = "The gate compares chances, and this target is an amount. Run `leadsieve train` to train it again."
        return Retraining(name, NOTHING, why, {}, is_new=False)
    live = read_champion(config, name)
    bundle = None if live is None else load_bundle(live.folder, live.bundle_sha256)
    task = _Task(config, tables, name, ledger, config_path, live, bundle, dry_run)
    known = _find_known(task, ledger.decisions(name), force)
    return known or _retrain(task, force)


def _retrain(task: _Task, force: bool) -> Retraining:
    labelled = label_spine(task.config, task.tables, task.name)
    facts = gather_facts(task.config, task.tables, task.name, task.ledger, labelled, task.live, task.bundle)
    triggers = check_triggers(task.config.retrain, facts)
    due = force or any(one.fired for one in triggers)
    live = None if task.live is None else {"version": task.live.version, "bundle_sha256": task.live.bundle_sha256}
    details = {
        "key": task.key,
        "data_end": task.tables.data_end.isoformat(),
        "champion": live,
        "due": due,
        "forced": force,
        "triggers": [asdict(one) for one in triggers],
    }
    if not due:
        said = " ".join(one.why for one in triggers) or "The config names no trigger."
        return task.end(NOTHING, f"No trigger fired. {said}", details)
    split = None if task.bundle is None else find_split(task.config, task.name, labelled, task.bundle)
    if split is not None and split.shortage is not None:
        return task.end(NOTHING, f"Too little to compare on. {split.shortage}", details)
    ripe = build_ripe_rows(task.config, task.tables, task.name, labelled)
    rows = as_training_set(task.config, task.tables, task.name, ripe)
    trial = make_trial(task.config, ripe, rows, task.bundle, split)
    tried = challenge(task.config, task.tables, task.name, trial)
    return _conclude(task, rows, tried, {**details, **tried.to_json()})


def _conclude(task: _Task, rows: TrainingSet, tried: Challenge, details: Mapping[str, Any]) -> Retraining:
    """Refit what was tried, register it, and promote it if nothing speaks against it."""
    if tried.evaluation.selected == "base_rate":
        why = "Refused: on the rows before the newest ones no candidate beats the base rate, so there is no challenger."
        return task.end(REFUSED, why, details)
    kept = newest_window(rows, task.config.retrain.window_days)
    refitted = refit_choice(task.config, task.tables, task.name, kept, tried.trial.test, tried.evaluation)
    outcome, why = (PROMOTED, tried.verdict.why) if tried.verdict.promote else (REFUSED, tried.verdict.why)
    details = {**details, "fitted_on": dict(refitted.fitted.fitted_on)}
    if outcome == PROMOTED:
        swap, objection = _ask_swap(task, refitted)
        details = {**details, "swap": swap}
        outcome, why = (REFUSED, f"Refused: {objection}") if objection else (outcome, why)
    if task.dry_run:
        return task.end(outcome, why, details)
    save_training_set(task.config.folder / "training" / task.name, rows)
    evidence = _make_evidence(outcome, why, details)
    report = _write_report(task, tried)
    version, sha256 = register_model(task.config, task.name, kept, refitted, task.config_path, evidence, report)
    done = task.end(outcome, why, {**details, "version": version, "bundle_sha256": sha256})
    if outcome == PROMOTED:
        move_champion(task.config, task.name, version, None if task.live is None else task.live.version)
    return done


def _write_report(task: _Task, tried: Challenge) -> Path:
    """Write the evaluation report of the challenger, as of any training."""
    trial = tried.trial
    return write_training_report(task.config, task.tables, task.name, tried.evaluation, trial.train, trial.test)


def _ask_swap(task: _Task, refitted: Refitted) -> tuple[dict[str, Any] | None, str | None]:
    """Who would change grade, and what the config says against it; people are counted, not named."""
    if task.bundle is None or task.live is None:
        return None, None
    population = make_population(task.config, task.tables, task.name)
    live = Version(task.bundle, task.live.version, task.live.bundle_sha256)
    report = make_swap_report(task.config, task.ledger, population, Version(refitted.fitted.bundle), live)
    document = {key: value for key, value in report.to_json().items() if key != "largest"}
    try:
        report.check()
    except GateError as objection:
        return document, str(objection)
    return document, None


def _make_evidence(outcome: str, why: str, details: Mapping[str, Any]) -> Evidence:
    """What MLflow keeps of a decision."""
    fired = [one["name"] for one in details["triggers"] if one["fired"]] or ["forced"]
    figures: dict[str, float] = {}
    for name, one in details["comparison"]["differences"].items():
        figures |= {f"gate_{name}_difference": one["mean"], f"gate_{name}_low": one["low"]}
        figures |= {f"gate_{name}_high": one["high"], f"gate_{name}_log_loss": one["opponent_loss"]}
    tags = {"decision": outcome, "why": why[:4000], "trigger": ", ".join(fired)}
    return Evidence(tags, figures, {**details, "outcome": outcome, "why": why})


def _find_known(task: _Task, decisions: Sequence[Decision], force: bool) -> Retraining | None:
    """Return the decision that the ledger has for these data and this live model, its promotion completed."""
    for place, one in enumerate(decisions):
        if one.kind != "retrain" or one.details.get("key") != task.key:
            continue
        before = (one.details.get("champion") or {}).get("bundle_sha256")
        known = Retraining(task.name, one.outcome, str(one.details["why"]), _without_why(one), is_new=False)
        if one.outcome == PROMOTED:
            return _complete(task, known, decisions[:place], before)
        if before == task.live_sha256 and (one.outcome == REFUSED or one.details["due"] or not force):
            return known
    return None


def _complete(task: _Task, known: Retraining, later: Sequence[Decision], before: str | None) -> Retraining:
    """Return a promotion; one that was noted and not carried out is carried out, unless people decided since."""
    if known.details["bundle_sha256"] == task.live_sha256:
        return known
    moved = [one for one in later if (one.kind, one.outcome) in MOVES]
    if moved or before != task.live_sha256:
        who = f"by `{moved[0].kind}`" if moved else "outside of leadsieve"
        why = (
            f"Version {known.details['version']} was promoted on these data, and another one was made live since {who}."
        )
        return Retraining(task.name, NOTHING, why, known.details, is_new=False)
    if not task.dry_run:
        version = int(known.details["version"])
        move_champion(task.config, task.name, version, None if task.live is None else task.live.version)
    return known


def _without_why(decision: Decision) -> dict[str, Any]:
    return {key: value for key, value in decision.details.items() if key != "why"}
