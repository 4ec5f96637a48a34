"""The rule scorecard: points, grades and vetoes that sales people wrote down, next to the model.

A card is YAML and no code. Each criterion turns one feature into 0 to 100 points, weighted so that
a whole card gives 0 to 100. The probability answers "how likely", the card "do we want it".
"""

import difflib
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ValidationError

from features.errors import DataError
from models.errors import ScorecardError
from models.scorecard_schema import UNITS_PER_POINT, Card, Condition, Criterion

__all__ = ["Scorecard", "ScorecardError", "load_scorecard"]


class Scorecard(Card):
    """A checked card, ready to score. Made by `load_scorecard`."""

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Points, grade and vetoes for each row of a feature frame.

        A null, or a feature the frame does not have (its table is absent), gives the `missing`
        points of the criterion and lowers the coverage. A veto needs a value: null never vetoes.

        Parameters
        ----------
        frame : DataFrame
            One column per feature, numbers or text; other columns are ignored.

        Returns
        -------
        DataFrame
            On the index of `frame`: `points` (0 to 100), `grade` (id), `coverage` (share of weight
            that had data, 0 to 1), `vetoes` (list of veto ids) and, for each criterion,
            `points_<id>` (weighted: they add up to `points`).

        Raises
        ------
        DataError
            If no feature of the card is in the frame, or one holds text where numbers are expected.

        """
        if not set(self.features) & set(frame.columns):
            raise DataError(
                f"Scorecard '{self.id}' reads {', '.join(self.features)}, and the feature frame has none of them. "
                f"Use a card for this entity (the card is for '{self.entity}')."
            )
        total = np.zeros(len(frame), dtype=np.int64)
        covered = np.zeros(len(frame), dtype=np.int64)
        parts: dict[str, np.ndarray] = {}
        for criterion in self.criteria:
            points, known = _points(criterion, frame, self.id)
            total += criterion.units * points
            covered += criterion.units * known
            parts[f"points_{criterion.id}"] = criterion.units * points / UNITS_PER_POINT
        vetoes = self._vetoes(frame)
        points_total = total / UNITS_PER_POINT
        columns: dict[str, Any] = {
            "points": points_total,
            "grade": self._grades(points_total, vetoes),
            "coverage": covered / UNITS_PER_POINT,
            "vetoes": vetoes,
        }
        return pd.DataFrame({**columns, **parts}, index=frame.index)

    def _vetoes(self, frame: pd.DataFrame) -> pd.Series:
        """Return the ids of the vetoes each row meets, as lists."""
        hit: list[list[str]] = [[] for _ in range(len(frame))]
        for veto in self.vetoes:
            if veto.feature not in frame:
                continue
            met = _meets(veto.when, frame[veto.feature], f"veto '{veto.id}' of scorecard '{self.id}'")
            for row in np.flatnonzero(met):
                hit[row].append(veto.id)
        return pd.Series(hit, index=frame.index, dtype=object)

    def _grades(self, points: np.ndarray, vetoes: pd.Series) -> np.ndarray:
        """Return the grade of each row: by points, or the lowest one where there is a veto."""
        ascending = self.grades[::-1]
        place = np.searchsorted([grade.at_least for grade in ascending], points, side="right") - 1
        place[np.fromiter(map(bool, vetoes), dtype=bool, count=len(vetoes))] = 0
        return np.array([grade.id for grade in ascending], dtype=object)[place]


def _is_text(values: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(values)


def _check_kind(condition: Condition, values: pd.Series, where: str) -> None:
    """Check that a condition on numbers meets numbers and one on text meets text."""
    if values.isna().all() or _is_text(values) == (condition.kind == "text"):
        return
    got, expected = ("text", "numbers") if _is_text(values) else ("numbers", "text")
    raise DataError(
        f"Feature '{values.name}' holds {got}, but {where} compares it with {expected}. "
        f"{'Use equals or in with texts' if got == 'text' else 'Use at_least and below'}, or another feature."
    )


def _meets(condition: Condition, values: pd.Series, where: str) -> np.ndarray:
    """Tell which rows meet a condition; null never does."""
    _check_kind(condition, values, where)
    if condition.kind == "text" or values.isna().all():
        return np.asarray(values.isin(list(condition.listed)))
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    if condition.kind == "number":
        return np.isin(numbers, np.array(condition.listed, dtype=np.float64))
    low = -np.inf if condition.at_least is None else condition.at_least
    above = numbers >= low
    return above if condition.below is None else above & (numbers < condition.below)


def _points(criterion: Criterion, frame: pd.DataFrame, card: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (0 to 100) of one criterion, and whether its feature had a value."""
    if criterion.feature not in frame:
        return np.full(len(frame), criterion.missing, dtype=np.int64), np.zeros(len(frame), dtype=bool)
    values = frame[criterion.feature]
    known = np.asarray(values.notna())
    _check_kind(criterion.bands[0], values, f"criterion '{criterion.id}' of scorecard '{card}'")
    if criterion.bands[0].kind == "interval":
        points = _interval_points(criterion, values)
    else:
        points = _value_points(criterion, values)
    return np.where(known, points, criterion.missing), known


def _interval_points(criterion: Criterion, values: pd.Series) -> np.ndarray:
    """Points of the band `[at_least, below)` that holds each number."""
    ordered = sorted(criterion.bands, key=lambda band: -np.inf if band.at_least is None else band.at_least)
    cuts = [band.below for band in ordered[:-1] if band.below is not None]
    numbers = np.full(len(values), np.nan) if values.isna().all() else values.to_numpy(np.float64, na_value=np.nan)
    return np.array([band.points for band in ordered], dtype=np.int64)[np.searchsorted(cuts, numbers, side="right")]


def _value_points(criterion: Criterion, values: pd.Series) -> np.ndarray:
    """Points of the band that lists each value, looked up once per distinct value."""
    listed = {value: band.points for band in criterion.bands for value in band.listed}
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    points = [listed.get(value, criterion.otherwise) for value in distinct]
    return np.array([*points, criterion.missing], dtype=np.int64)[codes]


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first one would silently not count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                line = node.value[place][0].start_mark.line + 1
                raise yaml.YAMLError(f"key '{key}' stands twice in one mapping (line {line}). Remove one")
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (it is a safe loader)
    except OSError as error:
        raise ScorecardError(f"{path}: cannot be read ({error.strerror}). Give the path of a scorecard file.") from None
    except UnicodeDecodeError:
        raise ScorecardError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ScorecardError(f"{path}: not valid YAML: {' '.join(str(error).split()).rstrip('.')}.") from None
    if not isinstance(document, dict):
        raise ScorecardError(f"{path}: expected a mapping of keys to values, got {type(document).__name__}.")
    return document


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed at a place of a card."""
    section: Any = Card
    for step in location:
        if not isinstance(step, int):
            annotation = section.model_fields[step].annotation
            section = next((kind for kind in getattr(annotation, "__args__", ()) if kind is not ...), annotation)
    fields = section.model_fields if issubclass(section, BaseModel) else {}
    return [field.alias or name for name, field in fields.items()]


def _place(document: Any, location: tuple[int | str, ...]) -> str:
    """Name a place in words: criteria 'orders'.bands[2] (bands counted from 1)."""
    words = ""
    for step in location:
        if isinstance(step, int):
            document = document[step]
            name = document.get("id") if isinstance(document, dict) else None
            words += f" '{name}'" if name else f"[{step + 1}]"
        else:
            document = document.get(step) if isinstance(document, dict) else None
            words += f".{step}" if words else step
    return words


def _nearest(name: str, known: Collection[str], what: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known {what}: {', '.join(sorted(known)[:20])}."


def _describe(path: Path, error: ValidationError, document: Mapping[str, Any]) -> str:
    """One sentence for the first problem of a card; a misspelt key counts before the key it leaves missing."""
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    location, key = first["loc"], str(first["loc"][-1]) if first["loc"] else ""
    where = f" in {_place(document, location[:-1])}" if location[:-1] else ""
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key '{key}'{where}. {_nearest(key, _allowed_keys(location[:-1]), 'keys')}"
    if first["type"] == "missing":
        return f"{path}: key '{key}' is missing{where}. Add it."
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        return f"{path}: {message}{' (in ' + _place(document, location) + ')' if location else ''}."
    hint = " Put it in quotes" if first["type"] == "string_type" and isinstance(first["input"], int | float) else ""
    return f"{path}: {_place(document, location)} is {first['input']!r}: {first['msg']}.{hint}".rstrip(".") + "."


def load_scorecard(path: Path, known_features: Collection[str] | None = None) -> Scorecard:
    """Read and check a scorecard file.

    Parameters
    ----------
    path : Path
        The YAML file.
    known_features : collection of str, optional
        Names the features of this deployment have; a card that reads another one is refused.

    Returns
    -------
    Scorecard
        With weights that sum to 100, bands without gaps or overlaps and grades that can be reached.

    Raises
    ------
    ScorecardError
        With one sentence that names the file, the place and what to do.

    """
    document = _read(path)
    try:
        card = Scorecard.model_validate(document)
    except ValidationError as error:
        raise ScorecardError(_describe(path, error, document)) from None
    for question in card.questions:
        if known_features is not None and question.feature not in known_features:
            hint = _nearest(question.feature, known_features, "features")
            raise ScorecardError(f"{path}: unknown feature '{question.feature}' in '{question.id}'. {hint}")
    return card
