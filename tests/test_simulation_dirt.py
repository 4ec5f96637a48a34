"""Clerical errors in the simulated tables: what they look like, and how many there are."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.simulate import simulate_crm
from pipeline.simulation_dirt import DIRT, SWAPPED, soil


def people(count: int) -> pa.Table:
    """Contacts that are all alike."""
    return pa.table(
        {"contact_id": [f"P{n}" for n in range(count)], "title": ["Buyer"] * count, "seniority": ["staff"] * count}
    )


def test_every_kind_of_error_is_there_and_the_id_is_untouched():
    table = soil(np.random.default_rng(1), "contacts", people(400), rate=0.5)
    assert table["contact_id"].equals(people(400)["contact_id"])
    titles = set(table["title"].to_pylist())
    assert {"Buyer", "BUYER", "buyer", " Buyer", "Buyer ", "Buyre", "Byuer", None, "staff"} <= titles
    assert {"staff", "STAFF", "Staff", None, "Buyer"} <= set(table["seniority"].to_pylist())


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_stated_share_of_values_is_soiled(rate):
    clean = pa.table(
        {"order_id": range(20_000), "product": ["basic"] * 20_000, "cost": [1.5] * 10_000 + [None] * 10_000}
    )
    table = soil(np.random.default_rng(2), "orders", clean, rate)
    assert sum(value != "basic" for value in table["product"].to_pylist()) / 20_000 == pytest.approx(rate, rel=0.2)
    assert (table["cost"].null_count - 10_000) / 10_000 == pytest.approx(rate, rel=0.3)


def test_swapped_fields_stand_in_each_others_place():
    table = soil(np.random.default_rng(3), "contacts", people(20_000), rate=0.02)
    swapped = [title == "staff" for title in table["title"].to_pylist()]
    assert np.mean(swapped) == pytest.approx(0.02, rel=0.2)


def test_without_dirt_nothing_changes():
    assert soil(np.random.default_rng(4), "contacts", people(50), rate=0.0).equals(people(50))
    assert soil(np.random.default_rng(4), "invoices", people(50), rate=1.0).equals(people(50))


def test_dirt_changes_only_what_it_names():
    clean, dirty = simulate_crm(300, seed=5, dirt=0), simulate_crm(300, seed=5, dirt=0.05)
    assert not dirty["customers"]["name"].equals(clean["customers"]["name"])
    for name, table in clean.items():
        named = {*DIRT.get(name, ()), *(column for pair in SWAPPED.get(name, ()) for column in pair)}
        for column in set(table.column_names) - named:
            assert dirty[name][column].equals(table[column]), (name, column)


def test_every_soiled_column_is_there():
    tables = simulate_crm(60, seed=5)
    for name, columns in DIRT.items():
        assert set(columns) <= set(tables[name].column_names)
