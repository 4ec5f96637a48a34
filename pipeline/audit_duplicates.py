"""Customers that are in the CRM twice: found by name, domain and tax number, and never shown by them."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features.tables import CrmTables

MOST_SHARING = 20
"""A value that more customers share names no one customer: a mail provider, `unknown`, a placeholder."""

_LEGAL_FORMS = """
ab ag aktiengesellschaft aps as bv co company corp corporation eg ek ev gbr gesellschaft gesmbh gmbh hf inc
incorporated kg kgaa kk lda limitada limited llc llp lp ltd ltda mbh nv ohg oy oyj plc pte pty pvt sa sarl sas sau
se sl slu spa sro srl ug zoo
"""
_MAIL_PROVIDERS = """
126.com 163.com aol.com foxmail.com gmail.com gmx.de gmx.net googlemail.com hotmail.com icloud.com live.com mail.ru
outlook.com proton.me qq.com sina.com t-online.de web.de yahoo.com yandex.ru
"""
_LEGAL = frozenset(_LEGAL_FORMS.split())
_PROVIDERS = frozenset(_MAIL_PROVIDERS.split())
_LEGAL_CHINESE = re.compile("(股份|集团)?(有限责任|有限|责任)?(公司|集团)$")
_ACCENTS = re.compile("[\u0300-\u036f]")


def plain_name(text: str) -> str | None:
    """Company name without case, punctuation, accents and legal form; None if nothing is left to compare.

    >>> plain_name(" Müller & Söhne GmbH & Co. KG "), plain_name("MULLER SOHNE")
    ('muller sohne', 'muller sohne')
    >>> plain_name("上海简道信息科技有限公司"), plain_name("Ltd.")
    ('上海简道信息科技', None)
    """
    bare = unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text))).casefold()
    words = re.sub(r"[\W_]+", " ", re.sub(r"[.'’`]", "", bare)).split()
    while len(words) > 1 and words[-1] in _LEGAL:
        words.pop()
    kept = _LEGAL_CHINESE.sub("", " ".join(words))
    return kept if len(kept) > 1 and kept not in _LEGAL else None


def plain_domain(text: str) -> str | None:
    """Domain of an address, a page or a mailbox; None for mail providers and what is no domain.

    >>> plain_domain("https://www.Acme.example/contact"), plain_domain("jo@acme.example"), plain_domain("gmail.com")
    ('acme.example', 'acme.example', None)
    """
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text.strip().casefold())
    host = re.split(r"[/?#:]", host.rpartition("@")[2])[0].removeprefix("www.").strip(". ")
    return host if "." in host and " " not in host and host not in _PROVIDERS else None


def plain_number(text: str) -> str | None:
    """Tax number without blanks and signs; None if it is too short, or one digit over and over.

    >>> plain_number("de 123.456-789"), plain_number("000000000"), plain_number("n/a")
    ('DE123456789', None, None)
    """
    bare = re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).upper())
    digits = [c for c in bare if c.isdigit()]
    return bare if len(digits) >= 5 and len(set(digits)) > 1 else None


KEYS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {"name": plain_name, "domain": plain_domain, "tax_number": plain_number}
)
"""Columns by which customers are compared, and how they are read."""


@dataclass(frozen=True)
class Duplicates:
    """Customers that seem to be the same.

    Parameters
    ----------
    compared_by : tuple of str
        Columns that the deployment has.
    customers, in_groups : int
        Customers that stand today (not deleted, not merged), and those with a duplicate among them.
    groups : tuple of tuple of str
        Their ids, the largest group first.
    groups_by : mapping of str to int
        Column to groups of customers that share a value of it.
    too_common : mapping of str to int
        Column to values that more than 20 customers share; nobody is grouped by these.

    """

    compared_by: tuple[str, ...]
    customers: int
    in_groups: int
    groups: tuple[tuple[str, ...], ...]
    groups_by: Mapping[str, int]
    too_common: Mapping[str, int]


def duplicate_groups(tables: CrmTables) -> pd.DataFrame:
    """Group customers that seem to be the same, so that no split puts one on both sides.

    Two customers are in one group if they share a normalised name, domain or tax number, one was merged
    into the other, or a chain of such pairs leads from one to the other. A name counts where no two of its
    customers have different tax numbers, a value where at most 20 customers share it. Customers that are no more
    (deleted, merged) belong to it too: they are in past snapshots. `sensitive` columns are read, and not returned.

    Parameters
    ----------
    tables : CrmTables

    Returns
    -------
    DataFrame
        customer_id, group (the smallest id of the group): customers in groups of two or more, sorted by both; no rows
        where there are no duplicates, or no table customers.

    """
    customers = _newest(tables)
    return _grouped(customers, _keys(customers))


def measure_duplicates(tables: CrmTables) -> Duplicates | None:
    """Count the duplicates among the customers that stand today; None without a table customers."""
    customers = _newest(tables)
    if "customers" not in tables.tables:
        return None
    standing = customers[customers["stands"]].drop(columns="merged_into", errors="ignore").reset_index(drop=True)
    keys = _keys(standing)
    groups = [tuple(ids) for _, ids in _grouped(standing, keys).groupby("group")["customer_id"]]
    sharing = {name: values.value_counts() for name, values in keys.items()}
    return Duplicates(
        compared_by=tuple(sharing),
        customers=len(standing),
        in_groups=sum(map(len, groups)),
        groups=tuple(sorted(groups, key=lambda ids: (-len(ids), ids))),
        groups_by={name: int(counts.between(2, MOST_SHARING).sum()) for name, counts in sharing.items()},
        too_common={name: int((counts > MOST_SHARING).sum()) for name, counts in sharing.items()},
    )


def _newest(tables: CrmTables) -> pd.DataFrame:
    """Each customer once, as last stored, and whether it stands today."""
    if "customers" not in tables.tables:
        return pd.DataFrame({"customer_id": [], "stands": []}, dtype=object)
    stored = set(tables.tables["customers"].columns)
    wanted = ["customer_id", "known_at", *(c for c in (*KEYS, "merged_into", "known_until") if c in stored)]
    frame: pd.DataFrame = pq.read_table(tables.path("customers"), columns=wanted).to_pandas()
    newest = frame.sort_values(["customer_id", "known_at"], kind="stable").drop_duplicates("customer_id", keep="last")
    stands = newest["known_until"].isna() if "known_until" in newest else True
    return (
        newest.assign(stands=stands).drop(columns=["known_at", "known_until"], errors="ignore").reset_index(drop=True)
    )


def _keys(customers: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """Normalised values of the columns that tell customers apart, null where a value says nothing.

    A name says nothing where two customers of that name have different tax numbers.
    """
    found = {}
    for name, plain in KEYS.items():
        if name in customers:
            texts = {text: plain(str(text)) for text in customers[name].dropna().unique()}
            found[name] = customers[name].map(texts)
    if {"name", "tax_number"} <= found.keys():
        kinds = found["tax_number"].groupby(found["name"]).nunique()
        found["name"] = found["name"].where(found["name"].map(kinds) <= 1)
    return found


def _grouped(customers: pd.DataFrame, keys: Mapping[str, "pd.Series[Any]"]) -> pd.DataFrame:
    """Join customers that share a value, or were merged, into groups."""
    ids = customers["customer_id"].astype(object)
    pairs: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for values in keys.values():
        counts = values.map(values.value_counts())
        shared = values[values.notna() & counts.between(2, MOST_SHARING)]
        first = shared.groupby(shared).transform(lambda same: same.index[0])
        pairs.append((shared.index.to_numpy(), first.to_numpy(dtype=np.int64)))
    if "merged_into" in customers:
        place = pd.Series(np.arange(len(ids)), index=ids)
        into = customers["merged_into"].map(place).dropna()
        pairs.append((into.index.to_numpy(), into.to_numpy(dtype=np.int64)))
    if not pairs or ids.empty:
        return pd.DataFrame({"customer_id": [], "group": []}, dtype="str")
    left, right = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(ids), len(ids)))
    component = pd.Series(connected_components(graph, directed=False)[1])
    grouped = pd.DataFrame({"customer_id": ids, "group": ids.groupby(component).transform("min")})
    grouped = grouped[component.map(component.value_counts()) > 1]
    return grouped.sort_values(["group", "customer_id"], ignore_index=True).astype("str")
