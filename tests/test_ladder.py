"""The ladder at its foot: forty labelled rows give a model that tells people apart, or a sentence."""

from dataclasses import replace

import numpy as np
import pytest
from bench_ladder import Rung, draw
from test_recipe import QUICK, simulate

from features.errors import DataError
from models.recipe import evaluate, refit
from models.recipe_notes import SECOND_LOOK


def test_forty_rows_with_a_strong_signal_give_no_constant_score() -> None:
    found = evaluate(simulate(40, strength=4.0), simulate(200, seed=1, strength=4.0), QUICK)
    assert found.selected != "base_rate"
    assert np.ptp(found.test_probability) > 0.2


def test_forty_rows_without_a_signal_are_said_to_have_none() -> None:
    found = evaluate(simulate(40, strength=0.0), simulate(200, seed=1, strength=0.0), QUICK)
    assert found.selected == "base_rate"
    assert np.ptp(found.test_probability) == 0.0


def test_rows_too_few_for_folds_in_time_are_looked_at_again_in_grouped_ones() -> None:
    # folds in time are fitted on ten to thirty of these rows, grouped ones on thirty-two
    found = evaluate(simulate(40, seed=7, strength=2.0), simulate(200, seed=1, strength=2.0), QUICK)
    assert (found.selected, found.folds) == ("logistic", "5 grouped")
    assert SECOND_LOOK in found.notes
    assert [one["name"] for one in found.candidates] == ["base_rate", "logistic"]
    assert found.test["auc"] > 0.6


def test_forty_rows_on_which_all_get_one_score_are_refused() -> None:
    evaluation = evaluate(simulate(40, strength=4.0), simulate(200, seed=1, strength=4.0), QUICK)
    rows = simulate(40, strength=4.0)
    alike = replace(rows, frame=rows.frame.assign(amount=1.0, age=1.0, region="north"))
    with pytest.raises(DataError, match=r"Refitted on all 40 ripe rows, .* gives everybody the same score"):
        refit(evaluation, alike)


def test_a_draw_keeps_the_order_of_its_rows_and_the_error_takes_in_customers_and_draws() -> None:
    drawn = draw(simulate(100), 40, seed=0)  # in the order of their months
    months = np.asarray(drawn.time).astype(np.int64)
    assert (len(drawn), months.tolist()) == (40, sorted(months.tolist()))
    # draws differ from the line by +1 and -1 on every row: mean 0, and the draws alone make the error, sqrt(2 / 2)
    ones, zeros = np.ones(4), np.zeros(4)
    rung = Rung(40, chosen=[ones, zeros], line=[zeros, ones])
    assert rung.difference(np.arange(4)) == (0.0, 1.0)


def test_the_price_of_the_base_rate_is_told_apart_from_a_chosen_model_that_is_worse() -> None:
    # the model is as good as the line on its two draws; the base rate, chosen twice, is 0.5 worse on every row
    rung = Rung(40, [np.ones(4)] * 2 + [np.full(4, 1.5)] * 2, [np.ones(4)] * 4, ["logistic"] * 2 + ["base_rate"] * 2)
    group = np.arange(4)
    assert not rung.part(is_shown=True).is_worse(group)
    assert rung.part(is_shown=False).is_worse(group)
    assert rung.tell("small", group).endswith(
        "logistic 2, base_rate 2 (there the line, unseen, would save +0.5000 +- 0.0000)"
    )
    assert not Rung(40).is_worse(group)
    assert Rung(40).price(group) == ""
