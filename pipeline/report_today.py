"""What a report says of today: everybody who was scored last, beside the scoring before."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from features.tables import CrmTables
from models.reasons import EVERYTHING_ELSE
from pipeline.config import Config
from pipeline.horizon_scores import primary_scores
from pipeline.ledger import Ledger, Run
from pipeline.report_entities import read_customers, read_deals

SHOWN_REASONS = 5

Names = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Judged:
    """A target as it was scored last; `grades`, `flags` and `vetoes` map an id to its English and Chinese name.

    Grades stand from the best to the lowest.
    """

    name: str
    kind: str
    horizon_days: int
    grades: Names
    flags: Names
    vetoes: Names
    model_version: str | None
    card: str | None
    card_document: Mapping[str, Any]


@dataclass(frozen=True)
class Today:
    """The newest scores of the primary horizons.

    `rows` has one row per target and entity: target, kind, entity_id, customer_id, name, owner, region, grade,
    probability, points, coverage, amount (what it is worth), stake (what is expected, or at risk), gap, is_new,
    reasons (en, zh, what it adds, feature), flags, vetoes, question (en, zh or None), and before_grade,
    before_probability, before_points, before_reasons as the ledger has them. `gap` is the percentile by the model
    less that by the card, null where there is but one. `gone` are those that were scored in `previous` and are not
    now: target, entity_id, name, grade, probability, outcome. `customers` are all that are stored, by their id.
    """

    run: Run
    as_of: pd.Timestamp
    previous: Run | None
    targets: tuple[Judged, ...]
    rows: pd.DataFrame
    gone: pd.DataFrame
    customers: pd.DataFrame


def scored_runs(ledger: Ledger) -> list[Run]:
    """Finished scoring runs, the newest data last; of two with the same data the later one last."""
    runs = [run for run in ledger.runs() if run.kind == "score" and run.state == "done" and "data_end" in run.details]
    return sorted(runs, key=lambda run: (str(run.details["data_end"]), run.started_at, run.run_id))


def read_today(config: Config, ledger: Ledger, tables: CrmTables) -> Today:
    """Read the newest finished scoring run and the one before it; DataError if there is none."""
    runs = scored_runs(ledger)
    if not runs:
        raise DataError("Nothing was scored yet, so there is nothing to report. Run `leadsieve score` first.")
    run = runs[-1]
    earlier = [one for one in runs if str(one.details["data_end"]) < str(run.details["data_end"])]
    previous = earlier[-1] if earlier else None
    scores = primary_scores(config, ledger.scores(run.run_id))
    before = primary_scores(config, ledger.scores(previous.run_id)) if previous else None
    folder = config.folder / "runs" / run.run_id
    targets = tuple(_judged(config, folder, name, scores) for name in config.targets)
    customers = read_customers(tables, config.report.show_names)
    deals = read_deals(tables)
    rows = _with_facts(scores, targets, folder, customers, deals)
    rows = _with_before(rows, before)
    return Today(
        run=run,
        as_of=pd.Timestamp(str(run.details["data_end"])),
        previous=previous,
        targets=targets,
        rows=rows.reset_index(drop=True),
        gone=_gone(scores, before, targets, customers, deals),
        customers=customers,
    )


def _judged(config: Config, folder: Path, name: str, scores: pd.DataFrame) -> Judged:
    """Describe a target by the card that the run kept, and by the version that scored it."""
    place = folder / f"card_{name}.json"
    card = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    mine = scores[scores["target"] == name]
    grades = _names(card.get("grades", ()))
    given = [str(one) for one in mine["grade"].dropna().unique()]
    grades |= {one: (one, one) for one in sorted(given) if one not in grades}
    version = mine["model_version"].dropna()
    return Judged(
        name=name,
        kind=config.targets[name].kind,
        horizon_days=config.targets[name].horizons_days[0],
        grades=grades,
        flags=_names(card.get("flags", ())),
        vetoes=_names(card.get("vetoes", ())),
        model_version=None if version.empty else str(version.iloc[0]),
        card=f"{card['id']} {card['version']}" if card else None,
        card_document=card,
    )


def _names(parts: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    return {one["id"]: (one["name"]["en"], one["name"]["zh"]) for one in parts}


def _with_facts(
    scores: pd.DataFrame, targets: Sequence[Judged], folder: Path, customers: pd.DataFrame, deals: pd.DataFrame
) -> pd.DataFrame:
    parts = []
    for target in targets:
        mine = scores[scores["target"] == target.name].reset_index(drop=True)
        part = _entities(mine, target, customers, deals).assign(kind=target.kind)
        part = _with_stake(part, target, folder)
        parts.append(_with_words(part, target, folder).assign(gap=_gap(mine, target)))
    return pd.concat(parts, ignore_index=True)


def _entities(mine: pd.DataFrame, target: Judged, customers: pd.DataFrame, deals: pd.DataFrame) -> pd.DataFrame:
    """Add who it is about: customer_id, name, owner, region and, for a deal, its amount."""
    ids = mine["entity_id"]
    is_deal = target.kind == "conversion"
    of = deals.reindex(ids)["customer_id"].to_numpy(dtype=object) if is_deal else ids.to_numpy(dtype=object)
    known = customers.reindex(pd.Index(of, dtype=object))
    owners = deals.reindex(ids)["owner_id"] if is_deal else known["owner_id"]
    return mine.assign(
        customer_id=of,
        name=known["name"].to_numpy(dtype=object),
        region=known["region"].to_numpy(dtype=object),
        owner=owners.to_numpy(dtype=object),
        amount=deals.reindex(ids)["amount"].to_numpy(dtype=float) if is_deal else np.nan,
    )


def _with_stake(part: pd.DataFrame, target: Judged, folder: Path) -> pd.DataFrame:
    """Add what is at stake: likelihood times the deal's amount, or times what a customer brought in a year."""
    if target.kind == "value":
        return part.assign(stake=part["value"])
    if target.kind == "churn":
        part = part.assign(amount=_yearly_revenue(part["entity_id"], target.name, folder))
    return part.assign(stake=part["amount"] * part["probability"])


def _yearly_revenue(ids: "pd.Series[str]", target: str, folder: Path) -> np.ndarray:
    """Revenue of each customer in the last 365 days, by what the run kept; null where it kept nothing."""
    for place, key, column, times in (
        (folder / "customers.parquet", "customer_id", "revenue_365d", 1.0),
        (folder / f"features_{target}.parquet", "entity_id", "orders_amount_365d", 1.0),
        (folder / f"features_{target}.parquet", "entity_id", "subscriptions_mrr", 12.0),
    ):
        known = read_columns(place, (key, column))
        if column in known.columns and known[column].notna().any():
            return np.asarray(known.set_index(key)[column].astype(float).reindex(ids).to_numpy() * times)
    return np.full(len(ids), np.nan)


def read_columns(place: Path, names: Sequence[str]) -> pd.DataFrame:
    """Those of some columns that a Parquet file has; no columns where there is no file."""
    import pyarrow.parquet as pq

    if not place.is_file():
        return pd.DataFrame()
    there = set(pq.read_schema(place).names)
    return pd.read_parquet(place, columns=[name for name in names if name in there])


def _with_words(part: pd.DataFrame, target: Judged, folder: Path) -> pd.DataFrame:
    """Add reasons, flags, vetoes and the next question."""
    asked = read_columns(folder / f"card_{target.name}.parquet", ("entity_id", "next_question_en", "next_question_zh"))
    questions: dict[str, tuple[str, str]] = {}
    if len(asked.columns) == 3:
        known = asked.dropna()
        words = zip(known["next_question_en"], known["next_question_zh"], strict=True)
        questions = dict(zip(known["entity_id"], words, strict=True))
    told = {
        "reasons": [strongest_reasons(text) for text in part["reasons"]],
        "flags": _lists(part, "flags"),
        "vetoes": _lists(part, "vetoes"),
        "question": [questions.get(one) for one in part["entity_id"]],
    }
    return part.assign(**{name: pd.Series(some, part.index, dtype=object) for name, some in told.items()})


def strongest_reasons(text: str) -> list[tuple[str, str, float, str]]:
    """The strongest reasons: English, Chinese, what each adds, and its feature; without the remainder."""
    found = [one for one in json.loads(text) if one["feature"] != EVERYTHING_ELSE]
    found.sort(key=lambda one: -abs(one["contribution"]))
    return [(one["en"], one["zh"], one["contribution"], one["feature"]) for one in found[:SHOWN_REASONS]]


def _lists(part: pd.DataFrame, name: str) -> list[list[str]]:
    """Ids in a column of JSON lists; a ledger without the column has none."""
    if name not in part.columns:
        return [[] for _ in range(len(part))]
    return [json.loads(text) if isinstance(text, str) and text else [] for text in part[name]]


def _gap(mine: pd.DataFrame, target: Judged) -> np.ndarray:
    """Percentile by the model, favourable high, less the percentile by the card: -100 to 100.

    The card ranks by its grade, then by points: a veto is its last word, whatever the points.
    """
    wish = mine["value"] if target.kind == "value" else mine["probability"] * (-1.0 if target.kind == "churn" else 1.0)
    places = {grade: float(at) for at, grade in enumerate(target.grades)}
    given = [
        own if isinstance(own, str) else grade for own, grade in zip(mine["card_grade"], mine["grade"], strict=True)
    ]
    card = mine["points"] - 1000.0 * np.array([places.get(grade, 0.0) for grade in given])
    return np.asarray(100.0 * (wish.rank(pct=True) - card.rank(pct=True)), dtype=float)


def _with_before(rows: pd.DataFrame, before: pd.DataFrame | None) -> pd.DataFrame:
    """Add what the run before said, and whether it had nothing for this entity."""
    if before is None:
        nothing = {"before_grade": None, "before_probability": np.nan, "before_points": np.nan, "before_reasons": None}
        return rows.assign(**nothing, is_new=False)
    keys = ["target", "entity_id"]
    kept = ("grade", "probability", "points", "reasons")
    known = before[[*keys, *kept]].rename(columns={name: f"before_{name}" for name in kept})
    joined = rows.merge(known.assign(was=True), on=keys, how="left")
    return joined.assign(is_new=joined["was"].isna()).drop(columns="was")


def _gone(
    scores: pd.DataFrame,
    before: pd.DataFrame | None,
    targets: Sequence[Judged],
    customers: pd.DataFrame,
    deals: pd.DataFrame,
) -> pd.DataFrame:
    """Who was scored before and is not now; a deal with how it closed."""
    columns = ["target", "entity_id", "name", "grade", "probability", "outcome"]
    if before is None:
        return pd.DataFrame(columns=columns)
    now = pd.MultiIndex.from_frame(scores[["target", "entity_id"]])
    left = before[~pd.MultiIndex.from_frame(before[["target", "entity_id"]]).isin(now)]
    parts = []
    for target in targets:
        mine = left[left["target"] == target.name].reset_index(drop=True)
        part = _entities(mine, target, customers, deals)
        closed = deals.reindex(part["entity_id"])["outcome"].to_numpy(dtype=object)
        parts.append(part.assign(outcome=closed if target.kind == "conversion" else None))
    return pd.concat(parts, ignore_index=True).sort_values(
        ["target", "probability"], ascending=[True, False], kind="stable"
    )[columns]
