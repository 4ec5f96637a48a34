"""What came before a row while something before it was entered late or ended, with the reason beside each row."""

from pathlib import Path

from stored import stored_world
from test_view_columns import seen

COLUMNS = ("occurred_at", "previous_occurred_at", "previous_outbound_at")


def test_what_came_before_changes_when_an_earlier_row_is_entered_late_and_when_one_ends(tmp_path: Path):
    tables = stored_world(tmp_path, activities="""
        activity_id  customer_id  occurred_at  known_at    known_until  direction
        A1           C1           2024-03-01   2024-03-01  -            outbound
        A2           C1           2024-03-03   2024-03-03  2024-03-12   outbound  # deleted on the 12th
        A3           C1           2024-03-05   2024-03-10  -            outbound  # entered five days late
        A4           C1           2024-03-06   2024-03-06  -            inbound
        A5           C2           2024-03-05   2024-03-05  -            outbound  # another customer
    """)  # fmt: skip
    before = [(1, "-", "-"), (3, 1, 1), (6, 3, 3)]
    assert seen(tables, "activities", "customer_id", "2024-03-08", *COLUMNS) == before
    assert seen(tables, "activities", "customer_id", "2024-03-10", *COLUMNS) == before  # not known before that moment
    entered = [(1, "-", "-"), (3, 1, 1), (5, 3, 3), (6, 5, 5)]
    assert seen(tables, "activities", "customer_id", "2024-03-11", *COLUMNS) == entered
    assert seen(tables, "activities", "customer_id", "2024-03-12", *COLUMNS) == entered  # holds until that moment
    ended = [(1, "-", "-"), (5, 1, 1), (6, 5, 5)]
    assert seen(tables, "activities", "customer_id", "2024-03-13", *COLUMNS) == ended
