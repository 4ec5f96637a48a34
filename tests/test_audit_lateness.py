"""Lateness: how long after it happened a row, or a value that was filled later, became known."""

from pathlib import Path

from stored import stored_world

from features.engine import open_database
from pipeline.audit_lateness import Lateness, measure_lateness

ACTIVITIES = """
    activity_id  occurred_at           known_at
    A1           2024-01-01T10:00:00   2024-01-01T10:00:00      # at once
    A2           2024-01-02T10:00:00   2024-01-02T10:00:00      # at once
    A3           2024-01-03T10:00:00   2024-01-03T10:01:30      # 90 s
    A4           2024-01-04T10:00:00   2024-01-04T11:00:00      # 3,600 s
    A5           2024-01-05T10:00:00   2024-01-07T10:00:00      # 172,800 s
"""
DEALS = """
    deal_id  created_at   known_at     closed_at             closed_at_known_at    outcome   known_until
    D1       2024-01-01   2024-01-01   2024-02-01T00:00:00   2024-02-01T00:00:00   won       -
    D2       2024-01-01   2024-01-03   2024-02-01T00:00:00   2024-02-11T00:00:00   lost      -    # closed 10 days late
    D3       2024-01-01   2024-01-01   -                     -                     -         -    # open: has no closing
"""


def measure(folder: Path, **tables: str) -> dict[tuple[str, str], Lateness]:
    stored = stored_world(folder, **tables)
    with open_database(stored) as database:
        return {(one.table, one.event): one for one in measure_lateness(database, stored)}


def test_durations_are_whole_seconds_of_single_rows(tmp_path: Path) -> None:
    found = measure(tmp_path, activities=ACTIVITIES)
    # in order 0, 0, 90, 3600, 172800: the third of five is the median, and 95 % of five rows are all five
    assert found == {
        ("activities", "occurred_at"): Lateness("activities", "occurred_at", "known_at", 5, 3, 90, 172_800, 172_800)
    }
    assert found["activities", "occurred_at"].late_share == 0.6


def test_each_revealed_clock_is_measured_on_the_rows_that_have_it(tmp_path: Path) -> None:
    found = measure(tmp_path, deals=DEALS)
    assert found["deals", "created_at"] == Lateness("deals", "created_at", "known_at", 3, 1, 0, 172_800, 172_800)
    assert found["deals", "closed_at"] == Lateness(
        "deals", "closed_at", "closed_at_known_at", 2, 1, 0, 864_000, 864_000
    )


def test_95_of_100_rows_at_once_have_a_p95_of_nothing_and_94_have_not(tmp_path: Path) -> None:
    def rows(late: int) -> list[dict[str, str]]:
        return [
            {"activity_id": f"A{n}", "occurred_at": "2024-01-01", "known_at": f"2024-01-0{2 if n < late else 1}"}
            for n in range(100)
        ]

    assert measure(tmp_path / "5", activities=rows(5))["activities", "occurred_at"].p95_s == 0  # type: ignore[arg-type]
    assert measure(tmp_path / "6", activities=rows(6))["activities", "occurred_at"].p95_s == 86_400  # type: ignore[arg-type]


def test_a_row_that_was_corrected_counts_once_by_when_it_first_was_known(tmp_path: Path) -> None:
    orders = """
        order_id  occurred_at  known_at     known_until  customer_id  amount
        O1        2024-01-01   2024-01-02   2024-03-01   C1           10    # a day late
        O1        2024-01-01   2024-03-01   -            C1           12    # the amount was corrected in March
    """
    found = measure(tmp_path, orders=orders)["orders", "occurred_at"]
    assert (found.rows, found.late, found.longest_s) == (1, 1, 86_400)


def test_a_part_of_a_second_is_late_and_lasts_no_second(tmp_path: Path) -> None:
    orders = """
        order_id  occurred_at                  known_at                     customer_id  amount
        O1        2024-01-01T10:00:00.000000   2024-01-01T10:00:00.500000   C1           10
    """
    found = measure(tmp_path, orders=orders)["orders", "occurred_at"]
    assert (found.late, found.longest_s) == (1, 0)


def test_a_clock_that_never_struck_has_no_rows_and_no_share(tmp_path: Path) -> None:
    tickets = """
        ticket_id  occurred_at  customer_id  closed_at
        T1         2024-01-01   C1           -
    """
    found = measure(tmp_path, tickets=tickets)["tickets", "closed_at"]
    assert (found.rows, found.late, found.late_share, found.median_s, found.p95_s) == (0, 0, None, None, None)
