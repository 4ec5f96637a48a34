"""A deployment that writes to Odoo, for tests of what is made there."""

from pathlib import Path
from typing import Any

from pipeline.config import Config

LEAD_FIELDS = {"x_score": "probability", "x_grade": "grade", "x_why": "reasons_en", "x_scored_at": "as_of"}
PARTNER_FIELDS = {"x_risk": "probability", "x_risk_grade": "grade"}


def describe_deployment(folder: Path, lead_fields: dict[str, str] = LEAD_FIELDS, **write_back: Any) -> dict[str, Any]:
    """Return a config: conversion scores go to leads, churn scores to partners, with history and tasks."""
    spine = {"grid": "month"}
    section = {
        "adapter": "odoo",
        "url_env": "TEST_ODOO_URL",
        "database": "crm",
        "key_env": "TEST_ODOO_KEY",
        "owned_fields": {"crm.lead": list(lead_fields), "res.partner": list(PARTNER_FIELDS)},
        "tables": {
            "conversion": {"target": "crm.lead", "key": "id", "fields": lead_fields},
            "churn": {"target": "res.partner", "key": "id", "fields": PARTNER_FIELDS},
        },
        "history": {},
        "follow_ups": {"flags": {"conversion": ["silent"]}},
        **write_back,
    }
    return {
        "name": "sales",
        "state": str(folder),
        "source": {"adapter": "sql", "sqlite": str(folder / "crm.db")},
        "tables": {"deals": {"select": "SELECT 1"}, "orders": {"select": "SELECT 1"}},
        "targets": {
            "conversion": {"kind": "conversion", "horizons_days": [90], "spine": spine},
            "churn": {"kind": "churn", "by": "orders", "horizons_days": [90], "spine": spine},
        },
        "write_back": {name: value for name, value in section.items() if value is not None},
    }


def make_deployment(folder: Path, lead_fields: dict[str, str] = LEAD_FIELDS, **write_back: Any) -> Config:
    """Return the same, checked."""
    return Config.model_validate(describe_deployment(folder, lead_fields, **write_back))
