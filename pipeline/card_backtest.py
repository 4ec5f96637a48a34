"""A card proposed by history alone: the training spine in place of past scores, no ledger needed."""

from pathlib import Path
from typing import Any

from features.tables import CrmTables
from features.targets import Target
from models.card_review import wanted
from models.scorecard import Scorecard
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import load_extract, make_target
from pipeline.errors import ConfigError
from pipeline.review_card import Judged, judge_card, store_proposal
from pipeline.training import build_ripe_rows, label_spine


def propose_from_history(config: Config, name: str | None = None, place: Path | None = None) -> dict[str, Any]:
    """Judge a target's card on the ripe snapshots that a model would be trained on, and write the proposed one.

    Parameters
    ----------
    config : Config
    name : str, optional
        Target; needed where several have a card.
    place : Path, optional
        Where to write the card; by default into `proposals/` of the state folder.

    Returns
    -------
    dict
        The review and the difference, ready for JSON.

    """
    target = make_target(config, _choose(config, name))
    card = load_card(config, target.name)
    if card is None:
        raise ConfigError(f"Target '{target.name}' has no scorecard. Set targets.{target.name}.scorecard.")
    judged = _judge(config, load_extract(config), target, card)
    found = judged.review
    where = (
        f"By {found.rows:,} past moments of {found.groups:,} customers (target '{target.name}'), of which "
        f"{found.good:,} turned out as the points should favour."
    )
    part = judged.to_json()
    part["proposal"]["path"] = str(store_proposal(config, judged, where, place))
    return {"target": target.name, "kind": target.kind, "horizon_days": target.horizon_days, **part}


def _choose(config: Config, name: str | None) -> str:
    if name is not None:
        return name
    fitting = [one for one, section in config.targets.items() if section.scorecard is not None]
    if len(fitting) != 1:
        which = f"Pass --target {' or --target '.join(fitting)}" if fitting else "Set targets.<target>.scorecard"
        raise ConfigError(f"{len(fitting)} targets have a scorecard, expected one. {which}.")
    return fitting[0]


def _judge(config: Config, tables: CrmTables, target: Target, card: Scorecard) -> Judged:
    ripe = build_ripe_rows(config, tables, target.name, label_spine(config, tables, target.name))
    alone = f"{target.table} " + ripe.spine["entity_id"].astype(object)
    group = ripe.spine["customer_id"].astype(object).where(ripe.spine["customer_id"].notna(), alone)
    return judge_card(card, ripe.built.frame, wanted(target.kind, ripe.label), group.to_numpy(), config.seed)
