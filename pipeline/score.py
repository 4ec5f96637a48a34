"""Score everybody who is eligible at the end of the data: model, scorecard, reasons."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.errors import DataError
from features.plan import feature_names
from features.spine import build_scoring_spine
from features.tables import CrmTables
from features.targets import Target
from models.predict import Bundle
from pipeline import __version__
from pipeline.ages import note_on_ages
from pipeline.config import Config
from pipeline.contract import check_contract
from pipeline.customer_facts import write_customer_facts
from pipeline.deployment import features_of, load_catalog, load_extract, make_target
from pipeline.forgotten_scores import without_forgotten
from pipeline.grading import Graded, check_grading, grade_scores
from pipeline.horizon_scores import check_horizons, with_horizons
from pipeline.judging import Judge, ask_card, ask_model, load_judge, store_inputs
from pipeline.ledger import SCORE_COLUMNS, Ledger, Run
from pipeline.ledger_grades import RunBefore
from pipeline.ledger_overrides import Override
from pipeline.overrides import apply_overrides, day_of
from pipeline.score_columns import TEXTS

UNFILLED: Mapping[str, float] = dict.fromkeys(
    ("probability_low", "probability_high", "value", "days_to_event", "unseen_share"), np.nan
)
"""Columns of a score that not every model fills."""


@dataclass(frozen=True)
class ScoreRun:
    """A finished scoring run: where it lies and what it says.

    `scores` is what the ledger holds; `is_new` is False when the same extract had been scored by the
    same models before and nothing was computed again. `notes` are sentences for whoever runs it.
    """

    run_id: str
    folder: Path
    scores: pd.DataFrame
    is_new: bool
    notes: tuple[str, ...] = ()


def score(config: Config, ledger: Ledger) -> ScoreRun:
    """Score all targets at the extract's `data_end`, and store the run.

    The run is named after what went into it (tables, models, cards, config, overrides), so the same input
    gives the same run: a second call reads it back. Its folder is renamed into place when complete.
    A target that has nobody to score at that moment adds no rows.

    Raises
    ------
    ConfigError
        If a target has never been trained.
    DataError, BundleError, ScorecardError
        If the tables, the features, the model or the card do not fit together (see `pipeline.contract`),
        or there is nobody to score at all. The run is noted as failed, and has no scores.

    """
    tables = load_extract(config)
    known_features = feature_names(load_catalog(config), tables)
    judges = {name: load_judge(config, ledger, known_features, name) for name in config.targets}
    for name, judge in judges.items():
        check_grading(config, name, judge.card)
    in_force = ledger.overrides.in_force(day_of(config, tables.data_end))
    run_id = _name_run(config, tables, judges, in_force)
    folder = config.folder / "runs" / run_id
    known = ledger.find_run(run_id)
    is_new = known is None or known.state != "done" or not (folder / "scores.parquet").is_file()
    if is_new:
        before = _find_before(ledger, tables, known)
        follows = before.run_id if before else None
        details = {"data_end": tables.data_end.isoformat(), "tables": tables.sha256, "follows": follows}
        ledger.start_run(run_id, "score", details, config.model_dump_json(indent=1))
        try:
            done = _compute(config, ledger, tables, _Task(judges, before, in_force, folder))
        except Exception as error:
            ledger.finish_run(run_id, "failed", {"error": str(error)})
            raise
        ledger.replace_scores(run_id, done.scores)
        told = {name: found for name, found in (("grading", done.states), ("notes", done.notes)) if found}
        ledger.finish_run(run_id, "done", {"rows": len(done.scores), **told})
    run = ledger.find_run(run_id)
    notes = tuple(run.details.get("notes", ())) if run else ()
    return ScoreRun(run_id, folder, ledger.scores(run_id), is_new, notes)


def _find_before(ledger: Ledger, tables: CrmTables, known: Run | None) -> RunBefore | None:
    """Return the run whose grades are kept: the one that was followed when this run was made first, if it was."""
    followed = known.details.get("follows", "") if known else ""
    return None if followed is None else ledger.grades.run_before(tables.data_end, followed)


@dataclass(frozen=True)
class _Task:
    """What a run is made with, besides the tables: judges, the run before, overrides; and where it will lie."""

    judges: Mapping[str, Judge]
    before: RunBefore | None
    in_force: Sequence[Override]
    folder: Path


def _compute(config: Config, ledger: Ledger, tables: CrmTables, task: _Task) -> Graded:
    """Score and grade all targets and store the frames in the run's folder, which appears when it is complete."""
    part, notes = _make_part(task.folder), list[str]()
    cards = {name: judge.card for name, judge in task.judges.items()}
    scored = _score_all(config, tables, task.judges, part, notes).assign(run_id=task.folder.name)
    graded = grade_scores(config, ledger.grades, scored, cards, task.before, part)
    shown, left_out = apply_overrides(config, graded.scores, task.in_force, cards)
    scores = shown[list(SCORE_COLUMNS)].astype(TEXTS)
    scores.to_parquet(part / "scores.parquet", index=False)
    notes += [*graded.notes, *left_out, *write_customer_facts(config, tables, part)]
    (part / "config.json").write_text(config.model_dump_json(indent=1), encoding="utf-8")
    shutil.rmtree(task.folder, ignore_errors=True)
    part.rename(task.folder)
    return Graded(scores, graded.states, tuple(notes))


def _name_run(config: Config, tables: CrmTables, judges: Mapping[str, Judge], in_force: Sequence[Override]) -> str:
    parts = [__version__, tables.sha256, config.model_dump_json()]
    for judge in judges.values():
        parts.append(judge.champion.bundle_sha256 if judge.champion else "no model")
        parts.append(judge.card.model_dump_json() if judge.card else "no card")
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in config.feature_modules]
    parts += [one.override_id for one in in_force]
    return f"score-{tables.data_end:%Y%m%d}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"


def _make_part(folder: Path) -> Path:
    """Make the folder in which a run is put together; what killed runs left there is removed."""
    for left in folder.parent.glob(".part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder.with_name(f".part-{folder.name}")
    part.mkdir(parents=True)
    return part


def _score_all(
    config: Config, tables: CrmTables, judges: Mapping[str, Judge], folder: Path, notes: list[str]
) -> pd.DataFrame:
    """Score frames of all targets, one below the other, and add notes; DataError if nobody is eligible for any."""
    scored = []
    for name, judge in judges.items():
        target = make_target(config, name)
        spine = without_forgotten(config, name, build_scoring_spine(tables, target))
        if not spine.empty:
            built = features_of(config, tables, name, spine)
            if judge.bundle is not None:
                notes += _notes(config, tables, target, judge.bundle, spine)
                check_contract(name, judge.bundle, built, tables.currency, config.targets[name].max_unseen_share)
            stored = store_inputs(folder, name, built.frame, judge.card)
            rows = built.frame[["entity_id", "as_of"]].assign(target=name, horizon_days=target.horizon_days)
            model = ask_model(judge, built, stored if config.engine == "spark" else None)
            card = ask_card(judge.card, built.frame, folder / f"card_{name}.parquet")
            primary = rows.assign(**UNFILLED).assign(**model, **card)
            scored += with_horizons(config.targets[name], judge.bundle, built.frame, primary)
    if not scored:
        raise DataError(
            f"At {tables.data_end:%Y-%m-%d %H:%M:%S} nobody is eligible for {', '.join(judges)}: no open deal, no "
            "customer with a purchase in the lookback or a live subscription. Check the tables and `lookback_days`."
        )
    return pd.concat(scored, ignore_index=True)


def _notes(config: Config, tables: CrmTables, target: Target, bundle: Bundle, spine: pd.DataFrame) -> list[str]:
    """What to say of a target's scores: horizons that were not trained yet, ages that training never saw."""
    trained = bundle.manifest.get("extras", {}).get("training_set", {}).get("ages_days", ())
    said = (
        check_horizons(target.name, bundle, config.targets[target.name]),
        note_on_ages(tables, spine, target, trained),
    )
    return [sentence for sentence in said if sentence]
