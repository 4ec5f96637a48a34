"""A scorecard as something to learn from: which way its points should move the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.scorecard import Scorecard
from models.scorecard_schema import features_read


@dataclass(frozen=True)
class ExpertCard:
    """The card of a target, and its sign: +1 where the event should get more likely as points rise, else -1.

    A card asks "do we want it": the deals that we want are won more often, the customers that we want leave less often.
    """

    card: Scorecard
    sign: int

    @classmethod
    def of(cls, card: Scorecard, kind: str) -> "ExpertCard":
        """Return the card for a kind of target: points rise with conversion and fall with churn."""
        return cls(card, -1 if kind == "churn" else 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Features that the criteria read, each once, in the order of the card."""
        return features_read(self.card.criteria, self.card.entity)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"card": self.card.model_dump(mode="json", by_alias=True, exclude_none=True), "sign": self.sign}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ExpertCard":
        """Read what `to_json` wrote."""
        return cls(Scorecard.model_validate(document["card"]), int(document["sign"]))
