"""Simulated customers and deals as a card sees them, and an expert card over what causes the outcome and what does not.

Each criterion reads one column of a frame: features of the catalog, and what the manifest names and no feature of
the catalog is. All of it is what the tables showed before the moment: `known_at < as_of`.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from small_crm import write_configs

from features.build import build_features
from features.groups import activities, contacts, deals, invoices, orders, profile, results
from features.labels import build_labels
from features.spine import build_spine
from features.tables import CrmTables
from features.targets import SpinePlan
from models.card_review import wanted
from models.scorecard import Scorecard
from pipeline.adapters.memory import MemorySource
from pipeline.config import Config
from pipeline.deployment import load_extract, make_target
from pipeline.extract import extract
from pipeline.simulate import Part, Plan, simulate_parts
from pipeline.simulation_deals import PRODUCTS
from pipeline.simulation_promise import _PRODUCT_FIT
from pipeline.simulation_truth import build_truth, join_truths
from pipeline.simulation_world import INDUSTRIES
from pipeline.slice_columns import slice_customers

START = date(2024, 1, 1)
QUARTERS = (1, 4, 7, 10)
DEMAND = {"logistics": 3, "retail": 3, "food": 3, "manufacturing": 2, "healthcare": 2, "services": 1, "construction": 1}
"""How often industries order, as an expert of them would say; software least."""
GROUPS = {
    "conversion": (
        profile.customer_profile,
        deals.deal_profile,
        deals.deal_stage,
        activities.deal_activity,
        contacts.customer_contacts,
        orders.order_history,
        results.owner_results,
        slice_customers,
    ),
    "churn": (
        profile.customer_profile,
        orders.order_history,
        orders.order_demand,
        invoices.invoice_payments,
        invoices.invoice_payments_lately,
        invoices.invoice_trend,
        activities.customer_activity,
        deals.customer_deals,
        slice_customers,
    ),
}


@dataclass(frozen=True)
class Rows:
    """What is judged: features, whether it turned out good, whose row it is, and the true chance of good."""

    frame: pd.DataFrame
    good: np.ndarray
    group: np.ndarray
    chance: np.ndarray

    def take(self, at: np.ndarray) -> "Rows":
        """Return some of the rows."""
        return Rows(self.frame[at].reset_index(drop=True), self.good[at], self.group[at], self.chance[at])


@dataclass(frozen=True)
class Asked:
    """One criterion of the expert card.

    `direction` is the truth of the manifest, as seen by whom the points favour (a deal won, a customer who stays):
    0 for what does nothing. `belief` is what the expert thinks, and `cuts` where; texts get points by level.
    """

    id: str
    column: str
    direction: int
    belief: int = 1
    cuts: tuple[float, ...] = (0.5,)
    levels: tuple[tuple[str, int], ...] = ()


CRITERIA_ASKED: Mapping[str, tuple[Asked, ...]] = {
    "conversion": (
        Asked("referral", "is_referral", +1),
        Asked("outbound", "is_outbound", -1, -1),
        Asked("outbound_long_standing", "outbound_of_long_standing", +1),
        Asked("fit", "product_fit", +1, +1, (-0.1, 0.1)),
        Asked("amount", "amount_for_size", -1, +1, (600.0, 1800.0)),
        Asked("amount_weak", "large_and_weak", -1, -1),
        Asked("size", "unusual_size", -1, -1, (0.5, 1.5)),
        Asked("decision_maker", "contacts_decision_maker_count", +1),
        Asked("bought", "orders_count", +1, +1, (1.0, 10.0)),
        Asked("owner", "owner_deals_won_rate", +1, +1, (0.4, 0.5)),
        Asked("workload", "owner_open_deals", -1, -1, (15.5, 25.5)),
        Asked("effort", "deal_activities_count_30d", +1, +1, (1.0, 4.0)),
        Asked("stage", "deal_stage_rank", +1, +1, (2.0, 3.0, 4.0)),
        Asked("age", "deal_age_days", -1, -1, (56.0, 180.0)),
        Asked("region", "customers_region", 0, levels=(("north", 100), ("south", 60), ("east", 60))),
        Asked("company_age", "customers_days_since_founded", 0, +1, (3650.0, 9125.0)),
        Asked("seniority", "seniority_of_others", 0, +1, (1.5, 2.5)),
        Asked("call_length", "last_call_s", 0, +1, (120.0, 400.0)),
    ),
    "churn": (
        Asked("size", "customers_employees", +1, +1, (20.0, 120.0)),
        Asked("industry", "industry_demand", +1, +1, (1.5, 2.5)),
        Asked("orders", "orders_count", +1, +1, (4.0, 16.0)),
        Asked("silence", "days_since_inbound", -1, -1, (14.0, 60.0)),
        Asked("payment", "invoices_delay_trend_90d", -1, -1, (0.0, 7.0)),
        Asked("amounts", "order_size_lately", +1, +1, (0.6, 1.0)),
        Asked("solvency", "credit_rank", +1, +1, (2.0, 3.0)),
        Asked("owner", "owner_won_rate", +1, +1, (0.4, 0.5)),
        Asked("open_deal", "deals_open_count", +1, +1, (1.0,)),
        Asked("region", "customers_region", 0, levels=(("north", 100), ("south", 60), ("east", 60))),
        Asked("company_age", "customers_days_since_founded", 0, +1, (3650.0, 9125.0)),
        Asked("terms", "terms_of_last_invoice", 0, -1, (20.0, 40.0)),
        Asked("product", "product_of_last_order", 0, levels=(("premium", 100), ("standard", 60))),
    ),
}
"""All criteria of the manifest that a row shows, and its null ones."""


def expert_card(target: str) -> Scorecard:
    """Return a card that weighs everything alike."""
    asked = CRITERIA_ASKED[target]
    even = round(100 / len(asked), 1)
    weights = [even] * (len(asked) - 1) + [round(100 - even * (len(asked) - 1), 1)]
    document = {
        "id": f"expert_{target}",
        "version": "1",
        "entity": "deal" if target == "conversion" else "customer",
        "criteria": [
            {
                "id": one.id,
                "name": _name(one.id),
                "feature": one.column,
                "weight": weight,
                "missing": 40,
                **_points(one),
            }
            for one, weight in zip(asked, weights, strict=True)
        ],
        "grades": [
            {"id": grade, "at_least": least, "name": _name(grade)}
            for grade, least in (("priority", 65), ("nurture", 50), ("hold", 35), ("drop", 0))
        ],
    }
    return Scorecard.model_validate(document)


def _name(text: str) -> dict[str, str]:
    return {"en": text, "zh": text}


def _points(one: Asked) -> dict[str, Any]:
    """Bands of a criterion: points rise or fall in even steps."""
    if one.levels:
        return {"bands": [{"equals": level, "points": points} for level, points in one.levels], "otherwise": 30}
    steps = np.linspace(0, 100, len(one.cuts) + 1).round().astype(int)[:: one.belief].tolist()
    edges = [None, *one.cuts, None]
    bands = []
    for at, points in enumerate(steps):
        edge = {"at_least": edges[at], "below": edges[at + 1]}
        bands.append({name: value for name, value in edge.items() if value is not None} | {"points": int(points)})
    return {"bands": bands}


def make_rows(customers: int, seed: int, has_truth: bool = False) -> dict[str, Rows]:
    """Simulate, extract and look at everybody at the beginning of quarters; rows with ripe labels, by target."""
    with tempfile.TemporaryDirectory(prefix="leadsieve-review-") as folder:
        config = write_configs(Path(folder)).config
        parts = list(simulate_parts(Plan(customers, seed)))
        names = {name for part in parts for name in part.tables}
        tables = {name: pa.concat_tables([p.tables[name] for p in parts if name in p.tables]) for name in names}
        delivered = {name: tables[name].select(_columns(mapping.select)) for name, mapping in config.tables.items()}
        extract(config, source=MemorySource(delivered, tables["clock"]["now"][0].as_py()))
        crm = load_extract(config)
        truths = _true_chances(parts) if has_truth else {}
        return {target: _look(config, crm, tables, target, truths.get(target)) for target in GROUPS}


def _columns(select: str) -> list[str]:
    """Columns of a plain SELECT."""
    return [name.strip() for name in select.removeprefix("SELECT").split(" FROM ")[0].split(",")]


def _true_chances(parts: list[Part]) -> dict[str, pd.DataFrame]:
    truth = join_truths([build_truth(part.world, part.numbers, part.tables) for part in parts])
    frames = {"conversion": truth.conversion, "churn": truth.churn}
    return {name: table.select(["entity_id", "as_of", "probability"]).to_pandas() for name, table in frames.items()}


def _look(
    config: Config, crm: CrmTables, tables: Mapping[str, pa.Table], target: str, truth: pd.DataFrame | None
) -> Rows:
    """Build the frame of one target, and what came of it."""
    asked = make_target(config, target)
    spine = build_spine(crm, asked, SpinePlan("month", START))
    spine = spine[spine["as_of"].dt.month.isin(QUARTERS)].reset_index(drop=True)
    labels = build_labels(crm, spine, asked)["label"]
    spine = spine[labels.notna()].reset_index(drop=True)
    frame = build_features(crm, spine, GROUPS[target], asked.table).frame
    frame = frame.assign(customer_id=spine["customer_id"].to_numpy())
    frame = (_add_to_deals if target == "conversion" else _add_to_customers)(frame, tables)
    chance = np.full(len(frame), np.nan)
    if truth is not None:
        keys = frame[["entity_id", "as_of"]].astype({"entity_id": "str", "as_of": "datetime64[us]"})
        truth = truth.astype({"entity_id": "str", "as_of": "datetime64[us]"})
        found = keys.merge(truth, on=["entity_id", "as_of"], how="left")["probability"].to_numpy()
        chance = wanted(target, found)
    group = frame["customer_id"].astype(object).where(frame["customer_id"].notna(), "deal " + frame["entity_id"])
    columns = [one.column for one in CRITERIA_ASKED[target]]
    return Rows(frame[columns], wanted(target, labels.dropna().to_numpy()), group.to_numpy(), chance)


def _last(
    frame: pd.DataFrame,
    events: pa.Table,
    key: str,
    value: str,
    by: str,
    at: str = "known_at",
    direction: str = "backward",
) -> "pd.Series[Any]":
    """Value of the last event of each row's `by` that was known before its `as_of`; null if there is none."""
    right = events.to_pandas()[[key, at, value]].dropna(subset=[key, at]).sort_values(at, kind="stable")
    left = (
        frame[["as_of", by]].assign(row=np.arange(len(frame))).dropna(subset=[by]).sort_values("as_of", kind="stable")
    )
    right = right.astype({key: "str", at: "datetime64[us]"}).rename(columns={key: by, at: "as_of"})
    left = left.astype({by: "str", "as_of": "datetime64[us]"})
    joined = pd.merge_asof(left, right, on="as_of", by=by, allow_exact_matches=False)
    return joined.set_index("row")[value].reindex(np.arange(len(frame)))


def _clean(text: "pd.Series[Any]") -> "pd.Series[Any]":
    return text.astype("str").str.strip().str.lower().where(text.notna())


def _flag(condition: "pd.Series[bool]", known: "pd.Series[bool]") -> "pd.Series[float]":
    return condition.astype(float).where(known)


def _credit_rank(frame: pd.DataFrame) -> "pd.Series[float]":
    """4 for the best credit grade, 1 for the lowest."""
    return _clean(frame["customers_credit_grade"]).map({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0})


def _add_to_deals(frame: pd.DataFrame, tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    """Add what the manifest names of deals and no feature of the catalog is."""
    source, industry = _clean(frame["deal_source"]), _clean(frame["customers_industry"])
    outbound = source == "outbound"
    fit = {(i, p): _PRODUCT_FIT[a, b] for a, i in enumerate(INDUSTRIES) for b, p in enumerate(PRODUCTS)}
    pairs = zip(industry, _clean(frame["deal_product"]), strict=True)
    for_size = frame["deal_amount"] / frame["customers_employees"].clip(lower=1) ** 0.45
    size = np.log(frame["customers_employees"].clip(lower=1))
    large, grade = for_size > for_size.quantile(0.5), _credit_rank(frame)
    return frame.assign(
        is_referral=_flag(source.isin(["referral", "partner"]), source.notna()),
        is_outbound=_flag(source.isin(["outbound", "advertising"]), source.notna()),
        outbound_of_long_standing=_flag(frame["orders_days_since_first"] > 365, outbound),
        product_fit=[fit.get(pair, np.nan) for pair in pairs],
        amount_for_size=for_size,
        large_and_weak=_flag(grade <= 2, large & grade.notna()),
        unusual_size=(size - size.median() - 0.3 * size.std()).abs(),
        owner_open_deals=_workloads(frame, tables["deals"]),
        seniority_of_others=_seniority_of_others(frame, tables["contacts"]),
        last_call_s=_last(frame, _calls(tables["activities"]), "deal_id", "duration_s", "entity_id"),
    )


def _calls(events: pa.Table) -> pa.Table:
    """Calls that had a length; meetings are longer, and meeting a buyer does say something."""
    rows = events.to_pandas()
    is_call = (_clean(rows["kind"]) == "call") & rows["duration_s"].notna() & (rows["duration_s"] > 0)
    return pa.Table.from_pandas(rows[is_call], preserve_index=False)


def _usual_orders(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Purchases that close no deal: what a deal is about says that there was one."""
    rows = tables["orders"].to_pandas().query("quantity > 0").dropna(subset=["product"])
    closed = tables["deals"].to_pandas().query("outcome == 'won'")
    days = rows["customer_id"].astype("str") + rows["occurred_at"].dt.strftime(" %Y%m%d")
    won = set(closed["customer_id"].astype("str") + closed["closed_at"].dt.strftime(" %Y%m%d"))
    return pa.Table.from_pandas(rows[~days.isin(won)], preserve_index=False)


def _workloads(frame: pd.DataFrame, table: pa.Table) -> np.ndarray:
    """Open deals of the owner when the deal was created."""
    rows = table.to_pandas().astype({"deal_id": "str"})
    found = pd.Series(np.nan, index=rows["deal_id"])
    for _, own in rows.groupby("owner_id"):
        born, closed = own["created_at"].to_numpy(), np.sort(own["closed_at"].dropna().to_numpy())
        opened = np.searchsorted(np.sort(born), born)
        found[own["deal_id"]] = opened - np.searchsorted(closed, born)
    return found.reindex(frame["entity_id"].astype("str")).to_numpy()


def _seniority_of_others(frame: pd.DataFrame, table: pa.Table) -> "pd.Series[float]":
    """Rank of the newest contact who does not decide."""
    rows = table.to_pandas()
    rank = _clean(rows["seniority"]).map({"staff": 1.0, "manager": 2.0, "director": 3.0, "executive": 4.0})
    others = rows.assign(rank=rank)[~rows["is_decision_maker"].fillna(False).astype(bool) & rank.notna()]
    return _last(frame, pa.Table.from_pandas(others, preserve_index=False), "customer_id", "rank", "customer_id")


def _add_to_customers(frame: pd.DataFrame, tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    """Add what the manifest names of customers and no feature of the catalog is."""
    inbound = tables["activities"].to_pandas().query("direction == 'inbound'").assign(met=lambda rows: rows["known_at"])
    met = _last(frame, pa.Table.from_pandas(inbound, preserve_index=False), "customer_id", "met", "entity_id")
    usual = (frame["orders_amount"] / frame["orders_count"]).where(frame["orders_count"] >= 5)
    lately = (frame["orders_amount_90d"] / frame["orders_count_90d"]).where(frame["orders_count_90d"] > 0)
    bills = tables["invoices"].to_pandas()
    bills["terms"] = (pd.to_datetime(bills["due_at"]) - pd.to_datetime(bills["occurred_at"])).dt.days.astype(float)
    return frame.assign(
        industry_demand=_clean(frame["customers_industry"]).map(lambda one: DEMAND.get(one, 0.0), na_action="ignore"),
        days_since_inbound=(frame["as_of"] - met.to_numpy()).dt.total_seconds() / 86_400,
        order_size_lately=lately / usual,
        credit_rank=_credit_rank(frame),
        owner_won_rate=_won_rates(frame, tables["deals"]),
        terms_of_last_invoice=_last(
            frame, pa.Table.from_pandas(bills, preserve_index=False), "customer_id", "terms", "entity_id"
        ),
        product_of_last_order=_clean(
            _last(frame, _usual_orders(tables), "customer_id", "product", "entity_id").reset_index(drop=True)
        ),
    )


def _won_rates(frame: pd.DataFrame, table: pa.Table) -> np.ndarray:
    """Share of the owner's deals that were won, of those closed before `as_of`; shrunk by 20 deals of one in two."""
    rows = table.to_pandas().dropna(subset=["closed_at_known_at", "owner_id"]).sort_values("closed_at_known_at")
    rows["won"] = (rows["outcome"] == "won").astype(float)
    by_owner = rows.groupby("owner_id")["won"]
    rows["rate"] = (by_owner.cumsum() + 10.0) / (by_owner.cumcount() + 21.0)
    asked = frame.rename(columns={"slice_customer_owner": "owner"})
    known = pa.Table.from_pandas(rows, preserve_index=False)
    return _last(asked, known, "owner_id", "rate", "owner", at="closed_at_known_at").to_numpy()
