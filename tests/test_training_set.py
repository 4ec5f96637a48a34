"""Labelled rows in memory, on disk, and from ready-made files."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.flat_frames import read_flat_frames
from models.training_set import TrainingSet, check_learnable, load_training_set, save_training_set


def make_rows(**changes: Any) -> TrainingSet:
    values: dict[str, Any] = {
        "frame": pd.DataFrame({"orders": [1.0, np.nan, 3.0], "region": ["north", None, "south"]}),
        "label": np.array([0.0, 1.0, 0.0]),
        "time": np.array(["2024-01-01", "2024-01-01", "2024-02-01"], dtype="datetime64[us]"),
        "horizon": 30,
        "group": np.array(["A", "B", "A"], dtype=object),
        "keys": pd.DataFrame(
            {"entity_id": ["A", "B", "A"], "as_of": pd.to_datetime(["2024-01-01"] * 2 + ["2024-02-01"])}
        ),
        "directions": {"orders": -1},
        "manifest": {"target": "churn"},
    }
    return TrainingSet(**{**values, **changes})


def test_save_then_load_is_the_same(tmp_path: Path) -> None:
    rows = make_rows()
    save_training_set(tmp_path, rows)
    found = load_training_set(tmp_path)
    pd.testing.assert_frame_equal(found.frame, rows.frame)
    assert found.label.tolist() == rows.label.tolist()
    assert found.time.tolist() == rows.time.tolist()  # type: ignore[union-attr]
    assert found.group.tolist() == ["A", "B", "A"]  # type: ignore[union-attr]
    assert (found.horizon, found.directions, found.manifest) == (30, {"orders": -1}, {"target": "churn"})
    assert found.sha256 == rows.sha256


def test_saving_again_replaces_the_files_of_before(tmp_path: Path) -> None:
    save_training_set(tmp_path, make_rows())
    save_training_set(tmp_path, make_rows(label=np.array([1.0, 1.0, 0.0])))
    assert len(list(tmp_path.iterdir())) == 4  # manifest, frame, label, keys
    assert load_training_set(tmp_path).label.tolist() == [1.0, 1.0, 0.0]


def test_a_changed_value_changes_the_hash() -> None:
    frame = pd.DataFrame({"orders": [1.0, np.nan, 4.0], "region": ["north", None, "south"]})
    hashes = {make_rows().sha256, make_rows(frame=frame).sha256, make_rows(horizon=60).sha256}
    assert len(hashes) == 3
    assert make_rows().sha256 == make_rows().sha256


def test_taking_rows_takes_all_their_parts() -> None:
    found = make_rows().take(np.array([True, False, True]))
    assert found.frame["orders"].tolist() == [1.0, 3.0]
    assert found.keys["entity_id"].tolist() == ["A", "A"]  # type: ignore[index]
    assert found.describe()["to"].startswith("2024-02-01")


def test_a_half_written_file_is_refused(tmp_path: Path) -> None:
    save_training_set(tmp_path, make_rows())
    file = next(tmp_path.glob("frame-*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=r"frame-\w+\.parquet is missing or not what the manifest says"):
        load_training_set(tmp_path)


def test_a_folder_without_a_training_set_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Run `leadsieve train` to build it"):
        load_training_set(tmp_path)


def test_another_protocol_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"protocol": 9}))
    with pytest.raises(DataError, match="has protocol 9, expected 1"):
        load_training_set(tmp_path)


def test_rows_without_a_positive_label_are_refused() -> None:
    with pytest.raises(DataError, match="The 3 training rows hold only label 0, expected both 0 and 1"):
        check_learnable(make_rows(label=np.zeros(3)))


def test_no_rows_and_no_features_are_refused() -> None:
    with pytest.raises(DataError, match="no label is ripe yet"):
        check_learnable(make_rows().take(np.zeros(3, dtype=bool)))
    with pytest.raises(DataError, match="have no feature columns"):
        check_learnable(make_rows(frame=pd.DataFrame(index=range(3))))


def write_frames(folder: Path, train: dict[str, Any], test: dict[str, Any] | None = None) -> tuple[Path, Path]:
    paths = folder / "train.parquet", folder / "test.parquet"
    for path, values in zip(paths, (train, test or train), strict=True):
        pd.DataFrame(values).to_parquet(path)
    return paths


FRAME = {"y": [0, 1, None], "at": ["2024-01-03", "2024-01-03", "2024-01-05"], "who": [7, 8, 9], "orders": [1, 2, 3]}


def test_label_time_and_group_are_no_features_and_null_labels_are_left_out(tmp_path: Path) -> None:
    train, _ = read_flat_frames(*write_frames(tmp_path, FRAME), label="y", time="at", group="who", horizon=30)
    assert list(train.frame.columns) == ["orders"]
    assert train.label.tolist() == [0.0, 1.0]
    assert train.group.tolist() == ["7", "8"]  # type: ignore[union-attr]
    assert train.manifest["censored"] == 1


def test_kinds_of_columns(tmp_path: Path) -> None:
    frame = {
        "y": [0, 1],
        "at": pd.to_datetime(["2024-01-03", "2024-01-05"]),
        "flag": [True, False],
        "money": [Decimal("1.50"), None],
        "kind": pd.Categorical(["a", None]),
        "nothing": [None, None],
        "signed_on": [date(2024, 1, 1), None],
    }
    train, _ = read_flat_frames(*write_frames(tmp_path, frame), label="y", time="at")
    assert train.frame["flag"].tolist() == [1.0, 0.0]
    assert train.frame["money"].tolist()[0] == 1.5
    assert train.frame["kind"].isna().tolist() == [False, True]
    assert train.frame["signed_on"].tolist()[0] == 2.0  # days before the row's time
    assert train.frame.loc[1, ["money", "kind", "nothing", "signed_on"]].isna().all()


BOUGHT = {"y": [0, 1], "at": ["2024-01-11", "2024-01-12"], "orders": [1, 2], "last": [9.0, 2.0], "first": [9.0, 8.0]}


def test_a_purchase_history_may_be_numbers_or_dates_and_stays_a_feature(tmp_path: Path) -> None:
    frame = {**BOUGHT, "first": [date(2024, 1, 2), date(2024, 1, 4)]}
    history = ["orders", "last", "first"]
    paths = write_frames(tmp_path, frame)
    for rows in read_flat_frames(*paths, label="y", time="at", horizon=9, purchases=history):
        roles = {"purchase_count": "orders", "last_purchase_days": "last", "first_purchase_days": "first"}
        assert (rows.roles, rows.frame["first"].tolist()) == (roles, [9.0, 8.0])
    assert read_flat_frames(*paths, label="y", time="at", horizon=9)[0].roles == {}  # nothing is guessed from names


def test_a_date_without_a_time_to_relate_it_to_is_left_out(tmp_path: Path) -> None:
    frame = {"y": [0, 1], "orders": [1, 2], "signed_on": [date(2024, 1, 1), date(2024, 1, 2)]}
    train, _ = read_flat_frames(*write_frames(tmp_path, frame), label="y")
    assert list(train.frame.columns) == ["orders"]


def test_csv_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    train, test = write_frames(tmp_path, {**FRAME, "region": ["north", None, "south"]})
    pd.read_parquet(train).to_csv(tmp_path / "train.csv", index=False)
    from_csv, _ = read_flat_frames(tmp_path / "train.csv", test, label="y", time="at", group="who")
    from_parquet, _ = read_flat_frames(train, test, label="y", time="at", group="who")
    assert from_csv.sha256 == from_parquet.sha256


GOOD = {"y": [0, 1], "orders": [1, 2]}
BAD = {
    "label missing": (GOOD, GOOD, {"label": "yy"}, r"label column 'yy' is missing\. Did you mean 'y'\?"),
    "time missing": (GOOD, GOOD, {"time": "at"}, "time column 'at' is missing"),
    "feature renamed": (
        GOOD,
        {"y": [0, 1], "order": [1, 2]},
        {},
        r"test.parquet: feature column 'orders' is missing\. Did you mean 'order'\?",
    ),
    "feature retyped": (
        GOOD,
        {"y": [0, 1], "orders": ["a", "b"]},
        {},
        "column 'orders' holds text, in the training frame numbers",
    ),
    "label of two and three": ({"y": [2, 3], "orders": [1, 2]}, GOOD, {}, r"other than 0, 1 and null \(2, 3\)"),
    "label in words": ({"y": ["yes", "no"], "orders": [1, 2]}, GOOD, {}, r"other than 0, 1 and null \(yes, no\)"),
    "one class": ({"y": [0, 0], "orders": [1, 2]}, GOOD, {}, "The 2 training rows hold only label 0"),
    "one class to test on": (GOOD, {"y": [1, 1], "orders": [1, 2]}, {}, "The 2 test rows hold only label 1"),
    "time in words": ({"y": [0, 1], "at": ["a", "b"], "x": [1, 2]}, None, {"time": "at"}, "neither dates nor integers"),
    "time as a fraction": ({"y": [0, 1], "at": [0.5, 1.5], "x": [1, 2]}, None, {"time": "at"}, "expected dates or int"),
    "time unknown": ({"y": [0, 1], "at": ["2024-01-01", None], "x": [1, 2]}, None, {"time": "at"}, "null in 1 rows"),
    "purchases without dates": (
        GOOD,
        GOOD,
        {"horizon": 9, "purchases": ["orders"] * 3},
        "needs a time column of dates",
    ),
    "purchases without a horizon": (BOUGHT, BOUGHT, {"time": "at", "purchases": ["orders"] * 3}, "horizon in days"),
    "purchases misspelt": (
        BOUGHT,
        BOUGHT,
        {"time": "at", "horizon": 9, "purchases": ["order", "last", "first"]},
        "purchase column 'order' is missing. Did you mean 'orders'?",
    ),
    "purchases in words": (
        {**BOUGHT, "last": ["long", "ago"]},
        {**BOUGHT, "last": ["long", "ago"]},
        {"time": "at", "horizon": 9, "purchases": ["orders", "last", "first"]},
        "purchase column 'last' holds text, expected a number",
    ),
    "horizon below zero": (GOOD, GOOD, {"horizon": -1}, "The horizon is -1, expected 0 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_of_flat_frames_name_the_column_and_the_way_out(case: str, tmp_path: Path) -> None:
    train, test, options, sentence = BAD[case]
    with pytest.raises(DataError, match=sentence):
        read_flat_frames(*write_frames(tmp_path, train, test), **{"label": "y", **options})


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"broken\.parquet cannot be read as Parquet or CSV"):
        read_flat_frames(path, path, "y")
    with pytest.raises(DataError, match="does not exist"):
        read_flat_frames(tmp_path / "none.csv", path, "y")
