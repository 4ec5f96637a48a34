"""What people answered: the newest answer to each question of the config, its age, and how often it changed."""

from typing import Any

import ibis

from features.expressions import days_between
from features.group import Feature, FeatureDict, feature_group
from features.groups.columns import column_name, in_phrase

NUMBER = "^-?[0-9]{1,15}([.][0-9]{1,15})?$"
"""Answers that are numbers; engines differ in what else they can cast."""


def _answer(assessments: Any, question: str, prefix: str) -> FeatureDict:
    asked = assessments.question == question
    newest = asked & assessments.is_latest
    changed = asked & (assessments.answer != assessments.previous_answer)
    digits = ibis.ifelse(assessments.answer.re_search(NUMBER), assessments.answer, ibis.null("string"))
    name = f"{prefix}_{column_name(question)}"
    words = in_phrase(question)
    return {
        f"{name}_answer": Feature(
            assessments.answer.max(where=newest), None, "text", f"{words}: {{value}}", f"{words}：{{value}}"
        ),
        f"{name}_score": Feature(
            digits.cast("float64").max(where=newest),
            None,
            "rank",
            f"{words}: {{value:,.2f}}",
            f"{words}：{{value:,.2f}}",
        ),
        f"{name}_days_since_last": Feature(
            days_between(assessments.occurred_at.max(where=asked), assessments.as_of.max()),
            None,
            "days",
            f"{words}: answered {{value:,.0f}} days ago",
            f"{words}：{{value:,.0f}} 天前回答",
        ),
        f"{name}_changes_count": Feature(
            changed.sum(), 0, "count", f"{words}: changed {{value:,.0f}} times", f"{words}：更改 {{value:,.0f}} 次"
        ),
    }


def _coverage(assessments: Any, prefix: str) -> FeatureDict:
    return {
        f"{prefix}_questions_count": Feature(
            assessments.is_latest.sum(), 0, "count", "{value:,.0f} questions answered", "已回答 {value:,.0f} 个问题"
        ),
        f"{prefix}_days_since_last": Feature(
            days_between(assessments.occurred_at.max(), assessments.as_of.max()),
            None,
            "days",
            "last question answered {value:,.0f} days ago",
            "距上次评估 {value:,.0f} 天",
        ),
    }


@feature_group("assessments", by="customer_id")
def customer_assessments(assessments: Any) -> FeatureDict:
    """How many questions about the customer were answered, in the config or not, and days since the last answer."""
    return _coverage(assessments, "assessments")


@feature_group("assessments", by="customer_id", each="questions")
def customer_answers(assessments: Any, question: str) -> FeatureDict:
    """The newest answer about the customer, as a text and, where it is one, as a number; its age and its changes."""
    return _answer(assessments, question, "assessment")


@feature_group("assessments", by="deal_id")
def deal_assessments(assessments: Any) -> FeatureDict:
    """How many questions about the deal itself were answered, in the config or not, and days since the last answer."""
    return _coverage(assessments, "deal_assessments")


@feature_group("assessments", by="deal_id", each="questions")
def deal_answers(assessments: Any, question: str) -> FeatureDict:
    """The newest answer about the deal itself, as a text and, where it is one, as a number; its age and changes."""
    return _answer(assessments, question, "deal_assessment")
