"""The card's part of a review: its criteria against what came, and the card that the data would give."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from features.errors import DataError
from models.card_changes import Proposal
from models.card_comparison import expected_gain
from models.card_findings import CardReview
from models.card_proposal import propose_card
from models.card_review import review_card, wanted
from models.information_value import Floats
from models.scorecard import Scorecard
from pipeline.atomic_files import replace_text
from pipeline.card_text import write_proposal
from pipeline.config import Config


@dataclass(frozen=True)
class Judged:
    """A reviewed card and what is proposed; `gain` is what proposing is worth on customers that were left out."""

    review: CardReview
    proposal: Proposal
    gain: dict[str, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {**self.review.to_json(), "proposal": {**self.proposal.to_json(), "gain": self.gain}}


def judge_card(card: Scorecard, frame: pd.DataFrame, good: Floats, group: Any, seed: int) -> Judged:
    """Review a card, propose the next one, and measure what that is worth; DataError if outcomes are all alike."""
    review = review_card(card, frame, good, group, seed)
    proposal = propose_card(card, frame, good, group, seed, review)
    gain = expected_gain(card, frame, good, group, seed)
    return Judged(review, proposal, None if gain is None else asdict(gain))


def judge_settled(config: Config, card: Scorecard, kind: str, target: str, rows: pd.DataFrame) -> Judged:
    """Judge today's card by settled scores and the features that were stored with them.

    Raises
    ------
    DataError
        If no run's features are there any more, or all outcomes are alike.

    """
    frame = stored_features(config.folder / "runs", target, rows, card.features)
    kept = frame["is_stored"].to_numpy()
    if not kept.any():
        raise DataError(
            f"The features of {len(rows):,} settled scores of target '{target}' are gone from "
            f"{config.folder / 'runs'}, so no criterion can be judged. Restore the runs from a "
            "backup, or keep them for longer."
        )
    good = wanted(kind, rows["label"].to_numpy())[kept]
    frame = frame[kept].drop(columns="is_stored").reset_index(drop=True)
    return judge_card(card, frame, good, rows["customer"].to_numpy()[kept], config.seed)


def stored_features(runs: Path, target: str, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the features that scores were given on, from the folders of their runs.

    Parameters
    ----------
    runs : Path
    target : str
    rows : DataFrame
        run_id, entity_id.
    names : sequence of str
        Features; one that a run has not stored is null there, and left out if none has.

    Returns
    -------
    DataFrame
        On a RangeIndex, one row per score; `is_stored` tells whether its run's features are there.

    """
    parts = []
    for run, mine in rows.reset_index(drop=True).groupby("run_id", sort=False):
        path = runs / str(run) / f"features_{target}.parquet"
        if path.is_file():
            there = [name for name in names if name in pq.read_schema(path).names]
            stored = pd.read_parquet(path, columns=["entity_id", *there]).astype({"entity_id": "str"})
            found = mine[["entity_id"]].merge(stored, on="entity_id", how="left", indicator="is_stored")
            parts.append(found.assign(is_stored=found["is_stored"] == "both").set_index(mine.index))
    if not parts:
        return pd.DataFrame({"is_stored": [False] * len(rows)})
    frame = pd.concat(parts).reindex(range(len(rows)))
    return frame.assign(is_stored=frame["is_stored"].fillna(False).astype(bool)).drop(columns="entity_id")


def store_proposal(config: Config, judged: Judged, where_from: str, place: Path | None = None) -> Path:
    """Write the proposed card as a YAML file, into the state folder unless a place is given."""
    card = judged.proposal.card
    path = place or config.folder / "proposals" / f"{card.id}-{card.version}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, write_proposal(judged.proposal, where_from))
    return path
