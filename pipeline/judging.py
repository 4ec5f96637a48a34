"""What a target is scored with, a model, a card or both, and what they say of its rows."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.build import FeatureFrame
from models.card_parts import card_parts, list_as_json
from models.predict import Bundle, load_bundle
from models.reasons import write_reasons
from models.scorecard import Scorecard
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.ledger import Ledger
from pipeline.model_values import model_values
from pipeline.registry import Champion, read_champion


@dataclass(frozen=True)
class Judge:
    """What a target is scored with: a model, a card, or both."""

    champion: Champion | None
    bundle: Bundle | None
    card: Scorecard | None


def load_judge(config: Config, ledger: Ledger, known_features: Collection[str], name: str) -> Judge:
    """Load and check the model and the card of a target, before anything is computed.

    There is no model when training found no signal and the card grades alone.
    """
    card = load_card(config, name, known_features)
    champion = read_champion(config, name)
    if champion is not None:
        return Judge(champion, load_bundle(champion.folder, champion.bundle_sha256), card)
    if not any(one.outcome == "no_signal" for one in ledger.decisions(name)):
        raise ConfigError(f"Target '{name}' has no champion model. Run `leadsieve train` first.")
    if card is None:
        raise ConfigError(
            f"Target '{name}' has neither a model, as training found no signal, nor a scorecard. "
            f"Set targets.{name}.scorecard, or train again on a longer history."
        )
    return Judge(None, None, card)


def store_inputs(folder: Path, name: str, frame: pd.DataFrame, card: Scorecard | None) -> Path:
    """Store what the scores of a target rest on, besides the bundle; return the place of the features."""
    if card is not None:
        (folder / f"card_{name}.json").write_text(card.model_dump_json(by_alias=True, exclude_unset=True), "utf-8")
    place = folder / f"features_{name}.parquet"
    frame.to_parquet(place, index=False)
    return place


def ask_model(judge: Judge, built: FeatureFrame, stored: Path | None = None) -> dict[str, Any]:
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


def ask_card(card: Scorecard | None, frame: pd.DataFrame, place: Path) -> dict[str, Any]:
    """Points, grade, coverage, vetoes and flags by the card, of which all parts are stored; null without one."""
    if card is None:
        nothing = dict.fromkeys(("grade", "card_grade", "graded_by", "vetoes", "flags", "card", "card_version"))
        return {"points": np.nan, "coverage": np.nan, **nothing}
    scored = card.score(frame)
    card_parts(card, frame, scored).to_parquet(place, index=False)
    return {
        **{name: scored[name].to_numpy() for name in ("points", "grade", "coverage")},
        **{name: np.array(list_as_json(scored[name]), dtype=object) for name in ("vetoes", "flags")},
        "card_grade": scored["grade"].to_numpy(),
        "graded_by": "points",
        "card": card.id,
        "card_version": str(card.version),
    }
