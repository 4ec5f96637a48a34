"""From scores to CRM values: rounded, cut to length, and refused when they do not fit."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import make_config, make_scores
from sqlalchemy import Boolean, Date, DateTime, Double, Integer, LargeBinary, Numeric, String, Text
from sqlalchemy.types import NullType

from features.errors import DataError
from pipeline.adapters.sql_types import describe_type
from pipeline.adapters.target import TargetField, Value
from pipeline.config import FieldMap
from pipeline.errors import ConfigError
from pipeline.field_columns import Wanted, build_values
from pipeline.field_values import SCORE_VALUES, check_write_back
from pipeline.ledger import SCORE_COLUMNS

NUMBER, TEXT = TargetField("f", "number"), TargetField("f", "text")


def value_of(value: str, field: TargetField, decimals: int = 4, **changes: Any) -> Value:
    """What field `f` gets for one score."""
    scores = make_scores("r1", [("1", 0.123456, "A", ["2 overdue", "no calls"])]).assign(**changes)
    mapping = FieldMap(target="deals", key="deal_id", fields={"f": value}, decimals=decimals)
    return build_values(scores, "conversion", 90, mapping, {"f": field}).columns["f"][0]


def test_every_column_of_the_score_frame_can_be_written() -> None:
    assert set(SCORE_COLUMNS) - {"reasons"} | {"reasons_en", "reasons_zh"} == set(SCORE_VALUES)


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("probability", NUMBER, 0.1235),  # the config's decimals
        ("probability", TargetField("f", "number", decimals=2), 0.12),  # the column keeps fewer
        ("probability", TargetField("f", "number", decimals=9), 0.1235),  # the column keeps more
        ("probability", TEXT, "0.1235"),
        ("points", TargetField("f", "integer"), 61),  # 61.25
        ("horizon_days", NUMBER, 90),
        ("horizon_days", TEXT, "90"),
        ("grade", TEXT, "A"),
        ("card_grade", TEXT, "A"),
        ("graded_by", TEXT, "points"),
        ("reasons_en", TEXT, "2 overdue; no calls"),
        ("reasons_en", TargetField("f", "text", length=6), "2 ove…"),
        ("reasons_zh", TEXT, "原因; 原因"),
        ("as_of", TEXT, "2024-05-01 00:00:00"),
        ("as_of", TargetField("f", "date"), "2024-05-01"),
        ("run_id", TargetField("f", "unknown"), "r1"),
    ],
)
def test_a_score_becomes_what_the_field_keeps(value: str, field: TargetField, expected: Value) -> None:
    found = value_of(value, field)
    assert found == expected
    assert type(found) is type(expected)


def test_vetoes_and_flags_are_listed_in_words_of_the_card() -> None:
    assert value_of("vetoes", TEXT, vetoes='["lawsuit", "bad_debt"]') == "lawsuit, bad_debt"
    assert value_of("flags", TEXT) is None


@pytest.mark.parametrize("value", ["probability", "grade", "reasons_en", "as_of", "points"])
def test_a_score_that_is_null_stays_null(value: str) -> None:
    column = "reasons" if value == "reasons_en" else value
    assert value_of(value, TargetField("f", "unknown"), **{column: None}) is None


def test_a_negative_number_that_rounds_to_zero_is_plain_zero() -> None:
    found = value_of("log_odds", NUMBER, log_odds=-0.00001)
    assert isinstance(found, float)
    assert math.copysign(1, found) == 1.0


def test_an_infinite_score_is_refused() -> None:
    with pytest.raises(DataError, match="log_odds = inf, expected a finite number or null"):
        value_of("log_odds", NUMBER, log_odds=float("inf"))


def test_only_the_primary_horizon_of_the_target_is_written() -> None:
    scores = pd.concat(
        [
            make_scores("r1", [("1", 0.1, "C", [])]),
            make_scores("r1", [("1", 0.2, "B", [])]).assign(horizon_days=180),
            make_scores("r1", [("1", 0.3, "A", [])]).assign(target="churn"),
        ]
    )
    mapping = FieldMap(target="deals", key="deal_id", fields={"f": "probability"})
    assert build_values(scores, "conversion", 90, mapping, {"f": NUMBER}) == Wanted(["1"], {"f": [0.1]})


def test_an_entity_scored_twice_is_refused() -> None:
    scores = make_scores("r1", [("7", 0.1, "C", []), ("7", 0.2, "B", [])])
    mapping = FieldMap(target="deals", key="deal_id", fields={"f": "probability"})
    with pytest.raises(DataError, match=r"'conversion': 1 entities appear more than once \(entity_id 7\)"):
        build_values(scores, "conversion", 90, mapping, {"f": NUMBER})


def test_a_frame_without_the_column_is_refused() -> None:
    scores = make_scores("r1", [("7", 0.1, "C", [])]).drop(columns="reasons")
    mapping = FieldMap(target="deals", key="deal_id", fields={"f": "reasons_en"})
    with pytest.raises(DataError, match="no column 'reasons', which field 'f' needs"):
        build_values(scores, "conversion", 90, mapping, {"f": TEXT})


def test_an_unknown_score_value_names_the_nearest(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"score": "probabilty"})
    with pytest.raises(ConfigError, match=r"fields\.score: unknown score value 'probabilty'\. Did you mean 'probabil"):
        check_write_back(config)


def test_an_unknown_target_names_the_nearest(tmp_path: Path) -> None:
    mapping = {"target": "deals", "key": "deal_id", "fields": {"score": "probability"}}
    config = make_config(tmp_path, tables={"conversio": mapping})
    with pytest.raises(ConfigError, match=r"no target 'conversio'\. Did you mean 'conversion'\?"):
        check_write_back(config)


def test_the_key_cannot_be_written(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"deal_id": "grade"})
    with pytest.raises(ConfigError, match=r"'deal_id' is the key of 'deals'\. Map another field"):
        check_write_back(config)


def test_two_targets_cannot_write_one_field(tmp_path: Path) -> None:
    mapping = {"target": "deals", "key": "deal_id", "fields": {"score": "probability"}}
    config = make_config(tmp_path, tables={"conversion": mapping, "again": mapping})
    config = config.model_copy(update={"targets": {**config.targets, "again": config.targets["conversion"]}})
    with pytest.raises(ConfigError, match=r"again\.fields: 'deals\.score' is also written by 'conversion'"):
        check_write_back(config)


def test_a_config_without_write_back_says_so(tmp_path: Path) -> None:
    config = make_config(tmp_path).model_copy(update={"write_back": None})
    with pytest.raises(ConfigError, match="config 'demo' has no write_back section"):
        check_write_back(config)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (Double(), TargetField("f", "number")),
        (Numeric(5, 2), TargetField("f", "number", decimals=2)),
        (Numeric(), TargetField("f", "unknown")),  # what SQLite reports for a type it has never heard of
        (Integer(), TargetField("f", "integer")),
        (Text(), TargetField("f", "text")),
        (String(10), TargetField("f", "text", length=10)),
        (DateTime(), TargetField("f", "time")),
        (Date(), TargetField("f", "date")),
        (Boolean(), TargetField("f", "flag")),
        (NullType(), TargetField("f", "unknown")),
        (LargeBinary(), TargetField("f", "other")),
    ],
)
def test_a_column_is_described_by_its_declared_type(declared: Any, expected: TargetField) -> None:
    assert describe_type("f", declared) == expected
