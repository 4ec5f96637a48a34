"""Which columns a training uses: none that tell nothing, and for curves the strongest by themselves."""

import numpy as np
import pandas as pd
import pytest
from test_candidates import coded

from models import screening
from models.columns import dull_columns
from models.encoding import CodedRows
from models.logistic import COLUMNS, Logistic
from models.screening import affordable, strongest_columns
from models.training_set import TrainingSet


def test_columns_that_differ_in_a_single_row_or_only_in_what_is_missing_are_kept() -> None:
    frame = pd.DataFrame(
        {
            "orders": [1.0, 2.0, 3.0],
            "orders_again": [1.0, 2.0, 3.0],
            "nearly": [1.0, 2.0, 4.0],
            "gap": [5.0, None, 5.0],  # missing tells something
            "nothing": [None, None, None],
            "always": ["x", "x", "x"],
            "text": ["1.0", "2.0", "3.0"],
        }
    )
    assert dull_columns(frame) == {
        "orders_again": "the same as 'orders' in every row",
        "nothing": "empty in every row",
        "always": "x in every row",
    }


def crowd(rows: int = 400) -> TrainingSet:
    """150 columns of noise, a number, a text and a gap that tell the label."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({f"noise_{i:03}": rng.normal(size=rows) for i in range(150)})
    label = (rng.random(rows) < 0.4).astype(np.float64)
    frame["zz_amount"] = label + rng.normal(size=rows)
    frame["zz_grade"] = np.where(rng.random(rows) < 0.3 + 0.5 * label, "good", "bad")
    frame["zz_gap"] = np.where(rng.random(rows) < 0.2 + 0.6 * label, np.nan, 1.0)
    return TrainingSet(frame, label)


def names(rows: CodedRows) -> list[str]:
    return [entry["name"] for entry in rows.contract]


def test_of_very_many_columns_the_ones_that_matter_are_kept_in_their_order() -> None:
    rows = coded(crowd())
    kept = names(strongest_columns(rows, affordable(rows, *COLUMNS)))
    assert len(kept) == 40
    assert kept == [name for name in names(rows) if name in kept]
    assert names(strongest_columns(rows, 3)) == ["zz_amount", "zz_grade", "zz_gap"]
    member = Logistic().fit(rows, {"ramps": 0, "penalty": 100.0})
    assert {term["column"] for term in member.document["terms"]} == set(kept)


def test_a_strong_column_that_says_what_another_says_leaves_room_for_a_weak_one() -> None:
    rows = crowd()
    copies = {f"copy_{i}": rows.frame["zz_amount"] + i / 1e4 for i in range(5)}
    crowded = coded(TrainingSet(rows.frame.assign(**copies), rows.label))
    assert {"zz_grade", "zz_gap"} <= set(names(strongest_columns(crowded, 9)))


def test_the_same_rows_are_ranked_once_and_rows_that_differ_in_a_label_or_a_value_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, ranked = crowd(), []
    rows = TrainingSet(made.frame, np.roll(made.label, 2))  # nobody has asked for these before
    rank = screening.rank_columns
    monkeypatch.setattr(screening, "rank_columns", lambda some: ranked.append(len(some)) or rank(some))
    turned = TrainingSet(rows.frame, 1.0 - np.roll(rows.label, 1))
    moved = TrainingSet(rows.frame.assign(noise_000=rows.frame["noise_000"].where(rows.label > 0, 9.0)), rows.label)
    for asked in (rows, rows, turned, moved, rows):
        first = names(strongest_columns(coded(asked), 12))
        assert first == names(coded(asked).only(rank(coded(asked))[:12]))
    assert len(ranked) == 3


def test_few_columns_are_all_kept() -> None:
    rows = coded(crowd())
    assert strongest_columns(rows, 200) is rows


def test_more_rows_bear_more_columns() -> None:
    rows = coded(crowd())
    assert affordable(rows, 40, 3.0) == 40  # 400 rows: 20 / 3
    assert affordable(rows, 4, 2.0) == 10
