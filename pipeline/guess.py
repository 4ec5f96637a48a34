"""Guesses, by their names, which tables and columns of a CRM are which canonical ones. A person checks them."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from features.tables import TABLES, TableSpec

NEAR = 0.85
"""How alike two names must be."""

_ENOUGH = 2  # columns of a table that must be recognised

_TABLES: dict[str, tuple[str, ...]] = {
    "customers": ("customer", "account", "company", "companies", "client", "organisation", "organization"),
    "contacts": ("contact", "people", "person"),
    "deals": ("deal", "opportunity", "opportunities", "lead", "pipeline"),
    "stage_changes": ("stagechange", "stagehistory", "opportunityhistory"),
    "activities": ("activity", "activities", "event", "task", "call", "meeting", "interaction"),
    "orders": ("order", "sale", "transaction", "purchase", "retail"),
    "invoices": ("invoice", "bill", "receivable"),
    "tickets": ("ticket", "case", "issue", "complaint"),
    "subscriptions": ("subscription", "contract"),
    "assessments": ("assessment", "qualification"),
    "attribute_changes": ("attributechange", "fieldhistory", "auditlog", "changelog"),
}
_COLUMNS: dict[str, tuple[str, ...]] = {
    "customer_id": ("customer", "account", "accountid", "clientid", "client", "companyid", "partnerid"),
    "deal_id": ("opportunityid", "opportunity", "leadid", "mqlid", "deal"),
    "contact_id": ("contact", "personid"),
    "order_id": ("orderno", "ordernumber", "invoiceno", "invoice", "transactionid", "saleid"),
    "invoice_id": ("invoiceno", "invoicenumber", "invoice"),
    "activity_id": ("eventid", "taskid"),
    "ticket_id": ("caseid", "casenumber"),
    "subscription_id": ("contractid",),
    "created_at": ("created", "createdate", "createddate", "createdon", "firstcontactdate", "engagedate", "startdate"),
    "occurred_at": ("date", "datetime", "timestamp", "time", "invoicedate", "orderdate", "eventdate", "createdat"),
    "closed_at": ("closedate", "closed", "wondate", "closedon", "dateclosed"),
    "known_at": ("recordedat", "syncedat"),
    "due_at": ("duedate",),
    "paid_at": ("paiddate", "paymentdate", "settleddate"),
    "outcome": ("dealstage", "result", "status", "iswon"),
    "amount": ("value", "total", "price", "unitprice", "revenue", "closevalue", "invoiceamount", "saleamount"),
    "quantity": ("qty", "units"),
    "product": ("stockcode", "sku", "item", "productid"),
    "owner_id": ("owner", "salesagent", "salesrep", "userid", "ownerid"),
    "source": ("origin", "leadsource", "channel"),
    "industry": ("sector", "segment"),
    "region": ("country", "state", "officelocation", "city"),
    "annual_revenue": ("revenue", "turnover"),
    "kind": ("type", "activitytype", "channel", "category"),
    "stage": ("newstage", "status"),
    "duration_s": ("duration", "seconds"),
    "plan": ("tier", "productname"),
    "field": ("fieldname", "attribute"),
    "old_value": ("oldvalue", "before"),
    "new_value": ("newvalue", "after"),
}
_TIMELESS = re.compile(r"BOOL|INT|DOUBLE|FLOAT|REAL|DECIMAL|NUMERIC", re.IGNORECASE)


@dataclass(frozen=True)
class FoundTable:
    """A table or a group of files of a source: its name, what to write after FROM, and its columns with types."""

    name: str
    reader: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Guess:
    """What a canonical table is probably made of.

    Parameters
    ----------
    spec : TableSpec
        The canonical table.
    found : FoundTable
        The table of the source that looks most like it.
    columns : mapping of canonical to delivered column
        What was recognised.
    others : tuple of str
        Other tables of the source that look like it too.

    """

    spec: TableSpec
    found: FoundTable
    columns: Mapping[str, str]
    others: tuple[str, ...] = field(default=())

    @property
    def unused(self) -> list[str]:
        """Delivered columns that were not recognised."""
        return [column for column in self.found.columns if column not in self.columns.values()]

    @property
    def missing(self) -> list[str]:
        """Required columns that nothing looks like."""
        return [column for column in self.spec.required if column not in self.columns]


def guess_tables(found: Sequence[FoundTable]) -> dict[str, Guess]:
    """Guess which canonical tables a source has.

    >>> columns = {"Invoice No": "TEXT", "CustomerID": "INT", "Date": "DATE", "Total": "REAL"}
    >>> guess = guess_tables([FoundTable("sales_2024", "sales_2024", columns)])["orders"]
    >>> guess.columns["order_id"], guess.columns["customer_id"], guess.missing
    ('Invoice No', 'CustomerID', [])
    """
    guesses: dict[str, Guess] = {}
    for name, spec in TABLES.items():
        alike = sorted(
            (
                Guess(spec, table, guess_columns(spec, table.columns))
                for table in found
                if _canonical(table.name) == name
            ),
            key=lambda guess: (len(guess.missing), -len(guess.columns), guess.found.name),
        )
        if alike and len(alike[0].columns) >= _ENOUGH:
            others = tuple(guess.found.name for guess in alike[1:])
            guesses[name] = Guess(spec, alike[0].found, alike[0].columns, others)
    return guesses


def guess_columns(spec: TableSpec, delivered: Mapping[str, str]) -> dict[str, str]:
    """Guess which delivered column is which canonical one; each is used once.

    >>> guess_columns(TABLES["orders"], {"CustomerID": "DOUBLE", "InvoiceNo": "VARCHAR", "Colour": "VARCHAR"})
    {'order_id': 'InvoiceNo', 'customer_id': 'CustomerID'}
    """
    wanted = [*spec.columns, "known_at", *(f"{time}_known_at" for time in dict.fromkeys(spec.revealed.values()))]
    pairs = sorted(
        (-_likeness(spec, column, source), place, source)
        for place, column in enumerate(wanted)
        for source, kind in delivered.items()
        if not (column.endswith("_at") and _TIMELESS.search(kind))
    )
    chosen: dict[str, str] = {}
    for negative, place, source in pairs:
        if -negative >= NEAR and wanted[place] not in chosen and source not in chosen.values():
            chosen[wanted[place]] = source
    return {column: chosen[column] for column in wanted if column in chosen}


def _canonical(name: str) -> str | None:
    """Return the canonical table that a name looks like; longer words decide before shorter ones."""
    plain = _plain(name)
    if plain in {_plain(table) for table in TABLES}:
        return next(table for table in TABLES if _plain(table) == plain)
    words = sorted(((word, table) for table, words in _TABLES.items() for word in words), key=lambda w: -len(w[0]))
    return next((table for word, table in words if word in plain), None)


def _likeness(spec: TableSpec, column: str, source: str) -> float:
    """1 for the same name, a little less for a synonym, then how alike the letters are."""
    plain, own = _plain(source), _plain(column)
    if plain == own:
        return 1.0
    if plain == "id" and column == spec.key:
        return 0.99
    synonyms = _COLUMNS.get(column, ())
    if plain in synonyms:
        return 0.98 - synonyms.index(plain) / 100
    return 0.9 * difflib.SequenceMatcher(None, plain, own).ratio()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
