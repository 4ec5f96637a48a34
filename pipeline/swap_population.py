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
from models.card_parts import list_as_json
from models.predict import load_bundle
from models.scorecard import Scorecard
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import features_of, make_target
from pipeline.forgotten_scores import without_forgotten
from pipeline.registry import read_champion


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


PEOPLE = ("entity_id", "owner", "region", "grade", "points", "vetoes", "flags")


@dataclass(frozen=True)
class Population:
    """Everybody who is eligible for a target at the end of the data.

    `people` has owner and region, and what the card says (null without one): grade, points, and vetoes and flags as
    JSON. `worth` is what the target that predicts their worth says of them, where the config names one: entity_id,
    target, horizon_days and value.
    """

    target: str
    entity: str
    as_of: datetime
    features: pd.DataFrame
    people: pd.DataFrame
    card: Scorecard | None
    worth: pd.DataFrame


def make_population(config: Config, tables: CrmTables, name: str) -> Population:
    """Build the features of everybody to score for a target, once for all versions to be compared.

    Returns
    -------
    Population
        No rows if nobody is eligible. A deal has its own owner, else that of its customer.

    """
    target, card = make_target(config, name), load_card(config, name)
    frame, spine = _find_features(config, tables, name)
    if spine.empty:
        empty = pd.DataFrame(columns=list(PEOPLE), dtype=object)
        return Population(name, target.table, tables.data_end, frame, empty, card, pd.DataFrame())
    people = _find_people(tables, spine, target).assign(grade=None, points=float("nan"), vetoes=None, flags=None)
    if card is not None:
        scored = card.score(frame)
        lists = {column: pd.array(list_as_json(scored[column]), dtype=object) for column in ("vetoes", "flags")}
        people = people.assign(grade=scored["grade"].to_numpy(), points=scored["points"].to_numpy(), **lists)
    asked = config.targets[name].grading.value_target
    worth = pd.DataFrame() if asked is None else _find_worth(config, tables, asked)
    return Population(name, target.table, tables.data_end, frame, people, card, worth)


def _find_features(config: Config, tables: CrmTables, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of everybody to score for a target, and the spine they were built for."""
    spine = without_forgotten(config, name, build_scoring_spine(tables, make_target(config, name)))
    return (pd.DataFrame() if spine.empty else features_of(config, tables, name, spine).frame), spine


def _find_worth(config: Config, tables: CrmTables, name: str) -> pd.DataFrame:
    """What the live version of a target of kind value says; no rows without one."""
    frame, spine = _find_features(config, tables, name)
    champion = read_champion(config, name)
    if spine.empty or champion is None:
        return pd.DataFrame(columns=["entity_id", "target", "horizon_days", "value"])
    said = load_bundle(champion.folder, champion.bundle_sha256).predict(frame)
    days = config.targets[name].horizons_days[0]
    return frame[["entity_id"]].assign(target=name, horizon_days=days, value=said)


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
