"""What a review finds of a card, criterion by criterion."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["matters", "no effect", "points the wrong way", "too few rows"]
Shape = Literal["rises", "falls", "best in the middle", "worst in the middle", "differs by level", "none"]


@dataclass(frozen=True)
class BandOutcome:
    """Rows that got some points from a criterion, and the share of them that turned out good."""

    points: float
    rows: int
    good: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class CriterionReview:
    """What was found of one criterion.

    Parameters
    ----------
    id : str
    verdict : str
    rows : int
        With a value.
    coverage : float
        Share of all rows that have a value.
    value, low, high : float
        Information value beyond chance, and its 95 % interval.
    as_banded : float
        The part of it that today's points make use of.
    chance : float
        Information value that bins of no meaning would show.
    p_value : float
    direction : -1, 0, +1 or None
        Whether more of it is better (+1) or worse; 0 neither, None for texts.
    points_direction : -1, 0 or +1
        Whether more points went with good ones.
    shape : str
    bands : tuple of BandOutcome
        By today's points, ascending; missing values among them.

    """

    id: str
    verdict: Verdict
    rows: int
    coverage: float
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    as_banded: float = 0.0
    chance: float = 0.0
    p_value: float = 1.0
    direction: int | None = None
    points_direction: int = 0
    shape: Shape = "none"
    bands: tuple[BandOutcome, ...] = ()


@dataclass(frozen=True)
class CardReview:
    """A reviewed card: `criteria` in the order of the card, and how well its points rank good above bad."""

    card: str
    version: str
    rows: int
    groups: int
    good: int
    criteria: tuple[CriterionReview, ...]

    def __getitem__(self, criterion: str) -> CriterionReview:
        return next(one for one in self.criteria if one.id == criterion)

    def to_json(self) -> dict[str, Any]:
        """Return the findings, ready for JSON."""
        return asdict(self)
