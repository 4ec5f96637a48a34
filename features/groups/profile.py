"""Who the customer is: attributes as they were known, and age."""

from typing import Any

from features.expressions import days_between
from features.group import Feature, FeatureDict, feature_group


@feature_group("customers")
def customer_profile(customers: Any) -> FeatureDict:
    """Attributes of the customer in the version known at `as_of`, and days since it was created."""
    return {
        "customers_age_days": Feature(
            days_between(customers.created_at.min(), customers.as_of.max()),
            None,
            "days",
            "customer for {value:,.0f} days",
            "成为客户 {value:,.0f} 天",
        ),
        "customers_employees": Feature(
            customers.employees.max(), None, "count", "{value:,.0f} employees", "员工 {value:,.0f} 人"
        ),
        "customers_annual_revenue": Feature(
            customers.annual_revenue.max(),
            None,
            "currency",
            "annual revenue {value:,.0f}",
            "年营收 {value:,.0f}",
        ),
        "customers_industry": Feature(customers.industry.max(), None, "text", "industry {value}", "行业 {value}"),
        "customers_region": Feature(customers.region.max(), None, "text", "region {value}", "地区 {value}"),
        "customers_source": Feature(customers.source.max(), None, "text", "came through {value}", "来源 {value}"),
        "customers_credit_grade": Feature(
            customers.credit_grade.max(), None, "text", "credit grade {value}", "信用等级 {value}"
        ),
    }
