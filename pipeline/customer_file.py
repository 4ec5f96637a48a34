"""The customer file 客户档案: everything a seller asks about one customer, as of the run that scored it.

Names are sensitive and not in it: a page reads them from the stored tables when it is made.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True)
class CriterionPoints:
    """What one criterion of a card gave: `points` of at most `weight`, and the value behind them.

    `value` is None where it is missing or not stored; `en` and `zh` name the criterion.
    """

    id: str
    en: str
    zh: str
    points: float
    weight: float
    value: float | str | None
    group: str | None = None


@dataclass(frozen=True)
class Change:
    """What is different from the score before: of the run `run_id` at `as_of`.

    Values of then; None where there was none. `reasons_added` and `reasons_gone` are main reasons (en, zh,
    contribution) that are there now and were not, and the reverse; `criteria` are the points of each criterion
    that moved, now less then.
    """

    run_id: str
    as_of: datetime
    probability: float | None
    value: float | None
    points: float | None
    grade: str | None
    reasons_added: tuple[Mapping[str, Any], ...] = ()
    reasons_gone: tuple[Mapping[str, Any], ...] = ()
    criteria: Mapping[str, float] | None = None


@dataclass(frozen=True)
class TargetScore:
    """One score of the customer, or of a deal of theirs (`entity` says which), by a model, a card, or both.

    `grade` drives action, `card_grade` is that of the card alone, `graded_by` says what decided; grades have
    names in `grade_en` and `grade_zh`. `vetoes` and `flags` are mappings with `id`, `en` and `zh`. `groups` are
    sub-scores of the card, 0 to 100. `next_question` has `en` and `zh`. None where there is nothing.
    """

    target: str
    kind: str
    entity: str
    entity_id: str
    horizon_days: int
    probability: float | None
    probability_low: float | None
    probability_high: float | None
    value: float | None
    points: float | None
    coverage: float | None
    grade: str | None
    grade_en: str | None
    grade_zh: str | None
    card_grade: str | None
    graded_by: str | None
    reasons: tuple[Mapping[str, Any], ...]
    criteria: tuple[CriterionPoints, ...]
    groups: Mapping[str, float]
    vetoes: tuple[Mapping[str, str], ...]
    flags: tuple[Mapping[str, str], ...]
    next_question: Mapping[str, str] | None
    change: Change | None


@dataclass(frozen=True)
class CustomerFile:
    """Everything about one customer as of `as_of` (UTC).

    Parameters
    ----------
    customer_id : str
    run_id : str
        The scoring run.
    as_of : datetime
    profile : mapping
        Attributes of the customer that are not sensitive, as they stood.
    history : mapping
        Figures: orders_count, orders_count_365d, revenue, revenue_365d, first_order_at, last_order_at,
        invoices_count, invoices_on_time_share, invoices_overdue_amount, tickets_count_365d, last_contact_at, ...
    worth : mapping
        profit_365d, profit_share, lifetime_value, lifetime_margin, abc_revenue, abc_profit, abc_value,
        buying_potential, profit_class, strategic.
    lifecycle : mapping or None
        `id`, `en` and `zh` of the stage.
    scores : tuple of TargetScore
        Of the customer.
    deals : tuple of TargetScore
        Of open deals of the customer.

    """

    customer_id: str
    run_id: str
    as_of: datetime
    profile: Mapping[str, Any]
    history: Mapping[str, Any]
    worth: Mapping[str, Any]
    lifecycle: Mapping[str, str] | None
    scores: tuple[TargetScore, ...]
    deals: tuple[TargetScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document: plain values, times as ISO 8601 text, null for what is not known."""
        document: dict[str, Any] = _plain(asdict(self))
        return document


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    return value
