"""Which number each simulated entity gets; ids are made of it, and `make_generator` of seed and part."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from pipeline.simulation_columns import id_column
from pipeline.simulation_world import Codes, Floats

_SHAPES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "owners": ("U", 4),
        "customers": ("C", 7),
        "contacts": ("P", 8),
        "deals": ("D", 8),
        "activities": ("A", 9),
        "orders": ("R", 8),
        "invoices": ("I", 8),
        "tickets": ("T", 8),
        "subscriptions": ("S", 7),
    }
)
"""First letter and number of digits of the ids of each table."""

NUMBERED = tuple(_SHAPES)
"""What has ids: owners, and the tables with a key."""


def make_generator(seed: int, part: int, topic: str) -> np.random.Generator:
    """Return the randomness of one topic of one part: no topic changes what another one draws."""
    return np.random.default_rng([seed, part, zlib.crc32(topic.encode())])


def rank(times: Floats) -> Codes:
    """Return the place of each time in ascending order, from 0; equal times keep their order."""
    places = np.empty(len(times), dtype=np.int64)
    places[np.argsort(times, kind="stable")] = np.arange(len(times))
    return places


@dataclass(frozen=True)
class Numbers:
    """The numbers of one part's entities.

    Parameters
    ----------
    customer, contact : array of int
        Place of each customer and contact in the order of creation, from 0.
    before : mapping of str to int
        How many ids the parts before have given out, by table.

    """

    customer: Codes
    contact: Codes
    before: Mapping[str, int]

    def customers(self, codes: Codes) -> pa.StringArray:
        """Return ids of customers; a negative code is null."""
        return self.rows("customers", np.where(codes >= 0, self.customer[np.maximum(codes, 0)], -1))

    def contacts(self, codes: Codes) -> pa.StringArray:
        """Return ids of contacts; a negative code is null."""
        return self.rows("contacts", np.where(codes >= 0, self.contact[np.maximum(codes, 0)], -1))

    def deals(self, codes: Codes) -> pa.StringArray:
        """Return ids of deals; a negative code is null."""
        return self.rows("deals", codes)

    def owners(self, codes: Codes) -> pa.StringArray:
        """Return ids of sales people; a negative code is null."""
        return self.rows("owners", codes)

    def rows(self, table: str, places: Codes) -> pa.StringArray:
        """Return the ids of a table's rows by their place, from 0; a negative place is null."""
        prefix, digits = _SHAPES[table]
        return id_column(prefix, np.where(places >= 0, places + 1 + self.before[table], -1), digits)

    def entities(self, table: str, codes: Codes) -> pa.StringArray:
        """Return ids of customers, deals or subscriptions, by the name of the table."""
        return self.customers(codes) if table == "customers" else self.rows(table, codes)
