"""Small cards for the tests of review and proposal."""

from typing import Any

from models.scorecard import Scorecard


def criterion(feature: str, cut: float = 1.5, **changes: Any) -> dict[str, Any]:
    """A criterion that gives 0 points below a cut and 100 from it on; missing gives 40."""
    bands = [{"below": cut, "points": 0}, {"at_least": cut, "points": 100}]
    name = {"en": feature, "zh": feature}
    return {"id": feature, "name": name, "feature": feature, "bands": bands, "missing": 40} | changes


def card_of(*criteria: dict[str, Any], **changes: Any) -> Scorecard:
    """A card that weighs criteria alike, unless they have a weight."""
    even = round(100 / len(criteria), 2)
    weighed = [{"weight": even} | one for one in criteria]
    if not any("weight" in one for one in criteria):
        weighed[-1]["weight"] = round(100 - even * (len(criteria) - 1), 2)
    grades = [("priority", 70), ("nurture", 30), ("hold", 0)]
    document = {
        "id": "tried",
        "version": "1",
        "entity": "customer",
        "criteria": weighed,
        "grades": [{"id": one, "at_least": least, "name": {"en": one, "zh": one}} for one, least in grades],
    }
    return Scorecard.model_validate(document | changes)
