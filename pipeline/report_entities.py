# ruff: noqa: S608  (SQL is put together from quoted names of our own)
"""What sellers call the customers and deals of a report: name, owner, region, amount, as they are now.

Names are sensitive: they are read from the stored tables when a report is made, and kept nowhere else.
"""

from collections.abc import Sequence

import duckdb
import pandas as pd

from features.tables import CrmTables

CUSTOMER_COLUMNS = ("customer_id", "name", "owner_id", "region", "industry")
DEAL_COLUMNS = ("deal_id", "customer_id", "owner_id", "amount", "product", "outcome", "closed_at")


def read_customers(tables: CrmTables, show_names: bool) -> pd.DataFrame:
    """Read the newest version of each customer, gone ones too: CUSTOMER_COLUMNS, null where not stored."""
    shown = [name for name in CUSTOMER_COLUMNS if name != "name" or show_names]
    return _newest(tables, "customers", "customer_id", shown, CUSTOMER_COLUMNS)


def read_deals(tables: CrmTables) -> pd.DataFrame:
    """Read the newest version of each deal, closed ones too: DEAL_COLUMNS, null where not stored."""
    return _newest(tables, "deals", "deal_id", DEAL_COLUMNS, DEAL_COLUMNS)


_CLOCKS = ("known_at", "known_until", "deleted_at", "currency", "name", "merged_into", "merged_at")


def read_profiles(tables: CrmTables) -> pd.DataFrame:
    """Read what is known of each customer that is still there, without sensitive columns, in the order of their ids."""
    if "customers" not in tables.tables:
        return pd.DataFrame(index=pd.Index([], name="customer_id", dtype="str"))
    stored = tables.tables["customers"]
    hidden = {*stored.sensitive, *_CLOCKS, "customer_id"}
    shown = [name for name in stored.columns if name not in hidden and not name.endswith("_known_at")]
    place = str(tables.path("customers")).replace("'", "''")
    now = "WHERE known_until IS NULL" if "known_until" in stored.columns else ""
    kinds = {one: "DOUBLE" if stored.columns[one] in ("money", "number", "integer") else "VARCHAR" for one in shown}
    columns = "".join(f', CAST("{one}" AS {kind}) AS "{one}"' for one, kind in kinds.items())
    with duckdb.connect() as connection:
        frame = connection.execute(
            f"SELECT customer_id{columns} FROM read_parquet('{place}') {now} "
            "QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY known_at DESC) = 1 ORDER BY customer_id"
        ).df()
    return frame.set_index("customer_id")


def _newest(tables: CrmTables, name: str, key: str, shown: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """One row per entity, indexed by its id; a sensitive column other than the name stays where it is."""
    if name not in tables.tables:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns}).set_index(key)
    stored = tables.tables[name]
    hidden = {column for column in stored.sensitive if column != "name"}
    known = [column for column in shown if column in stored.columns and column not in hidden]
    picked = ", ".join(f'CAST("{one}" AS DOUBLE) AS "{one}"' if one == "amount" else f'"{one}"' for one in known)
    place = str(tables.path(name)).replace("'", "''")
    with duckdb.connect() as connection:
        frame = connection.execute(
            f"SELECT {picked} FROM read_parquet('{place}') WHERE \"{key}\" IS NOT NULL "
            f'QUALIFY row_number() OVER (PARTITION BY "{key}" ORDER BY known_at DESC) = 1 ORDER BY "{key}"'
        ).df()
    return frame.reindex(columns=list(columns)).set_index(key)
