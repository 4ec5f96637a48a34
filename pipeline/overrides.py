"""Grades that people gave by hand: in force until they expire or are withdrawn, and never in the way of a score."""

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from models.grades import GradeName
from models.scorecard import Scorecard
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError
from pipeline.explain import unknown_entity
from pipeline.grading import grades_of
from pipeline.ledger import Ledger
from pipeline.ledger_overrides import Override

BY_HAND = "override"
"""What `graded_by` says of a grade that a person gave."""


def day_of(config: Config, moment: datetime) -> date:
    """Day of a moment (UTC) where the deployment is."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(config.time_zone)).date()


def today_of(config: Config, ledger: Ledger) -> date:
    """Day on which the data of the newest scoring run end: overrides are made on it, and expire by it."""
    run = ledger.latest_run("score", "done")
    return day_of(config, datetime.fromisoformat(run.details["data_end"]) if run else datetime.now(UTC))


def add_override(
    config: Config,
    ledger: Ledger,
    entity_id: str,
    grade: str,
    reason: str,
    *,
    target: str | None = None,
    author: str,
    expires_on: date | None = None,
) -> Override:
    """Store the grade that a person gives an entity; the next score shows it.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    entity_id : str
    grade : str
        Id of a grade of the target.
    reason : str
    target : str, optional
        Needed where the entity has scores of several.
    author : str
    expires_on : date, optional
        First day on which it does not hold any more; None: it holds until it is withdrawn.

    Raises
    ------
    ConfigError
        If the target or grade is not known, the reason is empty or the day is not ahead.
    DataError
        If the entity has no score.

    """
    name = find_target(config, ledger, entity_id, target)
    known = [one.id for one in grades_of(load_card(config, name))]
    if grade not in known:
        near = difflib.get_close_matches(grade, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Name one of {', '.join(known)}."
        raise ConfigError(f"Target '{name}' has no grade '{grade}'. {hint}")
    if not reason.strip():
        raise ConfigError("An override needs a reason, got none. Say why in a sentence, with --reason.")
    today = today_of(config, ledger)
    if expires_on is not None and expires_on <= today:
        raise ConfigError(
            f"The override would end on {expires_on}, and the data are of {today} already. Name a later day."
        )
    return ledger.overrides.add(name, entity_id, grade, reason.strip(), author, expires_on)


def withdraw_override(config: Config, ledger: Ledger, entity_id: str, target: str | None = None) -> int:
    """Withdraw what an entity has, of one target if given; count it.

    Raises
    ------
    ConfigError
        If it has none.

    """
    mine = [one for one in ledger.overrides.find(target, entity_id) if one.withdrawn_at is None]
    if not mine:
        of = f" of target '{target}'" if target else ""
        raise ConfigError(
            f"'{entity_id}' has no override{of} to withdraw. `leadsieve override --list` shows those in force."
        )
    return sum(ledger.overrides.withdraw(name, entity_id) for name in sorted({one.target for one in mine}))


def find_target(config: Config, ledger: Ledger, entity_id: str, target: str | None) -> str:
    """Return the target that an entity has scores of; ConfigError if there are several, DataError if none."""
    if target is not None:
        make_target(config, target)  # refuses a name that the config does not have
    found = sorted(set(ledger.entity_scores(entity_id, target)["target"]) & set(config.targets))
    if not found:
        raise unknown_entity(config, ledger, entity_id, target)
    if len(found) > 1:
        raise ConfigError(f"'{entity_id}' has scores of {' and '.join(found)}. Pass --target {found[0]}.")
    return str(found[0])


def apply_overrides(
    config: Config,
    scores: pd.DataFrame,
    in_force: Sequence[Override],
    cards: Mapping[str, Scorecard | None],
) -> tuple[pd.DataFrame, list[str]]:
    """Put the grades that people gave in place of those that were computed, and say so among the reasons.

    Points, probability and `card_grade` stay. One whose grade the target has no more is left out, with a note.

    Parameters
    ----------
    config : Config
    scores : DataFrame
        Of one run, with a RangeIndex.
    in_force : sequence of Override
    cards : mapping of target to Scorecard or None

    """
    if not in_force:
        return scores, []
    columns = {name: scores[name].to_numpy(dtype=object).copy() for name in ("grade", "graded_by", "reasons")}
    primary = {name: config.targets[name].horizons_days[0] for name in cards}
    keys = zip(scores["target"], scores["horizon_days"], scores["entity_id"], strict=True)
    rows = {(name, str(entity)): at for at, (name, days, entity) in enumerate(keys) if primary[name] == days}
    notes = []
    for one in in_force:
        at = rows.get((one.target, one.entity_id))
        if at is None:
            continue
        names = {grade.id: grade for grade in grades_of(cards[one.target])}
        if one.grade not in names:
            notes.append(f"{one.target}: an override to '{one.grade}' is left out, a grade that there is no more.")
            continue
        columns["grade"][at], columns["graded_by"][at] = one.grade, BY_HAND
        columns["reasons"][at] = _say(columns["reasons"][at], one, names[one.grade])
    return scores.assign(**columns), notes


def _say(reasons: str, override: Override, grade: GradeName) -> str:
    """Reasons with the override before them; it adds nothing to the log-odds, so they still sum to it."""
    en = zh = ""
    if override.expires_on is not None:
        last = override.expires_on - timedelta(days=1)
        en, zh = f" until {last}", f"，至{last}"
    first: dict[str, Any] = {
        "feature": BY_HAND,
        "value": override.grade,
        "contribution": 0.0,
        "en": f"graded {grade.en} by {override.author}{en}: {override.reason}",
        "zh": f"{override.author}评为{grade.zh}{zh}：{override.reason}",
    }
    return json.dumps([first, *json.loads(reasons)], ensure_ascii=False)
