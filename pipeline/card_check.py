"""Checking scorecards: are they well formed, and what of them can this deployment's data answer?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.group import Entity
from models.scorecard import Scorecard, load_scorecard
from models.scorecard_schema import Question
from pipeline.card_sources import Sources, coverage_of, find_sources, known_features, lacks
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError

ENTITIES: dict[str, Entity] = {"customer": "customers", "deal": "deals"}


def check_cards(
    config: Config, path: Path | None = None, target: str | None = None, presets: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Check a card file, or the cards of the config's targets.

    Parameters
    ----------
    config : Config
    path : Path, optional
        A card file; without one, the cards that the config names.
    target : str, optional
        Only the card of this target.
    presets : sequence of str
        Presets to lay over the card of `path`.

    Returns
    -------
    list of dict
        See `describe_card`; with the targets that use a card.

    Raises
    ------
    ScorecardError
        For the first card that cannot be used.
    ConfigError
        If no target has a card, or a card is for other entities than its target's.

    """
    known = known_features(config)
    check_presets(path, presets)
    if path is not None:
        return [describe_card(load_scorecard(path, known, presets), str(path), config, ())]
    found: dict[tuple[str, tuple[str, ...]], tuple[Scorecard, list[str]]] = {}
    for name in [make_target(config, target).name] if target else config.targets:
        card = load_card(config, name, known)
        if card is not None:
            section = config.targets[name]
            found.setdefault((str(section.scorecard), section.scorecard_presets), (card, []))[1].append(name)
    if not found:
        raise ConfigError("No target has a scorecard. Set targets.<target>.scorecard, or pass the path of a card.")
    return [describe_card(card, place, config, targets) for (place, _), (card, targets) in found.items()]


def check_presets(path: Path | None, presets: Sequence[str]) -> None:
    """Check that presets are named for a card file; ConfigError if not."""
    if presets and path is None:
        raise ConfigError(
            f"--preset {presets[0]} goes with a card file, and cards of the config have their scorecard_presets there. "
            "Pass the file, or change the config."
        )


def describe_card(card: Scorecard, place: str, config: Config, targets: Sequence[str]) -> dict[str, Any]:
    """What a card consists of, and the share of its weight that this deployment's newest extract can answer.

    `coverage` and each `lacks` are null before the first extract.
    """
    try:
        sources = find_sources(config, ENTITIES[card.entity])
    except DataError:
        sources = None
    whole = load_scorecard(Path(place))
    return {
        "card": card.id,
        "version": card.version,
        "path": place,
        "entity": card.entity,
        "targets": list(targets),
        "coverage": None if sources is None else coverage_of(card, sources),
        "criteria": [
            {**_describe(one, card, sources), "group": one.group, "weight": one.weight, "missing": one.missing}
            for one in card.criteria
        ],
        "vetoes": [_describe(one, card, sources) for one in card.vetoes],
        "flags": [{**_describe(one, card, sources), "grade_at_least": one.grade_at_least} for one in card.flags],
        "groups": [{"id": one.id, **one.name.model_dump()} for one in card.groups],
        "grades": [{"id": one.id, "at_least": one.at_least, **one.name.model_dump()} for one in card.grades],
        "presets": [{"id": name, "kind": one.kind, **one.name.model_dump()} for name, one in whole.presets.items()],
    }


def _describe(question: Question, card: Scorecard, sources: Sources | None) -> dict[str, Any]:
    """What a criterion, veto or flag reads, and why it can have no value here."""
    read = {name: getattr(question, name) for name in ("feature", "formula", "answer")}
    return {
        "id": question.id,
        **question.name.model_dump(),
        **{name: value for name, value in read.items() if value is not None},
        "lacks": None if sources is None else lacks(question, card, sources),
    }
