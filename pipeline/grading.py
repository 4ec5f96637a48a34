"""The grade that drives action: by the card's points, by probability or by value, within the card's vetoes and flags.

A grade is kept from one run to the next unless the row has crossed a cut-off clearly; the run before is the newest
finished one whose data ended earlier, so the same extract gives the same grades, however often it is scored.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.grades import DEFAULT_GRADES, NOWHERE, GradeName, Wanted, apart, place_rows, share_counts, spread
from models.scorecard import Scorecard
from pipeline.config import Config
from pipeline.config_grading import Grading
from pipeline.config_schema import Target
from pipeline.errors import ConfigError
from pipeline.grade_strength import fixed_cut_offs, from_strength, strength_of
from pipeline.ledger_grades import RunBefore

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class EarlierGrades(Protocol):
    """What knows the grades of the run before: a ledger, or whoever tries what would come next."""

    def of_run(self, run_id: str, target: str, horizon_days: int) -> pd.DataFrame:
        """Return entity_id, grade, graded_by, vetoes and flags of a run's scores of one target and horizon."""
        ...


@dataclass(frozen=True)
class Graded:
    """Scores with their grades, and what the next run has to know of each target.

    `states` has, by target: `by`, `judge` (what a cut-off is comparable with), `cut_offs` (by grade, in the scale of
    the strength), `at_least` (the same in points, probability or value), `rows` (by grade) and `kept` (rows that have
    the grade of the run before and would have another without it).
    """

    scores: pd.DataFrame
    states: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def grades_of(card: Scorecard | None) -> tuple[GradeName, ...]:
    """Grades of a target from the best to the lowest: its card's, or the default ones.

    >>> [grade.zh for grade in grades_of(None)]
    ['重点跟进', '普通培育', '暂时搁置', '直接放弃']
    """
    if card is None:
        return DEFAULT_GRADES
    return tuple(GradeName(grade.id, grade.name.en, grade.name.zh) for grade in card.grades)


def grade_scores(
    config: Config,
    earlier: EarlierGrades,
    scores: pd.DataFrame,
    cards: Mapping[str, Scorecard | None],
    before: RunBefore | None,
    folder: Path,
) -> Graded:
    """Grade the scores of a run.

    Parameters
    ----------
    config : Config
    earlier : EarlierGrades
        Has the grades of the run before: those of a ledger (`ledger.grades`).
    scores : DataFrame
        With the grade of the card in `grade` and `card_grade`.
    cards : mapping of target to Scorecard or None
    before : RunBefore or None
        None: no grade is kept.
    folder : Path
        Where the features of the run are stored.

    Raises
    ------
    ConfigError
        If the cut-offs do not fit the grades, or the value is named wrongly.
    DataError
        If the value is null for everybody.

    """
    states: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    grades, graded_by = (scores[column].to_numpy(dtype=object).copy() for column in ("grade", "graded_by"))
    for name, card in cards.items():
        target = config.targets[name]
        at = np.flatnonzero((scores["target"] == name) & (scores["horizon_days"] == target.horizons_days[0]))
        rows = scores.iloc[at].reset_index(drop=True)
        if not len(rows) or not _is_asked(target.grading, name, card, rows, notes):
            continue
        task = _Task(config, name, card, rows)
        found = _grade(task, strength_of(config, name, rows, scores, folder), earlier, before)
        grades[at], graded_by[at] = found.grade, target.grading.by
        states[name] = found.state
        notes.append(describe_state(name, found.state))
    return Graded(scores.assign(grade=grades, graded_by=graded_by), states, tuple(notes))


def describe_state(name: str, state: Mapping[str, Any]) -> str:
    """Say where the grades of a target end, from the best down, and how many are in each.

    >>> cuts, rows = {"hold": 0.2, "priority": 0.45}, {"drop": 7, "hold": 4, "priority": 3}
    >>> describe_state("churn", {"by": "probability", "at_least": cuts, "rows": rows, "kept": 2})
    'churn: graded by probability: 3 priority (0.45 or more), 4 hold (0.2 or more), 7 drop; 2 keep the grade before.'
    """
    bounds = {
        grade: "nobody" if bound is None else f"{bound:.4g} or more" for grade, bound in state["at_least"].items()
    }
    parts = [
        f"{count:,} {grade}{f' ({bounds[grade]})' if grade in bounds else ''}"
        for grade, count in reversed(state["rows"].items())
    ]
    kept = f"; {state['kept']:,} keep the grade before" if state["kept"] else ""
    return f"{name}: graded by {state['by']}: {', '.join(parts)}{kept}."


def _is_asked(grading: Grading, name: str, card: Scorecard | None, rows: pd.DataFrame, notes: list[str]) -> bool:
    """Whether rows are graded anew; else the card's own grades stay, and a note says why if that was not asked for."""
    if grading.by == "points":
        return card is not None and (grading.cut_by != "card" or grading.width > 0)
    if rows["model_version"].isna().all():
        notes.append(f"{name}: without a model there is no {grading.by} to grade by, so the card's points grade.")
        return False
    return True


@dataclass(frozen=True)
class _Task:
    """Rows of one target that are to be graded."""

    config: Config
    name: str
    card: Scorecard | None
    rows: pd.DataFrame

    @property
    def target(self) -> Target:
        return self.config.targets[self.name]

    @property
    def grades(self) -> list[str]:
        """Ids from the lowest grade up: the place of each is its position."""
        return [grade.id for grade in reversed(grades_of(self.card))]

    @property
    def judge(self) -> str:
        """What a cut-off is comparable with: one model, or one version of a card."""
        column = "card_version" if self.target.grading.by == "points" else "bundle_sha256"
        return str(self.rows[column].iloc[0])


@dataclass(frozen=True)
class _Found:
    grade: NDArray[np.object_]
    state: Mapping[str, Any]


def _grade(task: _Task, strength: Floats, earlier: EarlierGrades, before: RunBefore | None) -> _Found:
    """Grade the rows of a target."""
    grading, grades = task.target.grading, task.grades
    strength = np.where(task.rows["vetoes"].notna(), -np.inf, strength)
    if grading.cut_by == "capacity":
        strength = apart(strength, task.rows["entity_id"].astype(str).tolist())
    margin = grading.width * (1.0 if grading.by == "points" else spread(strength))
    previous = _previous(task, earlier, before) if margin else np.full(len(strength), NOWHERE)
    floor = _floor(task)
    places, cuts = place_rows(strength, _cut_offs(task), previous, margin, _last(task, before), floor)
    plain = np.maximum(np.searchsorted(cuts, strength, side="right"), floor)
    counts = np.bincount(places, minlength=len(grades)).tolist()
    found = {grade: cut if math.isfinite(cut) else None for grade, cut in zip(grades[1:], cuts, strict=True)}
    state = {
        "by": grading.by,
        "judge": task.judge,
        "cut_offs": found,
        "at_least": {g: None if cut is None else from_strength(grading.by, cut) for g, cut in found.items()},
        "rows": dict(zip(grades, counts, strict=True)),
        "kept": int((places != plain).sum()),
    }
    return _Found(np.array(grades, dtype=object)[places], state)


def check_grading(config: Config, name: str, card: Scorecard | None) -> None:
    """Check that the grading of a target names the grades that there are; ConfigError if not."""
    target, grades = config.targets[name], [grade.id for grade in grades_of(card)]
    if target.grading.cut_by != "capacity":
        _fixed(target, grades[-2::-1], card)
    elif target.grading.shares:
        _check_shares(name, target.grading.shares, grades[1:-1])


def _check_shares(name: str, shares: Mapping[str, float], middle: Sequence[str]) -> None:
    if set(shares) != set(middle):
        raise ConfigError(
            f"targets.{name}.grading.shares names {', '.join(shares)}, expected each grade between the best and "
            f"the lowest: {', '.join(middle) or 'there is none'}. Name these."
        )


def _fixed(target: Target, above: Sequence[str], card: Scorecard | None) -> list[float]:
    least = None if card is None else {grade.id: grade.at_least for grade in card.grades}
    return [] if target.grading.cut_by == "card" and card is None else fixed_cut_offs(target, above, least)


def _cut_offs(task: _Task) -> Sequence[float | Wanted]:
    """Cut-offs from that of the lowest place up: in the scale of the strength, or how many they let through."""
    grading, above = task.target.grading, task.grades[1:]
    if grading.cut_by != "capacity":
        return _fixed(task.target, above, task.card)
    contacts = grading.contacts_per_week or task.config.capacity.contacts_per_week or 0
    best, middle = min(round(contacts * grading.weeks), len(task.rows)), above[-2::-1]
    shares = dict(grading.shares) or dict.fromkeys(middle, (1 - best / len(task.rows)) / (len(middle) + 1))
    _check_shares(task.name, shares, middle)
    return share_counts(len(task.rows), [0.0, *(shares[grade] for grade in middle)], best, grading.tolerance)


def _last(task: _Task, before: RunBefore | None) -> list[float] | None:
    """Cut-offs of the run before, if they are of the same grades and in the scale of the same judge."""
    state = before.grading.get(task.name, {}) if before else {}
    cuts = state.get("cut_offs", {})
    is_same = (state.get("by"), state.get("judge")) == (task.target.grading.by, task.judge)
    if not is_same or list(cuts) != task.grades[1:] or None in cuts.values():
        return None
    return list(cuts.values())


def _floor(task: _Task) -> Places:
    """Place that flags of the card lift each row to; 0 without one, or with a veto."""
    lifts = _lifts(task)
    listed = [json.loads(text) if isinstance(text, str) else () for text in task.rows["flags"]]
    lifted = np.array([max((lifts.get(flag, 0) for flag in flags), default=0) for flags in listed], dtype=np.int64)
    return np.where(task.rows["vetoes"].notna(), 0, lifted)


def _lifts(task: _Task) -> dict[str, int]:
    """Place that each flag of the card lifts to."""
    flags = task.card.flags if task.card else ()
    return {flag.id: task.grades.index(flag.grade_at_least) for flag in flags if flag.grade_at_least is not None}


def _previous(task: _Task, earlier: EarlierGrades, before: RunBefore | None) -> Places:
    """Place of each row in the run before; nowhere if something else than its strength gave it that grade."""
    if before is None:
        return np.full(len(task.rows), NOWHERE)
    found = earlier.of_run(before.run_id, task.name, task.target.horizons_days[0])
    found = found[(found["graded_by"] == task.target.grading.by) & found["vetoes"].isna()]
    places = {grade: place for place, grade in enumerate(task.grades)}
    lifts = _lifts(task)
    known = {
        entity: places[grade]
        for entity, grade, flags in zip(found["entity_id"], found["grade"], found["flags"], strict=True)
        if grade in places and not _is_lifted(places[grade], flags, lifts)
    }
    return np.array([known.get(str(entity), NOWHERE) for entity in task.rows["entity_id"]], dtype=np.int64)


def _is_lifted(place: int, flags: Any, lifts: Mapping[str, int]) -> bool:
    """Whether a flag may have given a place."""
    return isinstance(flags, str) and any(lifts.get(flag) == place for flag in json.loads(flags))
