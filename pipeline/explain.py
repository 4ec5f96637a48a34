"""Explain a score of the past: computed again, taken apart, and compared with the one before."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.errors import DataError
from models.errors import BundleError
from models.predict import Bundle
from models.reasons import EVERYTHING_ELSE, Reason, make_reasons
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError, GateError
from pipeline.known_then import age_features
from pipeline.ledger import Ledger
from pipeline.past_score import CARD_VALUES, MODEL_VALUES, PastScore, load_past_score, plain_row
from pipeline.score_change import Split, split_change
from pipeline.target_tables import collect_target_tables
from pipeline.tombstones import load_tombstones

BASE = "base"
"""Name of what everybody starts from, the last of the contributions."""

MANY = 50_000
"""Ids that can be compared with a mistyped one while somebody waits."""


@dataclass(frozen=True)
class Explanation:
    """A score of the past.

    Parameters
    ----------
    past : PastScore
    contributions : tuple of Reason
        What each feature adds to the log-odds, the largest first, and `base`; they sum to it. None without a model.
    previous : mapping or None
        The score before, as the ledger has it.
    split : Split or None
        The change since then.
    notes : tuple of str
        Sentences about what could not be told.

    """

    past: PastScore
    contributions: tuple[Reason, ...]
    previous: Mapping[str, Any] | None
    split: Split | None
    notes: tuple[str, ...]

    def check(self) -> None:
        """Check that the score came out as it is in the ledger.

        Raises
        ------
        GateError
            If it did not, to the bit.
        DataError
            If a piece of it is gone.

        """
        differences = self.past.differences()
        if differences:
            raise GateError(
                f"The score of '{self.past.row['entity_id']}' at {self.past.row['as_of']} does not come out as it was: "
                f"{'; '.join(differences)}. Compare the versions of the libraries in the manifest of bundle "
                f"{str(self.past.row['bundle_sha256'])[:12]} with those installed here, and the CPU architecture."
            )
        if self.past.missing:
            raise DataError(self.past.missing)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        row, again = self.past.row, self.past.recompute()
        named = ("entity_id", "target", "horizon_days", "as_of", "run_id")
        judges = ("model_version", "bundle_sha256", "card", "card_version", "unseen_share")
        graded = ("graded_by", "card_grade", "vetoes", "flags")
        return {
            **_values(row, named),
            "score": _values(row, (*MODEL_VALUES, *CARD_VALUES)),
            "horizons": [
                {"horizon_days": one["horizon_days"], **_values(one, MODEL_VALUES)} for one in self.past.further
            ],
            "recomputed": again,
            "is_equal": not self.past.differences() and not self.past.missing,
            **_values(row, judges),
            **_values(row, graded),
            "explained": "log_value" if self.past.bundle and self.past.bundle.is_value else "log_odds",
            "contributions": [dict(reason) for reason in self.contributions],
            "points": self.past.card_points(),
            "change": self._change(),
            "notes": list(self.notes),
        }

    def _change(self) -> dict[str, Any] | None:
        """Return the previous score and the parts of the change; None if there is no previous one."""
        if self.previous is None:
            return None
        named = ("run_id", "as_of", *MODEL_VALUES, *CARD_VALUES, "model_version", "card_version")
        document: dict[str, Any] = {"previous": _values(self.previous, named)}
        if self.split is None:
            return {**document, "log_odds": None, "parts": None, "features": []}
        words = {one["feature"]: {"en": one["en"], "zh": one["zh"]} for one in self.contributions}
        moves = [
            {
                "feature": one.name,
                "before": one.before,
                "after": one.after,
                "time": one.time,
                "data": one.data,
                **words.get(one.name, {"en": one.name, "zh": one.name}),
            }
            for one in self.split.moves
        ]
        return {**document, "log_odds": self.split.log_odds, "parts": dict(self.split.parts), "features": moves}


def _values(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def explain(
    config: Config, ledger: Ledger, entity_id: str, until: datetime | None = None, target: str | None = None
) -> Explanation:
    """Explain the newest score that an entity got at or before a moment.

    Nothing is written, and no lock is needed. The bundle is the one that scored it, whichever is live today.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    entity_id : str
    until : datetime, optional
        The newest score with `as_of <= until` (UTC); default: the newest of all.
    target : str, optional
        Needed where the entity has scores of several targets.

    Returns
    -------
    Explanation
        `check` tells whether it came out as it was.

    Raises
    ------
    DataError, BundleError
        If the entity has no such score, was forgotten, or what its score rested on is gone.
    ConfigError
        If the entity has scores of several targets.

    """
    scores, further = _find_scores(config, ledger, entity_id, until, target)
    past = load_past_score(config, scores[-1], further)
    notes: list[str] = [past.missing] if past.missing else []
    previous = scores[-2] if len(scores) > 1 else None
    split = _split(config, past, previous, notes) if previous else None
    return Explanation(past, _contributions(past), previous, split, tuple(notes))


def _find_scores(
    config: Config, ledger: Ledger, entity_id: str, until: datetime | None, target: str | None
) -> tuple[list[dict[str, Any]], tuple[dict[str, Any], ...]]:
    """Scores of an entity for the primary horizon of one target as they were made, and the last ones for others."""
    found = ledger.entity_scores(entity_id, target)
    if found.empty:
        raise unknown_entity(config, ledger, entity_id, target)
    targets = found["target"].unique().tolist()
    if len(targets) > 1:
        raise ConfigError(f"'{entity_id}' has scores of {' and '.join(targets)}. Pass --target {targets[0]}.")
    if until is not None:
        first, last = found["as_of"].min(), found["as_of"].max()
        found = found[found["as_of"] <= until]
        if found.empty:
            raise DataError(
                f"'{entity_id}' had no score at {until}: it got its first at {first} and its last at {last} (UTC). "
                "Pass a later --at."
            )
    runs = {run_id: ledger.find_run(run_id) for run_id in found["run_id"].unique()}
    began = found["run_id"].map(lambda run_id: run.started_at if (run := runs[run_id]) else datetime.min)
    found = found.assign(began=began).sort_values(["as_of", "began"], kind="stable").drop(columns="began")
    newest = runs[found["run_id"].iloc[-1]]
    horizon = _primary_horizon(newest.config_text if newest else "", targets[0], int(found["horizon_days"].iloc[-1]))
    is_primary = found["horizon_days"] == horizon
    others = found[~is_primary & (found["run_id"] == found["run_id"].iloc[-1])]
    primary, further = ([plain_row(row) for _, row in rows.iterrows()] for rows in (found[is_primary], others))
    return primary, tuple(further)


def _primary_horizon(config_text: str, target: str, otherwise: int) -> int:
    """First horizon of a target in the config of a run: the one that is graded and explained."""
    try:
        return int(json.loads(config_text)["targets"][target]["horizons_days"][0])
    except (ValueError, KeyError, TypeError):
        return otherwise


def unknown_entity(config: Config, ledger: Ledger, entity_id: str, target: str | None) -> DataError:
    """Say why an entity has no scores: forgotten, or which ids are near."""
    tombstones = load_tombstones(config.folder)
    tables = collect_target_tables(config, ()).of_target(target) if target else ("customers", "deals")
    if any(tombstones.holds(table, entity_id) for table in tables):
        return DataError(f"'{entity_id}' was forgotten, with its scores. Nothing is left to explain.")
    known = ledger.scored_entities(target)
    of = f" of target '{target}'" if target else ""
    if not known and target is not None:
        make_target(config, target)  # refuses a name that the config does not have
    if not known:
        return DataError(f"There are no scores{of} yet. Run `leadsieve score` first.")
    alike = [one for one in known if abs(len(one) - len(entity_id)) < 3]
    if len(alike) > MANY:
        alike = [one for one in alike if one.startswith(entity_id[:-2])]
    near = difflib.get_close_matches(entity_id, alike, n=3)
    hint = f"Did you mean {', '.join(repr(one) for one in near)}?" if near else f"Scored are ids such as '{known[0]}'."
    return DataError(f"'{entity_id}' has no score{of} in the ledger. {hint}")


def _contributions(past: PastScore) -> tuple[Reason, ...]:
    """Return all contributions, the largest first, then the base; they sum to the log-odds."""
    if past.bundle is None:
        return ()
    log_odds = past.bundle.log_odds(past.features)
    parts = past.bundle.contributions(past.features)[1]
    names = past.bundle.reason_names
    found = make_reasons(past.features, parts, log_odds, names, words_of(past.bundle), shown=len(names))[0]
    reasons = sorted(
        (one for one in found if one["feature"] != EVERYTHING_ELSE), key=lambda one: -abs(one["contribution"])
    )
    base = math.fsum([float(log_odds[0]), *(-one["contribution"] for one in reasons)])
    words = {"en": "where everybody starts", "zh": "共同的起点"}
    return (*reasons, {"feature": BASE, "value": None, "contribution": base, **words})


def words_of(bundle: Bundle) -> dict[str, Any]:
    """Templates of the reasons, as they were when the model was trained."""
    described = bundle.manifest.get("extras", {}).get("training_set", {}).get("features", ())
    return {**bundle.reason_words, **{str(info["name"]): info for info in described}}


def _split(config: Config, past: PastScore, previous: Mapping[str, Any], notes: list[str]) -> Split | None:
    """Split the change since the previous score; what cannot be told is noted."""
    if past.bundle is None or not previous["bundle_sha256"]:
        notes.append("One of the two scores was made without a model, so there are no log-odds to compare.")
        return None
    try:
        before = load_past_score(config, previous)
        if before.bundle is None:
            return None
        now = past.row["as_of"].to_pydatetime()
        columns = [str(entry["name"]) for entry in before.bundle.columns]
        aged = age_features(config, past.row["target"], before.features, now, columns)
        if aged.why_not:
            notes.append(f"What time alone moved is counted as data: {aged.why_not}.")
        return split_change(before.bundle, past.bundle, before.features, past.features, aged.features)
    except (DataError, BundleError) as error:
        notes.append(f"The change since the score of {previous['as_of']} cannot be split: {error}")
        return None
