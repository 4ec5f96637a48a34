"""What would change for the people who work by the scores if another version of a model went live.

Both versions score the same people on the same features, those of the end of the data. Where the config
grades by probability or value, these are the grades (`compare_grades`; see `pipeline.swap_versions`).

Where points grade, no version changes a grade, and what is compared are bands of the probability
(`compare_scores`): cut where the live version gives each grade as many people as the scorecard does
(without a card: the first 10 %, the next 20 %, the next 30 %, the rest). The cuts are probabilities and
stay where they are, so a version that gives everybody more moves everybody up.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import GateError
from pipeline.swap_bands import Band, SwapGrades, band_of, contact_cut, cut_bands

LARGEST = 10
UNKNOWN = "(not known)"


@dataclass(frozen=True)
class Line:
    """The people of one owner or region."""

    name: str
    rows: int
    up: int
    down: int
    contacts_before: int
    contacts_after: int


@dataclass(frozen=True)
class Contacts:
    """Who is contacted: those whose probability is at least `at_least`.

    With a capacity, `at_least` is what the live version gives the last one who can be contacted in a
    week; without, it is where the first grade begins. Where probability or value give the grades, those of
    the first grade are contacted, wherever it begins. `entering` and `leaving` compare the two lists of the
    first `size` in order of probability, ties by id.
    """

    capacity: int | None
    at_least: float
    before: int
    after: int
    size: int
    entering: int
    leaving: int


@dataclass(frozen=True)
class Mover:
    """One who changes grade."""

    entity_id: str
    owner: str
    region: str
    before: float
    after: float
    grade_before: str
    grade_after: str


@dataclass(frozen=True)
class SwapReport:
    """What changes if `version` replaces `live_version`; without a live version nothing does.

    `crossing[i][j]` counts those of grade i before and j after, grades as in `bands`, the best first. `graded_by` is
    what the config grades by, None where points do and bands are compared instead.
    """

    target: str
    entity: str
    measure: str
    as_of: datetime
    live_version: int | None
    version: int | None
    rows: int
    bands: tuple[Band, ...]
    crossing: tuple[tuple[int, ...], ...]
    up: int
    down: int
    contacts: Contacts
    by_owner: tuple[Line, ...]
    by_region: tuple[Line, ...]
    largest: tuple[Mover, ...]
    max_movers_share: float | None
    graded_by: str | None = None

    @property
    def movers(self) -> int:
        """How many change grade."""
        return self.up + self.down

    @property
    def movers_share(self) -> float:
        """Share of all who change grade; 0 if there is nobody."""
        return self.movers / self.rows if self.rows else 0.0

    @property
    def is_over_cap(self) -> bool:
        """Whether more change grade than `retrain.max_movers_share` allows."""
        return self.max_movers_share is not None and self.movers_share > self.max_movers_share

    def check(self) -> None:
        """Check that no more change grade than the config allows.

        Raises
        ------
        GateError
            If they do.

        """
        if self.is_over_cap:
            raise GateError(
                f"Target '{self.target}': {self.movers:,} of {self.rows:,} {self.entity} would change grade "
                f"({self.movers_share:.1%}), more than retrain.max_movers_share allows ({self.max_movers_share:.1%}). "
                "Look at the swap report; raise the share, or let people decide with `leadsieve promote --force`."
            )

    def summary(self) -> dict[str, Any]:
        """Counts without a name or an id, for the details of a decision: nothing in them has to be forgotten."""
        return {
            "rows": self.rows,
            "up": self.up,
            "down": self.down,
            "movers_share": self.movers_share,
            "contacts": asdict(self.contacts),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the whole report, ready for JSON."""
        facts = asdict(self)
        facts |= {"as_of": f"{self.as_of.isoformat()}Z", "movers": self.movers, "movers_share": self.movers_share}
        return {**facts, "is_over_cap": self.is_over_cap}


def compare_scores(
    target: str,
    scores: pd.DataFrame,
    *,
    as_of: datetime,
    entity: str = "customers",
    measure: str = "probability",
    live_version: int | None = None,
    version: int | None = None,
    grades: Sequence[str] = (),
    capacity: int | None = None,
    max_movers_share: float | None = None,
) -> SwapReport:
    """Compare the scores of two versions.

    Parameters
    ----------
    target : str
    scores : DataFrame
        One row per customer or deal: entity_id, before and after (probabilities or values; `before` is NaN without
        a live version, and `after` then takes its place), owner and region (text or null), and `grade`, that of the
        card, where `grades` are given.
    as_of : datetime
    entity : {"customers", "deals"}
        What the target is about.
    measure : {"probability", "value"}
        What `before` and `after` are.
    live_version, version : int, optional
    grades : sequence of str
        The card's grades, from the best to the lowest; none if there is no card.
    capacity : int, optional
        Contacts per week.
    max_movers_share : float, optional

    """
    rows = _in_order(scores)
    bands = cut_bands(rows["before"].to_numpy(), rows["grade"].tolist() if grades else [], grades)
    at_least = contact_cut(rows["before"].to_numpy(), bands, capacity)
    rows = rows.assign(
        **{f"place_{when}": band_of(rows[when].to_numpy(), bands) for when in ("before", "after")},
        **{f"contacts_{when}": rows[when] >= at_least for when in ("before", "after")},
    )
    about = _About(target, entity, measure, as_of, live_version, version, capacity, max_movers_share)
    return _report(rows, bands, at_least, about)


def compare_grades(
    target: str,
    graded: SwapGrades,
    *,
    as_of: datetime,
    entity: str = "customers",
    live_version: int | None = None,
    version: int | None = None,
    capacity: int | None = None,
    max_movers_share: float | None = None,
) -> SwapReport:
    """Compare the grades that two versions give; those of the best grade are contacted. Else as `compare_scores`."""
    rows = _in_order(graded.people)
    places = {band.name: place for place, band in enumerate(graded.bands)}
    for when in ("before", "after"):
        rows[f"place_{when}"] = rows[f"grade_{when}"].map(places).astype("int64")
        rows[f"contacts_{when}"] = rows[f"place_{when}"] == 0
    about = _About(target, entity, graded.measure, as_of, live_version, version, capacity, max_movers_share, graded.by)
    return _report(rows, graded.bands, graded.bands[0].at_least, about)


@dataclass(frozen=True)
class _About:
    """What a report is about."""

    target: str
    entity: str
    measure: str
    as_of: datetime
    live_version: int | None
    version: int | None
    capacity: int | None
    max_movers_share: float | None
    graded_by: str | None = None


def _in_order(people: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their ids; without a live version `after` takes the place of `before`."""
    rows = people.sort_values("entity_id", kind="stable", ignore_index=True)
    rows["before"] = rows["before"].where(rows["before"].notna(), rows["after"])
    return rows


def _report(rows: pd.DataFrame, bands: tuple[Band, ...], at_least: float, about: _About) -> SwapReport:
    """Count rows with the places of their grades before and after, and with whether they are contacted."""
    before, after = rows["place_before"].to_numpy(), rows["place_after"].to_numpy()
    crossing = np.zeros((len(bands), len(bands)), dtype=int)
    np.add.at(crossing, (before, after), 1)
    rows = rows.assign(
        owner=rows["owner"].astype(object).where(rows["owner"].notna(), UNKNOWN),
        region=rows["region"].astype(object).where(rows["region"].notna(), UNKNOWN),
        up=after < before,
        down=after > before,
        grade_before=[bands[at].name for at in before],
        grade_after=[bands[at].name for at in after],
    )
    facts = {name: getattr(about, name) for name in _About.__dataclass_fields__ if name != "capacity"}
    return SwapReport(
        **facts,
        rows=len(rows),
        bands=bands,
        crossing=tuple(tuple(int(count) for count in line) for line in crossing),
        up=int(rows["up"].sum()),
        down=int(rows["down"].sum()),
        contacts=_contacts(rows, at_least, about.capacity),
        by_owner=_lines(rows, "owner"),
        by_region=_lines(rows, "region"),
        largest=_largest(rows),
    )


def _contacts(rows: pd.DataFrame, at_least: float, capacity: int | None) -> Contacts:
    """Count the two lists of people to contact, and those who are on one of them only."""
    before, after = int(rows["contacts_before"].sum()), int(rows["contacts_after"].sum())
    size = min(len(rows), before if capacity is None else capacity)
    first, then = (set(rows["entity_id"][_order(rows[name])[:size]]) for name in ("before", "after"))
    return Contacts(capacity, at_least, before, after, size, len(then - first), len(first - then))


def _order(probability: "pd.Series[float]") -> Any:
    """Places of the rows from the highest probability on; the rows are in the order of their ids."""
    return np.argsort(-probability.to_numpy(), kind="stable")


def _lines(rows: pd.DataFrame, by: str) -> tuple[Line, ...]:
    """One line per owner or region, those with the most movers first; none where no value is known."""
    if (rows[by] == UNKNOWN).all():
        return ()
    counted = rows.groupby(by)[["up", "down", "contacts_before", "contacts_after"]].sum()
    counted.insert(0, "rows", rows.groupby(by).size())
    lines = [Line(str(name), *map(int, counts)) for name, counts in zip(counted.index, counted.to_numpy(), strict=True)]
    return tuple(sorted(lines, key=lambda line: (-(line.up + line.down), line.name)))


def _largest(rows: pd.DataFrame) -> tuple[Mover, ...]:
    """Those who change grade and whose probability changes most."""
    moved = rows[rows["up"] | rows["down"]]
    change = (moved["after"] - moved["before"]).abs().to_numpy()
    names = list(Mover.__dataclass_fields__)
    chosen = moved.iloc[np.argsort(-change, kind="stable")[:LARGEST]]
    return tuple(Mover(*line) for line in chosen[names].itertuples(index=False))
