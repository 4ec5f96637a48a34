"""Review 复盘: what came of the scores since a day, of every grade, team, criterion and override."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from features.errors import DataError
from features.tables import CrmTables
from features.targets import Target, local_midnight
from models.card_review import wanted
from models.grades import DEFAULT_GRADES
from models.scorecard import Scorecard
from pipeline.atomic_files import replace_text
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import load_extract, make_target
from pipeline.ledger import Ledger
from pipeline.review_card import Judged, judge_settled, store_proposal
from pipeline.review_figures import by_grade, by_slice, disagreements, model_against_card
from pipeline.review_overrides import judge_overrides
from pipeline.review_rows import SLICES, Settled, settle


def review(config: Config, ledger: Ledger, since: date, target: str | None = None) -> dict[str, Any]:
    """Review the scores since a day by what came of them, and store what was found.

    Writes `review/latest.json` and, for every target with a card, the proposed card into `proposals/`.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    since : date
        In the deployment's time zone: scores with an `as_of` of that day or later.
    target : str, optional
        Only this one.

    Returns
    -------
    dict
        What is in `review/latest.json`.

    Raises
    ------
    DataError
        If there are no scores since then, or none has ripened.

    """
    tables = load_extract(config)
    begin = pd.Timestamp(local_midnight(since, config.time_zone))
    names = [make_target(config, target).name] if target else list(config.targets)
    past = {name: _settle(config, ledger, tables, name, begin) for name in names}
    _check_ripe(past, since, tables.data_end)
    document = {
        "since": since.isoformat(),
        "data_end": tables.data_end.isoformat(),
        "targets": {name: _review_target(config, ledger, tables, name, begin, one) for name, one in past.items()},
    }
    place = config.folder / "review" / "latest.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_text(place, json.dumps(_plain(document), ensure_ascii=False, indent=1, default=str))
    return document


def _settle(config: Config, ledger: Ledger, tables: CrmTables, name: str, begin: pd.Timestamp) -> Settled:
    target = make_target(config, name)
    return settle(tables, target, ledger.past.first_scores(name, target.horizon_days, begin.to_pydatetime()))


def _check_ripe(past: dict[str, Settled], since: date, data_end: datetime) -> None:
    """Refuse a review of nothing, in one sentence that says when there will be something."""
    if any(len(one.rows) for one in past.values()):
        return
    scores = sum(one.scores for one in past.values())
    if not scores:
        raise DataError(
            f"There are no scores of {', '.join(past)} since {since}. Pass an earlier --since, or score first."
        )
    ripening = [one.next_ripe_at for one in past.values() if one.next_ripe_at]
    when = (
        f"The first ripens on {min(ripening) + timedelta(days=1) - timedelta(microseconds=1):%Y-%m-%d}: "
        if ripening
        else ""
    )
    raise DataError(
        f"None of the {scores:,} scores since {since} has ripened: the data end on {data_end:%Y-%m-%d}. {when}"
        "extract again after that day, or pass an earlier --since."
    )


def _review_target(
    config: Config, ledger: Ledger, tables: CrmTables, name: str, begin: pd.Timestamp, settled: Settled
) -> dict[str, Any]:
    """All figures of one target."""
    target, card, rows = make_target(config, name), load_card(config, name), settled.rows
    found: dict[str, Any] = {
        "kind": target.kind,
        "horizon_days": target.horizon_days,
        "scores": settled.scores,
        "counted": settled.counted,
        "settled": len(rows),
        "unripe": settled.unripe,
        "unknown": settled.lost,
        "next_ripe_at": settled.next_ripe_at.isoformat() if settled.next_ripe_at else None,
        "notes": [],
    }
    if rows.empty:
        return found | {"notes": ["Nothing has ripened yet."]}
    grades = _grades(card, rows)
    found |= {
        "good": float(wanted(target.kind, rows["label"].to_numpy()).mean()),
        "grades": by_grade(rows, grades, target.kind),
        "slices": [
            one
            for column, title in SLICES.items()
            if column in rows
            for one in by_slice(rows, grades, target.kind, column, title)
        ],
        "model_against_card": model_against_card(rows, target.kind, config.seed),
        "disagreements": disagreements(rows, grades, target.kind),
        "overrides": judge_overrides(ledger, tables, target, begin, grades, _rates(rows, target)),
    }
    return found | _card_part(config, card, target, rows, begin)


def _grades(card: Scorecard | None, rows: pd.DataFrame) -> list[str]:
    """Grades from the best to the lowest: the card's, else the usual ones; others that were given follow."""
    named = [one.id for one in (card.grades if card else DEFAULT_GRADES)]
    return [*named, *sorted(set(rows["grade"].dropna()) - set(named))]


def _rates(rows: pd.DataFrame, target: Target) -> dict[str, float]:
    """Share of each grade that turned out as wanted."""
    good = pd.Series(wanted(target.kind, rows["label"].to_numpy()), index=rows.index)
    return {str(grade): float(share) for grade, share in good.groupby(rows["grade"]).mean().items()}


def _card_part(
    config: Config, card: Scorecard | None, target: Target, rows: pd.DataFrame, begin: pd.Timestamp
) -> dict[str, Any]:
    """Criteria and proposal, or a note why there are none."""
    if card is None:
        return {"card": None, "notes": ["The target has no scorecard."]}
    try:
        judged = judge_settled(config, card, target.kind, target.name, rows)
    except DataError as error:
        return {"card": None, "notes": [str(error)]}
    path = store_proposal(config, judged, _where_from(judged, target.name, begin))
    part = judged.to_json()
    part["proposal"]["path"] = str(path)
    return {"card": part}


def _where_from(judged: Judged, name: str, begin: pd.Timestamp) -> str:
    found = judged.review
    return (
        f"By {found.rows:,} settled scores of {found.groups:,} customers since {begin:%Y-%m-%d} (target '{name}'), "
        f"of which {found.good:,} turned out as the points should favour."
    )


def _plain(value: Any) -> Any:
    """Return a document with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value
