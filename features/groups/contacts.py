"""Whom the customer is known by: people, those who decide, and those of high rank."""

from typing import Any

from features.expressions import days_between
from features.group import Feature, FeatureDict, feature_group

SENIOR = ("director", "executive")


def is_senior(seniority: Any) -> Any:
    """Whether a contact's rank is that of a director or an executive, however it was typed."""
    return seniority.strip().lower().isin(SENIOR)


@feature_group("contacts")
def customer_contacts(contacts: Any) -> FeatureDict:
    """People known at the customer, how many of them decide or are senior, and days since the newest was added."""
    return {
        "contacts_count": Feature(
            contacts.row.count(), 0, "count", "{value:,.0f} people known", "已知联系人 {value:,.0f} 位"
        ),
        "contacts_decision_maker_count": Feature(
            contacts.is_decision_maker.sum(),
            0,
            "count",
            "{value:,.0f} decision makers known",
            "已知决策人 {value:,.0f} 位",
        ),
        "contacts_senior_count": Feature(
            is_senior(contacts.seniority).sum(),
            0,
            "count",
            "{value:,.0f} directors or executives known",
            "已知总监及高管 {value:,.0f} 位",
        ),
        "contacts_days_since_added": Feature(
            days_between(contacts.created_at.max(), contacts.as_of.max()),
            None,
            "days",
            "last person added {value:,.0f} days ago",
            "距上次新增联系人 {value:,.0f} 天",
        ),
    }
