"""How old entities were in training, and whether those that are scored are older or younger.

A model says something of any row, but where it has seen nobody of that age it carries over what holds for others.
"""

from collections.abc import Sequence

import pandas as pd

from features.spine import entity_ages
from features.tables import CrmTables
from features.targets import Target


def age_range(tables: CrmTables, spine: pd.DataFrame, target: Target) -> list[float]:
    """Smallest and largest age in days, from when an entity became known until `as_of`; empty for nobody."""
    ages = entity_ages(tables, spine, target).dropna()
    return [float(ages.min()), float(ages.max())] if len(ages) else []


def note_on_ages(tables: CrmTables, spine: pd.DataFrame, target: Target, trained: Sequence[float]) -> str | None:
    """Say how many of the scored entities are older or younger than all that training saw; None if none are.

    Parameters
    ----------
    tables : CrmTables
    spine : DataFrame
        Of the scored rows.
    target : Target
    trained : sequence of float
        What `age_range` said of the training rows; nothing is said if it is empty.

    """
    if len(trained) != 2:
        return None
    ages, (youngest, oldest) = entity_ages(tables, spine, target), trained
    older, younger = int((ages > oldest).sum()), int((ages < youngest).sum())
    found = [f"{older:,} older (up to {ages.max():,.0f} days)"] if older else []
    found += [f"{younger:,} younger (from {ages.min():,.0f} days)"] if younger else []
    if not found:
        return None
    return (
        f"{target.name}: of {len(ages):,} {target.table} scored, {' and '.join(found)} than any in training "
        f"({youngest:,.0f} to {oldest:,.0f} days): the model carries over to them what holds for others."
    )
