"""Which candidate goes on: forty rows on which the answer can be seen."""

import numpy as np

from models.blend import keep_members
from models.predict import to_probability
from models.selection import ranks_beyond_noise, select
from models.tuning import Trial


def trial(name: str, *log_odds: float) -> Trial:
    part = np.array(log_odds)
    return Trial(name, {}, (part,), (part,))


LABEL = np.array([1.0, 0.0] * 20)
RIGHT = np.where(LABEL == 1.0, 2.0, -2.0)


def test_the_blend_is_preferred_and_then_the_simplest_within_noise_of_the_best() -> None:
    label, right = np.tile(LABEL, 8), np.tile(RIGHT, 8)
    noise = np.tile([0.5, -0.5, -0.5, 0.5], 80)  # helps two rows as much as it hurts two others
    trials = [trial("base_rate", *np.zeros(320)), trial("logistic", *right + noise), trial("lightgbm", *right - noise)]
    assert select(trials, label, np.arange(320)).name == "logistic"
    assert select([*trials, trial("blend", *right)], label, np.arange(320)).name == "blend"
    assert select([*trials, trial("blend", *0.5 * right)], label, np.arange(320)).name == "logistic"
    better = [*trials[:2], trial("lightgbm", *2 * right)]
    assert select(better, label, np.arange(320)).name == "lightgbm"


def test_on_few_rows_the_line_goes_before_the_blend_unless_it_is_beaten() -> None:
    noise = np.tile([0.5, -0.5, -0.5, 0.5], 10)
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *RIGHT + noise), trial("blend", *RIGHT)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"  # twenty rows of either label
    assert select([*trials[:2], trial("blend", *2 * RIGHT)], LABEL, np.arange(40)).name == "blend"


def test_few_rows_are_asked_for_the_points_and_the_line_only() -> None:
    base, lost = trial("base_rate", *np.zeros(40)), trial("logistic", *np.tile([0.1, 0.1, -0.1, -0.1], 10))
    assert select([base, trial("lightgbm", *RIGHT), lost], LABEL, np.arange(40)).name == "base_rate"
    assert (
        select([base, trial("lightgbm", *RIGHT), trial("points", *RIGHT), lost], LABEL, np.arange(40)).name == "points"
    )
    # where both tell people apart the points go first, unless the line beats them beyond noise
    noise, line = np.tile([0.5, -0.5, -0.5, 0.5], 10), trial("logistic", *1.01 * RIGHT)
    assert select([base, trial("points", *RIGHT + noise), line], LABEL, np.arange(40)).name == "points"
    often_wrong = trial("points", *np.where(np.arange(40) % 10 < 2, -RIGHT, RIGHT))
    assert select([base, often_wrong, line], LABEL, np.arange(40)).name == "logistic"


def test_few_rows_of_many_weeks_are_compared_within_periods_of_some_weeks() -> None:
    week = np.repeat(np.arange(80), 2)  # two rows a week: with two of one outcome there is no order to be right about
    label = np.repeat(np.tile([1.0, 1.0, 0.0, 0.0], 20), 2)
    trials = [trial("base_rate", *np.zeros(160)), trial("logistic", *np.where(label == 1.0, 1.0, -1.0))]
    assert select(trials, label, np.arange(160), week).name == "logistic"
    # three of four are good until week 40, then one of four: who knows the date alone, knows nothing about people
    label = np.concatenate([np.tile([1.0, 1.0, 1.0, 0.0], 20), np.tile([1.0, 0.0, 0.0, 0.0], 20)])
    calendar = [trials[0], trial("logistic", *np.repeat([1.0, -1.0], 80))]
    assert select(calendar, label, np.arange(160)).name == "logistic"
    assert select(calendar, label, np.arange(160), week).name == "base_rate"


def test_a_single_column_has_to_be_shown_to_be_as_good() -> None:
    label, right = np.tile(LABEL, 100), np.tile(RIGHT, 100)
    unsure = np.where(np.arange(4000) % 10 == 0, -right, right)  # wrong in a tenth of the rows
    base = trial("base_rate", *np.zeros(4000))
    near = [base, trial("single_column", *0.999 * right), trial("blend", *right)]
    assert select(near, label, np.arange(4000)).name == "single_column"
    assert select([base, trial("single_column", *unsure), near[2]], label, np.arange(4000)).name == "blend"


def test_a_constant_score_is_never_chosen() -> None:
    trials = [trial("base_rate", *np.zeros(40)), trial("lightgbm", *np.full(40, 0.01))]
    assert select(trials, LABEL, np.arange(40)).name == "base_rate"


def test_a_gain_too_small_to_be_of_use_is_no_signal_however_many_rows_show_it() -> None:
    label, raw = np.tile(LABEL, 500), np.tile(RIGHT, 500)
    base = trial("base_rate", *np.zeros(20_000))
    assert select([base, trial("logistic", *raw / 1000)], label, np.arange(20_000)).name == "base_rate"
    assert select([base, trial("logistic", *raw / 100)], label, np.arange(20_000)).name == "logistic"


def test_rows_of_one_customer_are_one_piece_of_evidence() -> None:
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *RIGHT / 4)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"
    right_for_one = np.where(np.arange(40) < 20, RIGHT, -RIGHT / 8)
    two_customers = np.repeat([0, 1], 20)
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *right_for_one)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"
    assert select(trials, LABEL, two_customers).name == "base_rate"


def test_knowing_which_weeks_were_good_is_no_signal() -> None:
    week = np.repeat([0, 1], 200)
    label = np.concatenate([np.tile([1.0, 1.0, 1.0, 0.0], 50), np.tile([1.0, 0.0, 0.0, 0.0], 50)])
    rows, calendar = np.arange(400), np.where(week == 0, 1.0, -1.0)
    trials = [trial("base_rate", *np.zeros(400)), trial("logistic", *calendar)]
    assert select(trials, label, rows).name == "logistic"
    assert select(trials, label, rows, week).name == "base_rate"
    within = [trials[0], trial("logistic", *np.where(label == 1.0, 1.0, -1.0))]
    assert select(within, label, rows, week).name == "logistic"


def test_ranking_is_judged_within_folds_and_against_chance() -> None:
    label, rows = np.tile([1.0, 0.0], 6), np.arange(12)
    right, wrong = np.tile([2.0, 1.0], 3), np.tile([1.0, 2.0], 3)
    # a perfect order of three and three: AUC is 0.5 above one half, by chance sqrt(7 / (12 * 9)) = 0.25 a fold
    assert ranks_beyond_noise([right, right + 10], label, rows, 2.0)
    assert not ranks_beyond_noise([right, right + 10], label, rows, 3.0)
    assert not ranks_beyond_noise([right, wrong], label, rows, 0.0)
    # a fold of one class says nothing, however its scores differ from those of the other
    one_class = np.concatenate([label[:6], np.zeros(6)])
    assert not ranks_beyond_noise([np.full(6, 5.0), np.zeros(6)], one_class, rows, 0.0)


def test_a_member_is_dropped_only_where_many_rows_speak_against_it() -> None:
    generator = np.random.default_rng(0)
    raw = generator.normal(size=20_000)
    label = (generator.random(20_000) < to_probability(raw)).astype(float)
    noise = generator.normal(size=20_000)
    assert keep_members([raw[:50], noise[:50]], label[:50]) == [0, 1]
    assert keep_members([raw, noise], label) == [0]
    assert keep_members([raw, raw, noise], label) == [0, 1]
    assert keep_members([noise], label) == [0]
