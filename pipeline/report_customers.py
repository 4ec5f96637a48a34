"""The page of customer files: all of them in one page, packed in parts that are opened when one is asked for."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.tables import CrmTables
from models.card_values import question_values
from models.lifecycle import STAGES
from models.scorecard import Scorecard
from pipeline.config import Config
from pipeline.report_entities import read_profiles
from pipeline.report_page import make_report_page
from pipeline.report_payload import numbers, pack, safe_json
from pipeline.report_pipeline import show_day
from pipeline.report_today import Judged, Today, read_columns, strongest_reasons
from pipeline.report_words_customers import FACTS, SPOKEN, VALUES

PART = 200
"""Customers that are packed together."""
SUGGESTED = 8
MAIN = 3
"""Reasons of the run before that are looked for among those of now."""

Document = dict[str, Any]


def make_customers_page(config: Config, tables: CrmTables, today: Today, monthly: pd.DataFrame) -> str:
    """Return the page; `monthly` comes from `read_monthly_scores`."""
    folder = config.folder / "runs" / today.run.run_id
    profiles = read_profiles(tables)
    files = make_files(today, profiles, _read_facts(folder), folder, monthly)
    ids = profiles.index.astype(str).tolist()
    names = today.customers["name"].reindex(profiles.index)
    parts = [pack(files[start : start + PART]) for start in range(0, len(files), PART)]
    return make_report_page(
        "customers.html",
        config.name,
        show_day(today.as_of),
        show_day(today.previous.details["data_end"]) if today.previous else None,
        SPOKEN,
        run_id=today.run.run_id,
        count=len(ids),
        parts=parts,
        index=pack({"id": ids, "n": [name if isinstance(name, str) else None for name in names]}),
        meta=safe_json(_meta(today, config, monthly, set(ids))),
    )


def _meta(today: Today, config: Config, monthly: pd.DataFrame, known: set[str]) -> Document:
    """What all files share: targets with their grades and criteria, months, words."""
    first = today.rows[today.rows["customer_id"].isin(known)].sort_values("stake", ascending=False, kind="stable")
    return {
        "part": PART,
        "currency": config.currency,
        "targets": [_describe(one) for one in today.targets],
        "months": [*sorted(set(monthly["month"])), "now"],
        "facts": FACTS,
        "values": VALUES,
        "stages": {name: (names["en"], names["zh"]) for name, names in STAGES.items()},
        "suggested": first["customer_id"].drop_duplicates().head(SUGGESTED).tolist(),
    }


def _describe(one: Judged) -> Document:
    def named(key: str) -> list[Document]:
        parts = one.card_document.get(key, ())
        return [{"name": (part["name"]["en"], part["name"]["zh"]), "weight": part.get("weight")} for part in parts]

    return {
        "name": one.name,
        "kind": one.kind,
        "days": one.horizon_days,
        "grades": list(one.grades.values()),
        "criteria": named("criteria"),
        "groups": named("groups"),
    }


def _read_facts(folder: Path) -> pd.DataFrame:
    """Facts that the run kept of its customers, by customer_id; no columns where it kept none."""
    place = folder / "customers.parquet"
    if not place.is_file():
        return pd.DataFrame()
    facts = pd.read_parquet(place).set_index("customer_id")
    return facts[[name for name in facts.columns if name in FACTS or name == "lifecycle"]]


def make_files(
    today: Today, profiles: pd.DataFrame, facts: pd.DataFrame, folder: Path, monthly: pd.DataFrame
) -> list[Document]:
    """One document per customer, in the order of `profiles`; what is not known is left out of it."""
    by_customer: dict[str, list[Document]] = {}
    for place, one in enumerate(today.targets):
        rows = today.rows[today.rows["target"] == one.name].reset_index(drop=True)
        documents = _scores(place, one, rows, folder, monthly)
        for customer, document in zip(rows["customer_id"], documents, strict=True):
            if isinstance(customer, str):
                by_customer.setdefault(customer, []).append(document)
    described = _records(profiles)
    known = _records(facts.reindex(profiles.index)) if len(facts.columns) else [{} for _ in described]
    return [
        {"profile": profile, "facts": fact, "scores": by_customer.get(str(customer), [])}
        for customer, profile, fact in zip(profiles.index, described, known, strict=True)
    ]


def _records(frame: pd.DataFrame) -> list[Document]:
    """Rows as documents without what is null; times as days."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            columns[str(name)] = [None if pd.isna(one) else f"{one:%Y-%m-%d}" for one in column]
        elif pd.api.types.is_numeric_dtype(column):
            columns[str(name)] = numbers(column.astype(float), 3)
        else:
            columns[str(name)] = [one if isinstance(one, str) else None for one in column]
    rows = zip(*columns.values(), strict=True) if columns else ((),) * len(frame)
    return [{name: one for name, one in zip(columns, row, strict=True) if one is not None} for row in rows]


def _scores(place: int, one: Judged, rows: pd.DataFrame, folder: Path, monthly: pd.DataFrame) -> list[Document]:
    """Scores of a target, each with its reasons, its card, and what changed since the run before."""
    grades = {grade: at for at, grade in enumerate(one.grades)}
    columns: dict[str, list[Any]] = {
        "id": rows["entity_id"].tolist(),
        "g": [grades.get(grade) for grade in rows["grade"]],
        "b": [grades.get(grade) for grade in rows["before_grade"]],
        "cg": [grades.get(grade) for grade in rows["card_grade"]],
        "hand": [1 if one == "override" else None for one in rows["graded_by"]],
        "new": [1 if one else None for one in rows["is_new"]],
        **{key: numbers(rows[name], digits) for key, name, digits in _NUMBERS},
        "why": [[[en, zh, round(adds, 3)] for en, zh, adds, _ in some] for some in rows["reasons"]],
        "gone": [
            _gone_reasons(before, now) for before, now in zip(rows["before_reasons"], rows["reasons"], strict=True)
        ],
        "f": [[one.flags.get(name, (name, name)) for name in some] or None for some in rows["flags"]],
        "x": [[one.vetoes.get(name, (name, name)) for name in some] or None for some in rows["vetoes"]],
        "ask": rows["question"].tolist(),
        "past": _past(one.name, rows, monthly),
        **_card_columns(one, rows["entity_id"], folder),
    }
    return [
        {"t": place, **{name: value for name, value in zip(columns, row, strict=True) if value is not None}}
        for row in zip(*columns.values(), strict=True)
    ]


_NUMBERS = (
    ("p", "probability", 4),
    ("lo", "probability_low", 4),
    ("hi", "probability_high", 4),
    ("bp", "before_probability", 4),
    ("s", "points", 1),
    ("bs", "before_points", 1),
    ("k", "coverage", 2),
    ("m", "amount", 0),
    ("v", "stake", 0),
)
"""Keys of a score, the columns they come from, and decimals."""


def _gone_reasons(before: Any, now: list[tuple[str, str, float, str]]) -> list[tuple[str, str]] | None:
    """Main reasons of the run before that are not among the strongest now; null without a run before."""
    if not isinstance(before, str):
        return None
    there = {feature for *_, feature in now}
    return [(en, zh) for en, zh, _, feature in strongest_reasons(before)[:MAIN] if feature not in there] or None


def _past(target: str, rows: pd.DataFrame, monthly: pd.DataFrame) -> list[list[float | int | None] | None]:
    """Likelihood by month and now; null for whom no earlier month had a score."""
    mine = monthly[monthly["target"] == target]
    if mine.empty:
        return [None] * len(rows)
    wide = mine.pivot_table(index="entity_id", columns="month", values="probability", aggfunc="first", observed=True)
    wide = wide.reindex(index=rows["entity_id"], columns=sorted(set(monthly["month"])))
    table = np.column_stack([wide.to_numpy(dtype=float), rows["probability"].to_numpy(dtype=float)]).round(3)
    return [
        [None if math.isnan(one) else one for one in row] if np.isfinite(row).sum() > 1 else None
        for row in table.tolist()
    ]


def _card_columns(one: Judged, ids: "pd.Series[str]", folder: Path) -> Mapping[str, list[Any]]:
    """Points of each criterion and the values behind them, and sub-scores, in the order of the card."""
    criteria = list(one.card_document.get("criteria", ()))
    groups = [str(part["id"]) for part in one.card_document.get("groups", ())]
    names = [f"points_{part['id']}" for part in criteria]
    parts = read_columns(folder / f"card_{one.name}.parquet", ("entity_id", *names, *(f"group_{g}" for g in groups)))
    if not set(names) <= set(parts.columns) or not names:
        return {}
    parts = parts.drop_duplicates("entity_id").set_index("entity_id").reindex(ids)
    found: dict[str, list[Any]] = {"c": _lists(parts[names], 2), "y": _values(one, ids, folder)}
    if groups:
        found["u"] = _lists(parts[[f"group_{group}" for group in groups]], 0)
    return found


def _lists(frame: pd.DataFrame, digits: int) -> list[Any]:
    columns = [numbers(frame[name].astype(float), digits) for name in frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _values(one: Judged, ids: "pd.Series[str]", folder: Path) -> list[Any]:
    """Value behind each criterion, of a feature, a formula or an answer; null where it is missing or was not kept."""
    card = Scorecard.model_validate(one.card_document)
    known = read_columns(folder / f"features_{one.name}.parquet", ("entity_id", *card.features))
    if known.empty:
        return [[None] * len(card.criteria) for _ in range(len(ids))]
    known = known.drop_duplicates("entity_id").set_index("entity_id").reindex(ids)
    columns: list[list[Any]] = []
    for criterion in card.criteria:
        values = question_values(criterion, known, card)
        if values is None:
            columns.append([None] * len(ids))
        elif pd.api.types.is_numeric_dtype(values):
            columns.append(numbers(values.astype(float), 2))
        else:
            columns.append([value if isinstance(value, str) else None for value in values])
    return [list(row) for row in zip(*columns, strict=True)]
