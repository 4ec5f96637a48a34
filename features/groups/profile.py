"""Who the customer is: attributes as they were known, their history, and the parent and its family."""

from typing import Any

import ibis

from features.expressions import days_between, ratio
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.groups.columns import own_column

ATTRIBUTES = (
    "name",
    "domain",
    "tax_number",
    "industry",
    "region",
    "employees",
    "annual_revenue",
    "founded_on",
    "owner_id",
    "source",
    "credit_grade",
)
"""What a complete profile says; a customer without a parent lacks nothing."""

EMPLOYEES_BANDS = (10, 50, 250, 1000)
REVENUE_BANDS = (10**5, 10**6, 10**7, 10**8)
"""Where bands 2 to 5 begin; of the revenue in the deployment's currency."""


@feature_group("customers")
def customer_profile(customers: Any) -> FeatureDict:
    """Attributes of the customer in the version known at `as_of`, and days since it was created."""
    now = customers.as_of.max()
    return {
        "customers_age_days": Feature(
            days_between(customers.created_at.min(), now),
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
        "customers_days_since_founded": Feature(
            days_between(customers.founded_on.max().cast("timestamp(6)"), now),
            None,
            "days",
            "founded {value:,.0f} days ago",
            "成立 {value:,.0f} 天",
        ),
    }


def _band(value: Any, starts: tuple[int, ...]) -> Any:
    """1 below the first start, one more from each start on."""
    passed = [(value >= start).cast("int64") for start in starts]
    return (sum(passed[1:], passed[0]) + 1).max()


@feature_group("customers")
def customer_size(customers: Any) -> FeatureDict:
    """Size of the customer from 1 to 5, by employees and by revenue."""
    return {
        "customers_employees_band": Feature(
            _band(customers.employees, EMPLOYEES_BANDS),
            None,
            "rank",
            "size {value:.0f} of 5 by employees",
            "按员工数规模 {value:.0f} 级（共 5 级）",
        ),
        "customers_annual_revenue_band": Feature(
            _band(customers.annual_revenue, REVENUE_BANDS),
            None,
            "rank",
            "size {value:.0f} of 5 by revenue",
            "按营收规模 {value:.0f} 级（共 5 级）",
        ),
    }


@feature_group("customers", optional=ATTRIBUTES)
def customer_completeness(customers: Any) -> FeatureDict:
    """How many attributes of the profile were filled in; those that the deployment does not deliver are not."""
    filled = [customers[name].notnull().cast("int64") for name in ATTRIBUTES]
    return {
        "customers_filled_count": Feature(
            sum(filled[1:], filled[0]).max(),
            None,
            "count",
            "{value:,.0f} profile fields filled in",
            "已填写 {value:,.0f} 项客户档案",
        )
    }


@feature_group("customers", each="extra_columns")
def customer_columns(customers: Any, column: str) -> FeatureDict:
    """Columns of the deployment's own, in the version known at `as_of`; times as days before it."""
    return own_column(customers, column, "customers")


def _growth(value: Any, previous: Any, lately: Any, whose: Any = True) -> Any:
    """Growth since the start of the window, from all versions of the rows in `whose`.

    The steps from version to version, nulls as zero, add up to the value; those before the window, to the value
    at its start. Null where one of the two is unknown or zero.
    """
    step = value.fill_null(0) - previous.fill_null(0)
    now = step.sum(where=whose)
    before = step.sum(where=~lately & whose)
    return ibis.ifelse(now == 0, ibis.null("float64"), ratio(now - before, before))


@feature_group("customers", windows=(365,), history=True)
def customer_changes(customers: Any, window: Window) -> FeatureDict:
    """Growth over the window, and changes of owner and credit grade that became known in it, from a known value on."""
    lately = window.on(customers.known_at)
    return {
        f"customers_employees_growth_{window}": Feature(
            _growth(customers.employees, customers.previous_employees, lately),
            None,
            "share",
            f"employees changed by {{value:+.0%}} in {window.days} days",
            f"{window.days} 天内员工数变化 {{value:+.0%}}",
        ),
        f"customers_annual_revenue_growth_{window}": Feature(
            _growth(customers.annual_revenue, customers.previous_annual_revenue, lately),
            None,
            "share",
            f"revenue changed by {{value:+.0%}} in {window.days} days",
            f"{window.days} 天内营收变化 {{value:+.0%}}",
        ),
        f"customers_owner_changes_count_{window}": Feature(
            ((customers.owner_id != customers.previous_owner_id) & lately).sum(),
            0,
            "count",
            f"{{value:,.0f}} changes of owner in {window.days} days",
            f"{window.days} 天内负责人变更 {{value:,.0f}} 次",
        ),
        f"customers_credit_grade_changes_count_{window}": Feature(
            ((customers.credit_grade != customers.previous_credit_grade) & lately).sum(),
            0,
            "count",
            f"{{value:,.0f}} changes of the credit grade in {window.days} days",
            f"{window.days} 天内信用等级变更 {{value:,.0f}} 次",
        ),
    }


@feature_group("customers")
def customer_parent(customers: Any) -> FeatureDict:
    """Whether the customer had a parent."""
    return {
        "customers_parent_count": Feature(
            (customers.parent_id.notnull() & (customers.parent_id != customers.customer_id)).cast("int64").max(),
            None,
            "count",
            "parent companies: {value:.0f}",
            "上级公司 {value:.0f} 家",
        )
    }


@feature_group("customers", by="parent_id")
def family_head(customers: Any) -> FeatureDict:
    """Size of the head of the family, which is the parent or the customer itself, and how many customers it is over."""
    head = customers.customer_id == customers.family_id
    return {
        "family_head_employees": Feature(
            customers.employees.max(where=head),
            None,
            "count",
            "head of the family has {value:,.0f} employees",
            "集团母公司员工 {value:,.0f} 人",
        ),
        "family_head_annual_revenue": Feature(
            customers.annual_revenue.max(where=head),
            None,
            "currency",
            "head of the family has revenue {value:,.0f}",
            "集团母公司年营收 {value:,.0f}",
        ),
        "family_subsidiaries_count": Feature(
            (~head).sum(),
            0,
            "count",
            "{value:,.0f} subsidiaries in the family",
            "集团内子公司 {value:,.0f} 家",
        ),
    }


@feature_group("customers", by="parent_id", windows=(365,), history=True)
def family_head_changes(customers: Any, window: Window) -> FeatureDict:
    """Growth of the head of the family, which is the parent or the customer itself, over the window."""
    lately = window.on(customers.known_at)
    head = customers.customer_id == customers.family_id
    return {
        f"family_head_employees_growth_{window}": Feature(
            _growth(customers.employees, customers.previous_employees, lately, head),
            None,
            "share",
            f"employees of the head of the family changed by {{value:+.0%}} in {window.days} days",
            f"{window.days} 天内集团母公司员工数变化 {{value:+.0%}}",
        ),
        f"family_head_annual_revenue_growth_{window}": Feature(
            _growth(customers.annual_revenue, customers.previous_annual_revenue, lately, head),
            None,
            "share",
            f"revenue of the head of the family changed by {{value:+.0%}} in {window.days} days",
            f"{window.days} 天内集团母公司营收变化 {{value:+.0%}}",
        ),
    }


def _of_parent(features: Any, value: Any) -> Any:
    return ibis.ifelse(features.customers_parent_count > 0.0, value, ibis.null("float64"))


@derived(needs=("customers_parent_count", "family_head_employees", "family_head_employees_growth_365d"))
def parent_employees(features: Any) -> FeatureDict:
    """Employees of the parent and their growth; null without a parent."""
    return {
        "parent_employees": Feature(
            _of_parent(features, features.family_head_employees),
            None,
            "count",
            "parent has {value:,.0f} employees",
            "上级公司员工 {value:,.0f} 人",
        ),
        "parent_employees_growth_365d": Feature(
            _of_parent(features, features.family_head_employees_growth_365d),
            None,
            "share",
            "employees of the parent changed by {value:+.0%} in 365 days",
            "365 天内上级公司员工数变化 {value:+.0%}",
        ),
    }


@derived(needs=("customers_parent_count", "family_head_annual_revenue", "family_head_annual_revenue_growth_365d"))
def parent_revenue(features: Any) -> FeatureDict:
    """Revenue of the parent and its growth; null without a parent."""
    return {
        "parent_annual_revenue": Feature(
            _of_parent(features, features.family_head_annual_revenue),
            None,
            "currency",
            "parent has revenue {value:,.0f}",
            "上级公司年营收 {value:,.0f}",
        ),
        "parent_annual_revenue_growth_365d": Feature(
            _of_parent(features, features.family_head_annual_revenue_growth_365d),
            None,
            "share",
            "revenue of the parent changed by {value:+.0%} in 365 days",
            "365 天内上级公司营收变化 {value:+.0%}",
        ),
    }


@derived(needs=("customers_parent_count", "family_subsidiaries_count"))
def siblings(features: Any) -> FeatureDict:
    """Other customers of the same parent; none without a parent."""
    others = features.family_subsidiaries_count - 1.0
    none = ibis.ifelse(features.customers_parent_count == 0.0, 0.0, ibis.null("float64"))
    return {
        "customers_siblings_count": Feature(
            ibis.ifelse(features.customers_parent_count > 0.0, others, none),
            None,
            "count",
            "{value:,.0f} sister companies",
            "兄弟公司 {value:,.0f} 家",
        )
    }
