"""The section of a target that says how its rows are graded."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config_section import Section

STEADY = 0.25
"""Margin of grades by probability or value, in spreads of what is graded by, unless the config says another."""


class Grading(Section):
    """What gives the grade that drives action, where one grade ends and the next begins, and what keeps it steady."""

    by: Literal["points", "probability", "value"] = Field(
        default="points",
        description="points of the card, the model's probability, or probability x value; vetoes hold always",
    )
    cut_offs: Literal["card", "fixed", "capacity", "profit"] | None = Field(
        default=None, description="default: the card's for points, what the team can call (capacity) otherwise"
    )
    at_least: dict[str, float] = Field(
        default={},
        description="fixed: grade to its least points, probability or value; profit: to multiples of the cost of a "
        "contact (default 1 for the lowest grade but one, and twice as much for each better one)",
    )
    contacts_per_week: int | None = Field(
        default=None, ge=1, description="capacity: of this target; default: capacity.contacts_per_week"
    )
    weeks: float = Field(default=1, gt=0, description="capacity: the best grade holds the contacts of so many weeks")
    shares: dict[str, float] = Field(
        default={},
        description="capacity: share of all rows in each further grade; default: what is left in equal parts",
    )
    value_feature: str | None = Field(default=None, description="value: the feature that says what an entity is worth")
    value_target: str | None = Field(default=None, description="value: the target of kind value that predicts it")
    value_constant: float | None = Field(default=None, gt=0, description="value: the same for everybody")
    margin: float | None = Field(
        default=None,
        ge=0,
        description="how far beyond a cut-off an entity must be to lose the grade of the last run: in points (default "
        f"0), or in spreads of the log-odds or of the value's logarithm (default {STEADY})",
    )
    tolerance: float = Field(
        default=0.1, ge=0, lt=1, description="capacity: share by which a count may fall short before a cut-off moves"
    )

    @property
    def cut_by(self) -> str:
        """Kind of the cut-offs."""
        return self.cut_offs or ("card" if self.by == "points" else "capacity")

    @property
    def width(self) -> float:
        """Margin."""
        return self.margin if self.margin is not None else (0.0 if self.by == "points" else STEADY)

    @model_validator(mode="after")
    def _check_cut_offs(self) -> "Grading":
        if self.cut_by == "card" and self.by != "points":
            raise ValueError("cut_offs: card are in points. Use by: points, or fixed, capacity or profit cut-offs")
        if self.cut_by == "profit" and self.by == "points":
            raise ValueError("cut_offs: profit needs by: probability or by: value. Points are no money")
        if self.cut_by == "fixed" and not self.at_least:
            raise ValueError("cut_offs: fixed needs at_least, such as {priority: 0.4, nurture: 0.2, hold: 0.1}")
        if self.at_least and self.cut_by not in ("fixed", "profit"):
            raise ValueError(f"at_least is for cut_offs fixed or profit, and they are {self.cut_by}. Remove one")
        if (self.shares or self.contacts_per_week) and self.cut_by != "capacity":
            raise ValueError(f"shares and contacts_per_week are for cut_offs: capacity, not {self.cut_by}. Remove one")
        if any(share < 0 for share in self.shares.values()) or sum(self.shares.values()) > 1:
            raise ValueError(f"shares are parts of all rows, from 0 and 1 at most together, got {self.shares}")
        if any(bound <= 0 for bound in self.at_least.values()):
            raise ValueError("at_least must be above 0; who has less than all of them gets the lowest grade")
        if self.by == "probability" and self.cut_by == "fixed" and max(self.at_least.values()) >= 1:
            raise ValueError("at_least of a probability lies between 0 and 1")
        return self

    @model_validator(mode="after")
    def _check_value(self) -> "Grading":
        named = [name for name in ("value_feature", "value_target", "value_constant") if getattr(self, name)]
        if named and self.by != "value":
            raise ValueError(f"{named[0]} is for by: value. Remove it, or grade by value")
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} both say what an entity is worth. Keep one")
        return self

    def check_target(self, kind: str, has_profit: bool) -> None:
        """Check what fits the target only; ValueError if it does not."""
        names_value = self.value_feature or self.value_target or self.value_constant
        if kind == "value" and self.by == "probability":
            raise ValueError("grading by: probability: a target of kind value has none. Use by: value")
        if kind == "value" and names_value:
            raise ValueError("grading: a target of kind value predicts the value itself. Remove value_... of grading")
        if self.cut_by == "profit" and not has_profit:
            raise ValueError("grading cut_offs: profit needs profit: {value_per_event: ..., cost_per_contact: ...}")
        if self.by == "value" and kind != "value" and not names_value and not has_profit:
            raise ValueError("grading by: value needs value_feature, value_target, value_constant or profit")
