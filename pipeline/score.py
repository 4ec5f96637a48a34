"""Score everybody who is eligible at the end of the data: model, scorecard, reasons."""

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.build import FeatureFrame
from features.errors import DataError
from features.plan import feature_names
from features.spine import build_scoring_spine
from features.tables import CrmTables
from features.targets import Target
from models.predict import Bundle, load_bundle
from models.reasons import write_reasons
from models.scorecard import Scorecard
from pipeline import __version__
from pipeline.ages import note_on_ages
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.contract import check_contract
from pipeline.deployment import features_of, load_catalog, load_extract, make_target
from pipeline.errors import ConfigError
from pipeline.forgotten_scores import without_forgotten
from pipeline.horizon_scores import check_horizons, with_horizons
from pipeline.ledger import SCORE_COLUMNS, Ledger
from pipeline.model_values import model_values
from pipeline.registry import Champion, read_champion
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


@dataclass(frozen=True)
class _Judge:
    """What a target is scored with: a model, a card, or both."""

    champion: Champion | None
    bundle: Bundle | None
    card: Scorecard | None


def score(config: Config, ledger: Ledger) -> ScoreRun:
    """Score all targets at the extract's `data_end`, and store the run.

    The run is named after what went into it (tables, models, cards, config), so the same input
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
    judges = {name: _load_judge(config, ledger, known_features, name) for name in config.targets}
    run_id = _name_run(config, tables, judges)
    folder = config.folder / "runs" / run_id
    known = ledger.find_run(run_id)
    is_new = known is None or known.state != "done" or not (folder / "scores.parquet").is_file()
    if is_new:
        details = {"data_end": tables.data_end.isoformat(), "tables": tables.sha256}
        ledger.start_run(run_id, "score", details, config.model_dump_json(indent=1))
        notes: list[str] = []
        try:
            scores = _compute(config, tables, judges, folder, notes)
        except Exception as error:
            ledger.finish_run(run_id, "failed", {"error": str(error)})
            raise
        ledger.replace_scores(run_id, scores)
        ledger.finish_run(run_id, "done", {"rows": len(scores), **({"notes": notes} if notes else {})})
    done = ledger.find_run(run_id)
    told = tuple(done.details.get("notes", ())) if done else ()
    return ScoreRun(run_id, folder, ledger.scores(run_id), is_new, told)


def _compute(
    config: Config, tables: CrmTables, judges: Mapping[str, _Judge], folder: Path, notes: list[str]
) -> pd.DataFrame:
    """Score all targets and store the frames in the run's folder, which appears when it is complete."""
    part = _make_part(folder)
    scored = _score_all(config, tables, judges, part, notes).assign(run_id=folder.name)
    scores = scored[list(SCORE_COLUMNS)].astype(TEXTS)
    scores.to_parquet(part / "scores.parquet", index=False)
    (part / "config.json").write_text(config.model_dump_json(indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return scores


def _load_judge(config: Config, ledger: Ledger, known_features: Collection[str], name: str) -> _Judge:
    """Load and check the model and the card of a target, before anything is computed.

    There is no model when training found no signal and the card grades alone.
    """
    card = load_card(config, name, known_features)
    champion = read_champion(config, name)
    if champion is not None:
        return _Judge(champion, load_bundle(champion.folder, champion.bundle_sha256), card)
    if not any(one.outcome == "no_signal" for one in ledger.decisions(name)):
        raise ConfigError(f"Target '{name}' has no champion model. Run `leadsieve train` first.")
    if card is None:
        raise ConfigError(
            f"Target '{name}' has neither a model, as training found no signal, nor a scorecard. "
            f"Set targets.{name}.scorecard, or train again on a longer history."
        )
    return _Judge(None, None, card)


def _name_run(config: Config, tables: CrmTables, judges: Mapping[str, _Judge]) -> str:
    parts = [__version__, tables.sha256, config.model_dump_json()]
    for judge in judges.values():
        parts.append(judge.champion.bundle_sha256 if judge.champion else "no model")
        parts.append(judge.card.model_dump_json() if judge.card else "no card")
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in config.feature_modules]
    return f"score-{tables.data_end:%Y%m%d}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"


def _make_part(folder: Path) -> Path:
    """Make the folder in which a run is put together; what killed runs left there is removed."""
    for left in folder.parent.glob(".part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder.with_name(f".part-{folder.name}")
    part.mkdir(parents=True)
    return part


def _score_all(
    config: Config, tables: CrmTables, judges: Mapping[str, _Judge], folder: Path, notes: list[str]
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
            stored = _store(folder, name, built.frame, judge.card)
            rows = built.frame[["entity_id", "as_of"]].assign(target=name, horizon_days=target.horizon_days)
            model = _ask_model(judge, built, stored if config.engine == "spark" else None)
            primary = rows.assign(**UNFILLED).assign(**model, **_ask_card(judge.card, built.frame))
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


def _store(folder: Path, name: str, frame: pd.DataFrame, card: Scorecard | None) -> Path:
    """Store what the scores of a target rest on, besides the bundle; return the place of the features."""
    if card is not None:
        (folder / f"card_{name}.json").write_text(card.model_dump_json(by_alias=True, exclude_unset=True), "utf-8")
    place = folder / f"features_{name}.parquet"
    frame.to_parquet(place, index=False)
    return place


def _ask_model(judge: _Judge, built: FeatureFrame, stored: Path | None = None) -> dict[str, Any]:
    """Probability, log-odds and reasons by the champion, on Spark if the features are stored; null without one."""
    if judge.champion is None or judge.bundle is None:
        nothing = {"probability": np.nan, "log_odds": np.nan, "model_version": None, "bundle_sha256": None}
        return {**nothing, "reasons": "[]"}
    if stored is not None:
        from pipeline.spark_scoring import score_on_spark

        scored = score_on_spark(stored, built.frame, judge.champion.folder, judge.champion.bundle_sha256)
        log_odds, contributions = scored.log_odds, scored.contributions
    else:
        log_odds, _, contributions = judge.bundle.explain(built.frame)
    infos = {**judge.bundle.reason_words, **{info.name: info for info in built.infos}}
    reasons = write_reasons(built.frame, contributions, log_odds, judge.bundle.reason_names, infos)
    return {
        **model_values(judge.bundle, built.frame, log_odds),
        "model_version": str(judge.champion.version),
        "bundle_sha256": judge.champion.bundle_sha256,
        "reasons": reasons,
    }


def _ask_card(card: Scorecard | None, frame: pd.DataFrame) -> dict[str, Any]:
    """Points, grade and coverage by the card; null without one."""
    if card is None:
        nothing = dict.fromkeys(("grade", "card_grade", "graded_by", "vetoes", "flags", "card", "card_version"))
        return {"points": np.nan, "coverage": np.nan, **nothing}
    points = card.score(frame)
    answers = {name: points[name].to_numpy() for name in ("points", "grade", "coverage")}
    lists = {name: _to_texts(points.get(name, pd.Series(dtype=object))) for name in ("vetoes", "flags")}
    judged = {"card_grade": answers["grade"], "graded_by": "points", "card": card.id, "card_version": str(card.version)}
    return {**answers, **lists, **judged}


def _to_texts(lists: "pd.Series[Any]") -> Any:
    """JSON text of each list of ids, null where it is empty; null for all where there are no lists."""
    texts = [json.dumps(one) if one else None for one in lists]
    return np.array(texts, dtype=object) if texts else None
