"""A simulated CRM: who the customers are, what happens to them, and what of it the tables show.

Conversion and churn depend partly on state that no table shows (need, budget, satisfaction, the
momentum of a deal, the phase of an account) and partly on behaviour that tables do show. A large CRM
is made in parts, each with customers and sales people of its own, so that it need not fit into memory.
Each topic of each part has a randomness of its own, drawn in a fixed order: the same seed gives the
same tables, and dirt or planted leaks change nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.simulation_dirt import soil
from pipeline.simulation_layout import EVENT_TABLES, lay_out
from pipeline.simulation_leaks import leaks_table
from pipeline.simulation_mechanics import World, draw_world
from pipeline.simulation_numbers import NUMBERED, Numbers, make_generator, rank
from pipeline.simulation_output import MADE_BY, write_files
from pipeline.simulation_register import draw_register
from pipeline.simulation_sql import write_sql
from pipeline.simulation_world import NOW

__all__ = ["EVENT_TABLES", "Part", "Plan", "join_parts", "simulate_crm", "simulate_parts", "write_files", "write_sql"]

MOST_EVENTS = 10_000
"""More events per customer are taken for a slip of the pen."""

FULL_EVENTS = 60
"""With fewer events per customer some of the customers are addresses that nobody works."""

_PART_CUSTOMERS = 50_000
_PART_EVENTS = 8_000_000
_LEAST_WORKED = 15


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    Parameters
    ----------
    customers : int
        Rows of the customers table, at least 20: idle addresses and duplicates are among them.
    seed : int
        Same seed and same numbers: same tables, to the bit.
    events_per_customer : float
        Rows of all event tables together per customer; all but the activities do not depend on it.
        Below `FULL_EVENTS` a share of the customers is idle: no deals, no orders, nothing happens.
    duplicates : float
        Share of the rows of customers that are the second row of another, in [0, 0.2].
    dirt : float
        Share of the values (of columns in `simulation_dirt.DIRT`) with a clerical error, in [0, 1].
    has_leaks : bool
        Whether customers and deals get the planted columns of `simulation_leaks.LEAKS`.
    policy : float or None
        Share of the deals that is worked, those with the best shown criteria, and a random slice; None: all.

    """

    customers: int
    seed: int
    events_per_customer: float = 80.0
    duplicates: float = 0.02
    dirt: float = 0.01
    has_leaks: bool = False
    policy: float | None = None

    def check(self) -> None:
        """Refuse numbers that make no CRM."""
        if self.customers < 20:
            raise ConfigError(f"customers is {self.customers}, expected at least 20. Simulate a larger CRM.")
        limits = {
            "events_per_customer": (self.events_per_customer, 1, MOST_EVENTS),
            "duplicates": (self.duplicates, 0, 0.2),
            "dirt": (self.dirt, 0, 1),
            "policy": (1.0 if self.policy is None else self.policy, 0, 1),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise ConfigError(f"{name} is {value:g}, expected {least:g} to {most:,g}. Pass a value within.")


@dataclass(frozen=True)
class Part:
    """Some of the customers of a simulated CRM: the world behind the tables, the ids in them, and the tables."""

    world: World
    numbers: Numbers
    tables: Mapping[str, pa.Table]


def simulate_crm(customers: int, seed: int, **options: float | bool | None) -> dict[str, pa.Table]:
    """Simulate three years of a CRM.

    Parameters
    ----------
    customers, seed, **options
        See `Plan`.

    Returns
    -------
    dict of pyarrow.Table
        The canonical tables, each with `known_at`, and `clock` with one row: `now` (UTC) and what made
        the tables. With planted leaks also `leaks`, their manifest. All times are whole seconds.

    Raises
    ------
    ConfigError
        If there are too few customers or events, or a share is out of its range.

    Examples
    --------
    >>> tables = simulate_crm(50, seed=1)
    >>> tables["customers"].num_rows
    50
    >>> str(tables["clock"]["now"][0])
    '2025-06-30 22:00:00'

    """
    return join_parts(simulate_parts(Plan(customers, seed, **options)))  # type: ignore[arg-type]


def join_parts(parts: Iterable[Part]) -> dict[str, pa.Table]:
    """Return the tables of all parts as one, each in the order of its parts."""
    tables: dict[str, list[pa.Table]] = {}
    for part in parts:
        for name, table in part.tables.items():
            tables.setdefault(name, []).append(table)
    return {name: pa.concat_tables(several) for name, several in tables.items()}


def simulate_parts(plan: Plan) -> Iterator[Part]:
    """Simulate a CRM part by part; the last part has the clock and the manifest of the leaks as well.

    Raises
    ------
    ConfigError
        If there are too few customers or events, or a share is out of its range.

    """
    plan.check()
    size = min(_PART_CUSTOMERS, max(1_000, int(_PART_EVENTS / plan.events_per_customer)))
    count = -(-plan.customers // size)
    bounds = np.linspace(0, plan.customers, count + 1).astype(np.int64)
    before: Counter[str] = Counter(dict.fromkeys(NUMBERED, 0))
    for index in range(count):
        part = _simulate_part(plan, index, int(bounds[index + 1] - bounds[index]), before)
        for name in NUMBERED:
            before[name] += len(part.world.owners.skill) if name == "owners" else part.tables[name].num_rows
        yield Part(part.world, part.numbers, {**part.tables, **_closing_tables(plan)}) if index == count - 1 else part


def _simulate_part(plan: Plan, index: int, customers: int, before: Mapping[str, int]) -> Part:
    """Simulate some of the customers: the world, then what its tables show, then the dirt on them."""
    duplicates = round(customers * plan.duplicates)
    people = customers - duplicates
    worked = min(people, max(_LEAST_WORKED, round(people * min(1.0, plan.events_per_customer / FULL_EVENTS))))
    world = draw_world(make_generator(plan.seed, index, "world"), worked, plan.policy)
    register = draw_register(
        make_generator(plan.seed, index, "register"),
        world.customers,
        world.contacts,
        world.owners,
        idle=people - worked,
        duplicates=duplicates,
    )
    numbers = Numbers(
        customer=rank(register.customers.created),
        contact=rank(register.contacts.created),
        before=MappingProxyType(dict(before)),
    )
    tables = lay_out(
        world,
        register,
        numbers,
        seed=plan.seed,
        part=index,
        events_per_customer=plan.events_per_customer,
        has_leaks=plan.has_leaks,
    )
    return Part(
        world,
        numbers,
        {
            name: soil(make_generator(plan.seed, index, f"dirt in {name}"), name, table, plan.dirt)
            for name, table in tables.items()
        },
    )


def _closing_tables(plan: Plan) -> dict[str, pa.Table]:
    """Return the tables that there is one of, however many parts there are."""
    clock = {
        "now": pa.array([NOW], pa.timestamp("us")),
        "made_by": [MADE_BY],
        "customers": [plan.customers],
        "seed": [plan.seed],
    }
    return {"clock": pa.table(clock), **({"leaks": leaks_table()} if plan.has_leaks else {})}
