"""The people a swap report is about: those to score at the end of the data, and who looks after them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from features.build import build_features
from features.group import Feature, FeatureDict, Group, feature_group
from features.spine import build_scoring_spine
from features.tables import CrmTables
from features.targets import Target
from models.predict import Bundle
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import features_of, make_target
from pipeline.forgotten_scores import without_forgotten
from pipeline.swap_report import SwapReport, compare_scores


@feature_group("customers")
def account(customers: Any) -> FeatureDict:
    """Owner and region of the customer, as known at `as_of`."""
    return {"customer_owner": _text(customers.owner_id.max()), "region": _text(customers.region.max())}


@feature_group("deals", by="deal_id")
def deal(deals: Any) -> FeatureDict:
    """Owner of the deal, as known at `as_of`."""
    return {"deal_owner": _text(deals.owner_id.max())}


WHO: tuple[Group, ...] = (account, deal)


def _text(value: Any) -> Feature:
    return Feature(value, None, "text", "{value}", "{value}")


@dataclass(frozen=True)
class Population:
    """Everybody who is eligible for a target at the end of the data; features, owner, region, the card's grade."""

    target: str
    entity: str
    as_of: datetime
    features: pd.DataFrame
    people: pd.DataFrame
    grades: tuple[str, ...]


def make_population(config: Config, tables: CrmTables, name: str) -> Population:
    """Build the features of everybody to score for a target, once for all versions to be compared.

    Returns
    -------
    Population
        No rows if nobody is eligible. A deal has its own owner, else that of its customer.

    """
    target = make_target(config, name)
    spine = without_forgotten(config, name, build_scoring_spine(tables, target))
    if spine.empty:
        empty = pd.DataFrame(columns=["entity_id", "owner", "region", "grade"], dtype=object)
        return Population(name, target.table, tables.data_end, pd.DataFrame(), empty, ())
    frame = features_of(config, tables, name, spine).frame
    people = _find_people(tables, spine, target)
    card = load_card(config, name)
    if card is None:
        return Population(name, target.table, tables.data_end, frame, people.assign(grade=None), ())
    graded = people.assign(grade=card.score(frame)["grade"].to_numpy())
    return Population(name, target.table, tables.data_end, frame, graded, tuple(grade.id for grade in card.grades))


def _find_people(tables: CrmTables, spine: pd.DataFrame, target: Target) -> pd.DataFrame:
    """Id, owner and region of each row, in the order of the features; null where the tables do not tell."""
    known = build_features(tables, spine, WHO, target.table).frame
    text = pd.DataFrame({name: _column(known, name) for name in ("deal_owner", "customer_owner", "region")})
    owner = text["deal_owner"].where(text["deal_owner"].notna(), text["customer_owner"])
    return pd.DataFrame({"entity_id": known["entity_id"].astype(object), "owner": owner, "region": text["region"]})


def _column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in frame:
        return pd.Series(None, index=frame.index, dtype=object)
    return frame[name].astype(object)


def make_swap_report(
    config: Config,
    population: Population,
    challenger: Bundle,
    live: Bundle | None,
    *,
    version: int | None = None,
    live_version: int | None = None,
) -> SwapReport:
    """Tell who would change grade if a challenger replaced the live version.

    Call it before promotion, and then `report.check()`, which raises GateError when more would move than
    `retrain.max_movers_share` allows; `report.to_json()` belongs into the details of the decision.

    Parameters
    ----------
    config : Config
        With `capacity.contacts_per_week` and `retrain.max_movers_share`.
    population : Population
        From `make_population(config, tables, name)`.
    challenger : Bundle
        What `load_bundle` or `FittedModel.bundle` gives; nothing has to be registered yet.
    live : Bundle or None
        The live version, None before the first one: then nobody moves.
    version, live_version : int, optional
        Their numbers, as far as they have one.

    Raises
    ------
    BundleError
        If a version cannot score the features of today.

    """
    nobody = population.people.empty  # and then there are no features either
    after, before = (None if one is None or nobody else one.predict(population.features) for one in (challenger, live))
    return compare_scores(
        population.target,
        population.people.assign(before=before, after=after).astype({"before": "float64", "after": "float64"}),
        as_of=population.as_of,
        entity=population.entity,
        measure="value" if config.targets[population.target].kind == "value" else "probability",
        live_version=live_version,
        version=version,
        grades=population.grades,
        capacity=config.capacity.contacts_per_week,
        max_movers_share=config.retrain.max_movers_share,
    )
