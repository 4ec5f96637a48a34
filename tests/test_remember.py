"""What an extract remembers of the ones before: when rows became known, changed and ended.

The first extract is that of 1 July, the second of 2 July, and so on, all at midnight. What an extract sees first
was known one microsecond before it: `1+` is the last microsecond before the second extract, on 1 July.
"""

from datetime import datetime, timedelta

import duckdb
import pytest
from conftest import extract_world

from features.errors import DataError
from features.tables import load_tables

CUSTOMERS = """
    customer_id  created_at
    C1           2024-01-01
    C2           2024-01-02
"""
O1 = "order_id  occurred_at  customer_id  amount\nO1  2024-02-01  C1  10\n"


def day(number):
    return datetime(2024, 7, number)


def said(value):
    """A moment as the tables below say it."""
    if not isinstance(value, datetime):
        return None if value is None else str(value).removesuffix(".0000")
    if value + timedelta(microseconds=1) == datetime(value.year, value.month, value.day) + timedelta(days=1):
        return f"{value.day}+" if value.month == 7 else f"{value:%m-%d}+"
    return f"{value:%m-%d}" if value == datetime(value.year, value.month, value.day) else f"{value:%m-%d %H:%M}"


def extract_days(tmp_path, *states, mapping=None, config=None):
    """Extract one state of the source per day, whatever it lost; a state without customers has two."""
    for number, state in enumerate(states, start=1):
        state = {"customers": CUSTOMERS, **state}
        report = extract_world(
            tmp_path, mapping, data_end=str(day(number)), config=config, options={"accept_shrink": True}, **state
        )
    return report


def stored(report, name, columns):
    tables = load_tables(report.folder)
    if "known_until" not in tables.tables[name].columns:
        columns = columns.replace("known_until", "NULL")
    query = f"SELECT {columns} FROM '{tables.path(name)}' ORDER BY ALL"
    return [tuple(said(value) for value in row) for row in duckdb.sql(query).fetchall()]


def counts(report, name):
    table = next(table for table in report.tables if table.name == name)
    return table.rows_new, table.rows_changed, table.rows_ended, table.rows_carried


ORDER = "order_id, amount, occurred_at, known_at, known_until"


def test_a_row_that_a_later_extract_sees_first_was_known_just_before_that_extract(tmp_path):
    both = O1 + "O2  2024-02-02  C1  20\n"  # entered months late
    report = extract_days(tmp_path, {"orders": O1}, {"orders": both})
    assert stored(report, "orders", ORDER) == [
        ("O1", "10", "02-01", "02-01", None),  # first extract: known at its own time
        ("O2", "20", "02-02", "1+", None),
    ]
    assert counts(report, "orders") == (1, 0, 0, 1)


def test_a_row_keeps_the_moment_at_which_it_was_seen_first(tmp_path):
    both = O1 + "O2  2024-02-02  C1  20\n"
    report = extract_days(tmp_path, {"orders": O1}, {"orders": both}, {"orders": both}, {"orders": both})
    assert stored(report, "orders", "order_id, known_at") == [("O1", "02-01"), ("O2", "1+")]
    assert counts(report, "orders") == (0, 0, 0, 2)


@pytest.mark.parametrize(
    ("known_at", "answer"),
    [
        ("time", "06-30"),  # the row's own time, also in a later extract
        ("first_seen", "1+"),  # ours alone, whatever the source says
        ("synced_at", "07-01 06:00"),
        (None, "1+"),
    ],
)
def test_known_at_is_a_column_or_first_seen_or_the_time(tmp_path, known_at, answer):
    later = """
        order_id  occurred_at  synced_at         customer_id  amount
        O1        2024-02-01   2024-02-01        C1           10
        O2        2024-06-30   2024-07-01 06:00  C1           20
    """
    first = "\n".join(later.splitlines()[:3])
    mapping = {"orders": {"known_at": known_at}}
    report = extract_days(tmp_path, {"orders": first}, {"orders": later}, mapping=mapping)
    assert stored(report, "orders", "order_id, known_at") == [("O1", "02-01"), ("O2", answer)]


def test_a_row_whose_known_at_is_not_delivered_was_first_seen_by_us(tmp_path):
    later = O1.replace("amount", "amount  known_at").replace("10\n", "10  -\n") + "O2  2024-02-02  C1  20  -\n"
    report = extract_days(tmp_path, {"orders": O1}, {"orders": later})
    assert stored(report, "orders", "order_id, known_at")[1] == ("O2", "1+")


def test_a_changed_row_ends_and_begins_again_and_occurs_when_it_did(tmp_path):
    report = extract_days(tmp_path, {"orders": O1}, {"orders": O1.replace("10\n", "15\n")})
    assert stored(report, "orders", ORDER) == [
        ("O1", "10", "02-01", "02-01", "1+"),
        ("O1", "15", "02-01", "1+", None),
    ]
    assert counts(report, "orders") == (0, 1, 0, 0)


def test_a_row_that_vanished_ends_and_one_that_comes_back_begins_again(tmp_path):
    two = O1 + "O2  2024-02-02  C1  20\n"
    report = extract_days(tmp_path, {"orders": two}, {"orders": O1})
    assert counts(report, "orders") == (0, 0, 1, 1)
    assert stored(report, "orders", ORDER)[1] == ("O2", "20", "02-02", "02-02", "1+")
    report = extract_days(tmp_path / "again", {"orders": two}, {"orders": O1}, {"orders": two})
    assert stored(report, "orders", ORDER)[1:] == [
        ("O2", "20", "02-02", "02-02", "1+"),
        ("O2", "20", "02-02", "2+", None),
    ]


def test_a_row_that_comes_back_does_not_begin_before_it_ended_even_if_its_time_is_trusted(tmp_path):
    two = O1 + "O2  2024-02-02  C1  20\n"
    mapping = {"orders": {"known_at": "time"}}
    report = extract_days(tmp_path, {"orders": two}, {"orders": O1}, {"orders": two}, mapping=mapping)
    assert stored(report, "orders", "order_id, known_at")[1:] == [("O2", "02-02"), ("O2", "2+")]


def test_a_table_that_vanishes_whole_ends_all_its_rows(tmp_path):
    report = extract_days(tmp_path, {"orders": O1}, {"orders": []})
    assert stored(report, "orders", ORDER) == [("O1", "10", "02-01", "02-01", "1+")]


def test_a_value_that_is_filled_later_was_known_just_before_the_extract_that_saw_it(tmp_path):
    invoice = "invoice_id  occurred_at  customer_id  amount  paid_at\nI1  2024-02-01  C1  10  {}\n"
    states = [{"invoices": invoice.format(paid)} for paid in ("-", "2024-06-15", "2024-06-15")]
    report = extract_days(tmp_path, *states)
    columns = "invoice_id, paid_at, paid_at_known_at, known_at, known_until"
    assert stored(report, "invoices", columns) == [
        ("I1", "06-15", "1+", "02-01", None)
    ]  # no version: its clock says it


def test_a_filled_value_keeps_its_clock_and_one_that_changes_begins_a_version(tmp_path):
    invoice = "invoice_id  occurred_at  customer_id  amount  paid_at\nI1  2024-02-01  C1  10  {}\n"
    states = [{"invoices": invoice.format(paid)} for paid in ("2024-03-01", "2024-03-05", "-", "2024-03-05")]
    report = extract_days(tmp_path, *states)
    assert stored(report, "invoices", "paid_at, paid_at_known_at, known_at, known_until") == [
        ("03-01", "03-01", "02-01", "1+"),
        ("03-05", "1+", "1+", "2+"),
        ("03-05", "3+", "2+", None),  # cleared on the third day, filled again on the fourth
    ]


def test_an_amount_that_changes_leaves_the_clock_of_a_filled_value_alone(tmp_path):
    invoice = "invoice_id  occurred_at  customer_id  amount  paid_at\nI1  2024-02-01  C1  {}  2024-03-01\n"
    report = extract_days(tmp_path, {"invoices": invoice.format(10)}, {"invoices": invoice.format(12)})
    assert stored(report, "invoices", "amount, paid_at_known_at, known_at, known_until") == [
        ("10", "03-01", "02-01", "1+"),
        ("12", "03-01", "1+", None),
    ]


def test_a_value_that_is_filled_after_the_time_that_reveals_it_begins_a_version(tmp_path):
    ticket = "ticket_id  occurred_at  customer_id  closed_at  satisfaction\nT1  2024-02-01  C1  2024-03-01  {}\n"
    report = extract_days(tmp_path, {"tickets": ticket.format("-")}, {"tickets": ticket.format(5)})
    assert stored(report, "tickets", "satisfaction, known_at, known_until") == [
        ("5.0", "1+", None),
        (None, "02-01", "1+"),
    ]


def test_a_delivered_clock_of_a_filled_value_is_trusted(tmp_path):
    head = "invoice_id  occurred_at  customer_id  amount  paid_at  paid_at_known_at\n"
    states = [{"invoices": head + "I1  2024-02-01  C1  10  -  -\n"}]
    states.append({"invoices": head + "I1  2024-02-01  C1  10  2024-07-01  2024-07-01 09:00\n"})
    report = extract_days(tmp_path, *states)
    assert stored(report, "invoices", "paid_at, paid_at_known_at") == [("07-01", "07-01 09:00")]


def test_rows_without_a_key_are_known_by_their_content_and_how_often_they_are_there(tmp_path):
    head = "deal_id  occurred_at  stage\n"
    new, demo = "D1  2024-02-01  new\n", "D1  2024-03-01  demo\n"
    deals = "deal_id  created_at  closed_at  outcome\nD1  2024-01-01  -  -\n"
    states = [new + new, new + new + new + demo, new + demo]
    report = extract_days(tmp_path, *({"deals": deals, "stage_changes": head + rows} for rows in states))
    assert stored(report, "stage_changes", "stage, known_at, known_until") == [
        ("demo", "1+", None),
        ("new", "02-01", "2+"),  # of three equal rows two vanished: those that were known last
        ("new", "02-01", None),
        ("new", "1+", "2+"),
    ]
    assert counts(report, "stage_changes") == (0, 0, 2, 2)


def test_another_select_counts_old_rows_as_known_at_their_time_and_recent_ones_as_first_seen(tmp_path):
    later = O1 + "O2  2024-02-02  C1  20\nO3  2024-07-01  C1  30\n"
    extract_days(tmp_path, {"orders": O1})
    mapping = {"orders": {"select": "another"}}
    report = extract_world(tmp_path, mapping, data_end=str(day(2)), customers=CUSTOMERS, orders=later)
    assert stored(report, "orders", "order_id, known_at") == [("O1", "02-01"), ("O2", "02-02"), ("O3", "1+")]


def test_a_table_that_is_mapped_later_begins_as_in_a_first_extract(tmp_path):
    report = extract_days(tmp_path, {}, {"orders": O1})
    assert stored(report, "orders", "order_id, known_at") == [("O1", "02-01")]


def test_a_column_that_is_mapped_later_is_filled_in_all_rows(tmp_path):
    report = extract_days(
        tmp_path, {"orders": O1}, {"orders": O1.replace("amount", "amount  product").replace("10\n", "10  pen\n")}
    )
    assert stored(report, "orders", "order_id, product, known_at, known_until") == [("O1", "pen", "02-01", None)]


def test_the_first_extract_may_be_done_again_and_remembers_nothing_of_its_tries(tmp_path):
    for orders in (O1, O1.replace("10\n", "15\n") + "O2  2024-02-02  C1  20\n"):
        report = extract_days(tmp_path, {"orders": orders})  # both at the same moment
    assert stored(report, "orders", ORDER) == [
        ("O1", "15", "02-01", "02-01", None),
        ("O2", "20", "02-02", "02-02", None),
    ]


def test_a_later_extract_of_the_same_moment_and_rows_changes_nothing(tmp_path):
    changed = O1.replace("10\n", "15\n") + "O2  2024-02-02  C1  20\n"
    first = extract_days(tmp_path, {"orders": O1}, {"orders": changed})
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    again = extract_world(tmp_path, data_end=str(day(2)), customers=CUSTOMERS, orders=changed)
    assert again.changed is False
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


def test_a_dry_run_counts_what_would_be_new_and_writes_nothing(tmp_path):
    extract_days(tmp_path, {"orders": O1})
    changed = O1.replace("10\n", "15\n") + "O2  2024-02-02  C1  20\n"
    report = extract_world(tmp_path, data_end=str(day(2)), dry_run=True, customers=CUSTOMERS, orders=changed)
    assert counts(report, "orders") == (1, 1, 0, 0)
    assert load_tables(tmp_path / "world" / "tables").data_end == day(1)


def test_an_extract_that_was_made_before_anything_was_remembered_is_a_previous_one(tmp_path):
    first = extract_days(tmp_path, {"orders": O1})
    manifest = first.folder / "manifest.json"
    import json

    kept = ("protocol", "data_end", "time_zone", "currency", "stages", "tables")
    manifest.write_text(json.dumps({k: v for k, v in json.loads(manifest.read_text()).items() if k in kept}))
    both = O1 + "O2  2024-07-01  C1  20\n"
    report = extract_world(tmp_path, data_end=str(day(2)), customers=CUSTOMERS, orders=both)
    assert stored(report, "orders", "order_id, known_at") == [("O1", "02-01"), ("O2", "1+")]


def test_damaged_tables_cannot_be_remembered(tmp_path):
    first = extract_days(tmp_path, {"orders": O1})
    load_tables(first.folder).path("orders").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"Table 'orders': .* the file is missing or only half there.* backup"):
        extract_world(tmp_path, data_end=str(day(2)), customers=CUSTOMERS, orders=O1)


def test_an_order_of_a_customer_that_was_deleted_stays(tmp_path):
    only = "customer_id  created_at\nC2  2024-01-02\n"
    report = extract_days(tmp_path, {"orders": O1}, {"orders": O1, "customers": only})
    assert stored(report, "orders", ORDER) == [("O1", "10", "02-01", "02-01", None)]
    assert stored(report, "customers", "customer_id, known_at, known_until") == [
        ("C1", "01-01", "1+"),
        ("C2", "01-02", None),
    ]


DELETED = """
    customer_id  created_at  deleted_at
    C1           2024-01-01  {}
    C2           2024-01-02  -
"""


def test_a_delivered_deleted_at_ends_the_last_version_then_in_the_first_extract(tmp_path):
    report = extract_days(tmp_path, {"customers": DELETED.format("2024-05-01")})
    assert stored(report, "customers", "customer_id, known_at, known_until")[0] == ("C1", "01-01", "05-01")
    assert "deleted_at" not in load_tables(report.folder).tables["customers"].columns


def test_a_deletion_that_a_later_extract_sees_ends_the_version_when_it_was_seen(tmp_path):
    states = [{"customers": DELETED.format(value)} for value in ("-", "2024-05-01", "2024-05-01", "-")]
    report = extract_days(tmp_path, *states[:3])  # backdated: on 1 July nobody knew
    assert stored(report, "customers", "customer_id, known_at, known_until")[0] == ("C1", "01-01", "1+")
    report = extract_days(tmp_path / "again", *states)  # undeleted on the fourth day
    assert stored(report, "customers", "customer_id, known_at, known_until")[:2] == [
        ("C1", "01-01", "1+"),
        ("C1", "3+", None),
    ]


OWNERS = "customer_id  created_at  owner_id\nC1  2024-01-01  {}\n"
OWNER = "owner_id, known_at, known_until"
REMEMBERED = {"customers": {"remembered": ["owner_id"]}}
OWN = "entity_id, field, old_value, new_value, occurred_at, known_at, is_own"


def test_a_remembered_column_is_null_before_the_first_extract_and_has_our_history_after_it(tmp_path):
    states = [{"customers": OWNERS.format(name)} for name in ("anna", "anna", "boris", "-")]
    report = extract_days(tmp_path, *states, mapping=REMEMBERED)
    assert stored(report, "customers", OWNER) == [
        ("anna", "06-30+", "2+"),
        ("boris", "2+", "3+"),
        (None, "01-01", "06-30+"),
        (None, "3+", None),
    ]
    assert stored(report, "attribute_changes", OWN) == [
        ("C1", "owner_id", "anna", "boris", "2+", "2+", "True"),
        ("C1", "owner_id", "boris", None, "3+", "3+", "True"),
    ]


def test_the_value_of_a_customer_that_is_seen_later_is_known_from_its_beginning(tmp_path):
    two = OWNERS.format("anna") + "C2  2024-06-30  dora\n"
    report = extract_days(tmp_path, {"customers": OWNERS.format("anna")}, {"customers": two}, mapping=REMEMBERED)
    assert stored(report, "customers", "customer_id, owner_id, known_at")[1:] == [
        ("C1", None, "01-01"),
        ("C2", "dora", "1+"),
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("founded_at", ("2024-01-01 08:30:00.123456", "2024-01-02")),
        ("employees", (10, 12)),
        ("rating", (0.1, 1e-7)),
        ("annual_revenue", ("10", "12.5")),
        ("note", (" a ", 'b, "c"')),
        ("is_big", (True, False)),
    ],
)
def test_remembered_values_have_the_type_of_their_column(tmp_path, column, values):
    customers = [{"customer_id": "C1", "created_at": "2024-01-01", column: value} for value in (*values, values[0])]
    mapping = {"customers": {"remembered": [column]}}
    zone = {"time_zone": "Asia/Tokyo"} if column != "founded_at" else {}
    report = extract_days(tmp_path, *({"customers": [one]} for one in customers), mapping=mapping, config=zone)
    found = stored(report, "customers", f"known_at, {column}")
    straight = extract_days(tmp_path / "b", {"customers": [customers[0]]}, mapping={}, config=zone)
    value = stored(straight, "customers", column)[0][0]
    assert [row[1] for row in found if row[0] in ("06-30+", "2+")] == [value, value]


CHANGE = {"table_name": "customers", "entity_id": "C1", "field": "owner_id"}
TRACKED = {"customers": {"tracked": ["owner_id"]}}


def test_a_value_that_the_history_of_the_crm_does_not_explain_is_a_change_of_our_own(tmp_path):
    changes = [{**CHANGE, "occurred_at": "2024-02-01", "old_value": "anna", "new_value": "boris"}]
    states = [{"customers": OWNERS.format(name), "attribute_changes": changes} for name in ("boris", "dora", "dora")]
    report = extract_days(tmp_path, *states, mapping=TRACKED)
    assert stored(report, "customers", OWNER) == [
        ("anna", "01-01", "02-01"),
        ("boris", "02-01", "1+"),
        ("dora", "1+", None),
    ]
    assert stored(report, "attribute_changes", OWN)[1] == ("C1", "owner_id", "boris", "dora", "1+", "1+", "True")


def test_a_change_that_the_crm_tells_late_does_not_rewrite_what_was_shown(tmp_path):
    late = [{**CHANGE, "occurred_at": "2024-06-01", "old_value": "anna", "new_value": "boris"}]
    other = [{**CHANGE, "entity_id": "C9", "occurred_at": "2024-06-01", "old_value": "x", "new_value": "y"}]
    states = [{"attribute_changes": rows} for rows in (other, other + late)]
    report = extract_days(tmp_path, *({"customers": OWNERS.format("boris"), **s} for s in states), mapping=TRACKED)
    assert stored(report, "customers", OWNER) == [("boris", "01-01", None)]  # as the first extract showed


def test_changes_that_the_crm_no_longer_keeps_are_kept(tmp_path):
    old = [{**CHANGE, "occurred_at": "2024-02-01", "old_value": "anna", "new_value": "boris"}]
    new = [{**CHANGE, "occurred_at": "2024-06-30", "old_value": "boris", "new_value": "dora"}]
    states = [
        {"customers": OWNERS.format("boris"), "attribute_changes": old},
        {"customers": OWNERS.format("dora"), "attribute_changes": new},
    ]
    report = extract_days(tmp_path, *states, mapping=TRACKED)
    assert [row[0] for row in stored(report, "customers", OWNER)] == ["anna", "boris", "dora"]


def test_a_static_column_that_changes_is_counted(tmp_path):
    head = "customer_id  created_at  region\n"
    states = [{"customers": head + f"C1  2024-01-01  {region}\n"} for region in ("north", "south")]
    report = extract_days(tmp_path, *states, mapping={"customers": {"static": ["region"]}})
    expected = "1 rows changed region since the last extract, which is static: declare it remembered"
    assert expected in report.tables[0].warnings
    assert stored(report, "customers", "region, known_at, known_until") == [
        ("north", "01-01", "1+"),
        ("south", "1+", None),
    ]


def test_a_deal_that_closes_keeps_one_version_per_owner(tmp_path):
    head = "deal_id  created_at  owner_id  closed_at  outcome\n"
    rows = ("anna  -  -", "boris  -  -", "boris  2024-07-02  won")
    states = [{"deals": head + f"D1  2024-01-01  {row}\n"} for row in rows]
    report = extract_days(tmp_path, *states, mapping={"deals": {"remembered": ["owner_id"]}})
    assert stored(report, "deals", "known_at, known_until, owner_id, closed_at, closed_at_known_at, outcome") == [
        ("01-01", "06-30+", None, "07-02", "2+", "won"),  # its clock hides the outcome until it was seen
        ("06-30+", "1+", "anna", "07-02", "2+", "won"),
        ("1+", None, "boris", "07-02", "2+", "won"),
    ]
