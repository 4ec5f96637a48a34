"""A proposed document as a card: the next version, with cut-offs that keep the shares of grades and levels."""

import re
from typing import Any

import pandas as pd
from pydantic import ValidationError

from features.errors import DataError
from models.card_checks import reachable_points
from models.card_cutoffs import move_cutoffs
from models.scorecard import Scorecard
from models.scorecard_schema import Criterion


def next_version(version: str) -> str:
    """Version that follows another; the presets that were laid over the card stay named.

    >>> next_version("1"), next_version("2.9"), next_version("1+startup"), next_version("draft")
    ('2', '2.10', '2+startup', 'draft.1')

    """
    number, plus, presets = version.partition("+")
    counted = re.sub(r"(\d+)(?!.*\d)", lambda found: str(int(found.group()) + 1), number)
    return (counted if counted != number else f"{number}.1") + plus + presets


def assemble_card(card: Scorecard, document: dict[str, Any], frame: pd.DataFrame) -> tuple[Scorecard, list[str]]:
    """Return a document as a card, the cut-offs of grades and levels moved so that their shares stay; and remarks.

    A level of a group that the proposed points cannot give any more is left out.

    Raises
    ------
    DataError
        If no card comes of it, such as when its points give fewer totals than there are grades.

    """
    made = {**document, "version": next_version(card.version)}
    criteria = tuple(map(Criterion.model_validate, made["criteria"]))
    before = card.score(frame)
    after = Scorecard.model_construct(**{**card.__dict__, "criteria": criteria}).score(frame)
    made["grades"] = move_cutoffs(made["grades"], before["points"], after["points"], reachable_points(criteria))
    remarks, groups = [], []
    for group in made.get("groups", ()):
        name, levels = group["id"], group.get("levels", ())
        members = [one for one in criteria if one.group == name]
        units = sum(one.units for one in members)
        if levels and units:
            totals = reachable_points(members, 100 * units)
            moved = move_cutoffs(levels, before[f"group_{name}"], after[f"group_{name}"], totals)
            gone = [one["id"] for one in levels if one["id"] not in {left["id"] for left in moved}]
            remarks += [f"Level '{one}' of group '{name}' was left out: no points give it any more." for one in gone]
            group = {**group, "levels": moved}
        groups.append(group)
    try:
        return Scorecard.model_validate({**made, "groups": groups} if groups else made), remarks
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(
            f"No card could be made of the points that the data would give '{card.id}': {problem}. Keep today's card, "
            "or give it fewer grades."
        ) from None
