"""The page "Pipeline today": figures by grade, the lists that sellers work through, and what changed."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.report_page import make_report_page
from pipeline.report_payload import Texts, numbers, pack, safe_json
from pipeline.report_today import Judged, Today
from pipeline.report_words import SPOKEN, Pair

SHOWN_GONE = 8
TITLES = {
    "conversion": ("Open deals by grade", "按等级的未结商机"),
    "churn": ("Customers by grade", "按等级的客户"),
    "value": ("Customers by grade", "按等级的客户"),
}


def make_pipeline_page(today: Today, name: str, currency: str) -> str:
    """Return the page."""
    rows = today.rows
    return make_report_page(
        "index.html",
        name,
        show_day(today.as_of),
        show_day(today.previous.details["data_end"]) if today.previous else None,
        SPOKEN,
        run_id=today.run.run_id,
        judged=today.targets,
        tiles=_tiles(today, currency),
        funnels=[_funnel(one, rows[rows["target"] == one.name]) for one in today.targets],
        changes=[_changes(one, today) for one in today.targets] if today.previous else [],
        meta=safe_json(_meta(today, currency)),
        rows=pack(_columns(today)),
        reasons=pack(_reasons(rows)),
    )


def show_day(moment: Any) -> str:
    """Moment in UTC, to the minute.

    >>> show_day("2025-06-30T22:00:00")
    '2025-06-30 22:00 UTC'
    """
    return f"{pd.Timestamp(str(moment)):%Y-%m-%d %H:%M} UTC"


def _money(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{value:,.0f}"


def _share(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{value:.1%}"


def _sum(column: "pd.Series[float]") -> float:
    return float(column.sum()) if column.notna().any() else float("nan")


def _tiles(today: Today, currency: str) -> list[dict[str, Any]]:
    """The figures at the top."""
    tiles: list[dict[str, Any]] = []
    for one in today.targets:
        mine = today.rows[today.rows["target"] == one.name]
        tiles += _target_tiles(one, mine, currency)
    moved = _moves(today.rows, today.targets)
    if today.previous is not None:
        note = (f"{int(today.rows['is_new'].sum()):,} new", f"新增 {int(today.rows['is_new'].sum()):,}")
        figure = f"▲ {int((moved > 0).sum()):,}  ▼ {int((moved < 0).sum()):,}"
        tiles.append(_tile(("Moved a grade", "等级变动"), figure, note))
    warned = int((today.rows["flags"].map(len) > 0).sum())
    if warned:
        tiles.append(_tile(("Early warnings", "预警"), f"{warned:,}"))
    return tiles


def _tile(what: Pair, figure: str, note: Pair | None = None, unit: str = "") -> dict[str, Any]:
    return {"what": what, "figure": figure, "note": note, "unit": unit}


def _target_tiles(one: Judged, mine: pd.DataFrame, currency: str) -> list[dict[str, Any]]:
    best = next(iter(one.grades), None)
    top = int((mine["grade"] == best).sum())
    stake, amount, days = _sum(mine["stake"]), _sum(mine["amount"]), one.horizon_days
    is_deal = one.kind == "conversion"
    what = (
        (f"Open deals ({one.name})", f"未结商机（{one.name}）")
        if is_deal
        else (f"Customers ({one.name})", f"客户（{one.name}）")
    )
    names = one.grades[best] if best else ("", "")
    tiles = [_tile(what, f"{len(mine):,}", (f"{top:,} {names[0]}", f"{names[1]} {top:,}") if best else None)]
    if np.isfinite(stake):
        words = {
            "conversion": (f"Expected to be won in {days} days", f"预计 {days} 天内赢单金额"),
            "churn": (f"Yearly revenue at risk in {days} days", f"{days} 天内有风险的年收入"),
            "value": (f"Expected revenue in {days} days", f"预计 {days} 天收入"),
        }[one.kind]
        whole = (f"of {currency} {amount:,.0f}", f"总额 {currency} {amount:,.0f}") if np.isfinite(amount) else None
        tiles.append(_tile(words, f"{stake:,.0f}", whole, currency))
    return tiles


def _funnel(one: Judged, mine: pd.DataFrame) -> dict[str, Any]:
    """Rows of each grade, from the best to the lowest; bars are centred like a funnel."""
    parts = [(grade, names, mine[mine["grade"] == grade]) for grade, names in one.grades.items()]
    most = max((len(part) for _, _, part in parts), default=0) or 1
    steps = []
    for grade, names, part in parts:
        width = 100.0 * len(part) / most
        mean = float(part["probability"].mean()) if len(part) else float("nan")
        figures = {"count": len(part), "mean": _share(mean), "stake": _money(_sum(part["stake"]))}
        steps.append(
            {"grade": grade, "name": names, "start": round(50 - width / 2, 1), "width": round(width, 1), **figures}
        )
    return {"name": one.name, "kind": one.kind, "title": TITLES[one.kind], "steps": steps}


def _moves(rows: pd.DataFrame, targets: tuple[Judged, ...]) -> np.ndarray:
    """Grades that each row moved since the run before, up positive; 0 for what is new or has no grade."""
    moved = np.zeros(len(rows))
    for one in targets:
        places = {grade: float(at) for at, grade in enumerate(one.grades)}
        mine = (rows["target"] == one.name).to_numpy()
        before, now = (np.array([places.get(one, np.nan) for one in rows[name]]) for name in ("before_grade", "grade"))
        moved[mine] = np.nan_to_num(before - now)[mine]
    return moved


def _changes(one: Judged, today: Today) -> dict[str, Any]:
    """Counts of what changed for a target, and the likeliest of those that are gone."""
    mine = today.rows[today.rows["target"] == one.name]
    moved, gone = _moves(mine, (one,)), today.gone[today.gone["target"] == one.name]
    shown = [
        {
            "entity_id": row["entity_id"],
            "name": row["name"] if isinstance(row["name"], str) else "",
            "grade": one.grades.get(row["grade"], ("–", "–")),
            "probability": _share(float(row["probability"])),
            "outcome": row["outcome"] if row["outcome"] in ("won", "lost") else None,
        }
        for row in gone.head(SHOWN_GONE).to_dict("records")
    ]
    return {
        "name": one.name,
        "kind": one.kind,
        "title": ("Deals", "商机") if one.kind == "conversion" else ("Customers", "客户"),
        "up": int((moved > 0).sum()),
        "down": int((moved < 0).sum()),
        "arrived": int(mine["is_new"].sum()),
        "left": len(gone),
        "won": int((gone["outcome"] == "won").sum()),
        "lost": int((gone["outcome"] == "lost").sum()),
        "gone": shown,
    }


def _meta(today: Today, currency: str) -> dict[str, Any]:
    targets = [
        {"name": one.name, "kind": one.kind, "grades": list(one.grades), "names": list(one.grades.values())}
        for one in today.targets
    ]
    return {"targets": targets, "currency": currency, "has_before": today.previous is not None}


def _columns(today: Today) -> dict[str, Any]:
    """Columns of the list; texts that repeat are places in `owners`, `regions` and `marks`."""
    rows, owners, regions, marks = today.rows, Texts(), Texts(), Texts()
    targets = {one.name: at for at, one in enumerate(today.targets)}
    grades = {(one.name, grade): at for one in today.targets for at, grade in enumerate(one.grades)}
    names = {one.name: (one.flags, one.vetoes) for one in today.targets}
    pairs = list(zip(rows["target"], rows["grade"], rows["before_grade"], strict=True))
    return {
        "t": [targets[one] for one in rows["target"]],
        "id": rows["entity_id"].tolist(),
        "c": _texts(rows["customer_id"]),
        "n": _texts(rows["name"]),
        "g": [grades.get((target, grade), -1) for target, grade, _ in pairs],
        "b": [grades.get((target, grade), -1) for target, _, grade in pairs],
        "cg": [grades.get(pair, -1) for pair in zip(rows["target"], rows["card_grade"], strict=True)],
        "hand": (rows["graded_by"] == "override").astype(int).tolist(),
        "new": rows["is_new"].astype(int).tolist(),
        "p": numbers(rows["probability"], 4),
        "bp": numbers(rows["before_probability"], 4),
        "s": numbers(rows["points"], 1),
        "k": numbers(rows["coverage"], 2),
        "m": numbers(rows["amount"], 0),
        "v": numbers(rows["stake"], 0),
        "d": numbers(rows["gap"], 0),
        "o": [owners.place(one) for one in _texts(rows["owner"])],
        "r": [regions.place(one) for one in _texts(rows["region"])],
        "f": [
            [marks.place(names[t][0].get(one, (one, one))) for one in some]
            for t, some in zip(rows["target"], rows["flags"], strict=True)
        ],
        "x": [
            [marks.place(names[t][1].get(one, (one, one))) for one in some]
            for t, some in zip(rows["target"], rows["vetoes"], strict=True)
        ],
        "owners": owners.to_json(),
        "regions": regions.to_json(),
        "marks": marks.to_json(),
    }


def _texts(column: "pd.Series[Any]") -> list[str | None]:
    return [one if isinstance(one, str) else None for one in column]


def _reasons(rows: pd.DataFrame) -> dict[str, Any]:
    """Reasons of each row (place of the words, what it adds) and its next question, with the words once."""
    words = Texts()
    return {
        "why": [[[words.place((en, zh)), round(adds, 3)] for en, zh, adds, _ in some] for some in rows["reasons"]],
        "ask": [None if one is None else words.place(one) for one in rows["question"]],
        "words": words.to_json(),
    }
