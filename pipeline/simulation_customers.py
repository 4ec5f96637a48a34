"""Lay the simulated people out as the tables customers and contacts, duplicates written a little differently."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.simulation_columns import (
    date_column,
    draw_known,
    label_column,
    money_column,
    number_column,
    office_time,
    time_column,
)
from pipeline.simulation_history import CustomerValues
from pipeline.simulation_numbers import Numbers
from pipeline.simulation_register import Register
from pipeline.simulation_text import drop_legal_form, misspell, space_out, spell_legal_form, with_www
from pipeline.simulation_world import DAY, GRADES, INDUSTRIES, REGIONS, SENIORITIES, SOURCES, Codes

_NAME_STARTS = ("Alder", "Ash", "Birk", "Bright", "Cedar", "Clear", "Delta", "East", "Elm", "Falk", "Fern", "Gold",
                "Green", "Hall", "Hart", "High", "Iron", "Kern", "Lake", "Linden", "Mark", "Mill", "New", "Nord",
                "North", "Oak", "Old", "Rein", "River", "Silver", "South", "Stein", "Stone", "Sun", "Vale", "West",
                "White", "Wind", "Winter", "Wolf")  # fmt: skip
_NAME_MIDDLES = ("", "", "", "a", "en", "er", "in", "ing", "is", "o", "on", "s")
_NAME_ENDS = ("bach", "berg", "bridge", "brook", "burg", "dale", "feld", "field", "ford", "gate", "hafen", "haus",
              "hill", "land", "mark", "mere", "mont", "point", "port", "ridge", "stad", "stead", "ton", "wald", "ware",
              "well", "werk", "wick", "wood", "worth")  # fmt: skip
_TRADES = ("Machines", "Trading", "Logistics", "Building", "Software", "Medical", "Foods", "Services")
_LEGAL_FORMS = ("GmbH", "Ltd", "Inc", "AG", "B.V.", "S.A.")
_TITLES = ("Buyer", "Engineer", "Accountant", "Purchasing Manager", "Plant Manager", "Sales Manager",
           "Director of Operations", "Finance Director", "IT Director", "CEO", "CFO", "COO")  # fmt: skip
_TAX_PRIME = 999_999_937

_Rewrite = Callable[[np.random.Generator, str], str | None]
_NAME_VARIANTS: tuple[_Rewrite, ...] = (drop_legal_form, spell_legal_form, misspell, lambda _, text: text.upper())
_DOMAIN_VARIANTS: tuple[_Rewrite, ...] = (lambda _, text: text, with_www, lambda *_: None)
_TAX_VARIANTS: tuple[_Rewrite, ...] = (lambda _, text: text, space_out, lambda *_: None)


def build_customers(
    rng: np.random.Generator, register: Register, values: CustomerValues, numbers: Numbers, part: int
) -> pa.Table:
    """Customers with the values of today; what they were before is in attribute_changes."""
    people = register.customers
    rows = np.argsort(numbers.customer)
    created = office_time(people.created)
    stem, trade, legal = _draw_names(rng, people.industry)
    name = pc.binary_join_element_wise(stem, trade, legal, " ")
    host = pc.binary_join_element_wise(pc.utf8_lower(stem), pc.utf8_lower(trade), "-")
    domain = pc.binary_join_element_wise(host, _tell_apart(host), _top_level(part), "")
    tax = pc.binary_join_element_wise("DE", _tax_digits(numbers), "")
    founded = np.floor(people.created / DAY) - people.age_days
    founded = np.where(register.original >= 0, founded[np.maximum(register.original, 0)], founded)
    table = pa.table(
        {
            "customer_id": numbers.customers(np.arange(len(people))),
            "created_at": time_column(created),
            "known_at": time_column(draw_known(rng, "customers", created, must_be_in=True)),
            "name": _vary(rng, name, register, _NAME_VARIANTS),
            "domain": _vary(rng, domain, register, _DOMAIN_VARIANTS),
            "tax_number": _vary(rng, tax, register, _TAX_VARIANTS),
            "industry": label_column(INDUSTRIES, people.industry),
            "region": label_column(REGIONS, people.region),
            "employees": number_column(values.employees),
            "annual_revenue": money_column(values.revenue),
            "founded_on": date_column(founded),
            "parent_id": numbers.customers(people.parent),
            "owner_id": numbers.owners(values.owner),
            "source": label_column(SOURCES, people.source),
            "credit_grade": label_column(GRADES, values.grade),
            "merged_into": numbers.customers(np.where(np.isfinite(register.merged), register.original, -1)),
            "merged_at": time_column(office_time(register.merged)),
        }
    )
    return table.take(pa.array(rows))


def _draw_names(rng: np.random.Generator, industry: Codes) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Draw the parts of company names: stem, trade and legal form."""
    pools = (_NAME_STARTS, _NAME_MIDDLES, _NAME_ENDS)
    parts = [label_column(pool, rng.integers(len(pool), size=len(industry))) for pool in pools]
    legal = label_column(_LEGAL_FORMS, rng.integers(len(_LEGAL_FORMS), size=len(industry)))
    return pc.binary_join_element_wise(*parts, ""), label_column(_TRADES, industry), legal


def _tell_apart(hosts: pa.Array) -> pa.StringArray:
    """Return '' for the first of equal hosts, then 2, 3, ..."""
    codes = hosts.dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    begins = np.searchsorted(codes[order], codes[order])
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - begins
    return label_column(("", *(str(number) for number in range(2, int(place.max()) + 2))), place)


def _top_level(part: int) -> str:
    """Return the end of the domains of one part, which no other part has."""
    return ".example" if part == 0 else f".n{part}.example"


def _tax_digits(numbers: Numbers) -> pa.StringArray:
    """Return nine digits per customer that no other has, in no order."""
    place = numbers.customer + 1 + numbers.before["customers"]
    digits = (place * 387_420_489 + 123_456_789) % _TAX_PRIME
    return pc.utf8_lpad(pa.array(digits).cast(pa.string()), 9, "0")


def _vary(
    rng: np.random.Generator, texts: pa.StringArray, register: Register, variants: tuple[_Rewrite, ...]
) -> pa.StringArray:
    """Write each duplicate's text as one of the variants of its original's."""
    twins = np.flatnonzero(register.original >= 0)
    if not twins.size:
        return texts
    before = texts.take(pa.array(register.original[twins])).to_pylist()
    which = rng.integers(len(variants), size=len(twins))
    varied = [variants[code](rng, text) for code, text in zip(which, before, strict=True)]
    return pc.replace_with_mask(texts, pa.array(register.original >= 0), pa.array(varied, pa.string()))


def build_contacts(rng: np.random.Generator, register: Register, numbers: Numbers) -> pa.Table:
    """People at the customers, some of them entered at a customer's duplicate."""
    contacts = register.contacts
    created = office_time(contacts.created)
    known = draw_known(rng, "contacts", created, must_be_in=True)
    count = len(contacts.customer)
    table = pa.table(
        {
            "contact_id": numbers.contacts(np.arange(count)),
            "created_at": time_column(created),
            "known_at": time_column(known),
            "customer_id": numbers.customers(register.holder(rng, contacts.customer, contacts.created, known)),
            "title": label_column(_TITLES, contacts.seniority * 3 + rng.integers(3, size=count)),
            "seniority": label_column(SENIORITIES, contacts.seniority),
            "is_decision_maker": pa.array(contacts.is_decision_maker),
        }
    )
    return table.take(pa.array(np.argsort(numbers.contact)))
