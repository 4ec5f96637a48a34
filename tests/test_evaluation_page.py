"""The page of an evaluation: every section, the figures of its JSON, text that stays text, and nothing fetched."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_crm import only_candidates
from test_audit_page import Page
from test_recipe import QUICK, simulate

from models.recipe import Evaluation, evaluate
from models.training_set import TrainingSet
from pipeline.audit_verdict import ColumnVerdict
from pipeline.config_schema import Profit
from pipeline.evaluation_page import SECTIONS, make_evaluation_page
from pipeline.evaluation_report import EvaluationReport, Setting, make_report, months_of, write_evaluation_report
from pipeline.evaluation_words import calibration_sentence, why_chosen
from pipeline.plots import Subject

HOSTILE = "<script>alert(\"1\")</script>&<b onmouseover='x'>"
Sets = tuple[TrainingSet, TrainingSet]


def name_hostile(rows: TrainingSet) -> TrainingSet:
    """Rename two columns and a level to HTML."""
    frame = rows.frame.replace({"region": {"west": HOSTILE}})
    return replace(rows, frame=frame.rename(columns={"amount": f"{HOSTILE}1", "region": f"{HOSTILE}2"}))


@pytest.fixture(scope="module")
def sets() -> Sets:
    return name_hostile(simulate(500)), name_hostile(simulate(400, seed=1))


@pytest.fixture(scope="module")
def evaluation(sets: Sets) -> Evaluation:
    with only_candidates("base_rate", "single_column", "logistic"):
        return evaluate(*sets, QUICK)


SETTING = Setting(
    title=HOSTILE,
    subject=Subject("", "leads", HOSTILE),
    currency="EUR",
    profit=Profit(value_per_event=100, cost_per_contact=40),
    words={f"{HOSTILE}1": f"{HOSTILE} {{value:.0f}}"},
    verdicts=[ColumnVerdict("leads", HOSTILE, "leak", "static", True, f"{HOSTILE}.", "", 0.9)],
)


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, sets: Sets) -> EvaluationReport:
    with only_candidates("base_rate", "single_column", "logistic"):
        return make_report(evaluation, *sets, SETTING)


@pytest.fixture(scope="module")
def text(report: EvaluationReport) -> str:
    return make_evaluation_page(report)


def plain(page: str) -> str:
    return " ".join(Page(page).text.split())


def test_every_section_is_there_and_linked_to(text: str) -> None:
    assert re.findall(r'<h2 id="([a-z]+)">([^<]+)</h2>', text) == list(SECTIONS.items())
    assert re.findall(r'<a href="#([a-z]+)">', text) == list(SECTIONS)
    said = plain(text)
    for beginning in (
        "Among 400 leads that no model saw there were",
        "has the least log loss out of fold",
        "Calibrator: ",
        "A contact pays from a probability of 40.0 % on, its cost of 40.00 over the value of 100.00 EUR.",
        "slices the mean probability lies outside",
        "training rows predicted each way",
        "rows the log loss went from",
        "Share of the mean absolute contributions",
        "What the model says on average when one column is set",
        "1 column judged by when they were filled; 1 not simply to be used.",
        "It speaks of the 30 days after a score, and of nothing that comes later.",
        "It says who, not why",
        "The base rate over time",
    ):
        assert beginning in said


def row_of(text: str, name: str) -> str:
    """Text of the first table row that begins with a name."""
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", next(row for row in rows if f'class="name">{name}' in row)).split())


def test_the_figures_are_those_of_the_json(text: str, report: EvaluationReport) -> None:
    document = report.evaluation.to_json()
    said, test = plain(text), document["test"]
    low, high = test["interval"]["auc"]
    tiles = (
        f"{test['auc']:.3f} AUC {low:.3f} to {high:.3f}",
        f"{test['log_loss']:.4f} log loss",
        f"{test['lift_at_10']:.2f} lift of the top tenth",
        f"{test['average_precision']:.3f} average precision",
        f"{test['calibration_error']:.4f} calibration error",
        f"{100 * test['base_rate']:.1f} % base rate",
    )
    bare = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert [tile for tile in tiles if tile not in bare] == []
    for one in document["candidates"]:
        row = row_of(text, one["name"])
        assert ("chosen" in row) is (one["name"] == document["selected"])
        four = [f"{one[name]:.4f}" for name in ("log_loss", "brier", "calibration_error")]
        assert [
            figure for figure in (*four, f"{one['auc']:.3f}", f"{one['lift_at_10']:.2f}") if figure not in row
        ] == []
    assert document["fitted_on"]["sha256"][:16] in said
    assert document["evaluated_on"]["sha256"][:16] in said


def test_the_other_figures_are_those_of_the_report(text: str, report: EvaluationReport) -> None:
    said, document = plain(text), report.to_json()
    for one in document["slices"]:
        assert f"{100 * one['observed']:.1f} %" in said
    for one in document["splits"]["splits"]:
        assert f"{one['log_loss']:.4f}" in said
    assert f"would have brought {document['profit']['profit']:,.0f} EUR" in said
    for one in document["learning_curve"]:
        assert f"{one['rows']:,} rows: {one['log_loss']:.4f}" in said


def test_html_in_names_levels_and_words_is_shown_as_text(text: str) -> None:
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "onmouseover" not in {name for name, _ in page.attributes}
    assert page.text.replace("\n", "").count(HOSTILE) > 10


def test_the_page_fetches_nothing_and_runs_nothing(text: str) -> None:
    page = Page(text)
    assert not re.search(r"url\(|@import|https?:|javascript:", text)
    assert not [name for name, _ in page.attributes if name in ("src", "srcset") or name.startswith("on")]
    for media in ("(prefers-color-scheme: dark)", "print", "(max-width: 40rem)"):
        assert f"@media {media}" in text


def test_no_coordinate_is_not_a_number(text: str) -> None:
    drawn = [
        value for name, value in Page(text).attributes if name in ("points", "x", "y", "cx", "cy", "style", "width")
    ]
    assert len(drawn) > 100
    assert not [value for value in drawn if re.search(r"nan|inf|None", value)]


def test_the_same_evaluation_makes_the_same_page(text: str, evaluation: Evaluation, sets: Sets) -> None:
    with only_candidates("base_rate", "single_column", "logistic"):
        assert make_evaluation_page(make_report(evaluation, *sets, SETTING)) == text


def test_without_profit_and_audit_the_page_says_how_to_get_them(report: EvaluationReport) -> None:
    bare = replace(report, setting=Setting("leads"), profit=None)
    said = plain(make_evaluation_page(bare))
    assert "so there is no profit to draw. Set --value-per-event and --cost-per-contact." in said
    assert "The columns were not audited here" in said


def test_where_nothing_beats_the_base_rate_the_page_says_so() -> None:
    train, test = simulate(300, strength=0.0), simulate(300, seed=1, strength=0.0)
    with only_candidates("base_rate", "logistic"):
        found = evaluate(train, test, QUICK)
        assert found.selected == "base_rate"
        said = plain(make_evaluation_page(make_report(found, train, test, Setting("leads"))))
    assert "Nothing beats the base rate beyond noise: there is no signal to score by." in said
    assert "So there is no model: a score would be noise in decimals." in said
    assert "No model was chosen, so there is nothing to fit another way." in said
    assert "No feature is used." in said
    assert "No column moves the probability." in said


def test_without_time_and_group_the_page_leaves_out_what_it_cannot_know(sets: Sets) -> None:
    train, test = (replace(rows, time=None, group=None, horizon=0) for rows in sets)
    with only_candidates("base_rate", "logistic"):
        found = evaluate(train, test, QUICK)
        made = make_report(found, train, test, Setting("leads"))
    said = plain(make_evaluation_page(made))
    assert "There is no time column, so nobody can say what a split in time would show." in said
    assert "There is no group column: rows are grouped where they are identical." in said
    assert "The base rate over time" not in said
    assert "new or known" not in said
    assert made.months.empty


def test_slices_of_one_class_and_of_few_rows_are_shown_without_auc(evaluation: Evaluation, sets: Sets) -> None:
    label = evaluation.test_label
    cuts = {
        "outcome": pd.Series(pd.Categorical(np.where(label > 0.5, "won", "lost"))),
        "few": pd.Series(pd.Categorical(["one"] + ["others"] * (len(label) - 1))),
    }
    with only_candidates("base_rate", "single_column", "logistic"):
        made = make_report(evaluation, *sets, replace(SETTING, cuts=cuts))
    by_level = {one.level: one for one in made.slices}
    assert by_level["won"].auc is by_level["lost"].auc is by_level["one"].auc is None
    said = plain(make_evaluation_page(made))
    assert f"won {int(label.sum()):,} 100.0 %" in said
    assert "How well it ranks is not known for 3 slices with too few rows" in said


def test_too_high_probabilities_are_called_so(report: EvaluationReport) -> None:
    found = report.evaluation
    higher = replace(found, test_probability=np.clip(found.test_probability + 0.2, 0, 1))
    assert calibration_sentence(report).startswith("Probabilities can be taken at their word: predicted ")
    assert calibration_sentence(replace(report, evaluation=higher)).startswith("Probabilities were too high ")


def test_the_sentence_on_the_choice_names_a_better_one_that_is_not_better_beyond_noise(
    report: EvaluationReport,
) -> None:
    losses = {"base_rate": 0.6, "logistic": 0.45, "lightgbm": 0.449}
    candidates = [{"name": name, "log_loss": loss, "level_free_log_loss": loss} for name, loss in losses.items()]
    chosen = replace(
        report.evaluation, candidates=candidates, choice=replace(report.evaluation.choice, name="logistic")
    )
    assert why_chosen(replace(report, evaluation=chosen)) == (
        "lightgbm has the least log loss out of fold: 0.4490, with the level of each fold taken out. logistic, with "
        "0.4500, is not behind it by more than 2 standard errors, or by too little to matter, and it is the simpler "
        "one. It saves 25.0 % of the base rate's."
    )


def test_months_count_local_month_starts_to_their_own_month() -> None:
    at = np.array(["2024-01-31T22:00", "2024-02-15", "2024-02-29T22:00"], dtype="datetime64[us]")
    rows = TrainingSet(pd.DataFrame({"x": [1.0, 2.0, 3.0]}), np.array([1.0, 0.0, 1.0]), at)
    months = months_of(rows, rows.take(np.array([2])))
    assert months[["month", "part", "rows", "base_rate"]].to_numpy().tolist() == [
        ["2024-02", "training", 2, 0.5],
        ["2024-03", "test", 1, 1.0],
        ["2024-03", "training", 1, 1.0],
    ]


def test_the_file_is_replaced_when_it_is_complete(tmp_path: Any, report: EvaluationReport, sets: Sets) -> None:
    path = tmp_path / "reports" / "churn.html"
    with only_candidates("base_rate", "single_column", "logistic"):
        assert write_evaluation_report(path, report.evaluation, *sets, SETTING) == path
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [one.name for one in path.parent.iterdir()] == ["churn.html"]
