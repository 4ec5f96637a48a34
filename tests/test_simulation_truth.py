"""The truth of the simulated world: tiny cases by hand, and whole worlds whose outcomes must agree with it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline.simulation_truth_accounts as account_truth
import pipeline.simulation_truth_deals as deal_truth
from pipeline.simulate import Plan, simulate_parts
from pipeline.simulation_accounts import BEATS, GONE, HEALTHY, phase_rates
from pipeline.simulation_columns import office_time
from pipeline.simulation_criteria import CRITERIA
from pipeline.simulation_deals import WEEK, WON
from pipeline.simulation_mechanics import draw_world
from pipeline.simulation_progress import MOMENTA, STEADY, WeekRates
from pipeline.simulation_truth import Truth, build_truth, raw_time
from pipeline.simulation_truth_accounts import silence
from pipeline.simulation_truth_deals import DealStates, win_probability
from pipeline.simulation_world import DAY, HISTORY, START, STEP

ROOT = Path(__file__).parent.parent
NEW, NEGOTIATION = 0, 3


def one_deal(stage=NEGOTIATION, passed=0.0, has_moved=False):
    """One deal of no particular promise in the first week of its age."""
    return DealStates(
        promise=np.zeros(1),
        began=np.zeros(1),
        age=np.zeros(1, dtype=np.int64),
        passed=np.array([passed]),
        stage=np.array([stage]),
        momentum=np.array([STEADY]),
        has_moved=np.array([has_moved]),
    )


@pytest.fixture
def win_20_percent(monkeypatch):
    """Every week an open deal is won with 20 % and nothing else happens."""

    def rates(promise, began, age, stage, momentum):
        shape = np.broadcast_shapes(*(np.shape(value) for value in (promise, stage, momentum)))
        return WeekRates(np.full(shape, 0.2), np.zeros(shape), np.zeros(shape), np.zeros(shape))

    monkeypatch.setattr(deal_truth, "week_rates", rates)


@pytest.fixture
def only_forward(monkeypatch):
    """A deal goes on a stage with 50 % a week, and is won with 40 % in the last; its momentum stays."""

    def rates(promise, began, age, stage, momentum):
        shape = np.broadcast_shapes(*(np.shape(value) for value in (promise, stage, momentum)))
        is_last = np.broadcast_to(np.asarray(stage) == NEGOTIATION, shape)
        return WeekRates(0.4 * is_last, np.zeros(shape), 0.5 * ~is_last, np.zeros(shape))

    monkeypatch.setattr(deal_truth, "week_rates", rates)
    monkeypatch.setattr(deal_truth, "momentum_rates", lambda promise: (0 * promise, 0 * promise))


@pytest.mark.parametrize(
    ("passed", "has_moved", "weeks", "chance"),
    [
        (0.0, False, 1, 0.2),
        (0.0, False, 2, 1 - 0.8**2),
        (0.0, False, 5, 1 - 0.8**5),
        (0.0, False, 0.25, 0.2 * 0.25),  # the moment within the week is uniform
        (0.5, False, 0.5, 0.1 / 0.9),  # it has not been won in the first half: 1 - 0.1
        (0.5, False, 1, 0.1 / 0.9 + (0.8 / 0.9) * 0.1),  # the other half, then half a week
        (0.5, True, 0.5, 0.0),  # this week's event has been
        (0.5, True, 1.5, 0.2),  # the whole next week
    ],
)
def test_the_chance_of_a_win_under_a_constant_rate_is_what_the_hand_computes(
    win_20_percent, passed, has_moved, weeks, chance
):
    deal = one_deal(passed=passed, has_moved=has_moved)
    assert win_probability(deal, weeks * WEEK)[0] == pytest.approx(chance, abs=1e-12)


@pytest.mark.parametrize(
    ("stage", "weeks", "chance"),
    [
        (NEGOTIATION, 1, 0.4),
        (2, 1, 0.0),  # a stage on and a win take two weeks
        (2, 2, 0.5 * 0.4),
        (2, 3, 0.5 * (1 - 0.6**2) + 0.25 * 0.4),  # on in the first week, or in the second
        (NEW, 3, 0.0),
        (NEW, 4, 0.5**3 * 0.4),
    ],
)
def test_the_chance_of_a_win_goes_through_the_stages_week_by_week(only_forward, stage, weeks, chance):
    assert win_probability(one_deal(stage), weeks * WEEK)[0] == pytest.approx(chance, abs=1e-12)


def silence_of_one(monkeypatch, pace=0.5, horizon=2.0, **changes):
    """P(no order) of one customer in a world without seasons."""
    monkeypatch.setattr(account_truth, "season", lambda times: np.ones_like(times))
    state = {
        "loyalty": np.zeros(1),
        "step": np.array([10]),
        "passed": np.zeros(1),
        "phase": np.array([HEALTHY]),
        "missing": np.array([1]),
        "is_buying": np.array([True]),
        "has_won": np.array([False]),
    }
    return float(
        silence(np.array([pace]), horizon=horizon, **state | {k: np.array([v]) for k, v in changes.items()})[0]
    )


def test_silence_of_one_period_is_that_of_a_poisson_process(monkeypatch):
    assert silence_of_one(monkeypatch, horizon=1.0) == pytest.approx(np.exp(-0.5))
    assert silence_of_one(monkeypatch, horizon=0.25, passed=0.5) == pytest.approx(np.exp(-0.125))
    assert silence_of_one(monkeypatch, horizon=1.0, is_buying=False) == 1.0


def test_with_two_beats_missing_one_beat_is_no_order(monkeypatch):
    assert silence_of_one(monkeypatch, horizon=1.0, missing=2) == pytest.approx(np.exp(-0.5) * 1.5)


def test_silence_goes_through_the_phases_of_the_next_period(monkeypatch):
    level = account_truth.ORDER_LEVEL
    worse = phase_rates(np.zeros(1), 11).worse[0, HEALTHY]
    expected = np.exp(-0.5) * ((1 - worse) * np.exp(-0.5) + worse * np.exp(-0.5 * level[1]))
    assert silence_of_one(monkeypatch) == pytest.approx(expected)


def test_a_win_in_the_running_period_makes_the_next_one_healthy(monkeypatch):
    expected = np.exp(-0.5 * account_truth.ORDER_LEVEL[GONE]) * np.exp(-0.5)
    assert silence_of_one(monkeypatch, phase=GONE, has_won=True) == pytest.approx(expected)


def test_a_moment_of_the_tables_splits_the_simulators_time_where_it_splits_the_tables():
    rng = np.random.default_rng(1)
    times = rng.uniform(0, HISTORY, 20_000)
    moments = np.floor(times + rng.normal(0, DAY / 4, len(times))) + rng.choice([0.0, 1e-6], len(times))
    assert ((office_time(times) >= moments) == (times >= raw_time(moments))).all()
    assert raw_time(np.array([np.inf]))[0] == np.inf


@pytest.fixture(scope="module")
def part():
    plan = Plan(20_000, 3, events_per_customer=60)
    return next(iter(simulate_parts(plan)))


@pytest.fixture(scope="module")
def truth(part) -> Truth:
    return build_truth(part.world, part.numbers, part.tables)


def settled(table, entity_ids, seed, mean_days):
    """One moment of each entity whose horizon has passed: the first after a drawn time, which looks at no future."""
    frame = table.to_pandas()
    frame = frame[frame.as_of + pd.Timedelta(days=90) < pd.Timestamp("2025-06-30")]
    number = pd.Series(np.arange(len(entity_ids)), index=entity_ids.to_pandas())
    frame["number"] = number[frame.entity_id].to_numpy()
    frame["at"] = (frame.as_of - pd.Timestamp(START)).dt.total_seconds()
    rng = np.random.default_rng(seed)
    wait = rng.exponential(mean_days * DAY, len(entity_ids)) * (rng.random(len(entity_ids)) < 0.8)
    begins = frame.groupby("number")["at"].transform("min")
    frame = frame[frame["at"] >= begins + wait[frame.number]]
    return frame.sort_values(["at", "entity_id"]).drop_duplicates("entity_id").reset_index(drop=True)


def check_agreement(frame, group, errors=3.5):
    """Check that as much happens as the truth says, in every group, within its standard errors."""
    for name, rows in frame.groupby(group, observed=True):
        expected, spread = rows.probability.sum(), np.sqrt((rows.probability * (1 - rows.probability)).sum())
        assert abs(rows.label.sum() - expected) < errors * spread + 0.5, (name, len(rows), rows.label.sum(), expected)


CHANCES = [-1, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]


@pytest.mark.parametrize("seed", [1, 2])
def test_deals_are_won_as_often_as_the_truth_says(part, truth, seed):
    deals, progress = part.world.deals, part.world.progress
    rows = settled(truth.conversion, part.numbers.deals(np.arange(len(deals))), seed, 60)
    closed = office_time(progress.closed)[rows.number]
    is_won = progress.outcome[rows.number] == WON
    assert (closed >= rows["at"]).all()
    rows["label"] = (is_won & (closed < rows["at"] + 90 * DAY)).astype(float)
    at = raw_time(rows["at"].to_numpy())
    states = deal_truth.states_at(deals, progress, rows.number.to_numpy(), at)
    rows["state"] = states.stage * MOMENTA + states.momentum
    rows["age"] = np.digitize(states.age, [1, 2, 5, 12, 26])
    rows["has_moved"] = states.has_moved
    rows["bin"] = pd.cut(rows.probability, CHANCES)
    rows["quarter"] = rows.as_of.dt.to_period("Q")
    rows["all"] = 1
    check_agreement(rows, "all", errors=3.0)
    for group in ("origin", "bin", "quarter", "state", "age", "has_moved"):
        check_agreement(rows, group)


@pytest.mark.parametrize("seed", [1, 2])
def test_customers_fall_silent_as_often_as_the_truth_says(part, truth, seed):
    world = part.world
    rows = settled(truth.churn, part.numbers.customers(np.arange(len(world.customers))), seed, 400)
    bought = world.orders.amount > 0
    orders = pd.DataFrame({"number": world.orders.customer[bought], "when": office_time(world.orders.occurred[bought])})
    later = pd.merge_asof(
        rows.sort_values("at"), orders.sort_values("when"), left_on="at", right_on="when", by="number",
        direction="forward",
    )  # fmt: skip
    rows = later.assign(label=(~(later.when < later["at"] + 90 * DAY)).astype(float))
    rows["phase"] = world.accounts.phase[rows.number, (rows["at"] // STEP).astype(int)]
    rows["bin"] = pd.cut(rows.probability, CHANCES)
    rows["quarter"] = rows.as_of.dt.to_period("Q")
    rows["is_new"] = rows["at"] < world.accounts.buys_from[rows.number] + 30 * DAY
    rows["all"] = 1
    check_agreement(rows, "all", errors=3.0)
    for group in ("origin", "bin", "quarter", "phase", "is_new"):
        check_agreement(rows, group)


def test_there_is_truth_at_month_starts_and_at_three_ages_for_everybody_who_was_there(part, truth):
    for table in (truth.conversion, truth.churn):
        frame = table.to_pandas()
        assert not frame.duplicated(["entity_id", "as_of"]).any()
        assert frame.probability.between(0, 1).all()
        assert (frame.as_of[frame.origin == "grid"].dt.strftime("%d %H:%M:%S") == "01 00:00:00").all()
        assert set(frame.horizon_days) == {90}
    known = part.tables["deals"].select(["deal_id", "known_at"]).to_pandas().set_index("deal_id").known_at
    deals = truth.conversion.to_pandas().query("origin == 'age'")
    age = deals.as_of - known[deals.entity_id].to_numpy()
    assert set(age) <= {pd.Timedelta(1, "us"), pd.Timedelta(7, "D"), pd.Timedelta(30, "D")}
    assert (age == pd.Timedelta(1, "us")).sum() > 0.99 * len(known)


def test_a_policy_works_its_share_and_a_random_slice_and_the_rest_is_won_less():
    everything, chosen = (draw_world(np.random.default_rng(1), 2_000, policy) for policy in (None, 0.4))
    assert everything.deals.is_worked.all()
    worked = chosen.deals.is_worked
    assert worked.mean() == pytest.approx(0.4 + 0.6 * 0.1, abs=0.02)
    assert chosen.deals.effort[~worked].mean() < 0.3 * chosen.deals.effort[worked].mean()
    won = chosen.progress.outcome == WON
    assert won[~worked].mean() < 0.6 * won[worked].mean()


def test_a_third_of_the_causes_are_not_linear_some_are_never_shown_and_some_criteria_are_null():
    causes = [one for one in CRITERIA if one.kind != "none"]
    assert sum(one.kind != "linear" for one in causes) >= len(causes) / 3
    assert sum(not one.shown_in for one in causes) >= 4
    for target in ("conversion", "churn"):
        assert sum(one.direction == 0 for one in CRITERIA if one.target == target) >= 3


def test_nothing_but_the_simulator_reads_the_truth():
    reads = re.compile(r"simulation_(truth|criteria|mechanics|promise|progress)|truth/")
    simulator = {*ROOT.glob("pipeline/simulat*.py"), ROOT / "pipeline" / "commands" / "simulate.py"}
    for folder in ("features", "models", "pipeline"):
        for path in set((ROOT / folder).rglob("*.py")) - simulator:
            assert not reads.search(path.read_text(encoding="utf-8")), path


def test_beats_are_orders_in_turn():
    rhythm = draw_world(np.random.default_rng(2), 500).rhythm
    assert rhythm.is_order.mean() == pytest.approx(1 / BEATS, abs=0.02)
    assert (np.diff(rhythm.customer) >= 0).all()
