"""A deployment that scored four times, written by hand: what `leadsieve report` tells of it can be worked out.

Data until 2024-07-01, horizons of 30 days, settled at once. Customers C1 to C4, of whom C1 has a name that is HTML;
deals D1 to D4. D4 was won on 2024-06-20, so it is in the run before and not in the last.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import extract_world, make_config

from pipeline.config import Config
from pipeline.ledger import SCORE_COLUMNS, Ledger, open_ledger

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\">\u2028& Söhne"
DEAL_COLUMNS = ("deal_id", "customer_id", "owner_id", "amount", "closed_at", "outcome")
TABLES = {
    "customers": [
        {"customer_id": "C1", "created_at": "2023-01-01", "name": HOSTILE, "region": "north", "owner_id": "U1"},
        {"customer_id": "C2", "created_at": "2023-01-01", "name": "北京客户", "region": "south", "owner_id": "U2"},
        {"customer_id": "C3", "created_at": "2023-01-01", "name": "Gamma Ltd", "region": "south", "owner_id": "U1"},
        {"customer_id": "C4", "created_at": "2024-06-25", "name": "Delta <b>AG</b>", "region": None, "owner_id": None},
    ],
    "deals": [
        {"created_at": "2024-01-01", **dict(zip(DEAL_COLUMNS, deal, strict=True))}
        for deal in (
            ("D1", "C1", "U1", "1000", None, None),
            ("D2", "C2", "U2", "5000", None, None),
            ("D3", "C3", "U1", "200", None, None),
            ("D4", "C3", "U1", "300", "2024-06-20", "won"),
        )
    ],
    "orders": [
        {"order_id": f"O{at}", "occurred_at": day, "customer_id": customer, "amount": "10"}
        for at, (day, customer) in enumerate(
            (("2024-01-10", "C1"), ("2024-04-10", "C1"), ("2024-01-10", "C2"), ("2024-01-10", "C3"))
        )
    ],
}  # fmt: skip
CARD = {
    "id": "tiny", "version": "3", "entity": "deal",
    "criteria": [
        {
            "id": "size", "name": {"en": "Size <i>of</i> it", "zh": "规模"}, "weight": 60, "missing": 0,
            "feature": "deal_amount", "bands": [{"below": 500, "points": 0}, {"at_least": 500, "points": 100}],
        },
        {
            "id": "age", "name": {"en": "Weeks", "zh": "周数"}, "weight": 40, "missing": 0,
            "formula": "deal_age_days / 7", "bands": [{"below": 1, "points": 100}, {"at_least": 1, "points": 50}],
        },
    ],
    "flags": [{
        "id": "early_warning", "name": {"en": "Pays late", "zh": "付款延迟"},
        "feature": "deal_amount", "when": {"at_least": 9000},
    }],
    "vetoes": [{
        "id": "court", "name": {"en": "In court", "zh": "涉诉"}, "feature": "deal_amount", "when": {"at_least": 99999},
    }],
    "grades": [
        {"id": one, "at_least": at_least, "name": {"en": en, "zh": zh}}
        for one, at_least, en, zh in (("good", 70, "good", "好"), ("fair", 40, "fair", "中"), ("poor", 0, "poor", "差"))
    ],
}  # fmt: skip
TARGETS = {
    "conversion": {"kind": "conversion", "horizons_days": [30], "settle_days": 0, "spine": {"grid": "month"}},
    "churn": {
        "kind": "churn", "by": "orders", "lookback_days": None, "horizons_days": [30], "settle_days": 0,
        "spine": {"grid": "month"},
    },
}  # fmt: skip


def reason(feature: str, en: str, zh: str, adds: float) -> dict[str, Any]:
    return {"feature": feature, "value": 1.0, "contribution": adds, "en": en, "zh": zh}


REASONS = (
    reason("deal_age_days", "open for <u>9</u> days", "已开启 9 天", 0.25),
    reason("deal_amount", "amount 5,000", "金额 5,000", -0.75),
    reason("everything else", "everything else", "其他因素", 0.1),
)
OLD_REASONS = (reason("deal_stage_rank", "stage 2", "第 2 阶段", 0.5), REASONS[1])


def score(target: str, entity: str, probability: float, points: float, grade: str, **more: Any) -> dict[str, Any]:
    return {"target": target, "entity_id": entity, "probability": probability, "points": points, "grade": grade, **more}


def add_run(ledger: Ledger, config: Config, as_of: str, scores: Sequence[Mapping[str, Any]]) -> str:
    """Store a finished run: in the ledger, and its cards in its folder."""
    moment = datetime.fromisoformat(as_of)
    run_id = f"score-{moment:%Y%m%d}-abc"
    filled = {
        "run_id": run_id,
        "horizon_days": 30,
        "as_of": moment,
        "coverage": 1.0,
        "model_version": "2",
        "reasons": "[]",
    }
    frame = pd.DataFrame([{**dict.fromkeys(SCORE_COLUMNS), **filled, **one} for one in scores])
    ledger.start_run(run_id, "score", {"data_end": moment.isoformat()}, "{}")
    ledger.replace_scores(run_id, frame)
    ledger.finish_run(run_id, "done", {})
    folder = config.folder / "runs" / run_id
    folder.mkdir(parents=True)
    for name in config.targets:
        (folder / f"card_{name}.json").write_text(json.dumps(CARD, ensure_ascii=False), encoding="utf-8")
    return run_id


def make_report_world(state: Path, **keys: Any) -> Config:
    """Extract the tables, store the runs, and return the config."""
    mappings = {
        "customers": {"static": ["region", "owner_id"], "sensitive": ["name"]},
        "deals": {"static": ["owner_id", "amount"]},
    }
    extract_world(state, mappings, config={"targets": TARGETS}, **TABLES)
    config = make_config(state, {name: mappings.get(name, {}) for name in TABLES}, targets=TARGETS, **keys)
    told = json.dumps(REASONS, ensure_ascii=False)
    with open_ledger(config.folder / "ledger.db") as ledger:
        # of C1, C2 and C3 on 2024-03-15 nobody orders by 2024-04-14 but C1: labels 0, 1, 1
        add_run(ledger, config, "2024-03-15", [
            score("churn", "C1", 0.2, 80, "good"),
            score("churn", "C2", 0.6, 30, "poor"),
            score("churn", "C3", 0.1, 50, "fair"),
        ])  # fmt: skip
        add_run(ledger, config, "2024-06-10", [
            score("conversion", "D1", 0.5, 40, "fair"),
            score("conversion", "D2", 0.4, 90, "good", reasons=json.dumps(OLD_REASONS)),
            score("conversion", "D4", 0.9, 70, "good"),
            score("churn", "C1", 0.3, 80, "good"),
            score("churn", "C2", 0.5, 30, "poor"),
        ])  # fmt: skip
        last = add_run(ledger, config, "2024-07-01", [
            score("conversion", "D1", 0.6, 80, "good"),
            score("conversion", "D2", 0.3, 90, "good", reasons=told),
            score("conversion", "D3", 0.1, 20, "poor", flags='["early_warning"]', vetoes='["court"]'),
            score("churn", "C1", 0.25, 80, "good", card_grade="fair", graded_by="override"),
            score("churn", "C2", 0.75, 30, "poor", flags='["early_warning"]'),
        ])  # fmt: skip
    folder = config.folder / "runs" / last
    revenue = {
        "customer_id": ["C1", "C2"],
        "revenue_365d": [400.0, 1000.0],
        "lifecycle": ["mature", "new"],
        "abc_value": ["A", None],
    }
    pd.DataFrame(revenue).to_parquet(folder / "customers.parquet")
    parts = {"entity_id": ["D1", "D2"], "points_size": [60.0, 30.0], "points_age": [20.0, 0.0]}
    asked = {"next_question_en": ["Who signs?", None], "next_question_zh": ["谁签字？", None]}
    pd.DataFrame({**parts, **asked}).to_parquet(folder / "card_conversion.parquet")
    features = {"entity_id": ["D1", "D2"], "deal_amount": [1000.0, 5000.0], "deal_age_days": [14.0, None]}
    pd.DataFrame(features).to_parquet(folder / "features_conversion.parquet")
    return config
