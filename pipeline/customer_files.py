"""Customer files, put together from what a scoring run kept and from the stored tables."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from features.customer_rows import known_rows
from features.engine import open_database
from features.errors import DataError
from features.tables import CrmTables
from models.lifecycle import STAGES
from pipeline.config import Config
from pipeline.customer_facts import CUSTOMERS_FILE
from pipeline.customer_file import CustomerFile, TargetScore
from pipeline.customer_scores import read_target_scores
from pipeline.deployment import load_extract
from pipeline.ledger import Ledger
from pipeline.stored_run import Row, StoredRun, find_runs, plain_rows
from pipeline.tombstones import load_tombstones

UNSAID = frozenset({"name", "domain", "tax_number", "customer_id", "known_at", "merged_into"})
"""Columns of customers that are no part of a profile, whether the config calls them sensitive or not."""
WORTH = (
    "profit_365d", "profit_share", "lifetime_value", "lifetime_margin", "lifetime_source", "abc_revenue", "abc_profit",
    "abc_value", "buying_potential", "profit_class", "strategic",
)  # fmt: skip
_NOT_HISTORY = frozenset({"customer_id", "as_of", "lifecycle", *WORTH})


def read_customer_file(config: Config, ledger: Ledger, customer_id: str, run_id: str | None = None) -> CustomerFile:
    """Read the file of one customer, as of a scoring run; nothing is written, and no lock is needed.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    customer_id : str
    run_id : str, optional
        Default: the run with the newest data.

    Raises
    ------
    DataError
        If nothing was scored yet, the run is gone, or it knows no such customer.

    """
    found = make_customer_files(config, ledger, run_id, customers=[customer_id])
    if found:
        return found[0]
    if load_tombstones(config.folder).holds("customers", customer_id):
        raise DataError(f"Customer '{customer_id}' was forgotten. Nothing is left to show.")
    raise DataError(
        f"No customer '{customer_id}' at the time of the run, expected an id as the CRM has it. Check the id; if the "
        "CRM has got it since, run `leadsieve extract` and `leadsieve score` first."
    )


def make_customer_files(
    config: Config,
    ledger: Ledger,
    run_id: str | None = None,
    *,
    customers: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[CustomerFile]:
    """Make the files of many customers at once.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    run_id : str, optional
        Default: the run with the newest data.
    customers : sequence of str, optional
        Ids, in the order asked for; those that nobody knows are left out. Default: all, those of the highest lifetime
        value first, then of the highest revenue of the last 365 days.
    limit : int, optional
        At most so many.

    Raises
    ------
    DataError
        If nothing was scored yet, or what the run kept is gone.

    """
    run, before = find_runs(config, ledger, run_id)
    wanted = list(dict.fromkeys(_by_value(run) if customers is None else customers))[:limit]
    tables = replace(load_extract(config), data_end=run.as_of)
    forgotten = load_tombstones(config.folder).among("customers", wanted)
    profiles, deals = _read_tables(tables, [one for one in wanted if one not in forgotten])
    facts = {one["customer_id"]: one for one in plain_rows(run.rows(CUSTOMERS_FILE, "customer_id", profiles))}
    scored = read_target_scores(run, before, profiles, deals)
    return [
        _make(run, customer, profiles[customer], facts.get(customer, {}), scored.get(customer, []))
        for customer in wanted
        if customer in profiles
    ]


def _by_value(run: StoredRun) -> list[str]:
    """Ids of all customers of a run, the most valuable first."""
    path = run.folder / CUSTOMERS_FILE
    if not path.is_file():
        raise DataError(f"Run {run.run_id} kept no facts about customers ({path} is not there). Score again.")
    by = ["lifetime_value", "revenue_365d"]
    facts = pd.read_parquet(path, columns=["customer_id", *by]).sort_values(by, ascending=False, kind="stable")
    return [str(one) for one in facts["customer_id"]]


def _make(run: StoredRun, customer: str, profile: Row, facts: Row, scores: Sequence[TargetScore]) -> CustomerFile:
    stage = facts.get("lifecycle")
    return CustomerFile(
        customer_id=customer,
        run_id=run.run_id,
        as_of=run.as_of,
        profile=profile,
        history={name: value for name, value in facts.items() if name not in _NOT_HISTORY},
        worth={name: facts.get(name) for name in WORTH} if facts else {},
        lifecycle={"id": stage, **STAGES[stage]} if stage else None,
        scores=tuple(one for one in scores if one.entity == "customer"),
        deals=tuple(one for one in scores if one.entity == "deal"),
    )


def _read_tables(tables: CrmTables, customers: Sequence[str]) -> tuple[dict[str, Row], dict[str, str]]:
    """Profile of each customer as it was known at the run, and the customer of each of their deals."""
    with open_database(tables, engine="duckdb") as database:
        asked = database.add("asked", pd.DataFrame({"customer_id": pd.Series(customers, dtype="str")}))
        known = known_rows(database, "customers").semi_join(asked, "customer_id")
        rows = plain_rows(database.frame(known.cast(_as_numbers(known))))
        deals = pd.DataFrame(columns=["deal_id", "customer_id"])
        if "deals" in tables.tables:
            owned = known_rows(database, "deals").semi_join(asked, "customer_id")
            deals = database.frame(owned.select("deal_id", "customer_id"))
    profiles = {
        row["customer_id"]: {
            name: value
            for name, value in row.items()
            if value is not None and name not in UNSAID and not name.endswith("_known_at")
        }
        for row in rows
    }
    return profiles, dict(zip(deals["deal_id"], deals["customer_id"], strict=True))


def _as_numbers(rows: Any) -> dict[str, str]:
    """Types of the columns that are money, to be numbers in a profile."""
    return {name: "float64" for name, kind in rows.schema().items() if kind.is_decimal()}
