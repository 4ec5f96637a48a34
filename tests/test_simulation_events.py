"""What happens in the simulated CRM besides deals and orders: invoices, tickets, subscriptions, assessments."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import pipeline.simulation_invoices as simulation_invoices
from pipeline.simulate import Part, Plan, simulate_parts
from pipeline.simulation_accounts import COOLING, GONE, HEALTHY, WINDING, Accounts, Orders
from pipeline.simulation_world import DAY, STEPS, Codes, Floats

CLOCK = pd.Timestamp("2025-06-30 22:00:00")
START = pd.Timestamp("2022-07-01")


@pytest.fixture(scope="module")
def part() -> Part:
    (part,) = simulate_parts(Plan(1200, seed=4, duplicates=0, dirt=0))
    return part


@pytest.fixture(scope="module")
def frames(part: Part) -> dict[str, pd.DataFrame]:
    return {name: table.to_pandas() for name, table in part.tables.items()}


def phase_of(part: Part, customer_ids: pd.Series, times: pd.Series) -> Codes:
    """Hidden phase of customers at times; ids are C0000001, ... in the order of creation, as is the world."""
    codes = customer_ids.str[1:].astype(int).to_numpy() - 1
    return part.world.accounts.phase_at(codes, ((times - START).dt.total_seconds()).to_numpy())


def orders_of_one_customer(days: list[float], amounts: list[float]) -> Orders:
    """Orders of customer 0."""
    count = len(days)
    zeros = np.zeros(count, dtype=np.int64)
    return Orders(zeros, np.array(days) * DAY, np.array(amounts), np.zeros(count), np.ones(count), zeros)


@pytest.mark.parametrize(("collective", "billed"), [(0.0, [100.0, 20.5, 7.0]), (1.0, [7.0, 120.5])])
def test_orders_are_billed_one_by_one_or_all_of_a_month_at_its_end(part, monkeypatch, collective, billed):
    monkeypatch.setattr(simulation_invoices, "COLLECTIVE_SHARE", collective)
    monkeypatch.setattr(simulation_invoices, "_PART_RATE", 0.0)
    healthy = Accounts(np.zeros(1200), np.zeros((1200, STEPS), dtype=np.int8))
    orders = orders_of_one_customer([3.0, 20.0, 45.0, 46.0], [100.0, 20.5, 7.0, -7.0])  # the last one is a return
    invoices = simulation_invoices.draw_invoices(np.random.default_rng(1), part.world.customers, healthy, orders)
    assert sorted(invoices.amount.tolist()) == sorted(billed)
    if collective:
        first = invoices.occurred[invoices.amount == 120.5][0]
        assert 365.25 / 12 * DAY <= first < (365.25 / 12 + 20) * DAY


def test_whoever_pays_in_part_gets_an_invoice_for_the_rest_once_that_is_known(frames):
    invoices = frames["invoices"]
    partial = invoices[invoices.paid_amount < invoices.amount]
    assert 0.02 < len(partial) / len(invoices) < 0.08
    rests = invoices.dropna(subset=["remainder_of"]).merge(
        invoices, left_on="remainder_of", right_on="invoice_id", suffixes=("", "_first")
    )
    assert len(rests) > 0.9 * len(partial)
    assert set(rests.remainder_of) <= set(partial.invoice_id)
    assert (rests.amount == rests.amount_first - rests.paid_amount_first).all()
    assert (rests.occurred_at > rests.paid_at_known_at_first).all()
    assert (rests.paid_amount.dropna() == rests.amount[rests.paid_amount.notna()]).all()


def test_what_was_paid_is_null_until_it_was(frames):
    invoices = frames["invoices"]
    assert (invoices.paid_amount.isna() == invoices.paid_at.isna()).all()
    assert (invoices.paid_amount.dropna() > Decimal(0)).all()
    assert (invoices.paid_at.dropna() > invoices.occurred_at[invoices.paid_at.notna()]).all()


def test_a_few_invoices_are_written_off_half_a_year_after_they_were_due_and_never_paid(frames):
    invoices = frames["invoices"]
    lost = invoices.dropna(subset=["written_off_at"])
    assert 0.001 < len(lost) / len(invoices) < 0.02
    assert lost.paid_at.isna().all()
    assert ((lost.written_off_at - lost.due_at).dt.days - 180).abs().max() <= 1
    assert (lost.written_off_at_known_at >= lost.written_off_at).all()


def test_cooling_accounts_pay_later(part, frames):
    paid = frames["invoices"].dropna(subset=["paid_at"])
    days = (paid.paid_at - paid.due_at).dt.days
    phase = phase_of(part, paid.customer_id, paid.due_at.clip(upper=CLOCK))
    assert days[phase == WINDING].mean() > days[phase == HEALTHY].mean() + 8


def test_satisfaction_is_told_for_some_closed_tickets_only(frames):
    tickets = frames["tickets"]
    closed = tickets.closed_at.notna()
    assert 0.9 < closed.mean() < 1
    assert tickets.satisfaction[~closed].isna().all()
    assert 0.40 < tickets.satisfaction[closed].notna().mean() < 0.50
    assert set(tickets.satisfaction.dropna()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert (tickets.closed_at_known_at[closed] >= tickets.closed_at[closed]).all()
    assert (tickets.closed_at_known_at[closed] >= tickets.known_at[closed]).all()


def test_a_cooling_account_has_more_tickets_and_is_less_content(part, frames):
    tickets = frames["tickets"]
    phase = phase_of(part, tickets.customer_id, tickets.occurred_at)
    accounts = part.world.accounts
    buys = np.arange(STEPS)[None, :] * 14 * DAY >= accounts.buys_from[:, None]
    periods = [np.sum(buys & (accounts.phase == state)) for state in (HEALTHY, COOLING, WINDING, GONE)]
    healthy, cooling, winding, gone = (np.sum(phase == state) / periods[state] for state in range(4))
    assert cooling > 1.4 * healthy
    assert winding > 1.4 * healthy
    assert gone < 0.5 * healthy
    content = tickets.satisfaction.groupby(phase).mean()
    assert content[HEALTHY] > content[COOLING] + 0.5 > content[WINDING] + 0.5


def test_a_subscription_ends_once_and_changes_only_before(frames):
    subscriptions = frames["subscriptions"]
    assert (subscriptions.ended_at.isna() == subscriptions.end_reason.isna()).all()
    assert 0.1 < subscriptions.ended_at.notna().mean() < 0.7
    ended = subscriptions.dropna(subset=["ended_at"])
    assert (ended.ended_at > ended.occurred_at).all()
    changes = frames["attribute_changes"].query("table_name == 'subscriptions'")
    assert set(changes.field) == {"plan", "mrr", "renews_on"}
    changes = changes.merge(subscriptions, left_on="entity_id", right_on="subscription_id", suffixes=("", "_own"))
    assert (changes.occurred_at > changes.occurred_at_own).all()
    assert (changes.occurred_at <= changes.ended_at.fillna(CLOCK)).all()


def test_a_living_subscription_renews_after_the_clock(frames):
    alive = frames["subscriptions"].query("ended_at.isna()")
    assert (pd.to_datetime(alive.renews_on) >= CLOCK.normalize() - pd.Timedelta(days=1)).all()
    assert (pd.to_datetime(alive.renews_on) < CLOCK + pd.Timedelta(days=367)).all()


def test_plans_go_up_and_down_and_take_the_price_with_them(frames):
    changes = frames["attribute_changes"].query("table_name == 'subscriptions'")
    plans, prices = changes[changes.field == "plan"], changes[changes.field == "mrr"]
    assert len(plans) == len(prices) > 20
    up = plans.old_value.map({"basic": 0, "plus": 1, "enterprise": 2}) < plans.new_value.map(
        {"basic": 0, "plus": 1, "enterprise": 2}
    )
    assert 0.2 < up.mean() < 0.9
    dearer = prices.new_value.astype(float).to_numpy() > prices.old_value.astype(float).to_numpy()
    assert (dearer == up.to_numpy()).all()


def test_subscriptions_end_where_the_account_has_cooled(part, frames):
    ended = frames["subscriptions"].dropna(subset=["ended_at"])
    at_end = phase_of(part, ended.customer_id, ended.ended_at)
    alive = frames["subscriptions"].query("ended_at.isna()")
    now = phase_of(part, alive.customer_id, pd.Series(CLOCK, index=alive.index))
    assert (at_end != HEALTHY).mean() > (now != HEALTHY).mean() + 0.2


def test_assessments_are_of_deals_and_customers_that_exist_and_some_are_repeated(frames):
    assessments = frames["assessments"]
    for entity, table in (("deal", "deals"), ("customer", "customers")):
        rows = assessments[assessments.entity == entity]
        assert rows.entity_id.isin(frames[table][f"{entity}_id"]).all()
        assert rows.groupby(["entity_id", "question"]).size().max() > 1
    assert set(assessments.answer) == {"1", "2", "3", "4", "5"}
    assert set(assessments.question) == {"need", "budget", "authority", "fit", "timing"}
    assert set(assessments[assessments.entity == "customer"].question) == {"need", "budget", "fit"}


def test_a_quarter_of_the_questions_about_a_deal_stays_open(frames):
    rounds = frames["assessments"].query("entity == 'deal'").groupby(["entity_id", "occurred_at"]).size()
    assert 0.72 < rounds.mean() / 5 < 0.78


@pytest.mark.parametrize("question", ["need", "budget"])
def test_answers_are_noisy_readings_of_a_hidden_state(part, frames, question):
    rows = frames["assessments"].query("entity == 'customer' and question == @question")
    codes = rows.entity_id.str[1:].astype(int).to_numpy() - 1
    hidden: Floats = getattr(part.world.customers, question)[codes]
    assert 0.5 < np.corrcoef(hidden, rows.answer.astype(float))[0, 1] < 0.85


def test_no_shown_number_of_a_customer_is_its_hidden_state(part, frames):
    shown = frames["customers"].select_dtypes("number").assign(revenue=frames["customers"].annual_revenue.astype(float))
    for state in ("need", "budget", "satisfaction", "solvency"):
        hidden = pd.Series(getattr(part.world.customers, state))
        assert shown.rank().corrwith(hidden.rank()).abs().max() < 0.7, state


def test_no_column_is_named_like_hidden_state(part, frames):
    named = {column for frame in frames.values() for column in frame}
    hidden = {
        "need",
        "budget",
        "solvency",
        "liveliness",
        "order_rate",
        "phase",
        "momentum",
        "promise",
        "effort",
        "skill",
    }
    assert not named & hidden
    assert [name for name, frame in frames.items() if "satisfaction" in frame] == ["tickets"]  # told by the customer
