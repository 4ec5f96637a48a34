"""Planted columns that know the outcome: absent by default, and each leaks as its kind says."""

import pandas as pd
import pytest

from pipeline.simulate import Part, Plan, simulate_crm, simulate_parts
from pipeline.simulation_leaks import FILLED_SHARE, LEAKS
from pipeline.simulation_world import DAY, HISTORY, NOW


@pytest.fixture(scope="module")
def part() -> Part:
    (part,) = simulate_parts(Plan(1500, seed=5, dirt=0, duplicates=0, has_leaks=True))
    return part


@pytest.fixture(scope="module")
def deals(part: Part) -> pd.DataFrame:
    return part.tables["deals"].to_pandas()


@pytest.fixture(scope="module")
def customers(part: Part) -> pd.DataFrame:
    """Customers and whether they bought, but not in the last 90 days, in the order of their creation."""
    orders = part.world.orders
    days = pd.Series((HISTORY - orders.occurred) / DAY)[(orders.amount > 0) & (orders.occurred < HISTORY)]
    since = days.groupby(orders.customer[days.index]).min()
    table = part.tables["customers"].to_pandas()
    return table.assign(has_left=since.reindex(range(len(table))).gt(90).to_numpy())


def test_no_leak_unless_asked_for(part):
    plain = simulate_crm(1500, seed=5, dirt=0, duplicates=0)
    assert "leaks" not in plain
    for name, table in plain.items():
        planted = [leak.column for leak in LEAKS if leak.table == name]
        assert not set(planted) & set(table.column_names)
        assert part.tables[name].drop_columns(planted).equals(table)


def test_the_manifest_names_four_kinds_on_either_table(part):
    manifest = part.tables["leaks"].to_pandas()
    assert manifest.columns.tolist() == ["table_name", "column_name", "kind", "why"]
    assert manifest.groupby("table_name").kind.nunique().to_dict() == {"customers": 4, "deals": 4}
    for leak in LEAKS:
        assert leak.column in part.tables[leak.table].column_names


def test_a_column_is_filled_only_after_the_outcome(deals, customers):
    lost = deals.outcome == "lost"
    assert deals.loss_note_code[~lost].isna().all()
    assert deals.loss_note_code[lost].notna().mean() == pytest.approx(FILLED_SHARE, abs=0.05)
    assert customers.exit_survey_code[~customers.has_left].isna().all()
    assert customers.exit_survey_code[customers.has_left].notna().mean() == pytest.approx(FILLED_SHARE, abs=0.1)


def test_a_column_is_overwritten_at_the_outcome(deals, customers):
    assert set(deals.forecast_category[deals.outcome.isna()]) == {"pipeline", "best case", "commit"}
    for outcome, value in (("won", "closed"), ("lost", "omitted")):
        share = (deals.forecast_category[deals.outcome == outcome] == value).mean()
        assert share == pytest.approx(FILLED_SHARE, abs=0.05)
    assert (customers.account_status[customers.has_left] == "inactive").mean() == pytest.approx(FILLED_SHARE, abs=0.1)
    assert not (customers.account_status[~customers.has_left] == "inactive").any()


def test_a_column_goes_with_the_date_of_the_extract(deals, customers):
    recent = deals.last_sync_bucket.isin(["today", "this week", "this month"])
    assert recent[deals.outcome.isna()].mean() > 0.95
    assert recent[deals.outcome.notna()].mean() < 0.2
    old = customers.last_synced_at < pd.Timestamp(NOW) - pd.Timedelta(days=90)
    assert old[customers.has_left].all()
    assert not old[~customers.has_left & customers.lifetime_orders.gt(0)].any()


def test_a_column_counts_what_came_later(part, deals, customers):
    activities, orders = part.tables["activities"].to_pandas(), part.tables["orders"].to_pandas()
    of_deals = activities.groupby("deal_id").size().reindex(deals.deal_id, fill_value=0).to_numpy()
    assert (
        0 <= (deals.lifetime_activities - of_deals).sum() < 0.02 * len(activities)
    )  # some are entered after the clock
    bought = orders[orders.amount > 0].groupby("customer_id").size().reindex(customers.customer_id, fill_value=0)
    assert 0 <= (customers.lifetime_orders - bought.to_numpy()).sum() < 0.02 * len(orders)
