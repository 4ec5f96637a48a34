"""Rows of customers that are nobody's first: duplicates, merged ones, idle addresses; and a CRM made in parts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import pipeline.simulate
from features.tables import TABLES
from pipeline.simulate import EVENT_TABLES, Part, Plan, join_parts, simulate_crm, simulate_parts
from pipeline.simulation_output import write_parts
from pipeline.simulation_register import HANGING_SHARE, draw_register
from pipeline.simulation_text import misspell, space_out, spell_legal_form
from pipeline.simulation_world import DAY, Codes, draw_contacts, draw_customers, draw_owners

NEVER = pd.Timestamp("2100-01-01")
HANG = ("activities", "tickets", "contacts")


@pytest.fixture(scope="module")
def part() -> Part:
    (part,) = simulate_parts(Plan(600, seed=8, duplicates=0.1, dirt=0))
    return part


@pytest.fixture(scope="module")
def frames(part: Part) -> dict[str, pd.DataFrame]:
    return {name: table.to_pandas() for name, table in part.tables.items()}


@pytest.fixture(scope="module")
def pairs(part: Part) -> pd.DataFrame:
    """Each duplicate with its original; unmerged ones too, since the world says who they are."""
    customers = part.tables["customers"].to_pandas()
    first = len(part.world.customers)
    ids = np.array(part.numbers.customers(np.arange(600)).to_pylist())
    twins = customers.set_index("customer_id").loc[ids[first:]].reset_index()
    taxes = customers[~customers.customer_id.isin(twins.customer_id)].set_index("tax_number")
    twins["plain"] = twins.tax_number.str.replace(" ", "")
    return twins.merge(taxes, left_on="plain", right_index=True, suffixes=("", "_first"), how="left")


def test_the_stated_share_of_the_rows_are_duplicates_entered_after_the_first(pairs):
    assert len(pairs) == 60
    known = pairs.dropna(subset=["customer_id_first"])
    assert len(known) > 25
    assert (known.created_at > known.created_at_first).all()
    assert (known.merged_into.dropna() == known.customer_id_first[known.merged_into.notna()]).all()


def test_a_duplicate_is_written_a_little_differently(pairs):
    known = pairs.dropna(subset=["customer_id_first"])
    assert (known.name != known.name_first).mean() > 0.95
    assert (known.name.str[:2].str.lower() == known.name_first.str[:2].str.lower()).mean() > 0.9
    assert 0.1 < pairs.domain.isna().mean() < 0.6
    domain = known.domain.dropna()
    assert (domain.str.removeprefix("www.") == known.domain_first[domain.index]).all()
    assert 0.1 < pairs.tax_number.isna().mean() < 0.6


def test_some_duplicates_are_merged_into_the_first_row_later(frames):
    merged = frames["customers"].dropna(subset=["merged_into"])
    assert 15 < len(merged) < 50
    assert (merged.merged_at > merged.created_at).all()
    assert frames["customers"].merged_at.isna().equals(frames["customers"].merged_into.isna())
    assert not merged.merged_into.isin(merged.customer_id).any()


@pytest.mark.parametrize("name", HANG)
def test_something_hangs_on_a_duplicate_only_while_it_is_open(frames, pairs, name):
    rows = frames[name].merge(
        pairs[["customer_id", "created_at", "merged_at"]], on="customer_id", suffixes=("", "_own")
    )
    time = rows[TABLES[name].time]
    assert len(rows) > (50 if name == "activities" else 2)
    assert (time >= rows["created_at" if "created_at_own" not in rows else "created_at_own"]).all()
    assert (rows.known_at < rows.merged_at.fillna(NEVER)).all()


def test_a_stated_share_of_what_happens_hangs_on_the_duplicate_until_it_is_merged():
    rng = np.random.default_rng(2)
    owners = draw_owners(rng, 30)
    people = draw_customers(rng, 30, owners)
    register = draw_register(rng, people, draw_contacts(rng, people), owners, idle=0, duplicates=1)
    original, begin = np.full(4000, register.original[30]), register.customers.created[30]
    merged = np.full(31, np.inf)
    merged[30] = begin + 10 * DAY
    register = replace(register, merged=merged)

    def share(customer: Codes, occurred: float, known: float) -> float:
        times = np.full(4000, occurred), np.full(4000, known)
        return float((register.holder(rng, customer, *times) == 30).mean())

    assert share(original, begin - DAY, begin + DAY) == 0.0  # happened before anybody entered it again
    assert share(original, begin + DAY, begin + 2 * DAY) == pytest.approx(HANGING_SHARE, abs=0.03)
    assert share(original, begin + 9 * DAY, begin + 10 * DAY) == 0.0  # entered when it was merged
    assert share(np.full(4000, 30), begin, begin + DAY) == 1.0  # its own contact
    assert share(np.full(4000, 30), begin, begin + 10 * DAY) == 0.0
    assert share((original + 1) % 30, begin + DAY, begin + DAY) == 0.0  # somebody else


def test_a_duplicate_is_entered_with_one_contact_or_more(frames, pairs):
    contacts = frames["contacts"].merge(pairs[["customer_id", "created_at"]], on=["customer_id", "created_at"])
    assert len(contacts) == len(pairs) - pairs.known_at.gt(pairs.merged_at).sum()


@pytest.mark.parametrize("name", ["deals", "orders", "invoices", "subscriptions"])
def test_no_deal_or_order_hangs_on_a_duplicate(frames, pairs, name):
    assert not frames[name].customer_id.isin(pairs.customer_id).any()


def test_no_duplicates_no_merged_columns_filled():
    customers = simulate_crm(200, seed=8, duplicates=0)["customers"]
    assert customers["merged_into"].null_count == customers["merged_at"].null_count == 200


@pytest.mark.parametrize(("events", "worked"), [(20.0, 1 / 3), (40.0, 2 / 3), (80.0, 1.0)])
def test_with_few_events_some_customers_are_addresses_that_nobody_works(events, worked):
    tables = simulate_crm(600, seed=2, events_per_customer=events, duplicates=0)
    assert sum(tables[name].num_rows for name in EVENT_TABLES) == pytest.approx(600 * events, rel=0.03)
    seen = {one for name in ("activities", "orders", "deals") for one in tables[name]["customer_id"].to_pylist()}
    assert len(seen) / 600 == pytest.approx(worked, abs=0.03)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(pipeline.simulate, "_PART_CUSTOMERS", 100)
    return Plan(290, seed=3, has_leaks=True)


def test_a_crm_in_parts_has_unique_ids_and_references_that_hold(small_parts):
    parts = list(simulate_parts(small_parts))
    assert [part.tables["customers"].num_rows for part in parts] == [96, 97, 97]
    tables = {name: table.to_pandas() for name, table in join_parts(parts).items()}
    assert tables["clock"].customers.tolist() == [290]
    for name, spec in TABLES.items():
        if spec.key:
            assert tables[name][spec.key].is_unique
        for column, other in spec.references.items():
            values = tables[name][column].dropna()
            assert values.isin(tables[other][TABLES[other].key]).all(), (name, column)
    assert tables["customers"].domain.str.removeprefix("www.").str.lower().value_counts().max() <= 2
    owners = [set(part.tables["deals"]["owner_id"].to_pylist()) for part in parts]
    assert not owners[0] & owners[1]


def test_files_of_parts_hold_what_one_table_would(small_parts, tmp_path):
    rows = write_parts((part.tables for part in simulate_parts(small_parts)), tmp_path / "a")
    write_parts((part.tables for part in simulate_parts(small_parts)), tmp_path / "b")
    joined = join_parts(simulate_parts(small_parts))
    assert rows == {name: table.num_rows for name, table in joined.items()}
    for name, table in joined.items():
        path = tmp_path / "a" / f"{name}.parquet"
        assert pd.read_parquet(path).equals(table.to_pandas())
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_texts_are_written_differently():
    rng = np.random.default_rng(1)
    assert misspell(rng, "Oak") == "Oka"
    assert misspell(rng, "AAA") == "AA"
    assert space_out(rng, "DE123456789") == "DE 123 456 789"
    assert spell_legal_form(rng, "Oakford Foods Ltd") == "Oakford Foods Limited"
