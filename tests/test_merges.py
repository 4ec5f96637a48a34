"""Customers that were merged: their rows follow the survivor from the merge on, not before.

Days and moments are said as in test_remember: `1+` is the last microsecond before the extract of 2 July.
"""

import pytest
from test_remember import extract_days, stored

from features.errors import DataError

HEAD = "customer_id  created_at  merged_into  merged_at\n"
C2 = "C2  2024-01-02  -  -\n"
C3 = "C3  2024-01-03  -  -\n"
ORDERS = """
    order_id  occurred_at  customer_id  amount
    O1        2024-02-01   C1           10
    O2        2024-05-01   C1           20
"""
ORDER = "order_id, customer_id, known_at, known_until"


def orders(tmp_path, *customers, rows=ORDERS):
    report = extract_days(tmp_path, *({"customers": HEAD + text, "orders": rows} for text in customers))
    return stored(report, "orders", ORDER)


def test_rows_follow_the_survivor_from_the_delivered_moment_on(tmp_path):
    assert orders(tmp_path, "C1  2024-01-01  C2  2024-03-01\n" + C2) == [
        ("O1", "C1", "02-01", "03-01"),
        ("O1", "C2", "03-01", None),
        ("O2", "C2", "05-01", None),  # known after the merge: the survivor's from the start
    ]


def test_the_merged_customer_ends(tmp_path):
    report = extract_days(tmp_path, {"customers": HEAD + "C1  2024-01-01  C2  2024-03-01\n" + C2})
    assert stored(report, "customers", "customer_id, merged_into, known_at, known_until, merged_at_known_at") == [
        ("C1", "C2", "01-01", "03-01", "03-01"),
        ("C2", None, "01-02", None, None),
    ]


def test_without_a_moment_the_merge_happened_just_before_the_extract_that_saw_it(tmp_path):
    merged = "C1  2024-01-01  C2  -\n" + C2
    answer = [
        ("O1", "C1", "02-01", "1+"),
        ("O1", "C2", "1+", None),
        ("O2", "C1", "05-01", "1+"),
        ("O2", "C2", "1+", None),
    ]
    assert orders(tmp_path / "seen once", "C1  2024-01-01  -  -\n" + C2, merged) == answer
    assert orders(tmp_path / "and again", "C1  2024-01-01  -  -\n" + C2, merged, merged) == answer
    first = [(*row[:2], *("06-30+" if at == "1+" else at for at in row[2:])) for row in answer]
    assert orders(tmp_path / "in the first extract", merged) == first


def test_a_moment_before_the_last_extract_is_not_believed_as_that_one_still_saw_the_customer(tmp_path):
    states = ("C1  2024-01-01  -  -\n" + C2, "C1  2024-01-01  C2  2024-03-01\n" + C2)
    assert orders(tmp_path, *states)[:2] == [("O1", "C1", "02-01", "1+"), ("O1", "C2", "1+", None)]


def test_a_moment_since_the_last_extract_is_believed(tmp_path):
    states = ("C1  2024-01-01  -  -\n" + C2, "C1  2024-01-01  C2  2024-07-01 12:00\n" + C2)
    assert orders(tmp_path, *states)[:2] == [
        ("O1", "C1", "02-01", "07-01 12:00"),
        ("O1", "C2", "07-01 12:00", None),
    ]


def test_chains_are_followed(tmp_path):
    text = "C1  2024-01-01  C2  2024-03-01\nC2  2024-01-02  C3  2024-04-01\n" + C3
    assert orders(tmp_path, text) == [
        ("O1", "C1", "02-01", "03-01"),
        ("O1", "C2", "03-01", "04-01"),
        ("O1", "C3", "04-01", None),
        ("O2", "C3", "05-01", None),
    ]


def test_a_customer_that_is_merged_into_a_merged_one_goes_to_the_end_of_the_chain_at_once(tmp_path):
    text = "C1  2024-01-01  C2  2024-04-01\nC2  2024-01-02  C3  2024-03-01\n" + C3
    assert orders(tmp_path, text)[:2] == [("O1", "C1", "02-01", "04-01"), ("O1", "C3", "04-01", None)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("C1  2024-01-01  C2  2024-03-01\nC2  2024-01-02  C1  2024-04-01\n", "C1, C2"),
        ("C1  2024-01-01  C1  2024-03-01\n" + C2, "C1"),
    ],
)
def test_a_circle_is_one_clear_error(tmp_path, text, shown):
    expected = rf"Table 'customers': {shown.count('C')} customers are merged in a circle \({shown}\), expected"
    with pytest.raises(DataError, match=expected):
        orders(tmp_path, text)


def test_a_customer_merged_into_one_that_is_not_there_ends_and_its_rows_stay(tmp_path):
    report = extract_days(tmp_path, {"customers": HEAD + "C1  2024-01-01  C9  2024-03-01\n" + C2, "orders": ORDERS})
    assert stored(report, "orders", ORDER)[0] == ("O1", "C1", "02-01", None)
    assert stored(report, "customers", "customer_id, known_until")[0] == ("C1", "03-01")
    assert "1 rows are merged into a customer that is not there (C9): their rows stay" in report.tables[0].warnings


def test_a_survivor_that_comes_after_the_merge_takes_the_rows_over_when_it_is_seen(tmp_path):
    merged = "C1  2024-01-01  C3  2024-03-01\n" + C2
    assert orders(tmp_path, merged, merged + C3, merged + C3) == [
        ("O1", "C1", "02-01", "1+"),  # the first extract did not know C3
        ("O1", "C3", "1+", None),
        ("O2", "C1", "05-01", "1+"),
        ("O2", "C3", "1+", None),
    ]


def test_deals_follow_too_with_what_was_remembered_of_them(tmp_path):
    deals = "deal_id  created_at  customer_id  owner_id  closed_at  outcome\nD1  2024-02-01  C1  anna  -  -\n"
    mapping = {"deals": {"remembered": ["owner_id"]}}
    states = [HEAD + "C1  2024-01-01  -  -\n" + C2, HEAD + "C1  2024-01-01  C2  -\n" + C2]
    report = extract_days(tmp_path, *({"customers": text, "deals": deals} for text in states), mapping=mapping)
    assert stored(report, "deals", "customer_id, owner_id, known_at, known_until") == [
        ("C1", "anna", "06-30+", "1+"),
        ("C1", None, "02-01", "06-30+"),
        ("C2", "anna", "1+", None),
    ]


def test_a_crm_that_moves_the_rows_and_deletes_the_customer_gives_the_same(tmp_path):
    states = [
        {"customers": HEAD + "C1  2024-01-01  -  -\n" + C2, "orders": ORDERS},
        {"customers": HEAD + C2, "orders": ORDERS.replace("C1 ", "C2 ")},
    ]
    report = extract_days(tmp_path, *states)
    assert stored(report, "orders", ORDER)[:2] == [("O1", "C1", "02-01", "1+"), ("O1", "C2", "1+", None)]
    assert stored(report, "customers", "customer_id, known_until")[0] == ("C1", "1+")


def test_a_merge_is_remembered_after_the_crm_has_removed_the_merged_customer(tmp_path):
    more = ORDERS + "    O3        2024-07-02   C1           30\n"
    states = [
        {"customers": HEAD + "C1  2024-01-01  C2  2024-03-01\n" + C2, "orders": ORDERS},
        {"customers": HEAD + C2, "orders": ORDERS},
        {"customers": HEAD + C2, "orders": more},
    ]
    report = extract_days(tmp_path, *states)
    assert stored(report, "orders", ORDER)[0] == ("O1", "C1", "02-01", "03-01")
    assert stored(report, "orders", ORDER)[-1] == ("O3", "C2", "2+", None)


def test_a_merge_that_is_taken_back_moves_the_rows_back(tmp_path):
    states = ["C1  2024-01-01  -  -\n", "C1  2024-01-01  C2  -\n", "C1  2024-01-01  -  -\n"]
    assert orders(tmp_path, *(text + C2 for text in states))[:3] == [
        ("O1", "C1", "02-01", "1+"),
        ("O1", "C1", "2+", None),
        ("O1", "C2", "1+", "2+"),
    ]
