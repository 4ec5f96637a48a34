"""The scorecard that a config names for a target."""

from collections.abc import Collection

from models.scorecard import Scorecard, load_scorecard
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError


def load_card(config: Config, name: str, known_features: Collection[str] | None = None) -> Scorecard | None:
    """Load a target's card with the config's presets laid over it; None if it has none.

    Parameters
    ----------
    config : Config
    name : str
        A target.
    known_features : collection of str, optional
        See `load_scorecard`.

    Raises
    ------
    ConfigError
        If the card is for customers and the target's entities are deals, or the reverse.
    ScorecardError
        With one sentence that names the file, the place and what to do.

    """
    section = config.targets[name]
    if section.scorecard is None:
        return None
    card = load_scorecard(section.scorecard, known_features, section.scorecard_presets)
    table = make_target(config, name).table
    if f"{card.entity}s" != table:
        raise ConfigError(
            f"Target '{name}' looks at {table}, and card '{card.id}' ({section.scorecard}) is for {card.entity}s. "
            f"Name a card for {table} in targets.{name}.scorecard."
        )
    return card
