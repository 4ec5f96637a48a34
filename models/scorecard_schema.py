"""What a scorecard file may say, checked so that every customer gets exactly one answer from it."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from features.groups.columns import column_name
from models.card_checks import UNITS_PER_POINT, check_steps, check_unique, reachable_points
from models.card_conditions import (
    Band,
    Condition,
    Direction,
    Id,
    Names,
    Part,
    Points,
    check_bands,
    check_direction,
)
from models.card_formula import Formula, parse_formula
from models.nearest import nearest

__all__ = ["UNITS_PER_POINT", "Band", "Card", "Condition", "Criterion", "Flag", "Grade", "Group", "Names", "Veto"]

Entity = Literal["customer", "deal"]


def _check_weight(weight: float) -> float:
    if not math.isclose(weight * 100, round(weight * 100), abs_tol=1e-9):
        raise ValueError(f"a weight has at most two decimals, got {weight}. Round it")
    return weight


Weight = Annotated[float, Field(ge=0, le=100), AfterValidator(_check_weight)]


class Question(Part):
    """Something a card asks of one value: a feature, a formula over features, or what people answered."""

    id: Id
    name: Names
    feature: str | None = Field(None, min_length=1)
    formula: str | None = Field(None, min_length=1, description="arithmetic on features, see models.card_formula")
    answer: str | None = Field(None, min_length=1, description="a question of the assessments, as the config has it")

    @model_validator(mode="after")
    def _check_source(self) -> "Question":
        given = [name for name in ("feature", "formula", "answer") if getattr(self, name) is not None]
        if len(given) != 1:
            got = f"has {' and '.join(given)}" if given else "reads nothing"
            raise ValueError(f"'{self.id}' {got}. Give one of feature, formula and answer")
        if self.formula is not None and parse_formula(self.formula) and self.condition.kind == "text":
            raise ValueError(f"'{self.id}' compares the number of a formula with a text. Use numbers")
        if self.answer is not None and not column_name(self.answer):
            raise ValueError(f"'{self.id}' has answer {self.answer!r}, which has no letter. Name a question")
        return self

    @property
    @abstractmethod
    def condition(self) -> Condition:
        """The condition that tells what kind of value is asked for."""

    @property
    def listed(self) -> tuple[str | int | float, ...]:
        """All values that are named, as the card spells them."""
        return self.condition.listed

    @property
    def parsed(self) -> Formula | None:
        """The formula, read."""
        return None if self.formula is None else parse_formula(self.formula)

    def reads(self, entity: Entity) -> tuple[str, ...]:
        """Features that the value is made of.

        An answer is read as a number or as a text, as the bands ask; on a deal it is what was answered about the
        deal, and where nothing was, about its customer.
        """
        if self.feature is not None:
            return (self.feature,)
        if self.parsed is not None:
            return self.parsed.names
        ending = f"{column_name(self.answer or '')}_{'answer' if self.condition.kind == 'text' else 'score'}"
        return tuple(f"{prefix}assessment_{ending}" for prefix in (("deal_", "") if entity == "deal" else ("",)))


class Criterion(Question):
    """One question of a card, with points for what the answer may be.

    `missing` are the points where the value is null; `otherwise` those of values no band names.
    """

    group: Id | None = None
    weight: Weight = Field(description="0 switches the criterion off, until a preset gives it weight")
    direction: Direction | None = Field(None, description="what more of it should mean: better 1, worse -1, any 0")
    bands: tuple[Band, ...] = Field(min_length=1)
    otherwise: Points | None = None
    missing: Points
    ask: Names | None = Field(None, description="what to ask a person while this is missing or weak")
    source: str = Field("", description="where the question and its points come from")

    @model_validator(mode="after")
    def _check_points(self) -> "Criterion":
        check_bands(self.bands, self.otherwise, f"criterion '{self.id}'")
        check_direction(self.bands, self.direction, f"criterion '{self.id}'")
        return self

    @property
    def condition(self) -> Condition:
        """The first band."""
        return self.bands[0]

    @property
    def listed(self) -> tuple[str | int | float, ...]:
        """All values of all bands."""
        return tuple(value for band in self.bands for value in band.listed)

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

    @property
    def condition(self) -> Condition:
        """The only condition."""
        return self.when


class Flag(Veto):
    """A condition that people should know of, whatever the grade; it may lift a grade, never over a veto."""

    grade_at_least: Id | None = Field(None, description="the grade that a flagged row gets at least")


class Level(Part):
    """A level for points of `at_least` and more, up to the next better one."""

    id: Id
    at_least: float = Field(ge=0, le=100)
    name: Names


class Grade(Level):
    """A grade of the whole card."""


class Group(Part):
    """Criteria that are looked at together, with points of their own from 0 to 100."""

    id: Id
    name: Names
    levels: tuple[Level, ...] = Field((), description="from the best to the lowest")


class Change(Part):
    """What a preset says otherwise about a criterion."""

    weight: Weight | None = None
    direction: Direction | None = None
    bands: tuple[Band, ...] | None = Field(None, min_length=1)
    otherwise: Points | None = None
    missing: Points | None = None
    ask: Names | None = None
    source: str | None = None


class Preset(Part):
    """How a card differs for a stage of business or for an industry."""

    kind: Literal["stage", "industry"]
    name: Names
    criteria: dict[str, Change] = Field({}, description="id of a criterion: what is otherwise")
    vetoes: tuple[Veto, ...] = ()
    flags: tuple[Flag, ...] = ()


class Card(Part):
    """A whole scorecard file."""

    id: Id
    version: str = Field(min_length=1)
    entity: Entity
    source: str = Field("", description="where the card comes from")
    groups: tuple[Group, ...] = ()
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    vetoes: tuple[Veto, ...] = ()
    flags: tuple[Flag, ...] = ()
    grades: tuple[Grade, ...] = Field(min_length=2, description="from the best to the lowest")
    presets: dict[Id, Preset] = Field({}, description="name: how the card differs")

    @model_validator(mode="after")
    def _check_whole(self) -> "Card":
        for what in ("criteria", "vetoes", "flags", "groups", "grades"):
            check_unique(what, [part.id for part in getattr(self, what)])
        units = sum(criterion.units for criterion in self.criteria)
        if units != 100 * 100:
            weights = ", ".join(f"{criterion.id} {criterion.weight:g}" for criterion in self.criteria)
            raise ValueError(f"weights sum to {units / 100:g}, expected 100 ({weights}). Change them until they do")
        self._check_grades()
        self._check_groups()
        self._check_presets()
        return self

    def _check_grades(self) -> None:
        ids = [grade.id for grade in self.grades]
        for flag in self.flags:
            lifted = flag.grade_at_least
            if lifted is not None and lifted not in ids:
                raise ValueError(
                    f"flag '{flag.id}' lifts to unknown grade '{lifted}'. {nearest(lifted, ids, 'grades')}"
                )
            if lifted == ids[-1]:
                raise ValueError(f"flag '{flag.id}' lifts to '{lifted}', the lowest grade. Name a better one")
        given = {flag.grade_at_least for flag in self.flags if flag.grade_at_least}
        given |= {ids[-1]} if self.vetoes else set()
        check_steps(self.grades, "grade", reachable_points(self.criteria), given)

    def _check_groups(self) -> None:
        ids = [group.id for group in self.groups]
        for criterion in self.criteria:
            if criterion.group is not None and criterion.group not in ids:
                hint = nearest(criterion.group, ids, "groups") if ids else "List it under 'groups'."
                raise ValueError(f"criterion '{criterion.id}' is in unknown group '{criterion.group}'. {hint}")
        for group in self.groups:
            check_unique("levels", [level.id for level in group.levels])
            members = self.members(group)
            if not members:
                raise ValueError(f"group '{group.id}' has no criterion. Name it in one, or remove it")
            units = sum(criterion.units for criterion in members)
            if group.levels and units:
                totals = reachable_points(members, 100 * units)
                check_steps(group.levels, "level", totals, of=f" of group '{group.id}'")

    def _check_presets(self) -> None:
        ids = [criterion.id for criterion in self.criteria]
        for name, preset in self.presets.items():
            for changed, change in preset.criteria.items():
                if changed not in ids:
                    hint = nearest(changed, ids, "criteria")
                    raise ValueError(f"preset '{name}' changes unknown criterion '{changed}'. {hint}")
                if not change.model_fields_set:
                    raise ValueError(f"preset '{name}' changes nothing of '{changed}'. Give it a weight, or remove it")
            if not (preset.criteria or preset.vetoes or preset.flags):
                raise ValueError(f"preset '{name}' changes nothing. Add criteria, vetoes or flags, or remove it")

    def members(self, group: Group) -> tuple[Criterion, ...]:
        """Criteria of a group, in the order of the file."""
        return tuple(criterion for criterion in self.criteria if criterion.group == group.id)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Criteria, vetoes and flags, in the order of the file."""
        return (*self.criteria, *self.vetoes, *self.flags)

    @property
    def features(self) -> tuple[str, ...]:
        """Features that anything on the card reads, each once, in the order of the file."""
        return features_read(self.questions, self.entity)


def features_read(questions: Sequence[Question], entity: Entity) -> tuple[str, ...]:
    """Features that questions read, each once, in their order."""
    return tuple(dict.fromkeys(name for question in questions for name in question.reads(entity)))
