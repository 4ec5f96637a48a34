"""Who changes grade when another version goes live: ten people, the answers counted by hand."""

import io
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pipeline.errors import GateError
from pipeline.swap_bands import Band, band_of, cut_bands
from pipeline.swap_report import UNKNOWN, Contacts, Line, SwapReport, compare_scores
from pipeline.swap_text import make_page, make_tables, sum_up

#        id   before after  owner   region   card's grade (two A, three B, five C)
PEOPLE = """
C01  0.90   0.80   ann   north  A     # A: the cut for A is 0.80, that of the second
C02  0.80   0.75   ann   north  C     # A -> B
C03  0.70   0.85   ann   south  A     # B -> A
C04  0.60   0.65   ann   south  B     # B
C05  0.50   0.30   bob   south  B     # B -> C: the cut for B is 0.50, that of the fifth
C06  0.40   0.45   bob   south  B     # C
C07  0.30   0.82   bob   -      C     # C -> A
C08  0.20   0.20   bob   -      C     # C
C09  0.10   0.55   -     north  C     # C -> B
C10  0.05   0.04   -     north  C     # C
"""
CUTS = (Band("A", 0.8), Band("B", 0.5), Band("C", 0.0))


def read_people() -> pd.DataFrame:
    lines = [line.split("#")[0].split() for line in PEOPLE.strip().splitlines()]
    frame = pd.DataFrame(lines, columns=["entity_id", "before", "after", "owner", "region", "grade"])
    return frame.replace("-", None).astype({"before": float, "after": float})


def compare(frame: pd.DataFrame | None = None, **changes: object) -> SwapReport:
    rows = read_people() if frame is None else frame
    settings = {"as_of": datetime(2026, 1, 1), "grades": ("A", "B", "C"), "live_version": 1, "version": 2}
    return compare_scores("churn", rows, **{**settings, **changes})


def test_grades_are_cut_where_the_live_version_fills_them_as_the_card_does():
    assert compare().bands == CUTS


def test_those_who_change_grade_are_counted_in_both_directions():
    report = compare()
    assert report.crossing == (
        (1, 1, 0),  # of A: C01 stays, C02 falls to B
        (1, 1, 1),  # of B: C03 rises, C04 stays, C05 falls
        (1, 1, 3),  # of C: C07 rises to A, C09 to B; C06, C08, C10 stay
    )
    assert (report.up, report.down, report.movers, report.movers_share) == (3, 2, 5, 0.5)


def test_owners_and_regions_have_a_line_each_and_those_without_one_too():
    report = compare()
    assert report.by_owner == (
        Line("ann", rows=4, up=1, down=1, contacts_before=2, contacts_after=2),  # C01, C02; then C01, C03
        Line("bob", rows=4, up=1, down=1, contacts_before=0, contacts_after=1),  # C07
        Line(UNKNOWN, rows=2, up=1, down=0, contacts_before=0, contacts_after=0),
    )
    assert report.by_region == (
        Line("north", rows=4, up=1, down=1, contacts_before=2, contacts_after=1),
        Line("south", rows=4, up=1, down=1, contacts_before=0, contacts_after=1),
        Line(UNKNOWN, rows=2, up=1, down=0, contacts_before=0, contacts_after=1),
    )


def test_where_no_owner_is_known_there_is_no_table_of_owners():
    assert compare(read_people().assign(owner=None)).by_owner == ()


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        # the first grade: C01 and C02 before, C01, C03 and C07 after; of the two first C03 and C07 are new
        (None, Contacts(None, 0.8, before=2, after=3, size=2, entering=2, leaving=2)),
        # four a week: 0.60 is the fourth; after: C01, C02, C03, C04, C07. First four: C07 for C04
        (4, Contacts(4, 0.6, before=4, after=5, size=4, entering=1, leaving=1)),
        (99, Contacts(99, 0.05, before=10, after=9, size=10, entering=0, leaving=0)),  # more than there are
        (0, Contacts(0, np.nextafter(0.9, 2), before=0, after=0, size=0, entering=0, leaving=0)),
    ],
)
def test_contacts_are_counted_against_the_capacity(capacity: int | None, expected: Contacts):
    assert compare(capacity=capacity).contacts == expected


def test_those_who_move_furthest_come_first():
    report = compare()
    assert [(one.entity_id, one.grade_before, one.grade_after) for one in report.largest] == [
        ("C07", "C", "A"),  # +0.52
        ("C09", "C", "B"),  # +0.45
        ("C05", "B", "C"),  # -0.20
        ("C03", "B", "A"),  # +0.15
        ("C02", "A", "B"),  # -0.05
    ]
    assert (report.largest[0].owner, report.largest[0].region) == ("bob", UNKNOWN)


def test_without_a_card_the_first_tenth_and_so_on_are_the_grades():
    report = compare(grades=())
    assert [(band.name, band.at_least) for band in report.bands] == [
        ("first 10 %", 0.9),
        ("next 20 %", 0.7),  # the third
        ("next 30 %", 0.4),  # the sixth
        ("rest", 0.0),
    ]


def test_without_a_live_version_nobody_moves():
    report = compare(read_people().assign(before=np.nan), live_version=None)
    assert (report.movers, report.contacts.entering) == (0, 0)
    assert report.bands[0].at_least == 0.82  # cut by the version itself: C03 and C07 are its first two


def test_the_order_of_the_rows_does_not_matter():
    assert compare(read_people().iloc[::-1]) == compare()


def test_nobody_to_score_is_an_empty_report():
    report = compare(read_people().head(0))
    assert (report.rows, report.movers_share, report.by_owner, report.largest) == (0, 0.0, (), ())


def test_too_many_movers_are_refused_with_a_sentence():
    compare(max_movers_share=0.5).check()  # exactly as many as allowed
    compare().check()  # no cap
    with pytest.raises(
        GateError,
        match=r"^Target 'churn': 5 of 10 customers would change grade \(50\.0%\), more than retrain\.max_movers_share "
        r"allows \(49\.0%\)\. Look at the swap report; ",
    ):
        compare(max_movers_share=0.49).check()


def test_a_grade_that_nobody_has_begins_where_nobody_is():
    bands = cut_bands(np.array([0.9, 0.5]), ["B", "C"], ["A", "B", "C"])
    assert bands == (Band("A", float(np.nextafter(0.9, 2))), Band("B", 0.9), Band("C", 0.0))
    assert band_of(np.array([1.0, 0.9, 0.5, 0.0]), bands).tolist() == [0, 1, 2, 2]


def test_the_sentences_count_against_the_cap_and_the_capacity():
    assert sum_up(compare(capacity=4, max_movers_share=0.4)) == [
        "churn: 5 of 10 customers change grade (50.0%): 3 up, 2 down.",
        "That is over retrain.max_movers_share, 40.0%.",
        "Contacts, from a probability of 0.600: 4 now, 5 then, 1 more than the 4 a week that can be made.",
        "Of the first 4 in order of probability, 1 are new.",
    ]
    assert sum_up(compare(capacity=5))[1].endswith(": 5 now, 6 then, 1 more than the 5 a week that can be made.")
    assert sum_up(compare(capacity=99))[1].endswith(", 90 fewer than the 99 a week that can be made.")
    assert sum_up(compare(read_people().head(0))) == [
        "churn: nobody is eligible at the end of the data, so no grade changes."
    ]
    assert sum_up(compare(read_people().assign(before=np.nan), live_version=None)) == [
        "churn: no version is live yet; 10 customers get their first grades.",
        "Contacts, from a probability of 0.820: 2 now, 2 then; capacity.contacts_per_week is not set.",
    ]


def test_names_from_the_data_are_text_on_the_page_and_in_the_terminal():
    rows = read_people().assign(owner="<script>alert(1)</script> [red]")
    rows.loc[rows["entity_id"] == "C07", "entity_id"] = "<b>C07</b>"
    report = compare(rows)
    page = make_page(report)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [red]" in page
    assert "&lt;b&gt;C07&lt;/b&gt;" in page
    assert "<script" not in page
    assert "http" not in page  # needs no network
    console = Console(width=160, record=True, file=io.StringIO())
    for table in make_tables(report):
        console.print(table)
    shown = console.export_text()
    assert "<script>alert(1)</script> [red]" in shown
    assert "Those who move furthest" in shown


def test_amounts_are_compared_like_probabilities():
    rows = read_people()
    rows[["before", "after"]] *= 10_000
    report = compare(rows, capacity=4, measure="value")
    assert report.crossing == compare(capacity=4).crossing
    assert "Contacts, from a value of 6,000.000: 4 now, 5 then" in sum_up(report)[1]
    assert compare(rows, capacity=0).contacts.before == 0
    assert "band of the value" in make_page(report)


def test_an_empty_report_is_a_page_and_no_tables():
    report = compare(read_people().head(0))
    assert make_tables(report) == []
    assert "nobody is eligible" in make_page(report)
    assert "<table" not in make_page(report)
