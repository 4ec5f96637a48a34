"""How the customer pays: in time or late, what is overdue, what was written off.

An invoice is judged once it is paid or past due; an unpaid one that is not yet due says nothing. Delay counts from
the due time to the payment, negative when paid early; what is unpaid is late so far, and as a write-off brings no
money, its delay goes on. Paid at the due time is in time, and due at `as_of` is not yet overdue.
"""

from dataclasses import dataclass
from typing import Any

import ibis

from features.expressions import SECONDS_PER_DAY, ratio, whole_seconds
from features.group import Feature, FeatureDict, Window, derived, feature_group

WINDOWS = (90, 365)


@dataclass(frozen=True)
class _Payment:
    """Row-wise expressions: how each invoice stands at `as_of`."""

    invoices: Any

    def _has_come(self, time: Any) -> Any:
        return (time < self.invoices.as_of).fill_null(False)

    @property
    def is_paid(self) -> Any:
        return self._has_come(self.invoices.paid_at)

    @property
    def is_written_off(self) -> Any:
        return self._has_come(self.invoices.written_off_at)

    @property
    def is_open(self) -> Any:
        return ~self.is_paid & ~self.is_written_off

    @property
    def is_due(self) -> Any:
        return self._has_come(self.invoices.due_at)

    @property
    def is_overdue(self) -> Any:
        return self.is_open & self.is_due

    @property
    def is_judged(self) -> Any:
        return self.invoices.due_at.notnull() & (self.is_paid | self.is_due)

    @property
    def is_on_time(self) -> Any:
        return self.is_paid & (self.invoices.paid_at <= self.invoices.due_at)

    @property
    def delay(self) -> Any:
        """Whole seconds from the due time to the payment, or so far."""
        end = ibis.ifelse(self.is_paid, self.invoices.paid_at, self.invoices.as_of)
        return whole_seconds(end) - whole_seconds(self.invoices.due_at)

    def delay_mean(self, rows: Any) -> Any:
        """Mean delay in days of some rows, from their exact sum."""
        return ratio(self.delay.sum(where=rows), rows.sum()) / SECONDS_PER_DAY


@feature_group("invoices")
def invoice_payments(invoices: Any) -> FeatureDict:
    """All invoices so far: how many, the share paid in time, the mean and the longest delay."""
    payment = _Payment(invoices)
    delay = payment.delay
    late = ibis.ifelse(delay < 0, 0, delay).max(where=payment.is_judged)
    return {
        "invoices_count": Feature(
            invoices.row.count(), 0, "count", "{value:,.0f} invoices so far", "累计发票 {value:,.0f} 张"
        ),
        "invoices_on_time_share": Feature(
            ratio(payment.is_on_time.sum(where=payment.is_judged), payment.is_judged.sum()),
            None,
            "share",
            "{value:.0%} of invoices paid in time",
            "按时付款占比 {value:.0%}",
        ),
        "invoices_delay_mean": Feature(
            payment.delay_mean(payment.is_judged),
            None,
            "days",
            "pays {value:+,.0f} days from the due date on average",
            "平均付款相对到期日 {value:+,.0f} 天",
        ),
        "invoices_delay_max": Feature(
            late.cast("float64") / SECONDS_PER_DAY,
            None,
            "days",
            "at worst {value:,.0f} days late",
            "最长逾期 {value:,.0f} 天",
        ),
    }


@feature_group("invoices", windows=WINDOWS)
def invoice_payments_lately(invoices: Any, window: Window) -> FeatureDict:
    """Mean delay of the invoices that fell due in `[as_of - window, as_of)`, whenever they were issued or paid."""
    payment = _Payment(invoices)
    return {
        f"invoices_delay_mean_{window}": Feature(
            payment.delay_mean(payment.is_due & window.on(invoices.due_at)),
            None,
            "days",
            f"invoices due in the last {window.days} days were paid {{value:+,.0f}} days from the due date",
            f"近 {window.days} 天到期发票的付款相对到期日 {{value:+,.0f}} 天",
        )
    }


@derived(needs=("invoices_delay_mean", "invoices_delay_mean_90d"))
def invoice_trend(features: Any) -> FeatureDict:
    """How much later the invoices due in the last 90 days were paid than all invoices so far."""
    return {
        "invoices_delay_trend_90d": Feature(
            features.invoices_delay_mean_90d - features.invoices_delay_mean,
            None,
            "days",
            "pays {value:+,.0f} days later than it used to",
            "付款比以往推迟 {value:+,.0f} 天",
        )
    }


@feature_group("invoices", optional=("written_off_at",))
def invoice_debts(invoices: Any) -> FeatureDict:
    """What is owed at `as_of`: all that is open, and what is past due; what was written off is neither."""
    payment = _Payment(invoices)
    return {
        "invoices_open_amount": Feature(
            invoices.amount.sum(where=payment.is_open),
            0,
            "currency",
            "{value:,.0f} of invoices open",
            "未付发票金额 {value:,.0f}",
        ),
        "invoices_overdue_count": Feature(
            payment.is_overdue.sum(),
            0,
            "count",
            "{value:,.0f} invoices overdue",
            "逾期发票 {value:,.0f} 张",
            direction={"churn": +1},
        ),
        "invoices_overdue_amount": Feature(
            invoices.amount.sum(where=payment.is_overdue),
            0,
            "currency",
            "{value:,.0f} overdue",
            "逾期金额 {value:,.0f}",
            direction={"churn": +1},
        ),
    }


@feature_group("invoices")
def invoice_losses(invoices: Any) -> FeatureDict:
    """What was written off so far, and its share of all that was invoiced."""
    lost = invoices.amount.sum(where=_Payment(invoices).is_written_off).fill_null(0)
    return {
        "invoices_written_off_amount": Feature(
            lost,
            0,
            "currency",
            "{value:,.0f} written off",
            "坏账金额 {value:,.0f}",
            direction={"churn": +1},
        ),
        "invoices_written_off_share": Feature(
            ratio(lost, invoices.amount.sum()),
            None,
            "share",
            "{value:.0%} of all that was invoiced written off",
            "坏账占比 {value:.0%}",
        ),
    }


@feature_group("invoices", windows=WINDOWS)
def invoice_demand(invoices: Any, window: Window) -> FeatureDict:
    """Invoices issued in `[as_of - window, as_of)` and their amount."""
    return {
        f"invoices_count_{window}": Feature(
            window.mask.sum(),
            0,
            "count",
            f"{{value:,.0f}} invoices in {window.days} days",
            f"{window.days} 天内开票 {{value:,.0f}} 张",
        ),
        f"invoices_amount_{window}": Feature(
            invoices.amount.sum(where=window.mask),
            0,
            "currency",
            f"{{value:,.0f}} invoiced in {window.days} days",
            f"{window.days} 天内开票金额 {{value:,.0f}}",
        ),
    }
