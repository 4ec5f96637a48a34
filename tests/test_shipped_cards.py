"""The shipped cards: all that their frameworks ask is there, and what they say of literal customers is right."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from eval_salvirt import ON_THE_CUSTOMER, ON_THE_DEAL, card_frame

from features.catalog import CATALOG
from features.plan import feature_names
from features.tables import CrmTables
from models.card_presets import lay_over, preset_choices
from models.scorecard import Scorecard, load_scorecard

CARDS = Path(__file__).parent.parent / "configs" / "scorecards"
NAMES = ("five_layer", "key_account", "abc_value", "twelve_factor", "qualification")
VETOES = ["lawsuit", "abnormal_operation", "legal"]

ASKED = {
    "five_layer": {
        "industry fit": ["industry_fit"],
        "region": ["region"],
        "size (employees, revenue)": ["employees", "revenue"],
        "years in business": ["years_in_business"],
        "ownership structure": ["ownership"],
        "stated budget range": ["budget"],
        "pain/solution fit": ["need", "fit"],
        "urgency": ["urgency"],
        "length of the decision chain and who decides": ["decision_chain", "decision_maker"],
        "past buying habits and cycle": ["buying_habits", "buying_cycle"],
        "domain knowledge": ["domain_knowledge"],
        "lifetime value": ["lifetime_value"],
        "repeat and upsell": ["repeat", "upsell"],
        "strategic value (reference customer, place in the chain)": ["reference", "chain_position"],
        "growth": ["growth"],
        "culture fit": ["culture_fit"],
        "payment history and arrears": ["payment_history", "arrears"],
        "service cost against revenue": ["service_cost"],
        "high-maintenance behaviour (out-of-scope requests, urgent tickets)": ["out_of_scope", "urgent_tickets"],
        "profit, for the stage mature": ["profit"],
    },
    "key_account": {
        "amount (annual, cumulative)": ["amount_annual", "amount_cumulative"],
        "years of cooperation": ["years_of_cooperation"],
        "industry position": ["industry_position"],
        "paying ability (on-time share, credit grade)": ["on_time_share", "credit_grade"],
        "growth potential": ["growth_potential"],
        "strategic synergy": ["strategic_synergy"],
        "loyalty (repeat rate, satisfaction, willingness to recommend)": [
            "repeat_rate",
            "satisfaction",
            "recommendation",
        ],
        "order frequency and stability": ["order_frequency", "order_stability"],
        "profit contribution": ["profit_contribution"],
        "payment cycle": ["payment_cycle"],
        "bad-debt rate": ["bad_debt_rate"],
        "purchase need": ["purchase_need"],
    },
    "abc_value": {
        "ABC on revenue, profit contribution and predicted value": [
            "revenue",
            "profit_contribution",
            "predicted_value",
        ],
        "lifecycle stage": ["lifecycle"],
        "buying potential": ["buying_potential"],
        "strategic value": ["strategic"],
        "traits: stable, influential": ["stability", "influence"],
    },
    "twelve_factor": {
        "potential value (volume, frequency, lifetime value)": ["volume", "frequency", "lifetime_value"],
        "reputation (credit report, background)": ["credit_report", "background"],
        "paying ability (finances, payment record)": ["finances", "payment_record"],
        "long-term potential (industry outlook, strategy)": ["outlook", "strategy"],
        "need match": ["need", "fit"],
        "willingness to cooperate (attitude, record)": ["attitude", "response", "cooperation_record"],
        "market influence (position, word of mouth)": ["position", "word_of_mouth"],
        "technical strength (R&D, technical cooperation)": ["research", "technical_cooperation"],
        "culture fit (values, management style)": ["shared_values", "management_style"],
        "location (market, logistics)": ["market", "logistics"],
        "environmental and social responsibility": ["environment", "social"],
        "legal compliance (record, compliance management)": ["compliance_record", "compliance_management"],
    },
    "qualification": {
        "need, answered": [
            "needs_defined",
            "scope",
            "fit",
            "urgency",
            "proposal_asked",
            "information_asked",
            "competitors",
        ],
        "need, by activity and stage reached": ["inbound", "stage"],
        "purchasing power, answered": ["budget", "expansion"],
        "purchasing power, by budget stated and what is known of the company": [
            "affordable",
            "size",
            "credit",
            "growth",
            "bought_before",
        ],
        "decision power, answered": [
            "authority",
            "purchasing_department",
            "formal_tender",
            "attitude",
            "relationship",
        ],
        "decision power, by seniority of contacts met": ["decision_maker_met", "senior_met"],
    },
}
"""What each framework asks, in its own words, and the criteria that answer it."""


@cache
def card_of(name: str) -> Scorecard:
    return load_scorecard(CARDS / f"{name}.yaml")


def score(name: str, row: dict[str, Any], **changes: Any) -> pd.Series:
    return card_of(name).score(pd.DataFrame([{**row, **changes}])).iloc[0]


@pytest.fixture(scope="module")
def catalog() -> set[str]:
    none = CrmTables(Path("nowhere"), pd.Timestamp("2024-01-01"), "UTC", "EUR", {}, (), ())
    return feature_names(CATALOG, none)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_loads_with_every_preset_and_pair_and_reads_only_what_the_catalog_has(name: str, catalog: set[str]):
    card = load_scorecard(CARDS / f"{name}.yaml", catalog)  # it lays every choice over the card
    assert card.id == name
    assert [key for key, one in card.presets.items() if one.kind == "stage"] == ["startup", "growth", "mature"]
    assert [key for key, one in card.presets.items() if one.kind == "industry"] == [
        "pharma",
        "finance",
        "internet",
        "manufacturing",
    ]
    assert len(list(preset_choices(card))) == 3 + 4 + 3 * 4
    assert card.entity == ("deal" if name == "qualification" else "customer")


@pytest.mark.parametrize("name", NAMES)
def test_a_card_asks_what_its_framework_lists_and_no_more(name: str) -> None:
    card = card_of(name)
    listed = [criterion for criteria in ASKED[name].values() for criterion in criteria]
    assert sorted(listed) == sorted(criterion.id for criterion in card.criteria)
    assert [veto.id for veto in card.vetoes] == VETOES
    assert [flag.id for flag in card.flags] == ["early_warning", "cultivate"]


@pytest.mark.parametrize("name", NAMES)
def test_no_criterion_is_dead_under_any_choice_of_presets(name: str) -> None:
    card = card_of(name)
    choices = [(), *preset_choices(card)]
    dead = [
        (choice, criterion.id)
        for choice in choices
        for criterion in Scorecard.model_validate(lay_over(card, choice)).criteria
        if not min(criterion.possible_points) < criterion.missing < max(criterion.possible_points)
    ]
    assert dead == []


@pytest.mark.parametrize("name", ["five_layer", "twelve_factor", "qualification"])
def test_nobody_is_dropped_for_being_unknown_under_any_choice_of_presets(name: str) -> None:
    card = card_of(name)
    nothing = pd.DataFrame({card.features[0]: [None]})
    laid = {choice: Scorecard.model_validate(lay_over(card, choice)) for choice in preset_choices(card)}
    assert [choice for choice, one in laid.items() if one.score(nothing)["grade"].tolist() != ["hold"]] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_people_answer_has_a_question_in_both_languages_and_every_criterion_a_source(name: str) -> None:
    card = card_of(name)
    assert [one.id for one in card.criteria if one.answer and not (one.ask and re.search(r"[一-龥]", one.ask.zh))] == []
    assert [one.id for one in card.criteria if not (one.source and re.search(r"[一-龥]", one.name.zh))] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_head_of_the_file_lists_all_questions_for_the_config(name: str) -> None:
    text = (CARDS / f"{name}.yaml").read_text(encoding="utf-8")
    head = re.search(r"^#   questions: \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
    assert head is not None
    listed = re.sub(r"[#\s]", "", head.group(1)).split(",")
    card = card_of(name)
    added = [veto for preset in card.presets.values() for veto in preset.vetoes]
    asked = [question.answer for question in (*card.questions, *added) if question.answer]
    assert listed == list(dict.fromkeys(asked))


@pytest.mark.parametrize(
    ("name", "coverage", "points", "grade"),
    [
        ("five_layer", 0.63, 46.5, "hold"),
        ("key_account", 0.82, 30.3, "c"),
        ("abc_value", 0.83, 24.85, "ordinary"),
        ("twelve_factor", 0.38, 40.5, "hold"),
        ("qualification", 0.38, 39.85, "hold"),
    ],
)
def test_coverage_without_answers_and_the_grade_of_whom_nothing_is_known(
    name: str, coverage: float, points: float, grade: str
) -> None:
    card = card_of(name)
    texts = {one.feature for one in card.criteria if one.feature and one.condition.kind == "text"}
    answers = {column for one in card.questions if one.answer for column in one.reads(card.entity)}
    columns = [column for column in card.features if column not in answers]
    known = pd.DataFrame([{column: "x" if column in texts else 1.0 for column in columns}])
    assert card.score(known)["coverage"].tolist() == [coverage]
    unknown = card.score(known.where(known.isna(), None)).iloc[0]
    assert (unknown["points"], unknown["grade"], unknown["coverage"]) == (points, grade, 0.0)
    assert (unknown["vetoes"], unknown["flags"]) == ([], [])


GOOD_FIVE = {
    "customers_industry": "manufacturing",  # 3
    "customers_region": "north",  # 90 % of 2 = 1.8
    "customers_employees": 300.0,  # 2
    "customers_annual_revenue": 2e7,  # 2
    "customers_days_since_founded": 20 * 365.25,  # 2; ownership is not known: 50 % of 2 = 1
    "assessment_budget_score": 4.0,  # 80 % of 5 = 4; the profile is 15.8 of 18
    "assessment_need_score": 5.0,  # 5
    "assessment_fit_score": 3.0,  # 50 % of 5 = 2.5; urgency and chain are not known: 45 % of 7 = 3.15
    "contacts_decision_maker_count": 1.0,  # 80 % of 3 = 2.4
    "orders_count_365d": 6.0,  # 75 % of 4 = 3
    "orders_gap_mean": 60.0,  # 75 % of 3 = 2.25; domain knowledge is not known: 1; need is 19.3 of 29
    "orders_margin_amount": 4000.0,
    "orders_margin_amount_365d": 3000.0,  # 4,000 + 2 x 3,000 = 10,000: 65 % of 7 = 4.55
    "orders_repeat_days": 10.0,  # 75 % of 4 = 3
    "orders_amount_mean": 1000.0,
    "orders_amount_mean_365d": 1500.0,  # 1.5 times: 3
    "orders_margin_share_365d": 0.3,  # 70 % of 3 = 2.1; reference and chain are not known: 40 % of 5 = 2
    "customers_employees_growth_365d": 0.1,  # 75 % of 3 = 2.25; culture is not known: 1; value is 17.9 of 27
    "invoices_delay_mean_365d": 0.0,  # 8
    "invoices_overdue_amount": 100.0,
    "invoices_amount_365d": 10_000.0,  # 1 % overdue: 70 % of 6 = 4.2
    "tickets_per_revenue_365d": 0.1,  # 75 % of 5 = 3.75; scope is not known: 50 % of 4 = 2
    "tickets_severe_count_365d": 1.0,  # 45 % of 3 = 1.35; risk is 19.3 of 26
}


def test_five_layers_by_hand() -> None:
    scored = score("five_layer", GOOD_FIVE)
    assert (scored["points"], scored["grade"]) == (72.3, "priority")  # 15.8 + 19.3 + 17.9 + 19.3
    assert scored["coverage"] == 0.78
    groups = [scored[f"group_{name}"] for name in ("profile", "need", "value", "risk")]
    assert groups == pytest.approx([15.8 / 0.18, 19.3 / 0.29, 17.9 / 0.27, 19.3 / 0.26])
    assert (scored["vetoes"], scored["flags"]) == ([], [])


@pytest.mark.parametrize(
    ("changes", "grade", "vetoes"),
    [
        ({"assessment_lawsuit_answer": "yes"}, "drop", ["lawsuit"]),
        ({"assessment_lawsuit_answer": "no"}, "priority", []),
        ({"assessment_abnormal_operation_answer": "是"}, "drop", ["abnormal_operation"]),
        ({"assessment_lawsuit_answer": "1", "assessment_legal_violation_answer": "Yes"}, "drop", ["lawsuit", "legal"]),
    ],
)
def test_five_layers_know_no_pardon(changes: dict[str, Any], grade: str, vetoes: list[str]) -> None:
    scored = score("five_layer", GOOD_FIVE, **changes)
    assert (scored["grade"], scored["vetoes"], scored["points"]) == (grade, vetoes, 72.3)


def test_a_stage_weighs_what_it_lives_by() -> None:
    pays_at_once = pd.DataFrame([{"invoices_delay_mean_365d": 0.0}, {"invoices_delay_mean_365d": 90.0}])
    earned = {
        preset: load_scorecard(CARDS / "five_layer.yaml", presets=(preset,)).score(pays_at_once)["points"].tolist()
        for preset in ("startup", "growth")
    }
    assert earned["startup"][0] - earned["startup"][1] == pytest.approx(14.0)  # all of the weight of 14
    assert earned["growth"][0] - earned["growth"][1] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        ({"invoices_delay_trend_90d": 14.0}, ["early_warning"]),
        ({"invoices_delay_trend_90d": 13.9}, []),
        ({"invoices_overdue_amount": 300.0, "invoices_amount_365d": 1000.0}, ["early_warning"]),
        ({"invoices_overdue_amount": 250.0, "invoices_amount_365d": 1000.0}, []),  # a quarter is not more
        ({"invoices_overdue_amount": 300.0, "invoices_amount_365d": 0.0}, ["early_warning"]),  # old debts only
        ({"orders_silence_spreads": 2.0}, ["early_warning"]),
        ({"orders_trend_90d": 0.4, "orders_monthly_rate": 1.5}, ["early_warning"]),
        ({"orders_trend_90d": 0.4, "orders_monthly_rate": 0.5}, []),  # one order a quarter more or less
        ({"orders_amount_365d": 800.0, "parent_annual_revenue": 5e7}, ["cultivate"]),
        ({"orders_amount_365d": 800.0, "parent_employees": 999.0}, []),
        ({"orders_amount_365d": 800.0, "parent_employees_growth_365d": 0.15}, ["cultivate"]),
        ({"orders_amount_365d": 5000.0, "parent_annual_revenue": 5e7}, []),  # no small orders any more
        ({"orders_silence_spreads": 9.0, "parent_employees": 1000.0}, ["early_warning", "cultivate"]),
    ],
)
@pytest.mark.parametrize("name", ["five_layer", "key_account", "abc_value", "twelve_factor"])
def test_flags_of_customers(name: str, row: dict[str, float], flags: list[str]) -> None:
    assert score(name, row)["flags"] == flags


SMALL = {
    "orders_amount_365d": 800.0,  # 0
    "orders_amount": 1500.0,  # 0
    "orders_margin_amount_365d": 150.0,  # 0
    "orders_count_365d": 2.0,  # 35 % of 7 = 2.45; no rhythm yet: 30 % of 5 = 1.5; value is 3.95
    "invoices_on_time_share": 0.5,  # 75 % of 7 = 5.25
    "customers_credit_grade": "C",  # 30 % of 6 = 1.8
    "invoices_open_amount": 0.0,
    "invoices_amount_365d": 800.0,  # nothing open: 3
    "invoices_written_off_share": 0.0,  # 3; payment is 13.05
    "customers_annual_revenue_growth_365d": 0.0,  # 40 % of 7 = 2.8; three are not known: 35 % of 15 = 5.25
    "orders_days_since_first": 200.0,  # 0.55 years: 40 % of 6 = 2.4
    "orders_monthly_rate": 0.3,  # 40 % of 5 = 2; satisfaction and recommendation are not known: 2 + 1.2
}
BIG = {
    "orders_amount_365d": 60_000.0,  # 14
    "orders_amount": 200_000.0,  # 7
    "orders_margin_amount_365d": 20_000.0,  # 8
    "orders_count_365d": 24.0,  # 7
    "orders_gap_variation": 0.4,  # 5
    "invoices_on_time_share": 0.9,  # 7
    "customers_credit_grade": "A",  # 6
    "invoices_open_amount": 10_000.0,
    "invoices_amount_365d": 60_000.0,  # 60.8 days: 35 % of 3 = 1.05
    "invoices_written_off_share": 0.01,  # 40 % of 3 = 1.2
    "customers_annual_revenue_growth_365d": 0.2,  # 7; position and synergy are not known: 35 % of 11 = 3.85
    "assessment_need_score": 5.0,  # 4
    "orders_days_since_first": 1500.0,  # 4.1 years: 6
    "orders_monthly_rate": 2.0,  # 5
    "tickets_satisfaction_mean": 4.0,  # 75 % of 4 = 3; recommendation is not known: 1.2
}


def test_key_accounts_by_hand() -> None:
    scored = score("key_account", BIG)
    assert (scored["points"], scored["grade"], scored["coverage"]) == (86.3, "a", 0.86)
    scored = score("key_account", SMALL)
    assert (scored["points"], scored["grade"]) == (32.65, "c")  # 3.95 + 13.05 + 8.05 + 7.6


def test_small_orders_of_a_strong_parent_are_cultivated_and_not_c() -> None:
    scored = score("key_account", SMALL, parent_annual_revenue=2e8)
    assert (scored["points"], scored["grade"], scored["flags"]) == (32.65, "b", ["cultivate"])
    scored = score("key_account", SMALL, parent_annual_revenue=2e8, assessment_lawsuit_answer="yes")
    assert (scored["grade"], scored["vetoes"]) == ("c", ["lawsuit"])  # a flag never lifts over a veto


def test_an_early_warning_leaves_the_grade() -> None:
    scored = score("key_account", BIG, invoices_delay_trend_90d=30.0)
    assert (scored["grade"], scored["flags"]) == ("a", ["early_warning"])


def test_in_manufacturing_a_group_that_buys_elsewhere_is_cultivated() -> None:
    card = load_scorecard(CARDS / "key_account.yaml", presets=("manufacturing",))
    group = {"family_orders_amount_365d": 20_000.0, "family_orders_share_365d": 0.04}
    scored = card.score(pd.DataFrame([{**SMALL, **group}])).iloc[0]
    assert (scored["grade"], scored["flags"]) == ("b", ["cultivate_group"])


def test_abc_value_by_hand() -> None:
    row = {
        "orders_amount_365d": 60_000.0,  # 18
        "orders_margin_amount_365d": 10_000.0,  # 85 % of 17 = 14.45
        "orders_monthly_rate": 2.0,
        "orders_amount_mean": 2500.0,
        "orders_silence_ratio": 4.0,  # 12 x 2 x 2,500 = 60,000, halved: 85 % of 18 = 15.3; dormant: 0 of 12
        "orders_trend_90d": 0.0,
        "orders_days_since_first": 900.0,
        "customers_annual_revenue": 3e6,
        "parent_annual_revenue": 4e7,  # the larger of both: 10
        "orders_gap_variation": 0.9,
        "subscriptions_live_count": 1.0,  # a running contract is steady: 8
        "assessment_influence_score": 5.0,  # 8; strategic is not known: 35 % of 9 = 3.15
    }
    scored = score("abc_value", row)
    assert (scored["points"], scored["grade"], scored["coverage"]) == (76.9, "key", 0.91)
    assert score("abc_value", row, subscriptions_live_count=0.0)["points"] == 72.5  # 45 % of 8, not 8


@pytest.mark.parametrize(
    ("silence", "last", "first", "trend", "rate", "points"),
    [
        (3.0, 90.0, 900.0, 0.2, 1.0, 0.0),  # dormant
        (2.5, 75.0, 900.0, 0.6, 1.0, 30.0),  # declining: silent for more than two gaps
        (0.5, 15.0, 900.0, 0.4, 1.0, 30.0),  # declining: half as often as usual
        (0.5, 60.0, 900.0, 0.0, 0.3, 75.0),  # orders three times a year: 90 days say nothing
        (0.5, 15.0, 900.0, 1.0, 1.0, 75.0),  # mature
        (0.5, 15.0, 900.0, 1.3, 1.0, 100.0),  # growing
        (None, 20.0, 20.0, 0.3, 1.0, 75.0),  # new: one order 20 days ago
        (None, 300.0, 300.0, 0.0, 0.1, 0.0),  # bought once, 300 days ago
        (None, None, None, None, None, 20.0),  # never ordered
    ],
)
def test_the_lifecycle_of_the_abc_card(
    silence: float | None,
    last: float | None,
    first: float | None,
    trend: float | None,
    rate: float | None,
    points: float,
) -> None:
    row = {
        "orders_silence_ratio": silence,
        "orders_days_since_last": last,
        "orders_days_since_first": first,
        "orders_trend_90d": trend,
        "orders_monthly_rate": rate,
    }
    assert score("abc_value", row)["points_lifecycle"] == pytest.approx(0.12 * points)


def test_twelve_factors_by_hand() -> None:
    row = {
        "orders_amount_365d": 30_000.0,  # 85 % of 6, where nothing known gives 30 %: +3.3
        "assessment_need_score": 5.0,  # 100 % of 7 instead of 40 %: +4.2
        "assessment_budget_score": 1.0,  # nothing of 6 instead of 40 %: -2.4
        "invoices_delay_mean_365d": 60.0,  # nothing of 8 instead of 40 %: -3.2
        "assessment_compliance_record_score": 5.0,  # 100 % of 4 instead of 50 %: +2
    }
    scored = score("twelve_factor", row)
    assert (scored["points"], scored["grade"], scored["coverage"]) == (44.4, "hold", 0.31)  # from 40.5 on
    assert scored["group_paying_ability"] == 0.0


LEAD = {
    "deal_assessment_need_score": 5.0,  # 10; scope is not known: 40 % of 4 = 1.6
    "deal_assessment_fit_score": 2.0,  # 25 % of 4 = 1
    "deal_assessment_timing_score": 4.0,  # 80 % of 4 = 3.2
    "deal_assessment_proposal_asked_answer": "yes",  # 3; information is not known: 0.5
    "deal_assessment_competitors_answer": "no",  # 3
    "deal_activities_inbound_count_30d": 2.0,  # 70 % of 6 = 4.2
    "deal_stage_rank": 3.0,  # 75 % of 5 = 3.75; need is 30.25 of 40
    "deal_assessment_budget_score": 1.0,  # 0
    "deal_amount": 10_000.0,
    "customers_annual_revenue": 1e6,  # a hundredth: 35 % of 5 = 1.75
    "customers_employees_band": 2.0,  # 40 % of 3 = 1.2
    "customers_credit_grade": "B",  # 65 % of 4 = 2.6
    "customers_annual_revenue_growth_365d": 0.0,  # 45 % of 3 = 1.35
    "deals_won_count": 0.0,  # 20 % of 4 = 0.8; expansion is not known: 1.2; purchasing power is 8.9 of 32
    "deal_assessment_authority_score": 3.0,  # 50 % of 9 = 4.5
    "deal_activities_meeting_decision_maker_count_365d": 1.0,  # 80 % of 5 = 4
    "deal_activities_meeting_senior_count_365d": 1.0,  # 80 % of 3 = 2.4; department is not known: 1.2
    "deal_assessment_formal_tender_answer": "no",  # 80 % of 3 = 2.4
    "deal_assessment_attitude_score": 3.0,  # 50 % of 4 = 2; relationship is not known: 0.8; 17.3 of 28
}


def test_qualification_by_hand_says_which_of_the_three_is_weakest() -> None:
    scored = score("qualification", LEAD)
    assert (scored["points"], scored["grade"], scored["coverage"]) == (56.45, "nurture", 0.88)
    groups = [scored[f"group_{name}"] for name in ("need", "purchasing_power", "decision_power")]
    assert groups == pytest.approx([30.25 / 0.4, 8.9 / 0.32, 17.3 / 0.28])  # 76, 28, 62: ask about the budget


def test_what_was_answered_about_the_customer_stands_in_for_the_deal() -> None:
    scored = score("qualification", LEAD, deal_assessment_budget_score=None, assessment_budget_score=5.0)
    assert scored["points"] == 66.45
    assert score("qualification", LEAD, assessment_budget_score=5.0)["points"] == 56.45  # the deal's own counts


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        ({"deal_activities_silence_ratio": 3.0, "deal_activities_days_since_last": 14.0}, ["early_warning"]),
        ({"deal_activities_silence_ratio": 9.0, "deal_activities_days_since_last": 5.0}, []),
        ({"invoices_delay_trend_90d": 20.0}, ["early_warning"]),
        ({"deal_amount": 10_000.0, "parent_annual_revenue": 5e7}, ["cultivate"]),
        ({"deal_amount": 10_000.0, "parent_annual_revenue": 4e7}, []),
        ({"deal_amount": 10_000.0, "parent_annual_revenue": 4e7, "parent_employees": 2000.0}, ["cultivate"]),
        ({"deal_amount": 10_000.0, "parent_annual_revenue": 9e6, "parent_employees": 2000.0}, []),  # not small
    ],
)
def test_flags_of_deals(row: dict[str, float], flags: list[str]) -> None:
    assert score("qualification", row)["flags"] == flags


def test_two_cards_read_what_a_sales_team_answered_about_real_deals() -> None:
    deal = {"Needs_def": "Yes", "Budgt_alloc": "Unknown", "Client": "Current", "Competitors": "No"}
    others = {column for mapping in (ON_THE_DEAL, ON_THE_CUSTOMER) for column, _ in mapping.values()} - set(deal)
    deals = pd.DataFrame([{**deal, **dict.fromkeys(others, "not listed")}])
    assert set(ON_THE_DEAL) <= set(card_of("qualification").features)
    assert set(ON_THE_CUSTOMER) <= set(card_of("twelve_factor").features)
    scored = card_of("qualification").score(card_frame(deals, ON_THE_DEAL)).iloc[0]
    assert scored["points"] == 50.65  # 39.85 where nothing is known; need +6.5, won before +2.8, no rivals +1.5
    assert scored["coverage"] == 0.17  # an unknown budget is none
    scored = card_of("twelve_factor").score(card_frame(deals, ON_THE_CUSTOMER)).iloc[0]
    assert scored["points"] == 46.5  # 40.5; need +4.2, two deals won before +1.8
