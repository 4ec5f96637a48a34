"""A score of the past: what it rested on, loaded again, and computed again."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from models.card_parts import list_as_json
from models.errors import BundleError
from models.predict import Bundle, load_bundle
from models.scorecard import Scorecard, ScorecardError
from models.time_to_event import days_to_event
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.config_grading import Grading
from pipeline.errors import ConfigError
from pipeline.model_values import model_values

MODEL_VALUES = ("log_odds", "probability", "probability_low", "probability_high", "value", "days_to_event")
CARD_VALUES = ("points", "grade", "coverage")


@dataclass(frozen=True)
class PastScore:
    """One row of the ledger and what it was made of.

    Parameters
    ----------
    row : mapping
        Columns of the ledger's scores; null is None.
    features : DataFrame
        The stored row of features.
    bundle : Bundle or None
        The very bundle that scored it; None when the card graded alone.
    card : Scorecard or None
        The very card.
    missing : str or None
        One sentence if the card is gone.
    further : tuple of mapping
        Rows of the ledger that the same model gave for its further horizons.
    is_card_grade : bool
        Whether the grade is the card's own; else it also rests on the run before, or on a person, and is not
        computed again.

    """

    row: Mapping[str, Any]
    features: pd.DataFrame
    bundle: Bundle | None
    card: Scorecard | None
    missing: str | None = None
    further: tuple[Mapping[str, Any], ...] = ()
    is_card_grade: bool = True

    def recompute(self) -> dict[str, Any]:
        """Model and card asked again: the values that are in the ledger."""
        values: dict[str, Any] = {}
        if self.bundle is not None:
            values |= self._ask_model(self.bundle)
        if self.card is not None:
            points = self.card.score(self.features)
            said = {name: points[name].tolist()[0] for name in CARD_VALUES}
            values |= said if self.is_card_grade else {name: said[name] for name in said if name != "grade"}
            if self.row.get("graded_by"):  # else it is of a time when these were not kept
                values |= {"card_grade": said["grade"]}
                values |= {name: list_as_json(points[name])[0] for name in ("vetoes", "flags")}
        return values

    def _ask_model(self, bundle: Bundle) -> dict[str, Any]:
        said = model_values(bundle, self.features)
        values = {name: column.tolist()[0] for name, column in said.items() if self.row[name] is not None}
        if self.further or self.row["days_to_event"] is not None:
            by_horizon = bundle.log_odds_by_horizon(self.features, said["log_odds"])
            for other in self.further:
                days = int(other["horizon_days"])
                values[f"log_odds_{days}d"] = float(by_horizon[days][0]) if days in by_horizon else None
            if self.row["days_to_event"] is not None:
                direction = int(bundle.manifest["horizons"]["direction"])
                values["days_to_event"] = float(days_to_event(by_horizon, direction)[0])
        return values

    def card_points(self) -> dict[str, float]:
        """Points by criterion of the card, which sum to the points; none without a card."""
        if self.card is None:
            return {}
        points = self.card.score(self.features)
        return {one.id: points[f"points_{one.id}"].tolist()[0] for one in self.card.criteria}

    def differences(self) -> list[str]:
        """Phrases for values that do not come out as they are in the ledger, in any bit."""
        written = dict(self.row) | {f"log_odds_{one['horizon_days']}d": one["log_odds"] for one in self.further}
        return [
            f"{name} is {value!r}, in the ledger {written[name]!r}"
            for name, value in self.recompute().items()
            if value != written[name]
        ]


def plain_row(row: "pd.Series[Any]") -> dict[str, Any]:
    """Return a row of the ledger with Python values, None for null."""
    values = {str(name): value for name, value in row.items()}
    return {
        name: None
        if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA
        else value.item()
        if isinstance(value, np.generic)
        else value
        for name, value in values.items()
    }


def load_past_score(config: Config, row: Mapping[str, Any], further: tuple[Mapping[str, Any], ...] = ()) -> PastScore:
    """Load what a score in the ledger was made of.

    Parameters
    ----------
    config : Config
    row : mapping
        See `plain_row`.
    further : tuple of mapping
        Rows of the same run, target and entity for further horizons.

    Raises
    ------
    DataError
        If the features of its run are not there any more.
    BundleError
        If its bundle is not, or is another one now.

    """
    features = _load_features(config, row)
    sha256 = row["bundle_sha256"]
    bundle = _load_bundle(config, row) if sha256 else None
    card, missing = _load_card(config, row) if row["card"] else (None, None)
    return PastScore(row, features, bundle, card, missing, further, _is_card_grade(config, row))


def describe_score(row: Mapping[str, Any]) -> str:
    """What the ledger says, for a sentence.

    >>> describe_score({"probability": 0.25, "grade": "B", "points": None})
    'probability 0.25, grade B'
    """
    parts = [f"{name} {row[name]:.4g}" for name in ("probability", "value", "points") if row.get(name) is not None]
    return ", ".join([*parts, *([f"grade {row['grade']}"] if row["grade"] else [])]) or "no value"


def _load_features(config: Config, row: Mapping[str, Any]) -> pd.DataFrame:
    path = config.folder / "runs" / row["run_id"] / f"features_{row['target']}.parquet"
    said = f"The score of '{row['entity_id']}' at {row['as_of']} ({describe_score(row)}) cannot be recomputed:"
    if not path.is_file():
        raise DataError(
            f"{said} {path} is gone, which held the features of that run. Restore it from a backup, or pass another "
            "--at whose run is still there."
        )
    try:
        frame = pd.read_parquet(path, filters=[("entity_id", "==", row["entity_id"])])
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{said} {path} cannot be read ({reason}). Restore it from a backup.") from None
    if len(frame) != 1:
        raise DataError(f"{said} {path} has {len(frame)} rows of it, expected 1. Restore the file from a backup.")
    return frame.reset_index(drop=True)


def _load_bundle(config: Config, row: Mapping[str, Any]) -> Bundle:
    folder = config.folder / "bundles" / row["bundle_sha256"]
    if not folder.is_dir():
        raise BundleError(
            f"The score of '{row['entity_id']}' at {row['as_of']} ({describe_score(row)}) cannot be recomputed: "
            f"{folder} is gone, the bundle of model version {row['model_version']}. Bring it back from that version's "
            "artifacts in MLflow, or from a backup."
        )
    return load_bundle(folder, row["bundle_sha256"])


def _is_card_grade(config: Config, row: Mapping[str, Any]) -> bool:
    """Whether the points alone gave the grade of a row, by the config of its run."""
    if row.get("graded_by") not in (None, "points"):
        return False
    place = config.folder / "runs" / row["run_id"] / "config.json"
    if not place.is_file():
        return row.get("graded_by") is None
    section = json.loads(place.read_text(encoding="utf-8"))["targets"][row["target"]].get("grading") or {}
    asked = Grading.model_validate(section)
    return (asked.by, asked.cut_by, asked.width) == ("points", "card", 0) or asked.by != "points"


def _load_card(config: Config, row: Mapping[str, Any]) -> tuple[Scorecard | None, str | None]:
    """Return the card as the run stored it, else the config's of the same version, else a sentence."""
    stored = config.folder / "runs" / row["run_id"] / f"card_{row['target']}.json"
    if stored.is_file():
        return Scorecard.model_validate(json.loads(stored.read_text(encoding="utf-8"))), None
    card = _read_card(config, row["target"])
    if card is not None and (card.id, str(card.version)) == (row["card"], row["card_version"]):
        return card, None
    return None, (
        f"Points and grade of '{row['entity_id']}' at {row['as_of']} cannot be recomputed: {stored} is gone, and the "
        f"config does not name version {row['card_version']} of card '{row['card']}'. Restore either."
    )


def _read_card(config: Config, target: str) -> Scorecard | None:
    try:
        return load_card(config, target) if target in config.targets else None
    except (ScorecardError, ConfigError):
        return None
