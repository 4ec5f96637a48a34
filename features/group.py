"""What a feature group is: a function from the as-of view of one table to named features.

The three decorators only attach a description to the function; the catalog is a list of such
functions and `features.build` runs them. A group sees a view in which time is already cut, so it
cannot look past `as_of` and need not be careful.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from features.errors import DataError

TargetKind = Literal["conversion", "churn", "value"]
Entity = Literal["customers", "deals"]
"""The entity table: what a spine's entity_id identifies."""
Key = Literal["customer_id", "deal_id", "parent_id"]
"""Which rows of a table belong to a snapshot: those of its customer, of its deal, or of its customer's family."""
AS_OF_LOCAL = "as_of_local"
"""Column that derived groups see beside the features: `as_of` in the time zone of the deployment."""
Role = Literal["repeat_count", "last_purchase_days", "first_purchase_days"]
"""What a model of purchase rhythm reads: purchases after the first, days since the last and since the first."""
Each = Literal["questions", "extra_columns"]
"""What a group may be repeated for: the config's `questions`, or an entity table's columns of the deployment's own."""


@dataclass(frozen=True)
class Window:
    """A stretch of time that looks back: `[as_of - days, as_of)`.

    Parameters
    ----------
    days : int
        Length in days of 24 hours.
    view : ibis Table
        The as-of view the window is laid over.
    time : str
        The time column of the table.

    """

    days: int
    view: Any
    time: str

    def __str__(self) -> str:
        return f"{self.days}d"

    @property
    def start(self) -> str:
        """Name of the view's column that holds `as_of - days`."""
        return window_start(self.days)

    @property
    def mask(self) -> Any:
        """True for the rows that occurred within the window."""
        return self.on(self.view[self.time])

    def on(self, time: Any) -> Any:
        """True where another time of the row, such as `closed_at`, lies within `[as_of - days, as_of)`."""
        return time >= self.view[self.start]


def window_start(days: int) -> str:
    """Name of the view's column that holds `as_of - days`."""
    return f"as_of_minus_{days}d"


@dataclass(frozen=True)
class Feature:
    """One feature: an expression over a view and what a reader needs to know about it.

    Parameters
    ----------
    value : ibis expression
        A reduction over the view (row-wise for derived features); a number, flag or text.
    empty : float, str or None
        The value when the entity has no rows; None is null. An entity without the key is always null.
    unit : str
        `count`, `days`, `currency`, `share`, `rank`, `rate` or `text`.
    en, zh : str
        Phrases for reasons, with `{value}`.
    direction : mapping of target kind to -1 or +1
        Where the domain is sure of the sign; feeds monotone constraints.
    role : str, optional
        What it is to a model of purchase rhythm; one feature per role.

    """

    value: Any
    empty: float | str | None
    unit: str
    en: str
    zh: str
    direction: Mapping[TargetKind, int] = field(default_factory=dict)
    role: Role | None = None


@dataclass(frozen=True)
class Pooled:
    """A rate or mean shared by many entities (an owner's, a source's), shrunk to the overall one.

    Gives two features: under its own name the mean over everything known before `as_of`,
    (sum + strength * overall mean) / (rows + strength), and under `count` the number of rows of the
    last 365 days (a running total would grow with time alone).

    Parameters
    ----------
    hit : ibis boolean or integer expression
        Which of the rows count as hits, or a whole number to take the mean of; rows without a number do not count.
    strength : int
        Rows' worth of the overall mean that is added.
    count : str
        Name of the feature that holds the number of rows.
    en, zh : str
        Phrases for the mean, with `{value}`.
    direction : mapping of target kind to -1 or +1
        For the mean.
    unit : str
    divisor : float
        What the mean is divided by, such as the seconds of a day.

    """

    hit: Any
    strength: int
    count: str
    en: str
    zh: str
    direction: Mapping[TargetKind, int] = field(default_factory=dict)
    unit: str = "share"
    divisor: float = 1.0


@dataclass(frozen=True)
class FeatureInfo:
    """What is known of a feature column once it is built.

    `kind` is `number` (float64) or `text`; `direction` maps target kind to -1 or +1.
    """

    name: str
    kind: Literal["number", "text"]
    unit: str
    en: str
    zh: str
    group: str
    description: str
    direction: Mapping[TargetKind, int] = field(default_factory=dict)
    role: Role | None = None


FeatureDict = dict[str, Feature]


@dataclass(frozen=True)
class FeatureGroup:
    """Reductions over the view of one table, for rows that belong to the entity itself or its family."""

    name: str
    description: str
    table: str
    by: Key
    windows: tuple[int, ...]
    optional: tuple[str, ...]
    function: Callable[..., FeatureDict]
    history: bool = False
    each: Each | None = None

    def features(self, view: Any, time: str, levels: Iterable[str] = ()) -> dict[str, tuple[Feature, int | None]]:
        """Features by name, each with the window it belongs to (None: since ever).

        `levels` are what the group is repeated for, where it has `each`.
        """
        if self.each:
            return self._for_each(view, levels)
        if not self.windows:
            return {name: (feature, None) for name, feature in self.function(view).items()}
        return {
            name: (feature, days)
            for days in self.windows
            for name, feature in self.function(view, Window(days, view, time)).items()
        }

    def _for_each(self, view: Any, levels: Iterable[str]) -> dict[str, tuple[Feature, int | None]]:
        """Features of all levels; two levels that give one name are refused."""
        found: dict[str, tuple[Feature, int | None]] = {}
        of: dict[str, str] = {}
        for level in levels:
            for name, feature in self.function(view, level).items():
                if name in found:
                    raise DataError(
                        f"Feature group '{self.name}': '{of[name]}' and '{level}' both give feature '{name}'. "
                        f"Rename one of these {str(self.each).replace('_', ' ')}."
                    )
                found[name], of[name] = (feature, None), level
        return found


@dataclass(frozen=True)
class PooledGroup:
    """Means over the rows that share a value (`by`) with the entity, counted from when `at` became known."""

    name: str
    description: str
    table: str
    by: str
    at: str
    function: Callable[[Any], dict[str, Pooled]]
    via: str | None = None
    own: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class DerivedGroup:
    """Row-wise arithmetic on features that are already built."""

    name: str
    description: str
    needs: tuple[str, ...]
    function: Callable[[Any], FeatureDict]


Group = FeatureGroup | PooledGroup | DerivedGroup


def feature_group(
    table: str,
    by: Key = "customer_id",
    windows: Iterable[int] = (),
    optional: Iterable[str] = (),
    *,
    history: bool = False,
    each: Each | None = None,
) -> Callable[[Callable[..., FeatureDict]], FeatureGroup]:
    """Make a group of reductions over one table's as-of view.

    Parameters
    ----------
    table : str
        Canonical table.
    by : {"customer_id", "deal_id", "parent_id"}
        Which key of the spine the table's rows are found by. `parent_id`: the rows of the whole family, that is
        the parent and all customers whose parent it was at `as_of`, the customer itself included.
    windows : iterable of int
        Days to look back; the function is then called once per window with `(view, window)`,
        and every feature must use `window.mask` or `window.on(...)`. Without windows it is
        called with `(view)`.
    optional : iterable of str
        Columns that are null where a deployment does not have them; features that use any other
        absent column are skipped and reported.
    history : bool
        All versions that a row ever had by `as_of`, those that were replaced too, each with `previous_<column>`:
        the value in the version before. For counting changes; their time is `known_at`.
    each : {"questions", "extra_columns"}, optional
        The function is called once per question of the config, or per column of the deployment's own that an
        entity table has, with `(view, name)`; then it has no windows.

    Examples
    --------
    >>> @feature_group("orders", windows=(90,))
    ... def demand(orders, window):
    ...     "How much was bought lately."
    ...     amount = orders.amount.sum(where=window.mask)
    ...     return {f"orders_amount_{window}": Feature(amount, 0, "currency", "{value:,.0f} bought", "{value:,.0f}")}
    >>> demand.name, demand.windows
    ('demand', (90,))

    """

    def decorate(function: Callable[..., FeatureDict]) -> FeatureGroup:
        return FeatureGroup(
            function.__name__,
            _description(function),
            table,
            by,
            tuple(windows),
            tuple(optional),
            function,
            history,
            each,
        )

    return decorate


def pooled_group(
    table: str, by: str, at: str, *, via: Literal["customers"] | None = None, own: Callable[[Any], Any] | None = None
) -> Callable[[Callable[[Any], dict[str, Pooled]]], PooledGroup]:
    """Make a group of rates that many entities share.

    Parameters
    ----------
    table : str
        Canonical table: the entity's own, or one whose rows belong to it (`own` says then what it shares).
    by : str
        The shared column, such as `owner_id`.
    at : str
        The time from which a row counts: a revealed one such as `closed_at`, or the time of the row. In a table of
        events `previous_<column>` is the value of the same deal's row that was known before.
    via : {"customers"}, optional
        `by` is a column of the customer: of a row the customer as known when the row began to count, of a snapshot
        as known at `as_of`.
    own : callable, optional
        From the entity's view of the table to what it shares, a reduction; default: its `by`.

    """

    def decorate(function: Callable[[Any], dict[str, Pooled]]) -> PooledGroup:
        return PooledGroup(function.__name__, _description(function), table, by, at, function, via, own)

    return decorate


def derived(needs: Iterable[str]) -> Callable[[Callable[[Any], FeatureDict]], DerivedGroup]:
    """Make a group of row-wise ratios and trends of other features; skipped where one of `needs` is absent."""

    def decorate(function: Callable[[Any], FeatureDict]) -> DerivedGroup:
        return DerivedGroup(function.__name__, _description(function), tuple(needs), function)

    return decorate


def _description(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").split())
