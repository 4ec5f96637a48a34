"""What a proposed card changes: today's points beside the proposed ones, band by band, with rows and rate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.card_bands import Banding
from models.card_findings import CardReview
from models.information_value import Floats, wilson
from models.scorecard import Scorecard
from models.scorecard_schema import Criterion


@dataclass(frozen=True)
class BandChange:
    """One band of the proposed card; `today` is the mean of the points that its rows get today, None without rows."""

    band: str
    today: float | None
    proposed: int
    rows: int
    good: int
    rate: float | None
    low: float
    high: float


@dataclass(frozen=True)
class CriterionChange:
    """One criterion: its weight today and as proposed, why, and its bands."""

    id: str
    weight_today: float
    weight: float
    note: str
    bands: tuple[BandChange, ...]


@dataclass(frozen=True)
class Proposal:
    """A proposed card beside today's, what the review found, and what changes; `remarks` are for whoever decides."""

    card: Scorecard
    today: Scorecard
    review: CardReview
    changes: tuple[CriterionChange, ...]
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the difference, ready for JSON."""
        return {
            "card": self.card.id,
            "version": self.card.version,
            "version_today": self.today.version,
            "criteria": [asdict(change) for change in self.changes],
            "grades": [
                {"id": after.id, "at_least_today": before.at_least, "at_least": after.at_least}
                for before, after in zip(self.today.grades, self.card.grades, strict=True)
            ],
            "remarks": list(self.remarks),
        }


def describe_band(condition: Mapping[str, Any]) -> str:
    """Return a band in words.

    >>> describe_band({"at_least": 10, "below": 30}), describe_band({"below": 10}), describe_band({"in": ["a", "b"]})
    ('10 to below 30', 'below 10', 'a, b')

    """
    if "equals" in condition:
        return str(condition["equals"])
    if "in" in condition:
        return ", ".join(map(str, condition["in"]))
    low, high = condition.get("at_least"), condition.get("below")
    if low is None:
        return f"below {high:g}"
    return f"{low:g} and more" if high is None else f"{low:g} to below {high:g}"


def band_changes(
    before: Criterion, after: Criterion, today: Any, banding: Banding, good: Floats, note: str
) -> CriterionChange:
    """Compare one criterion of two cards.

    Parameters
    ----------
    before, after : Criterion
    today : array of int
        Points (0 to 100) that each row gets today.
    banding : Banding
        Bands of the proposed criterion.
    good : array
    note : str

    """
    proposed = [band.points for band in _in_file_order(after, banding)]
    proposed += [after.otherwise if after.otherwise is not None else after.missing, after.missing]
    names = [*map(describe_band, banding.conditions), "any other value", "missing"]
    rows = np.bincount(banding.place, minlength=banding.count)
    hits = np.bincount(banding.place, weights=good, minlength=banding.count)
    given = np.bincount(banding.place, weights=today, minlength=banding.count)
    low, high = wilson(hits, rows)
    bands = tuple(
        BandChange(
            names[at],
            round(float(given[at] / rows[at]), 1) if rows[at] else None,
            proposed[at],
            int(rows[at]),
            int(hits[at]),
            float(hits[at] / rows[at]) if rows[at] else None,
            float(low[at]),
            float(high[at]),
        )
        for at in range(banding.count)
        if at < len(banding.conditions) or rows[at]
    )
    return CriterionChange(after.id, before.weight, after.weight, note, bands)


def _in_file_order(criterion: Criterion, banding: Banding) -> list[Any]:
    """Bands in the order of the banding: ascending for intervals, else as listed."""
    from models.card_conditions import in_order

    return in_order(criterion.bands) if banding.is_interval else list(criterion.bands)
