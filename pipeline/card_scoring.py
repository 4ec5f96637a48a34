"""Scoring with a card alone, at the end of the data or at any moment before, without a model and without a trace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import DataError
from features.spine import build_scoring_spine
from features.tables import CrmTables
from models.card_parts import card_parts
from models.card_values import question_values
from models.card_words import card_words, met_words
from models.scorecard import Scorecard, load_scorecard
from models.scorecard_schema import Criterion, Group, Level
from pipeline.atomic_files import replace_file
from pipeline.card_check import check_presets
from pipeline.card_sources import known_features
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import features_of, load_extract, make_target
from pipeline.errors import ConfigError
from pipeline.forgotten_scores import without_forgotten


@dataclass(frozen=True)
class CardRun:
    """A card asked about entities of one target at one moment.

    Parameters
    ----------
    card : Scorecard
    target : str
    as_of : datetime
        UTC.
    features : DataFrame
    parts : DataFrame
        See `models.card_parts.card_parts`, with as_of.
    units : mapping of feature to str

    """

    card: Scorecard
    target: str
    as_of: datetime
    features: pd.DataFrame
    parts: pd.DataFrame
    units: Mapping[str, str]


def run_card(
    config: Config,
    target: str | None = None,
    as_of: datetime | None = None,
    path: Path | None = None,
    entity: str | None = None,
    presets: Sequence[str] = (),
) -> CardRun:
    """Ask a card about everybody of a target's population, or about one entity of it.

    Parameters
    ----------
    config : Config
    target : str, optional
        Needed where several targets have a card (or, with `path`, the card's entities).
    as_of : datetime, optional
        UTC; by default the end of the data. What became known later is not seen.
    path : Path, optional
        A card file in place of the config's.
    entity : str, optional
        Only the entity with this id.
    presets : sequence of str
        Presets to lay over the card of `path`.

    Raises
    ------
    ConfigError
        If `as_of` lies after the end of the data, or it is not clear which target is meant.
    DataError
        If nobody is in the population then, or the entity is not.
    ScorecardError
        If the card cannot be used.

    """
    tables = load_extract(config)
    moment = as_of or tables.data_end
    if moment > tables.data_end:
        raise ConfigError(
            f"--as-of {moment} lies after the end of the data ({tables.data_end} UTC), when nothing is known yet. "
            "Pass an earlier time, or extract again."
        )
    check_presets(path, presets)
    given = None if path is None else load_scorecard(path, known_features(config), presets)
    name = _choose(config, target, given)
    card = given or load_card(config, name, known_features(config))
    if card is None:
        raise ConfigError(f"Target '{name}' has no scorecard. Set targets.{name}.scorecard, or pass --card.")
    spine = _spine(config, tables, name, moment, entity)
    built = features_of(config, tables, name, spine)
    parts = card_parts(card, built.frame)
    parts.insert(1, "as_of", built.frame["as_of"])
    return CardRun(card, name, moment, built.frame, parts, {info.name: info.unit for info in built.infos})


def _choose(config: Config, target: str | None, given: Scorecard | None) -> str:
    """Return the target that is meant: the one that is named, or the only one that has a card or fits the given one."""
    if target is not None:
        table = make_target(config, target).table
        if given is not None and table != f"{given.entity}s":
            raise ConfigError(
                f"Target '{target}' looks at {table}, and card '{given.id}' is for {given.entity}s. "
                f"Pass --card with a card for {table}, or another --target."
            )
        return target
    if given is None:
        fitting = [name for name, section in config.targets.items() if section.scorecard is not None]
    else:
        fitting = [name for name in config.targets if make_target(config, name).table == f"{given.entity}s"]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        what = "has a scorecard. Set targets.<target>.scorecard" if given is None else f"looks at {given.entity}s"
        raise ConfigError(f"No target {what}.")
    raise ConfigError(f"Several targets are possible. Pass --target {' or --target '.join(fitting)}.")


def _spine(config: Config, tables: CrmTables, name: str, moment: datetime, entity: str | None) -> pd.DataFrame:
    """Return the population of a target at a moment, or one entity of it."""
    spine = without_forgotten(config, name, build_scoring_spine(tables, make_target(config, name), moment))
    if entity is None:
        return spine
    own = spine[spine["entity_id"] == entity].reset_index(drop=True)
    if own.empty:
        raise DataError(
            f"Entity '{entity}' is not in the population of {name} at {moment}: unknown then, deleted or merged "
            "before, or no open deal, purchase in the lookback or live subscription. Check the id, or pass another "
            "--as-of."
        )
    return own


def summarise(run: CardRun) -> dict[str, Any]:
    """How many rows each grade, veto and flag has, and the mean of points, coverage, criteria and groups.

    `known` is the share of the rows in which a criterion had a value: 0 where answers are texts and the bands numbers.
    """
    parts, card = run.parts, run.card
    counts = parts["grade"].value_counts()
    means = parts[[name for name in parts if str(name).startswith(("points_", "group_"))]].mean()
    return {
        "target": run.target,
        "as_of": str(run.as_of),
        "card": card.id,
        "version": card.version,
        "rows": len(parts),
        "points": float(parts["points"].mean()),
        "coverage": float(parts["coverage"].mean()),
        "grades": [{"id": one.id, **one.name.model_dump(), "rows": int(counts.get(one.id, 0))} for one in card.grades],
        "vetoes": {one.id: _hits(parts["vetoes"], one.id) for one in card.vetoes},
        "flags": {one.id: _hits(parts["flags"], one.id) for one in card.flags},
        "groups": {one.id: float(means[f"group_{one.id}"]) for one in card.groups},
        "criteria": {
            one.id: {
                **one.name.model_dump(),
                "weight": one.weight,
                "mean": float(means[f"points_{one.id}"]),
                "known": _known_share(one, run),
            }
            for one in card.criteria
        },
    }


def _known_share(criterion: Criterion, run: CardRun) -> float:
    """Share of the rows in which a criterion had a value."""
    values = question_values(criterion, run.features, run.card)
    return 0.0 if values is None else float(values.notna().mean())


def _hits(lists: "pd.Series[str]", name: str) -> int:
    """How many lists (as JSON text) hold an id."""
    return int(lists.str.contains(f'"{name}"', regex=False).fillna(False).sum())


def explain_row(run: CardRun) -> dict[str, Any]:
    """What the card says of the only row of a run: each criterion in words, vetoes, flags, groups, next question."""
    row, card = run.parts.iloc[0], run.card
    met = {
        kind: met_words(card, run.features, [one.id for one in getattr(card, kind) if _has(row[kind], one.id)], kind)
        for kind in ("vetoes", "flags")
    }
    words = card_words(card, run.features, run.units)[0]
    return {
        "entity_id": row["entity_id"],
        "target": run.target,
        "as_of": str(run.as_of),
        "card": card.id,
        "version": card.version,
        "points": float(row["points"]),
        "grade": row["grade"],
        "grade_name": _name(card.grades, row["grade"]),
        "coverage": float(row["coverage"]),
        "criteria": [{**vars(one), "gives": float(row[f"points_{one.id}"])} for one in words],
        "groups": [_explain_group(group, row) for group in card.groups],
        **{kind: [{"id": one.id, "value": one.value, "en": one.en, "zh": one.zh} for one in met[kind]] for kind in met},
        "next_question": _question(row),
    }


def _explain_group(group: Group, row: "pd.Series[Any]") -> dict[str, Any]:
    level = row[f"level_{group.id}"] if group.levels else None
    facts = {"id": group.id, **group.name.model_dump(), "points": float(row[f"group_{group.id}"]), "level": level}
    return {**facts, "level_name": _name(group.levels, level)}


def _name(levels: Sequence[Level], wanted: Any) -> dict[str, str] | None:
    """Return the name of a grade or level in English and Chinese."""
    return next((one.name.model_dump() for one in levels if one.id == wanted), None)


def _has(listed: Any, name: str) -> bool:
    return isinstance(listed, str) and f'"{name}"' in listed


def _question(row: "pd.Series[Any]") -> dict[str, str] | None:
    """Return the next question to ask a person, None if there is none."""
    if not isinstance(row["next_question"], str):
        return None
    return {"criterion": row["next_question"], "en": row["next_question_en"], "zh": row["next_question_zh"]}


def check_place(path: Path) -> None:
    """Check that rows can be written there, before anything is computed; ConfigError if not."""
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {path}: expected a name that ends in .csv or .parquet. Pass another one.")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {path.parent}. Make it, or pass another path.")


def write_rows(run: CardRun, path: Path) -> None:
    """Write all rows of a run to a CSV or Parquet file."""
    write = run.parts.to_csv if path.suffix == ".csv" else run.parts.to_parquet
    replace_file(path, lambda partial: write(partial, index=False))
