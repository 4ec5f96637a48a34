"""Presets of a scorecard: the same card as a stage of business or an industry wants it."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from models.nearest import nearest
from models.scorecard_schema import Card

KINDS = ("stage", "industry")
"""The order in which presets are laid over a card; one of each kind at most."""


def preset_choices(card: Card) -> Iterator[tuple[str, ...]]:
    """All that a deployment can choose: each preset, and each pair of a stage and an industry."""
    stages, industries = ([name for name, one in card.presets.items() if one.kind == kind] for kind in KINDS)
    yield from ((name,) for name in (*stages, *industries))
    yield from itertools.product(stages, industries)


def check_choice(card: Card, names: Sequence[str]) -> tuple[str, ...]:
    """Check that a deployment may choose these presets; return them in the order they are laid over the card.

    Raises
    ------
    ValueError
        If one is unknown, or two are of one kind.

    """
    for name in names:
        if name not in card.presets:
            hint = nearest(name, card.presets, "presets") if card.presets else "The card has no presets: remove it."
            raise ValueError(f"unknown preset '{name}' of card '{card.id}'. {hint}")
    chosen = sorted(dict.fromkeys(names), key=lambda name: KINDS.index(card.presets[name].kind))
    for first, second in itertools.pairwise(chosen):
        if card.presets[first].kind == card.presets[second].kind:
            kind = card.presets[first].kind
            raise ValueError(f"presets '{first}' and '{second}' are both for the {kind}. Choose one of them")
    return tuple(chosen)


def lay_over(card: Card, names: Sequence[str]) -> dict[str, Any]:
    """Return the document of a card with presets laid over it, which has none itself.

    Its version names them: `1+startup+pharma`. What a preset does not mention stays as it is.
    """
    document = card.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"presets"})
    for name in names:
        preset = card.presets[name].model_dump(mode="json", by_alias=True, exclude_unset=True)
        for criterion in document["criteria"]:
            criterion |= preset.get("criteria", {}).get(criterion["id"], {})
        for added in ("vetoes", "flags"):
            document[added] = [*document.get(added, ()), *preset.get(added, ())]
    return document | {"version": "+".join([card.version, *names])}


def describe_choice(names: Sequence[str]) -> str:
    """Return presets as a sentence names them.

    >>> describe_choice(["startup"]), describe_choice(["startup", "pharma"])
    ("with preset 'startup'", "with presets 'startup' and 'pharma'")
    """
    return f"with preset{'s' if len(names) > 1 else ''} {' and '.join(repr(name) for name in names)}"
