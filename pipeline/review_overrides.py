"""Whether grades that people gave by hand helped: what came, beside what the replaced grade and theirs stand for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.labels import build_labels
from features.tables import CrmTables
from features.targets import Target
from models.card_review import wanted
from pipeline.ledger import Ledger
from pipeline.ledger_overrides import Override

BY_HAND = "override"


def judge_overrides(
    ledger: Ledger,
    tables: CrmTables,
    target: Target,
    since: pd.Timestamp,
    grades: Sequence[str],
    rates: Mapping[str, float],
) -> dict[str, Any]:
    """Judge the overrides of a target that were made since a moment.

    What an override replaced is the newest grade before it that nobody gave by hand; what came is the label at that
    score. Raising a grade helped if it turned out well, lowering it if it did not. By how much: a grade foresees the
    share that turned out well among all who had it, and what counts is how much nearer to what came (squared) the
    new grade is than the old one; below zero it hurt.

    Parameters
    ----------
    ledger : Ledger
    tables : CrmTables
    target : Target
    since : Timestamp
        UTC.
    grades : sequence of str
        From the best to the lowest.
    rates : mapping of grade to float
        Share that turned out as wanted.

    """
    made = [one for one in ledger.overrides.find(target.name) if pd.Timestamp(one.made_at) >= since]
    replaced = [_replaced(ledger, target, one) for one in made]
    known = [(one, score) for one, score in zip(made, replaced, strict=True) if score is not None]
    labels = _labels(tables, target, [score for _, score in known])
    judged = [
        _judge(one, score, labels.get((score["entity_id"], score["as_of"])), target.kind, grades, rates)
        for one, score in known
    ]
    settled = [one for one in judged if one["helped"] is not None]
    gains = [one["by"] for one in settled if one["by"] is not None]
    return {
        "made": len(made),
        "settled": len(settled),
        "helped": sum(one["helped"] for one in settled),
        "hurt": sum(not one["helped"] for one in settled),
        "by": sum(gains) / len(gains) if gains else None,
        "shown": judged,
    }


def _replaced(ledger: Ledger, target: Target, made: Override) -> dict[str, Any] | None:
    """Return the newest score before an override whose grade was not given by hand."""
    scores = ledger.entity_scores(made.entity_id, target.name)
    is_before = (scores["as_of"] <= pd.Timestamp(made.made_at)) & (scores["horizon_days"] == target.horizon_days)
    scores = scores[is_before & scores["grade"].notna() & (scores["graded_by"].fillna("") != BY_HAND)]
    if scores.empty:
        return None
    newest = scores.iloc[-1]
    return {name: newest[name] for name in ("entity_id", "as_of", "grade")}


def _labels(tables: CrmTables, target: Target, scores: Sequence[Mapping[str, Any]]) -> dict[tuple[str, Any], float]:
    """Labels that are known, by entity and time."""
    if not scores:
        return {}
    spine = pd.DataFrame(scores)[["entity_id", "as_of"]].drop_duplicates()
    labels = build_labels(tables, spine, target).dropna(subset=["label"])
    keys = zip(labels["entity_id"], labels["as_of"], strict=True)
    return dict(zip(keys, labels["label"].tolist(), strict=True))


def _judge(
    made: Override,
    score: Mapping[str, Any],
    label: float | None,
    kind: str,
    grades: Sequence[str],
    rates: Mapping[str, float],
) -> dict[str, Any]:
    """One override, with `helped` null while nothing came of it yet or the grade is the same."""
    place = {grade: at for at, grade in enumerate(grades)}
    before, after = str(score["grade"]), made.grade
    raised = place.get(before, 0) - place.get(after, 0)
    good = None if label is None or kind == "value" else bool(wanted(kind, np.array([label]))[0])
    helped = None if good is None or not raised else good == (raised > 0)
    by = None
    if helped is not None and before in rates and after in rates:
        by = (float(good or 0) - rates[before]) ** 2 - (float(good or 0) - rates[after]) ** 2
    return {
        "entity_id": made.entity_id,
        "made_at": made.made_at.isoformat(),
        "author": made.author,
        "reason": made.reason,
        "from": before,
        "to": after,
        "good": good,
        "helped": helped,
        "by": by,
    }
