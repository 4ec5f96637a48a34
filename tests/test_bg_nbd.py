"""BG/NBD: the published figures, the limits, what must rise or fall, and a process with known parameters."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.bg_nbd import BgNbd, Histories, Parameters, fit_to_labels, fit_to_purchases, log_likelihood, read_histories
from models.encoding import CodedRows, code_rows, make_contract
from models.predict import Bundle, Floats, PurchaseMember, to_probability
from models.training_set import TrainingSet

PUBLISHED = Parameters(r=0.243, alpha=4.414, a=0.793, b=2.426)
"""Of the sample of 2,357 CDNOW customers, in weeks: Fader, Hardie and Lee 2005, table 2."""
ROLES = {"purchase_count": "orders", "last_purchase_days": "since_last", "first_purchase_days": "since_first"}


def one(repeats: float, until_last: float, age: float) -> Histories:
    return Histories(np.array([repeats]), np.array([until_last]), np.array([age]))


def nothing(parameters: Parameters, history: Histories, horizon: float) -> float:
    return float(to_probability(parameters.log_odds(history, horizon))[0])


def simulate(parameters: Parameters, customers: int, horizon: float, seed: int) -> tuple[Histories, Floats]:
    """Histories of customers who came 50 to 400 days ago, and whether they bought nothing within the horizon."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(customers):
        rate, leaving = generator.gamma(parameters.r) / parameters.alpha, generator.beta(parameters.a, parameters.b)
        age, time, bought = generator.uniform(50, 400), 0.0, [0.0]
        is_there = not (parameters.first_may_be_last and generator.random() < leaving)
        while is_there and time < age + horizon:
            time += generator.exponential(1.0 / rate)
            bought.append(time)
            is_there = generator.random() >= leaving
        seen = [at for at in bought if at < age]
        rows.append((len(seen) - 1, seen[-1], age, not any(age <= at < age + horizon for at in bought)))
    repeats, until_last, age, label = np.array(rows, dtype=np.float64).T
    return Histories(repeats, until_last, age), label


def coded(histories: Histories, label: Floats, horizon: int = 60) -> CodedRows:
    """One snapshot per customer as the recipe reads it; `orders` counts the first purchase, too."""
    columns = {"orders": histories.repeats + 1, "since_last": histories.age - histories.until_last}
    frame = pd.DataFrame({**columns, "since_first": histories.age})
    rows = TrainingSet(frame, label, horizon=horizon, roles=ROLES)
    return code_rows(rows, make_contract(frame))


def test_the_chance_of_being_there_is_the_published_one() -> None:
    # without end of the horizon only those who left buy nothing; 26 repeats until week 30.86 of 31: 0.9689
    assert 1 - nothing(PUBLISHED, one(26, 30.86, 31), 1e12) == pytest.approx(0.9689, abs=1e-4)
    # and 2 repeats until week 30.43 of 38.86: 1 / (1 + 0.793 / 3.426 * (43.274 / 34.844) ** 2.243) = 0.7266
    assert 1 - nothing(PUBLISHED, one(2, 30.43, 38.86), 1e12) == pytest.approx(0.7266, abs=1e-4)


def test_who_bought_once_has_the_chance_of_the_negative_binomial() -> None:
    # x = 0: nobody can have left yet, so P = ((4.414 + 30) / (4.414 + 30 + 26)) ** 0.243
    assert nothing(PUBLISHED, one(0, 0, 30), 26) == pytest.approx((34.414 / 60.414) ** 0.243)
    # where the first purchase may be the last: d = 0.793 / 2.426 * (34.414 / 4.414) ** 0.243, P = (d + ...) / (1 + d)
    odds = 0.793 / 2.426 * (34.414 / 4.414) ** 0.243
    expected = (odds + (34.414 / 60.414) ** 0.243) / (1 + odds)
    assert nothing(replace(PUBLISHED, first_may_be_last=True), one(0, 0, 30), 26) == pytest.approx(expected)


def test_the_likelihood_of_one_history_is_the_integral_over_rates_and_chances_to_leave() -> None:
    # by hand for gamma(1, 1) and beta(1, 1), x = 1, t_x = 2, T = 3: the integral of
    # l (1 - p) e^(-3 l) + l p e^(-2 l) over e^(-l) dl and dp is 1/2 * 1/16 + 1/2 * 1/9
    found = log_likelihood(Parameters(1.0, 1.0, 1.0, 1.0), one(1, 2, 3))
    assert np.exp(found).tolist() == pytest.approx([(1 / 16 + 1 / 9) / 2])


def test_a_longer_horizon_makes_nothing_less_likely_and_a_longer_pause_more_likely() -> None:
    horizons = [nothing(PUBLISHED, one(3, 20, 30), horizon) for horizon in (1, 4, 26, 52, 520)]
    assert (np.diff(horizons) < 0).all()
    pauses = [nothing(PUBLISHED, one(3, until, 30), 26) for until in (30, 25, 15, 5, 0)]
    assert (np.diff(pauses) > 0).all()


def test_after_the_same_pause_who_bought_more_often_is_more_likely_gone() -> None:
    seldom, often = nothing(PUBLISHED, one(1, 10, 40), 26), nothing(PUBLISHED, one(15, 10, 40), 26)
    assert seldom < often
    assert nothing(PUBLISHED, one(1, 40, 40), 26) > nothing(PUBLISHED, one(15, 40, 40), 26)  # just seen: the reverse


def test_thousands_of_purchases_and_years_of_silence_stay_finite() -> None:
    extreme = Histories(np.array([0.0, 5000.0, 5000.0]), np.array([0.0, 3650.0, 1.0]), np.array([0.0, 3650.0, 3650.0]))
    found = PUBLISHED.log_odds(extreme, 26, doubt=0.001)
    assert np.isfinite(found).all()
    assert to_probability(found)[2] == pytest.approx(0.999)  # never quite sure
    assert np.isfinite(PUBLISHED.log_odds(extreme, 26)).all()


@pytest.mark.parametrize("first_may_be_last", [False, True])
def test_the_process_is_found_again_and_what_comes_after_agrees(first_may_be_last: bool) -> None:
    truth = Parameters(r=0.8, alpha=60.0, a=0.7, b=2.0, first_may_be_last=first_may_be_last)
    histories, label = simulate(truth, 4000, 60.0, seed=1)
    found = fit_to_purchases(histories, first_may_be_last)
    assert (found.r, found.alpha) == (pytest.approx(truth.r, rel=0.15), pytest.approx(truth.alpha, rel=0.2))
    assert found.a / (found.a + found.b) == pytest.approx(0.7 / 2.7, abs=0.03)
    probability = to_probability(found.log_odds(histories, 60.0))
    assert probability.mean() == pytest.approx(label.mean(), abs=0.02)
    for low in (0.2, 0.4, 0.6, 0.8):  # about 400 rows each or more: two and a half standard errors
        inside = (probability >= low) & (probability < low + 0.2)
        assert probability[inside].mean() == pytest.approx(label[inside].mean(), abs=0.06)


@pytest.mark.data
def test_all_customers_of_cdnow_have_the_published_parameters_of_their_sample(
    public_data: Callable[[str], Path],
) -> None:
    place = public_data("cdnow") / "cdnow" / "CDNOW_master.txt.gz"
    lines = pd.read_csv(place, sep=r"\s+", skiprows=1, names=["who", "on", "pieces", "amount"])
    days = pd.to_datetime(lines["on"].astype(str))
    seen = days[days <= "1997-09-30"].groupby(lines["who"]).agg(["nunique", "min", "max"])
    weeks = [(end - seen["min"]).dt.days.to_numpy() / 7.0 for end in (seen["max"], pd.Timestamp("1997-09-30"))]
    found = fit_to_purchases(Histories(seen["nunique"].to_numpy(dtype=np.float64) - 1.0, *weeks))
    # the sample is a tenth of them: within two of the standard errors of its estimates
    for name, error in {"r": 0.013, "alpha": 0.378, "a": 0.186, "b": 0.705}.items():
        assert getattr(found, name) == pytest.approx(getattr(PUBLISHED, name), abs=2 * error)


def test_labels_of_another_season_move_the_level_that_purchases_gave() -> None:
    histories, label = simulate(Parameters(r=0.8, alpha=60.0, a=0.7, b=2.0), 2000, 60.0, seed=2)
    quiet = np.maximum(label, np.random.default_rng(0).random(2000) < 0.4)  # four in ten of the buyers stay away
    start = fit_to_purchases(histories)
    moved = fit_to_labels(histories, quiet, 60.0, start)
    before, after = (to_probability(one.log_odds(histories, 60.0)).mean() for one in (start, moved))
    assert before == pytest.approx(label.mean(), abs=0.03)
    assert after == pytest.approx(quiet.mean(), abs=0.01)
    assert fit_to_labels(histories, quiet, 60.0, start) == moved  # the same input gives the same parameters


def test_histories_without_a_single_repeat_or_without_any_row_do_not_diverge() -> None:
    once = Histories(np.zeros(50), np.zeros(50), np.linspace(1, 50, 50))
    for histories in (once, once.take([]), one(3, 0, 0)):
        found = fit_to_purchases(histories)
        assert np.isfinite([found.r, found.alpha, found.a, found.b]).all()
        assert np.isfinite(found.log_odds(once, 30.0)).all()


def test_the_candidate_needs_to_know_which_columns_are_the_history() -> None:
    rows = coded(*simulate(PUBLISHED, 30, 60.0, seed=3))
    assert len(BgNbd().settings(rows)) == 4
    assert BgNbd().settings(replace(rows, roles={})) == []
    assert BgNbd().settings(replace(rows, roles={**ROLES, "purchase_count": "orders"}, horizon=0)) == []
    assert BgNbd().settings(replace(rows, roles={"purchase_count": "orders"})) == []


def test_several_snapshots_of_a_customer_count_once_with_the_newest() -> None:
    histories = Histories(np.array([0.0, 1.0, 4.0]), np.array([0.0, 9.0, 2.0]), np.array([5.0, 20.0, 8.0]))
    rows = coded(histories, np.zeros(3))
    once, alone = replace(rows, group=np.array([7, 7, 9])), rows.take(np.array([1, 2]))
    fitted, expected = (BgNbd().fit(part, BgNbd().settings(rows)[0]).document for part in (once, alone))
    assert [fitted[name] for name in ("r", "alpha", "a", "b")] == [expected[name] for name in ("r", "alpha", "a", "b")]


def test_rows_without_a_purchase_are_not_learned_from_and_get_the_mean_of_the_others() -> None:
    histories, label = simulate(PUBLISHED, 40, 60.0, seed=4)
    rows = coded(histories, label)
    blank = {name: np.append(column, np.nan) for name, column in rows.columns.items()}
    rows = replace(rows, columns=blank, label=np.append(label, 1.0), group=np.append(rows.group, 99))
    assert len(read_histories(rows)[0]) == 40
    member = PurchaseMember(BgNbd().fit(rows, BgNbd().settings(rows)[0]).document)
    found = member.log_odds(rows.columns, 41)
    assert found[40] == pytest.approx(found[:40].mean())
    assert member.contributions(rows.columns, 41)["purchase_rhythm"][40] == 0.0


def test_it_enters_a_bundle_as_one_reason_beside_the_columns() -> None:
    histories, label = simulate(PUBLISHED, 60, 60.0, seed=5)
    rows = coded(histories, label)
    document = BgNbd().fit(rows, BgNbd().settings(rows)[0]).document
    sigmoid = {"kind": "sigmoid", "intercept": 0.2, "slope": 0.9}
    model = {"columns": rows.contract, "calibrator": sigmoid, "members": [{"weight": 1.0, **document}]}
    bundle, frame = Bundle({}, model, {}), pd.DataFrame(rows.columns)
    assert bundle.reason_names == ["orders", "since_last", "since_first", "purchase_rhythm"]
    base, parts = bundle.contributions(frame)
    assert base + parts.sum(axis=1) == pytest.approx(bundle.log_odds(frame))
    assert (parts[:, :3] == 0).all()
    assert bundle.reason_words["purchase_rhythm"] == {
        "en": "purchase rhythm: {orders:,.0f} orders, the last {since_last:,.0f} days ago",
        "zh": "购买节奏：下单 {orders:,.0f} 次，最近一次在 {since_last:,.0f} 天前",
    }
