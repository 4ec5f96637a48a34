"""Follow-up tasks (跟进提醒): one for the owner of a record whose card raises an early-warning flag.

A flag that is up gets a task, unless
- one is open: it is not repeated;
- a person closed the last one, and the flag has been up in every run since one that found it open: it comes back when
  the flag went down in a run and is up again. An entity that a run did not score had no flag in it, and runs that were
  undone do not count;
- the card has a veto: who is not to be pursued (a lawsuit, a ban) is not chased either. The flag is still seen, so a
  task that was closed before the veto does not come back when it is lifted.
A flag that goes down closes nothing: the task is in somebody's list, who may have begun to act on it, and flags that
come and go would make tasks come and go. `fallen` counts these.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from models.nearest import nearest
from models.scorecard import Scorecard
from pipeline.adapters.target import FollowUp, FollowUpAdapter, TargetTable
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.config_write_back import FollowUps, WriteBack
from pipeline.errors import ConfigError
from pipeline.follow_up_text import flag_name, write_note
from pipeline.forgotten_scores import scores_to_write
from pipeline.horizon_scores import primary_scores
from pipeline.ledger import Ledger
from pipeline.ledger_follow_ups import Task, settle
from pipeline.overrides import day_of


@dataclass(frozen=True)
class FollowUpPlan:
    """What tasks a run is going to raise, and what became of those of earlier runs; nothing is written yet.

    Parameters
    ----------
    run_id : str
    tasks : tuple of Task
        To be raised, most valuable first.
    follow_ups : tuple of FollowUp
        The same as the CRM gets them.
    settled : tuple of Task
        Tasks that the ledger knows, with what the CRM says of them now.
    still_open : int
        Flags that are up and have an open task.
    standing : int
        Flags that are up and whose task a person has closed.
    vetoed : int
        Flags that are up on entities with a veto, which have no open task.
    fallen : int
        Open tasks whose flag is not up any more.

    """

    run_id: str
    tasks: tuple[Task, ...]
    follow_ups: tuple[FollowUp, ...]
    settled: tuple[Task, ...] = ()
    still_open: int = 0
    standing: int = 0
    vetoed: int = 0
    fallen: int = 0


@dataclass(frozen=True)
class _Raised:
    """A flag that is up in a run."""

    target: str
    entity_id: str
    flag: str
    score: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.target}/{self.entity_id}/{self.flag}"

    @property
    def worth(self) -> tuple[float, float, float, str]:
        """What comes first: most money at stake, then most points, then what is most likely."""
        likely, value, points = (_number(self.score[name]) for name in ("probability", "value", "points"))
        at_stake = value if pd.isna(self.score["probability"]) else likely * value  # a value target has no likelihood
        return (-at_stake, -points, -likely, self.entity_id)


def check_follow_ups(config: Config) -> Mapping[str, Scorecard]:
    """Check the section against targets and cards; return the cards by target, none without a section.

    Raises
    ------
    ConfigError
        If it names an unknown target or flag (the text names the nearest), a target without a card, or one whose
        records are in no table of `write_back.tables`.

    """
    section = config.write_back and config.write_back.follow_ups
    cards: dict[str, Scorecard] = {}
    for name, flags in section.flags.items() if section else ():
        place = f"write_back.follow_ups.flags.{name}"
        if name not in config.targets:
            raise ConfigError(f"{place}: there is no target '{name}'. {nearest(name, config.targets, 'targets')}")
        card = load_card(config, name)
        if card is None:
            raise ConfigError(f"{place}: target '{name}' has no card, so nothing raises flags. Set its scorecard.")
        known = [flag.id for flag in card.flags]
        for flag in flags:
            if flag not in known:
                hint = nearest(flag, known, "flags") if known else "It has no flags at all; name another card, or none."
                raise ConfigError(f"{place}: card '{card.id}' has no flag '{flag}'. {hint}")
        if name not in _section(config).tables:
            raise ConfigError(
                f"{place}: write_back.tables has no '{name}', so it is not known whose records the tasks are about. "
                "Add it with the table and its key; `fields` may be empty."
            )
        cards[name] = card
    return cards


def plan_follow_ups(
    config: Config,
    ledger: Ledger,
    adapter: FollowUpAdapter,
    scores: pd.DataFrame,
    run_id: str,
    today: date | None = None,
) -> FollowUpPlan:
    """Decide which tasks a run raises, from its flags, the open tasks of the CRM and the ledger.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    adapter : FollowUpAdapter
    scores : DataFrame
        Score frame of the run.
    run_id : str
    today : date, optional
        From which `due_days` count; default: the day it is where the deployment is.

    Raises
    ------
    ConfigError
        See `check_follow_ups`.
    CrmError
        If the CRM does not answer.

    """
    cards = check_follow_ups(config)
    rows = scores_to_write(config, primary_scores(config, scores))
    rows = rows[rows["target"].isin(list(cards))]
    there = adapter.open_follow_ups()
    as_of = _as_of(rows if len(rows) else scores)
    settled = [settle(task, there, as_of) for task in ledger.follow_ups.tasks()]
    closed = {task.key: task for task in settled if task.state == "closed"}
    up = list(_raised(_follow_ups(config), rows))
    absent = [one for one in up if one.key not in there]
    allowed = [one for one in absent if pd.isna(one.score["vetoes"])]
    standing = _standing(config, ledger, [closed[one.key] for one in allowed if one.key in closed], as_of)
    fresh = sorted((one for one in allowed if one.key not in standing), key=lambda one: one.worth)
    day = today or day_of(config, datetime.now(UTC))
    watched = tuple(f"{name}/" for name in cards)
    return FollowUpPlan(
        run_id,
        tuple(Task(run_id, one.target, one.entity_id, one.flag, as_of, as_of) for one in fresh),
        tuple(_follow_up(config, cards[one.target], one, run_id, day) for one in fresh),
        tuple(settled),
        still_open=len(up) - len(absent),
        standing=len(standing),
        vetoed=len(absent) - len(allowed),
        fallen=sum(key.startswith(watched) for key in there.keys() - {one.key for one in up}),
    )


def _standing(config: Config, ledger: Ledger, closed: Sequence[Task], as_of: datetime) -> set[str]:
    """Return the keys of closed tasks whose flag has been up in every run since one that found them open."""
    keys: set[str] = set()
    for target in dict.fromkeys(task.target for task in closed):
        mine = [task for task in closed if task.target == target]
        days = config.targets[target].horizons_days[0]
        runs = ledger.follow_ups.looks(target, days, min(task.seen_at for task in mine), as_of)
        up: dict[tuple[str, str], set[str]] = {}
        entities = list(dict.fromkeys(task.entity_id for task in mine))
        for entity, run, flags in ledger.follow_ups.flags(target, days, entities, runs):
            for flag in json.loads(flags):
                up.setdefault((entity, flag), set()).add(run)
        for task in mine:
            since = {run for run, end in runs.items() if end >= task.seen_at}
            if since <= up.get((task.entity_id, task.flag), set()):
                keys.add(task.key)
    return keys


def _raised(section: FollowUps, rows: pd.DataFrame) -> Iterator[_Raised]:
    """Flags of the section that are up."""
    for score in rows[rows["flags"].notna()].to_dict("records"):
        raised = json.loads(score["flags"])
        for flag in section.flags[score["target"]]:
            if flag in raised:
                yield _Raised(score["target"], str(score["entity_id"]), flag, {str(k): v for k, v in score.items()})


def _follow_up(config: Config, card: Scorecard, one: _Raised, run_id: str, day: date) -> FollowUp:
    """Return the task of a flag as the CRM gets it."""
    section, mapping = _follow_ups(config), _section(config).tables[one.target]
    return FollowUp(
        one.key,
        TargetTable(mapping.target, mapping.key),
        one.entity_id,
        flag_name(card, one.flag, section.language),
        write_note(card, config.targets[one.target].kind, one.score, section.language),
        (day + timedelta(days=section.due_days)).isoformat(),
        run_id,
    )


def _as_of(scores: pd.DataFrame) -> datetime:
    """Return what all rows of a run share."""
    moment: datetime = pd.Timestamp(scores["as_of"].iloc[0]).to_pydatetime()
    return moment


def _number(value: Any) -> float:
    """Return a number, 0 for null."""
    return 0.0 if value is None or pd.isna(value) else float(value)


def _section(config: Config) -> WriteBack:
    if config.write_back is None:
        raise ConfigError(f"The config '{config.name}' has no write_back section. Add one with the CRM to write to.")
    return config.write_back


def _follow_ups(config: Config) -> FollowUps:
    section = _section(config).follow_ups
    if section is None:
        raise ConfigError(f"The config '{config.name}' has no write_back.follow_ups section. Add one with the flags.")
    return section
