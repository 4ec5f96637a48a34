"""What many entities share: rates and means as known at each moment, worked out by hand."""

from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest
from stored import stored_world

from features.build import build_features
from features.expressions import latest, whole_seconds
from features.group import Group, Pooled, pooled_group
from features.tables import CrmTables


def results(hit: Any, **keys: Any) -> dict[str, Pooled]:
    return {"rate": Pooled(hit, 2, "count", "{value}", "{value}", **keys)}


@pooled_group("deals", by="source", at="closed_at")
def by_source(deals: Any) -> dict[str, Pooled]:
    """Results of the same source."""
    return results(deals.outcome == "won")


@pooled_group("deals", by="region", at="closed_at", via="customers")
def by_region(deals: Any) -> dict[str, Pooled]:
    """Results in the same region."""
    return results(deals.outcome == "won")


def build(tables: CrmTables, group: Group, *moments: str, deal: str = "D0", customer: str | None = None) -> list[Any]:
    """Rate and count of a deal at each moment."""
    spine = pd.DataFrame({"as_of": pd.to_datetime(list(moments), format="ISO8601")})
    spine = spine.assign(entity_id=deal, customer_id=pd.Series([customer] * len(spine), dtype="str"))
    frame = build_features(tables, spine, [group], "deals").frame.set_index("as_of").loc[spine["as_of"]]
    return list(zip(frame["rate"], frame["count"], strict=True))


OPEN = "D0       2020-01-01  2020-01-01  web     -           -                   -"
YEARS = f"""
    deal_id  created_at  known_at    source  closed_at   closed_at_known_at  outcome
    {OPEN}
    D1       2020-01-01  2020-01-01  web     2023-03-01  2023-03-01          won
    D2       2020-01-01  2020-01-01  web     2023-03-05  2023-04-01          lost  # known on 1 April
    D3       2020-01-01  2020-01-01  fair    2023-03-01  2023-03-01          lost
    D4       2020-01-01  2020-01-01  web     2021-01-01  2023-05-01          won   # known two years late
    D5       2020-01-01  2020-01-01  -       2023-06-01  2023-06-01          won   # of no source
"""


def test_counts_are_of_365_days_and_rates_of_all_that_is_known(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, deals=YEARS)
    answers = {
        "2023-03-01": (None, 0),  # nothing is known: there is no overall rate
        "2023-03-01 00:00:00.000001": ((1 + 2 * 1 / 2) / 3, 1),
        "2023-04-01": ((1 + 2 * 1 / 2) / 3, 1),  # D2 becomes known at this moment
        "2023-04-02": ((1 + 2 * 1 / 3) / 4, 2),
        "2023-05-02": ((2 + 2 * 2 / 4) / 5, 2),  # D4 counts for the rate; it closed more than 365 days ago
        "2023-06-02": ((2 + 2 * 3 / 5) / 5, 2),  # D5 counts for all
        "2024-02-29": ((2 + 2 * 3 / 5) / 5, 2),  # 365 days after D1: the first instant of them
        "2024-02-29 00:00:00.000001": ((2 + 2 * 3 / 5) / 5, 1),
        "2024-03-04": ((2 + 2 * 3 / 5) / 5, 1),  # by when it closed, not by when that was known
        "2024-03-04 00:00:00.000001": ((2 + 2 * 3 / 5) / 5, 0),
    }
    found = build(tables, by_source, *answers)
    assert [(None if pd.isna(rate) else rate, count) for rate, count in found] == [
        (None if rate is None else pytest.approx(rate, abs=1e-15), count) for rate, count in answers.values()
    ]


def test_without_a_source_of_its_own_a_deal_gets_the_overall_rate_and_no_count(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, deals=YEARS)
    assert build(tables, by_source, "2023-07-01", deal="D5") == [(3 / 5, 0)]  # and D5 is in no pool


def test_a_row_that_ends_takes_its_count_with_it_once(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, deals="""
        deal_id  created_at  known_at    known_until  source  closed_at   outcome
        D0       2020-01-01  2020-01-01  -            web     -           -
        D1       2020-01-01  2020-01-01  2023-06-01   web     2023-03-01  won   # deleted within the year
        D2       2020-01-01  2020-01-01  2024-06-01   web     2023-03-01  won   # and after it
        D3       2020-01-01  2020-01-01  2023-02-01   web     2023-03-01  won   # before its end was known
    """)  # fmt: skip
    counts = [count for _, count in build(tables, by_source, "2023-06-01", "2023-06-02", "2024-03-02", "2024-06-02")]
    assert counts == [2, 1, 0, 0]


REGIONS = """
    customer_id  created_at  known_at    known_until  region
    C0           2024-01-01  2024-01-01  2024-05-01   north     # moves on 1 May
    C0           2024-01-01  2024-05-01  -            south
    C1           2024-01-01  2024-01-01  2024-03-01   north     # moves just when its first deal is known to close
    C1           2024-01-01  2024-03-01  2024-04-01   south
    C1           2024-01-01  2024-04-01  -            north
    C2           2024-01-01  2024-03-10  -            north     # known on 10 March
    C3           2024-01-01  2024-01-01  -            -
"""
CLOSED = """
    deal_id  created_at  customer_id  closed_at   outcome
    D0       2024-01-01  C0           -           -
    D1       2024-01-01  C1           2024-03-01  won      # in the south, where C1 is from this moment
    D2       2024-01-01  C1           2024-04-02  lost     # in the north
    D3       2024-01-01  C2           2024-03-05  won      # of a customer not yet known: nowhere
    D4       2024-01-01  C3           2024-03-05  won      # nowhere
    D5       2024-01-01  -            2024-03-05  won      # nowhere
    D6       2024-01-01  C1           2024-02-01  lost     # in the north
"""


def test_a_region_is_the_customers_when_the_row_began_to_count_and_the_snapshots_as_known_then(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=REGIONS, deals=CLOSED)
    moments = ("2024-02-02", "2024-03-02", "2024-04-03", "2024-05-01", "2024-05-02")
    assert build(tables, by_region, *moments, customer="C0") == [
        (pytest.approx(0.0), 1),  # D6
        (pytest.approx((0 + 2 * 1 / 2) / 3), 1),  # D1 is in the south
        (pytest.approx((0 + 2 * 4 / 6) / 4), 2),  # D6 and D2
        (pytest.approx((0 + 2 * 4 / 6) / 4), 2),  # C0 moves at this moment
        (pytest.approx((1 + 2 * 4 / 6) / 3), 1),  # D1
    ]
    assert build(tables, by_region, "2024-05-02", customer="C3") == [(pytest.approx(4 / 6), 0)]
    assert build(tables, by_region, "2024-05-02", customer=None) == [(pytest.approx(4 / 6), 0)]


def test_a_mean_of_numbers_leaves_out_rows_without_one_and_is_divided_at_the_end(tmp_path: Path) -> None:
    @pooled_group("deals", by="source", at="closed_at")
    def lives(deals: Any) -> dict[str, Pooled]:
        """Days that deals of the same source took, of those that were won."""
        took = whole_seconds(deals.closed_at) - whole_seconds(deals.created_at)
        return results(ibis.ifelse(deals.outcome == "won", took, ibis.null("int64")), unit="days", divisor=86_400)

    tables = stored_world(tmp_path, deals="""
        deal_id  created_at  source  closed_at   outcome
        D0       2024-01-01  web     -           -
        D1       2024-01-01  web     2024-01-11  won      # 10 days
        D2       2024-01-01  web     2024-01-31  lost     # not won: counts for nothing
        D3       2024-01-01  fair    2024-01-05  won      # 4 days
    """)  # fmt: skip
    assert build(tables, lives, "2024-02-15") == [(pytest.approx((10 + 2 * 14 / 2) / 3, abs=1e-12), 1)]


@pooled_group(
    "stage_changes",
    by="previous_stage_rank",
    at="occurred_at",
    own=lambda changes: latest(changes.stage_rank, changes.occurred_at, below=1000),
)
def stays(changes: Any) -> dict[str, Pooled]:
    """Days in the stage that the deal is in."""
    stay = whole_seconds(changes.occurred_at) - whole_seconds(changes.previous_occurred_at)
    return results((stay >= 0).ifelse(stay, None), unit="days", divisor=86_400)


def test_a_stay_ends_with_the_change_that_is_known_next(tmp_path: Path) -> None:
    deals = [{"deal_id": f"D{n}", "created_at": "2024-01-01", "closed_at": None, "outcome": None} for n in range(4)]
    tables = stored_world(tmp_path, stages=["new", "demo", "offer"], deals=deals, stage_changes="""
        deal_id  occurred_at  known_at    stage
        D0       2024-01-01   2024-01-01  new
        D1       2024-01-01   2024-01-01  new
        D1       2024-01-11   2024-01-11  offer    # ten days new, as far as was known
        D1       2024-01-04   2024-02-01  demo     # entered late, after a later one: ends no stay
        D2       2024-01-01   2024-01-01  new
        D2       2024-01-05   2024-03-01  demo     # four days new, known on 1 March
        D3       2024-01-01   2024-01-01  paused   # not in the order of stages
        D3       2024-01-09   2024-01-09  new      # so it left no stage
        D3       2024-01-09   2024-01-09  demo     # and was new for no time at all, at once the next
    """)  # fmt: skip
    answers = {
        "2024-01-09": (None, 0),
        "2024-01-11": ((0 + 2 * 8 / 2) / 3, 1),  # the pause of eight days counts for all
        "2024-01-12": ((10 + 2 * 18 / 3) / 4, 2),
        "2024-02-02": ((10 + 2 * 18 / 3) / 4, 2),
        "2024-03-01": ((10 + 2 * 18 / 3) / 4, 2),
        "2024-03-02": ((14 + 2 * 22 / 4) / 5, 3),
    }
    found = [(None if pd.isna(rate) else round(rate, 9), count) for rate, count in build(tables, stays, *answers)]
    assert found == [(rate and round(rate, 9), count) for rate, count in answers.values()]


def test_a_deal_in_no_stage_gets_the_overall_mean(tmp_path: Path) -> None:
    deals = [{"deal_id": f"D{n}", "created_at": "2024-01-01", "closed_at": None, "outcome": None} for n in range(3)]
    tables = stored_world(tmp_path, stages=["new", "demo"], deals=deals, stage_changes="""
        deal_id  occurred_at  stage
        D1       2024-01-01   new
        D1       2024-01-11   demo
        D2       2024-01-01   paused  # not in the order of stages
    """)  # fmt: skip
    assert build(tables, stays, "2024-02-01", deal="D0") == [(10, 0)]
    assert build(tables, stays, "2024-02-01", deal="D2") == [(10, 0)]
