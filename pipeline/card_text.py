"""A proposed card as a YAML file that people read: what changes stands beside every band."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from models.card_changes import BandChange, CriterionChange, Proposal

_FIRST = ("id", "version", "entity", "source", "groups")
_LAST = ("vetoes", "flags", "grades")


def write_proposal(proposal: Proposal, where_from: str) -> str:
    """Return the YAML text of a proposed card.

    Parameters
    ----------
    proposal : Proposal
    where_from : str
        A sentence on the rows that it rests on, for the head of the file.

    """
    document = proposal.card.model_dump(mode="json", by_alias=True, exclude_unset=True)
    lines = [
        f"# Proposed version {proposal.card.version} of card '{proposal.card.id}'. {where_from}",
        "# Accept it by naming this file in the config, edit it, or leave it. Beside each band: the points that its",
        "# rows get today, how many rows there are, and which share of them turned out as the points should favour.",
        *(f"# {remark}" for remark in proposal.remarks),
        *(f"{key}: {_flow(document[key])}" for key in _FIRST if key in document and key != "groups"),
    ]
    lines += _listed("groups", document)
    lines += ["", "criteria:"]
    for entry, change in zip(document["criteria"], proposal.changes, strict=True):
        lines += [*_criterion(entry, change), ""]
    for key in _LAST:
        lines += _listed(key, document)
    return "\n".join(lines).rstrip() + "\n"


def _listed(key: str, document: Mapping[str, Any]) -> list[str]:
    return [f"{key}:", *(f"  - {_flow(one)}" for one in document[key]), ""] if document.get(key) else []


def _criterion(entry: Mapping[str, Any], change: CriterionChange) -> Iterator[str]:
    """Lines of one criterion."""
    moved = "" if change.weight == change.weight_today else f", weight {change.weight_today:g} today"
    yield f"  # {change.note}{moved}"
    start = "  - "
    for key, value in entry.items():
        if key != "bands":
            said = _said(change, {"missing": "missing", "otherwise": "any other value"}.get(key, ""))
            yield f"{start}{key}: {_flow(value)}{said}"
            start = "    "
            continue
        yield f"{start}bands:"
        start = "    "
        for band, told in zip(_ordered(value), change.bands, strict=False):
            yield f"      - {_flow(band)}{_beside(told)}"


def _ordered(bands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bands in the order in which changes tell of them: intervals ascend, others stay."""
    if any("equals" in band or "in" in band for band in bands):
        return bands
    return sorted(bands, key=lambda band: band.get("at_least", float("-inf")))


def _said(change: CriterionChange, name: str) -> str:
    return next((_beside(band) for band in change.bands if band.band == name), "")


def _beside(band: BandChange) -> str:
    """Return a comment: points today, rows, rate and its interval."""
    if band.today is None or band.rate is None:
        return "  # no rows"
    return f"  # today {band.today:g}; {band.rows:,} rows, {band.rate:.1%} ({band.low:.1%} to {band.high:.1%})"


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style, on one line; texts in quotes where they need them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        is_plain = value.isidentifier() and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value)


_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "infinity"}
"""Words that YAML takes for something else than text."""
