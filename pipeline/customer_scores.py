"""Scores for customer files: what the model and the card said of a customer or a deal, and what moved since."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.card_parts import card_parts
from models.card_words import plain_values
from models.reasons import EVERYTHING_ELSE
from models.scorecard import Scorecard
from pipeline.customer_file import Change, CriterionPoints, TargetScore
from pipeline.stored_run import Row, StoredRun, plain_rows

MAIN_REASONS = 3
"""Reasons that are compared with those of the run before."""
_COPIED = (
    "target", "entity_id", "horizon_days", "probability", "probability_low", "probability_high", "value", "points",
    "coverage", "grade", "card_grade", "graded_by",
)  # fmt: skip
"""What a score takes from its row as it is."""


@dataclass(frozen=True)
class _Judged:
    """A card, and what it gave to some entities: points, parts and values by their ids."""

    card: Scorecard
    parts: Mapping[str, Row]
    values: Mapping[str, Mapping[str, float | str | None]]

    def criteria(self, entity_id: str) -> tuple[CriterionPoints, ...]:
        """Points of the criteria that have weight, and what is behind them."""
        row, values = self.parts[entity_id], self.values[entity_id]
        return tuple(
            CriterionPoints(
                one.id, one.name.en, one.name.zh, row[f"points_{one.id}"], one.weight, values[one.id], one.group
            )
            for one in self.card.criteria
            if one.units
        )

    def points(self, entity_id: str) -> dict[str, float]:
        """Points by criterion; none for an entity it did not judge."""
        row = self.parts.get(entity_id, {})
        return {one.id: row[f"points_{one.id}"] for one in self.card.criteria if one.units and row}

    def question(self, entity_id: str) -> Mapping[str, str] | None:
        """What to ask a person next."""
        asked = {language: self.parts[entity_id][f"next_question_{language}"] for language in ("en", "zh")}
        return asked if asked["en"] else None


def _judge(run: StoredRun, target: str, ids: Sequence[str]) -> _Judged | None:
    """Ask the card of a run again about some entities; the same values, the same points."""
    card = run.card(target)
    features = run.rows(f"features_{target}.parquet", "entity_id", ids)
    if card is None or features.empty:
        return None
    parts = plain_rows(card_parts(card, features))
    columns = {one.id: plain_values(one, features, card) for one in card.criteria}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    names = features["entity_id"].tolist()
    return _Judged(card, dict(zip(names, parts, strict=True)), dict(zip(names, rows, strict=True)))


def read_target_scores(
    run: StoredRun, before: StoredRun | None, customers: Iterable[str], deals: Mapping[str, str]
) -> dict[str, list[TargetScore]]:
    """Scores of customers and of their deals, by customer."""
    people = set(customers)
    ids = {*people, *deals}
    rows = [one for one in run.scores(ids) if one["entity_id"] in (deals if _is_deal(run, one) else people)]
    earlier = {(one["target"], one["entity_id"]): one for one in (before.scores(ids) if before else [])}
    found: dict[str, list[TargetScore]] = {}
    for target in dict.fromkeys(one["target"] for one in rows):
        mine = [one for one in rows if one["target"] == target]
        judged = _judge(run, target, [one["entity_id"] for one in mine])
        past = [one["entity_id"] for one in mine if (target, one["entity_id"]) in earlier]
        judged_before = _judge(before, target, past) if before and past else None
        for row in mine:
            last = earlier.get((target, row["entity_id"]))
            change = _change(row, last, judged, judged_before) if last else None
            customer = deals[row["entity_id"]] if _is_deal(run, row) else row["entity_id"]
            found.setdefault(customer, []).append(_score(run, row, judged, change))
    return found


def _is_deal(run: StoredRun, row: Row) -> bool:
    return bool(run.targets[row["target"]]["kind"] == "conversion")


def _score(run: StoredRun, row: Row, judged: _Judged | None, change: Change | None) -> TargetScore:
    """One score with the names of its grade, vetoes and flags."""
    named = {name: _named(getattr(judged.card, name) if judged else ()) for name in ("grades", "vetoes", "flags")}
    raised = {
        name: tuple({"id": one, **_words(named[name], one)} for one in json.loads(row.get(name) or "[]"))
        for name in ("vetoes", "flags")
    }
    grade: Mapping[str, Any] = _words(named["grades"], row["grade"]) if row["grade"] else {"en": None, "zh": None}
    copied: dict[str, Any] = {name: row.get(name) for name in _COPIED}
    parts = judged.parts[row["entity_id"]] if judged else {}
    return TargetScore(
        **copied,
        kind=run.targets[row["target"]]["kind"],
        entity="deal" if _is_deal(run, row) else "customer",
        grade_en=grade["en"],
        grade_zh=grade["zh"],
        reasons=tuple(json.loads(row["reasons"])),
        criteria=judged.criteria(row["entity_id"]) if judged else (),
        groups={name.removeprefix("group_"): value for name, value in parts.items() if name.startswith("group_")},
        vetoes=raised["vetoes"],
        flags=raised["flags"],
        next_question=judged.question(row["entity_id"]) if judged else None,
        change=change,
    )


def _named(parts: Iterable[Any]) -> dict[str, dict[str, str]]:
    return {one.id: {"en": one.name.en, "zh": one.name.zh} for one in parts}


def _words(named: Mapping[str, dict[str, str]], name: str) -> dict[str, str]:
    """Names of a grade, veto or flag; its id where the card does not have it (any more)."""
    return named.get(name, {"en": name, "zh": name})


def _change(row: Row, last: Row, judged: _Judged | None, judged_before: _Judged | None) -> Change:
    """Return what moved since the score before."""
    now, then = _main_reasons(row), _main_reasons(last)
    points = judged.points(row["entity_id"]) if judged else {}
    before = judged_before.points(row["entity_id"]) if judged_before else {}
    moved = {name: round(points[name] - before[name], 4) for name in points if name in before}
    return Change(
        run_id=last["run_id"],
        as_of=last["as_of"],
        probability=last["probability"],
        value=last["value"],
        points=last["points"],
        grade=last["grade"],
        reasons_added=tuple(one for name, one in now.items() if name not in then),
        reasons_gone=tuple(one for name, one in then.items() if name not in now),
        criteria={name: difference for name, difference in moved.items() if difference} if judged_before else None,
    )


def _main_reasons(row: Row) -> dict[str, Mapping[str, Any]]:
    """The strongest reasons of a score, by feature."""
    found = [one for one in json.loads(row["reasons"]) if one["feature"] != EVERYTHING_ELSE]
    found.sort(key=lambda one: -abs(one["contribution"]))
    return {one["feature"]: one for one in found[:MAIN_REASONS]}
