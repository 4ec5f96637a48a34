"""What a scorecard file may say, checked so that every customer gets exactly one answer from it."""

import itertools
import math
from collections import Counter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

UNITS_PER_POINT = 10_000
"""Points are added up as whole ten-thousandths, so that no sum depends on the order of its terms."""


def _check_weight(weight: float) -> float:
    if not math.isclose(weight * 100, round(weight * 100), abs_tol=1e-9):
        raise ValueError(f"a weight has at most two decimals, got {weight}. Round it")
    return weight


def _check_value(value: Any) -> Any:
    if isinstance(value, bool):
        word = "yes, on or true" if value else "no, off or false"
        raise ValueError(f"YAML reads an unquoted {word} as {value}. Put it in quotes")
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected a text or a number, got {value!r}. List several values under 'in'")
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


def _check_intervals(bands: tuple[Band, ...], where: str) -> None:
    """Check that the intervals cover every number exactly once."""
    ordered = sorted(bands, key=lambda band: -math.inf if band.at_least is None else band.at_least)
    low, high = ordered[0].at_least, ordered[-1].below
    if low is not None:
        raise ValueError(f"{where}: numbers below {low:g} have no band. Leave out at_least in the lowest band")
    for left, right in itertools.pairwise(ordered):
        start = -math.inf if right.at_least is None else right.at_least
        end = math.inf if left.below is None else left.below
        if end > start:
            raise ValueError(f"{where}: bands overlap from {start:g} on. Let one begin where the other ends")
        if end < start:
            raise ValueError(f"{where}: bands leave a gap, {end:g} to {start:g}. Let one begin where the other ends")
    if high is not None:
        raise ValueError(f"{where}: numbers from {high:g} on have no band. Leave out below in the highest band")


class Question(Part):
    """Something a card asks one feature."""

    id: Id
    name: Names
    feature: str = Field(min_length=1)


class Criterion(Question):
    """One question of a card, answered by one feature.

    `missing` are the points where the feature is null; `otherwise` those of values no band names.
    """

    weight: Annotated[float, Field(gt=0, le=100), AfterValidator(_check_weight)]
    bands: tuple[Band, ...] = Field(min_length=1)
    otherwise: Points | None = None
    missing: Points
    source: str = Field("", description="where the question and its points come from")

    @model_validator(mode="after")
    def _check_bands(self) -> "Criterion":
        where = f"criterion '{self.id}'"
        kinds = sorted({band.kind for band in self.bands})
        if len(kinds) > 1:
            raise ValueError(f"{where}: bands mix {' and '.join(kinds)}. Use one kind in all bands of a criterion")
        if kinds == ["interval"]:
            if self.otherwise is not None:
                raise ValueError(f"{where}: 'otherwise' is for bands with equals or in. Remove it")
            _check_intervals(self.bands, where)
            return self
        if self.otherwise is None:
            raise ValueError(f"{where}: values that no band lists have no points. Add 'otherwise: 0' or other points")
        counts = Counter(value for band in self.bands for value in band.listed)
        twice = [value for value, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"{where}: bands overlap, {twice[0]!r} is listed twice. Keep it in one band")
        return self

    @property
    def units(self) -> int:
        """Weight in hundredths: times points it gives ten-thousandths of a point."""
        return round(self.weight * 100)

    @property
    def possible_points(self) -> set[int]:
        """Points the criterion can give."""
        extra = set() if self.otherwise is None else {self.otherwise}
        return {band.points for band in self.bands} | {self.missing} | extra


class Veto(Question):
    """A condition that forces the lowest grade, whatever the points; null is no veto."""

    when: Condition


class Grade(Part):
    """A grade for points of `at_least` and more, up to the next better grade."""

    id: Id
    at_least: float = Field(ge=0, le=100)
    name: Names


def _check_unique(what: str, ids: list[str]) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"two {what} are called '{twice[0]}'. Give each an id of its own")


def reachable_points(criteria: tuple[Criterion, ...]) -> np.ndarray:
    """All totals a card can give, ascending, on the scale 0 to 100; each criterion taken for itself."""
    reached = np.zeros(100 * UNITS_PER_POINT + 1, dtype=bool)
    reached[0] = True
    for criterion in criteria:
        before, reached = reached, np.zeros_like(reached)
        for points in criterion.possible_points:
            step = criterion.units * points
            reached[step:] |= before[: len(before) - step]
    return np.asarray(np.flatnonzero(reached) / UNITS_PER_POINT)


def _check_grades(grades: tuple[Grade, ...], totals: np.ndarray, has_vetoes: bool) -> None:
    """Check that grades fall from best to lowest, end at 0, and that each can be given."""
    for better, worse in itertools.pairwise(grades):
        if better.at_least <= worse.at_least:
            raise ValueError(
                f"grade '{better.id}' (at_least {better.at_least:g}) stands before '{worse.id}' (at_least "
                f"{worse.at_least:g}). List grades from the best to the lowest, each with a lower at_least"
            )
    if grades[-1].at_least != 0:
        raise ValueError(
            f"points below {grades[-1].at_least:g} have no grade. Set at_least: 0 in the lowest grade '{grades[-1].id}'"
        )
    ends = [math.inf, *(grade.at_least for grade in grades[:-1])]
    for grade, end in zip(grades, ends, strict=True):
        by_veto = has_vetoes and grade is grades[-1]
        if not by_veto and not ((totals >= grade.at_least) & (totals < end)).any():
            raise ValueError(
                f"grade '{grade.id}' cannot be reached: no points from {grade.at_least:g} to below {min(end, 100):g} "
                f"come out of the bands, which give {totals[0]:g} to {totals[-1]:g}. Move its at_least or the points"
            )


class Card(Part):
    """A whole scorecard file."""

    id: Id
    version: str = Field(min_length=1)
    entity: Literal["customer", "deal"]
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    vetoes: tuple[Veto, ...] = ()
    grades: tuple[Grade, ...] = Field(min_length=2, description="from the best to the lowest")

    @model_validator(mode="after")
    def _check_whole(self) -> "Card":
        _check_unique("criteria", [criterion.id for criterion in self.criteria])
        _check_unique("vetoes", [veto.id for veto in self.vetoes])
        _check_unique("grades", [grade.id for grade in self.grades])
        units = sum(criterion.units for criterion in self.criteria)
        if units != 100 * 100:
            weights = ", ".join(f"{criterion.id} {criterion.weight:g}" for criterion in self.criteria)
            raise ValueError(f"weights sum to {units / 100:g}, expected 100 ({weights}). Change them until they do")
        _check_grades(self.grades, reachable_points(self.criteria), bool(self.vetoes))
        return self

    @property
    def questions(self) -> tuple[Question, ...]:
        """Criteria and vetoes, in the order of the file."""
        return (*self.criteria, *self.vetoes)

    @property
    def features(self) -> tuple[str, ...]:
        """Features that criteria and vetoes read, each once, in the order of the file."""
        return tuple(dict.fromkeys(question.feature for question in self.questions))
