"""The rule scorecard: points, grades and vetoes that sales people wrote down, next to the model.

A card is YAML and no code. Each criterion turns a feature, a formula or an answer into 0 to 100 points,
weighted so that a whole card gives 0 to 100. The probability answers "how likely", the card "do we want it".
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from features.errors import DataError
from models.card_conditions import in_order
from models.card_file import describe_problem, read_card_file
from models.card_presets import check_choice, describe_choice, lay_over, preset_choices
from models.card_values import question_values
from models.errors import ScorecardError
from models.nearest import nearest
from models.scorecard_schema import UNITS_PER_POINT, Card, Criterion, Group, Veto

__all__ = ["Scorecard", "ScorecardError", "load_scorecard"]


class Scorecard(Card):
    """A checked card, ready to score. Made by `load_scorecard`."""

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Points, grade, vetoes and flags for each row of a feature frame.

        A null, or a feature the frame does not have (its table is absent), gives the `missing`
        points of the criterion and lowers the coverage. Vetoes and flags need a value: null meets none.
        A flag may lift the grade; a veto forces the lowest one, whatever points and flags say.

        Parameters
        ----------
        frame : DataFrame
            One column per feature, numbers or text; other columns are ignored.

        Returns
        -------
        DataFrame
            On the index of `frame`: `points` (0 to 100), `grade` (id), `coverage` (share of weight
            that had data, 0 to 1), `vetoes` and `flags` (lists of ids), for each group `group_<id>`
            (0 to 100 of its own weight, null where that is 0) and for each criterion `points_<id>`
            (weighted: they add up to `points`).

        Raises
        ------
        DataError
            If no feature of the card is in the frame (answers that nobody gave are no mistake), or one holds
            text where numbers are expected.

        """
        if self._named() and not {*self.features} & {*frame.columns}:
            raise DataError(
                f"Scorecard '{self.id}' reads {', '.join(self.features)}, and the feature frame has none of them. "
                f"Use a card for this entity (the card is for '{self.entity}')."
            )
        total = np.zeros(len(frame), dtype=np.int64)
        covered = np.zeros(len(frame), dtype=np.int64)
        by_group = {group.id: np.zeros(len(frame), dtype=np.int64) for group in self.groups}
        parts: dict[str, np.ndarray] = {}
        for criterion in self.criteria:
            points, known = criterion_points(criterion, frame, self)
            total += criterion.units * points
            covered += criterion.units * known
            if criterion.group is not None:
                by_group[criterion.group] += criterion.units * points
            parts[f"points_{criterion.id}"] = criterion.units * points / UNITS_PER_POINT
        vetoes, vetoed = self._met(self.vetoes, frame)
        flags, flagged = self._met(self.flags, frame)
        points_total = total / UNITS_PER_POINT
        columns: dict[str, Any] = {
            "points": points_total,
            "grade": self._grades(points_total, vetoed, flagged),
            "coverage": covered / UNITS_PER_POINT,
            "vetoes": vetoes,
            "flags": flags,
        }
        groups = {f"group_{group.id}": self._group_points(group, by_group[group.id]) for group in self.groups}
        return pd.DataFrame({**columns, **groups, **parts}, index=frame.index)

    def _named(self) -> bool:
        """Whether the card names any feature itself, instead of asking people only."""
        return any(question.answer is None for question in self.questions)

    def _group_points(self, group: Group, total: np.ndarray) -> np.ndarray:
        """Points of a group on the scale 0 to 100; null where no criterion of it has weight."""
        units = sum(criterion.units for criterion in self.members(group))
        return total / units if units else np.full(len(total), np.nan)

    def _met(self, conditions: Sequence[Veto], frame: pd.DataFrame) -> tuple[pd.Series, dict[str, np.ndarray]]:
        """Return the ids of the vetoes or flags that each row meets, as lists, and by id which rows meet it."""
        met = {one.id: _meets(one, frame, self) for one in conditions}
        listed: list[list[str]] = [[] for _ in range(len(frame))]
        for name, rows in met.items():
            for row in np.flatnonzero(rows).tolist():
                listed[row].append(name)
        return pd.Series(listed, index=frame.index, dtype=object), met

    def _grades(self, points: np.ndarray, vetoed: Mapping[str, np.ndarray], flagged: Mapping[str, np.ndarray]) -> Any:
        """Return the grade of each row: by points, lifted by flags, or the lowest one where there is a veto."""
        ascending = self.grades[::-1]
        place = np.searchsorted([grade.at_least for grade in ascending], points, side="right") - 1
        places = {grade.id: at for at, grade in enumerate(ascending)}
        for flag in self.flags:
            if flag.grade_at_least is not None:
                place = np.maximum(place, np.where(flagged[flag.id], places[flag.grade_at_least], 0))
        for rows in vetoed.values():
            place[rows] = 0
        return np.array([grade.id for grade in ascending], dtype=object)[place]


def _meets(condition: Veto, frame: pd.DataFrame, card: Card) -> np.ndarray:
    """Tell which rows meet a veto or flag; null never does."""
    values = question_values(condition, frame, card)
    if values is None or values.isna().all():
        return np.zeros(len(frame), dtype=bool)
    when = condition.when
    if when.kind == "text":
        return np.asarray(values.isin(list(when.listed)))
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    if when.kind == "number":
        return np.isin(numbers, np.array(when.listed, dtype=np.float64))
    low = -np.inf if when.at_least is None else when.at_least
    above = numbers >= low
    return above if when.below is None else above & (numbers < when.below)


def criterion_points(criterion: Criterion, frame: pd.DataFrame, card: Card) -> tuple[np.ndarray, np.ndarray]:
    """Points (0 to 100) of one criterion in each row, and whether it had a value."""
    values = question_values(criterion, frame, card)
    if values is None:
        return np.full(len(frame), criterion.missing, dtype=np.int64), np.zeros(len(frame), dtype=bool)
    known = np.asarray(values.notna())
    if criterion.condition.kind == "interval":
        points = _interval_points(criterion, values)
    else:
        points = _value_points(criterion, values)
    return np.where(known, points, criterion.missing), known


def _interval_points(criterion: Criterion, values: pd.Series) -> np.ndarray:
    """Points of the band `[at_least, below)` that holds each number."""
    ordered = in_order(criterion.bands)
    cuts = [band.below for band in ordered[:-1] if band.below is not None]
    numbers = np.full(len(values), np.nan) if values.isna().all() else values.to_numpy(np.float64, na_value=np.nan)
    return np.array([band.points for band in ordered], dtype=np.int64)[np.searchsorted(cuts, numbers, side="right")]


def _value_points(criterion: Criterion, values: pd.Series) -> np.ndarray:
    """Points of the band that lists each value, looked up once per distinct value."""
    listed = {value: band.points for band in criterion.bands for value in band.listed}
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    points = [listed.get(value, criterion.otherwise) for value in distinct]
    return np.array([*points, criterion.missing], dtype=np.int64)[codes]


def load_scorecard(path: Path, known_features: Collection[str] | None = None, presets: Sequence[str] = ()) -> Scorecard:
    """Read and check a scorecard file, with each of its presets and each pair of a stage and an industry.

    Parameters
    ----------
    path : Path
        The YAML file.
    known_features : collection of str, optional
        Names the features of this deployment have, or would have with all tables; a card that reads another one
        is refused. Answers to questions are no such features: a question that nobody asks here is missing.
    presets : sequence of str
        Those to lay over the card; the one that is returned has no more presets, and names them in its version.

    Returns
    -------
    Scorecard
        With weights that sum to 100, bands without gaps or overlaps and grades that can be reached.

    Raises
    ------
    ScorecardError
        With one sentence that names the file, the place and what to do.

    """
    document = read_card_file(path)
    card = _validate(path, document)
    for choice in preset_choices(card):
        _check_known(path, _validate(path, lay_over(card, choice), describe_choice(choice)), known_features)
    _check_known(path, card, known_features)
    try:
        chosen = check_choice(card, presets)
    except ValueError as error:
        raise ScorecardError(f"{path}: {error}{'' if str(error).endswith(('?', '.')) else '.'}") from None
    return _validate(path, lay_over(card, chosen)) if chosen else card


def _validate(path: Path, document: Mapping[str, Any], under: str = "") -> Scorecard:
    try:
        return Scorecard.model_validate(document)
    except ValidationError as error:
        raise ScorecardError(describe_problem(path, error, document, under)) from None


def _check_known(path: Path, card: Card, known: Collection[str] | None) -> None:
    """Check that the catalog has every feature that is named."""
    for question in card.questions:
        for name in question.reads(card.entity) if question.answer is None else ():
            if known is not None and name not in known:
                hint = nearest(name, known, "features")
                raise ScorecardError(f"{path}: unknown feature '{name}' in '{question.id}'. {hint}")
