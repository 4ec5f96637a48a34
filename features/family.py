"""Families: a parent and the customers whose parent it is, as was known at each snapshot."""

from typing import Any

import ibis

from features.engine import Database
from features.versions import is_known
from features.view_columns import FAMILY


def find_families(database: Database, spine: Any) -> tuple[Any, Any]:
    """Families of the snapshots' customers; snapshots of one family at one `as_of` share it.

    The family of a customer is that of its parent at `as_of`, or its own where it has none. Its members are
    the parent and all customers whose parent it was then.

    Parameters
    ----------
    database : Database
    spine : ibis Table
        row, as_of, customer_id.

    Returns
    -------
    ibis Table
        row, family_row: which family each snapshot belongs to (none where the customer is not known).
    ibis Table
        row (of the family), as_of, family_id, customer_id: the members; a spine for `as_of_view`.

    """
    customers = database.table("customers")
    holds = [spine.customer_id == customers.customer_id, is_known(customers, spine.as_of)]
    own = spine.select("row", "as_of", "customer_id").join(customers, holds)
    heads = own.select(row=own.row, as_of=own.as_of, **{FAMILY: ibis.coalesce(own.parent_id, own.customer_id)})
    heads = database.keep("family_heads", heads)
    moments = heads.group_by(FAMILY, "as_of").agg(snapshots=heads.count())
    number = ibis.row_number().over(ibis.window(order_by=[moments[FAMILY], moments.as_of]))
    families = database.keep("families", moments.select(FAMILY, "as_of", family_row=number))
    rows = heads.join(families, [FAMILY, "as_of"]).select("row", "family_row")
    clocks = ["known_at", *(["known_until"] if "known_until" in customers.columns else [])]
    children = customers.filter(customers.parent_id != customers.customer_id)
    links = ibis.union(
        customers.select("customer_id", *clocks, head=customers.customer_id),
        children.select("customer_id", *clocks, head=children.parent_id),
    )
    members = families.join(links, [families[FAMILY] == links["head"], is_known(links, families.as_of)])
    return rows, database.keep("family_members", members.select(FAMILY, "as_of", "customer_id", row=members.family_row))
