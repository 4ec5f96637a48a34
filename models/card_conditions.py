"""The smallest parts of a scorecard file: names, conditions on one value, bands of points."""

import itertools
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Direction = Literal[1, -1, 0]
"""What more of a number should mean: better, worse, or any shape."""


def _check_value(value: Any) -> Any:
    if isinstance(value, bool):
        word = "yes, on or true" if value else "no, off or false"
        raise ValueError(f"YAML reads an unquoted {word} as {value}. Put it in quotes")
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected a text or a number, got {value!r}. List several values under 'in'")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"no feature is ever {value}. Remove it")
    return value


Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Points = Annotated[int, Field(strict=True, ge=0, le=100)]
Value = Annotated[str | int | float, BeforeValidator(_check_value)]
Bound = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """A part of a card: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Names(Part):
    """What people read, in English and Chinese."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class Condition(Part):
    """A half-open interval `[at_least, below)` of a number, or values a feature equals."""

    at_least: Bound | None = None
    below: Bound | None = None
    equals: Value | None = None
    one_of: tuple[Value, ...] = Field((), alias="in")

    @model_validator(mode="after")
    def _check_one_kind(self) -> "Condition":
        kinds = [self.at_least is not None or self.below is not None, self.equals is not None, bool(self.one_of)]
        if sum(kinds) != 1:
            raise ValueError("give either at_least and below, or equals, or in (a list that is not empty)")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(f"at_least {self.at_least:g} is not below {self.below:g}, so nothing is in it. Swap them")
        if len({isinstance(value, str) for value in self.listed}) > 1:
            raise ValueError(f"{list(self.listed)} mixes texts and numbers. Use one of them, texts in quotes")
        return self

    @property
    def listed(self) -> tuple[str | int | float, ...]:
        """Values that meet the condition; empty for an interval."""
        return (self.equals,) if self.equals is not None else self.one_of

    @property
    def kind(self) -> Literal["interval", "number", "text"]:
        """What the condition looks at."""
        if not self.listed:
            return "interval"
        return "text" if isinstance(self.listed[0], str) else "number"


class Band(Condition):
    """Points for a part of what a feature can be."""

    points: Points


def check_bands(bands: tuple[Band, ...], otherwise: int | None, where: str) -> None:
    """Check that every value a criterion can meet has points, and only once."""
    kinds = sorted({band.kind for band in bands})
    if len(kinds) > 1:
        raise ValueError(f"{where}: bands mix {' and '.join(kinds)}. Use one kind in all bands of a criterion")
    if kinds == ["interval"]:
        if otherwise is not None:
            raise ValueError(f"{where}: 'otherwise' is for bands with equals or in. Remove it")
        _check_intervals(bands, where)
        return
    if otherwise is None:
        raise ValueError(f"{where}: values that no band lists have no points. Add 'otherwise: 0' or other points")
    bands_of: dict[Any, Band] = {}
    for band in bands:
        twice = [value for value, count in Counter(band.listed).items() if count > 1]
        twice += [value for value in band.listed if bands_of.setdefault(fold(value), band) is not band]
        if twice:
            raise ValueError(
                f"{where}: bands overlap, {twice[0]!r} is listed twice (case does not count). Keep it in one band"
            )


def fold(value: str | int | float) -> str | int | float:
    """Return a text as it compares with others: without case, width of letters and blanks that people do not see.

    >>> fold("  Ｙes "), fold(" real  estate"), fold(1)
    ('yes', 'real estate', 1)
    """
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split()) if isinstance(value, str) else value


def spellings(values: Iterable[str | int | float]) -> dict[str | int | float, str | int | float]:
    """Return the first spelling of each value, by what it is when folded.

    >>> list(spellings(["Yes", "yes", "no"]).values())
    ['Yes', 'no']
    """
    found: dict[str | int | float, str | int | float] = {}
    for value in values:
        found.setdefault(fold(value), value)
    return found


def in_order(bands: tuple[Band, ...]) -> list[Band]:
    """Intervals in ascending order."""
    return sorted(bands, key=lambda band: -math.inf if band.at_least is None else band.at_least)


def _check_intervals(bands: tuple[Band, ...], where: str) -> None:
    """Check that the intervals cover every number exactly once."""
    ordered = in_order(bands)
    low, high = ordered[0].at_least, ordered[-1].below
    if low is not None:
        raise ValueError(f"{where}: numbers below {low:g} have no band. Leave out at_least in the lowest band")
    for left, right in itertools.pairwise(ordered):
        start = -math.inf if right.at_least is None else right.at_least
        end = math.inf if left.below is None else left.below
        if math.isinf(start):
            raise ValueError(
                f"{where}: two bands have no at_least, so both begin at the lowest number. Give one of them"
            )
        if end > start:
            raise ValueError(f"{where}: bands overlap from {start:g} on. Let one begin where the other ends")
        if end < start:
            raise ValueError(f"{where}: bands leave a gap, {end:g} to {start:g}. Let one begin where the other ends")
    if high is not None:
        raise ValueError(f"{where}: numbers from {high:g} on have no band. Leave out below in the highest band")


def check_direction(bands: tuple[Band, ...], direction: Direction | None, where: str) -> None:
    """Check that points never fall (+1) or never rise (-1) as the number grows."""
    if not direction:
        return
    if bands[0].kind == "text":
        raise ValueError(f"{where}: direction {direction} is for numbers, and the bands list texts. Remove it")
    if bands[0].kind == "interval":
        steps = [(0.0 if band.at_least is None else band.at_least, band.points) for band in in_order(bands)]
    else:
        steps = sorted((float(value), band.points) for band in bands for value in band.listed)
    for (_, before), (at, after) in itertools.pairwise(steps):
        if (after - before) * direction < 0:
            word, moved = ("better", "fall") if direction > 0 else ("worse", "rise")
            raise ValueError(
                f"{where}: direction {direction} says that more is {word}, but points {moved} from {before} to "
                f"{after} at {at:g}. Change the points, or remove direction"
            )
