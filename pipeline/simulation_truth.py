"""What a simulated world really held in store: the chance of every entity at every moment of the spine.

Truth is for those who evaluate: no feature, model or nightly job reads it. It is conditional on all of
the simulator's state at `as_of`, hidden or shown. Labels of the product come from what the tables show,
which is the same events: a win or an order lies in `[as_of, as_of + horizon)` here exactly when the time
in the table does, since times of a table are the simulator's, moved into office hours in their order.
Returns are never purchases, and no order of a simulated table hangs on a duplicate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.tables import TABLES
from pipeline.simulation_columns import OFFICE_OPENS, OFFICE_SHARE
from pipeline.simulation_mechanics import World
from pipeline.simulation_numbers import Numbers
from pipeline.simulation_truth_accounts import AccountTruth
from pipeline.simulation_truth_deals import states_at, win_probability
from pipeline.simulation_world import DAY, HISTORY, NOW, START, Codes, Floats

HORIZON_DAYS = 90
AGES_DAYS = (0, 7, 30)
_MICROSECOND = 1e-6
_START = np.datetime64(START, "us")


@dataclass(frozen=True)
class Known:
    """When each customer and deal became known, in seconds since `START`, as the tables have it."""

    customers: Floats
    deals: Floats


@dataclass(frozen=True)
class Truth:
    """Probabilities of both targets: entity_id, as_of (UTC), origin (grid | age), horizon_days, probability.

    conversion has the deals that are open at `as_of`, churn the customers who have ordered before.
    """

    conversion: pa.Table
    churn: pa.Table


@dataclass(frozen=True)
class _Moment:
    """One `as_of` for all customers and deals, in seconds since `START`; infinite for those not known by then."""

    origin: str
    customers: Floats
    deals: Floats


def build_truth(world: World, numbers: Numbers, tables: Mapping[str, pa.Table]) -> Truth:
    """Compute the chance of every entity at month starts (UTC) and at the ages 0, 7 and 30 days.

    Age 0 is a microsecond after the entity became known, as in the product's spine.

    Parameters
    ----------
    world : World
    numbers : Numbers
        Which ids the world's customers and deals have.
    tables : mapping of str to pyarrow.Table
        customers and deals of the world, of which `known_at` is read.

    """
    known = _read_known(world, numbers, tables)
    accounts = AccountTruth(world, HORIZON_DAYS * DAY)
    conversion = [_table("grid", *_nobody(), numbers.deals)]
    churn = [_table("grid", *_nobody(), numbers.customers)]
    for moment in _moments(known):
        deal, chance = _win_chances(world, moment.deals)
        conversion.append(_table(moment.origin, deal, moment.deals[deal], chance, numbers.deals))
        customer, chance = accounts.lapse_probability(raw_time(moment.customers))
        churn.append(_table(moment.origin, customer, moment.customers[customer], chance, numbers.customers))
    return Truth(pa.concat_tables(conversion), pa.concat_tables(churn))


def join_truths(truths: Sequence[Truth]) -> Truth:
    """Put the truth of all parts of a world together."""
    return Truth(
        pa.concat_tables([truth.conversion for truth in truths]), pa.concat_tables([truth.churn for truth in truths])
    )


def _read_known(world: World, numbers: Numbers, tables: Mapping[str, pa.Table]) -> Known:
    """Read when the world's customers and deals became known; infinite for rows that are not there."""
    ids = {
        "customers": numbers.customers(np.arange(len(world.customers))),
        "deals": numbers.deals(np.arange(len(world.deals))),
    }
    known = {}
    for name, wanted in ids.items():
        table = tables[name]
        place = pc.index_in(wanted, value_set=table[TABLES[name].key].combine_chunks())
        since = (table["known_at"].to_numpy() - _START) / np.timedelta64(1, "s")
        row = place.fill_null(-1).to_numpy(zero_copy_only=False)
        known[name] = np.where(row >= 0, since[row], np.inf) if len(since) else np.full(len(row), np.inf)
    return Known(**known)


def raw_time(moments: Floats) -> Floats:
    """Return the earliest simulator time that the tables show at or after each moment of theirs.

    Parameters
    ----------
    moments : array of float
        Seconds since `START` as in the tables, not only in office hours.

    Examples
    --------
    >>> raw_time(np.array([0.0, 7 * 3600.0, 7 * 3600 + 11.0, 19 * 3600.0])).tolist()
    [0.0, 0.0, 24.0, 86400.0]

    """
    with np.errstate(invalid="ignore"):
        day = np.floor(moments / DAY)
        open_for = np.ceil(np.maximum(moments - day * DAY - OFFICE_OPENS, 0.0))
        raw = day * DAY + np.minimum(open_for / OFFICE_SHARE, DAY)
    return np.where(np.isfinite(moments), raw, np.inf)


def _win_chances(world: World, as_of: Floats) -> tuple[Codes, Floats]:
    """Return the deals open at their `as_of`, and their chances."""
    at = raw_time(as_of)
    deal = np.flatnonzero((world.progress.closed >= at) & (at < HISTORY))
    return deal, win_probability(states_at(world.deals, world.progress, deal, at[deal]), HORIZON_DAYS * DAY)


def _moments(known: Known) -> Iterator[_Moment]:
    months = np.arange(np.datetime64(START, "M"), np.datetime64(NOW, "M") + 1).astype("datetime64[us]")
    grid = (months - _START) / np.timedelta64(1, "s")
    for as_of in grid:
        yield _Moment("grid", *(np.where(since < as_of, as_of, np.inf) for since in (known.customers, known.deals)))
    for days in AGES_DAYS:
        ages = (since + (days * DAY or _MICROSECOND) for since in (known.customers, known.deals))
        yield _Moment("age", *(np.where(np.isin(age, grid), np.inf, age) for age in ages))


def _nobody() -> tuple[Codes, Floats, Floats]:
    return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)


def _table(
    origin: str, entity: Codes, as_of: Floats, probability: Floats, name: Callable[[Codes], pa.StringArray]
) -> pa.Table:
    """Lay out the chances of one moment."""
    micros = np.round(as_of * 1e6).astype("timedelta64[us]")
    return pa.table(
        {
            "entity_id": name(entity),
            "as_of": pa.array(_START + micros, pa.timestamp("us")),
            "origin": pa.repeat(pa.scalar(origin), len(entity)),
            "horizon_days": pa.repeat(pa.scalar(HORIZON_DAYS, pa.int32()), len(entity)),
            "probability": pa.array(probability),
        }
    )
