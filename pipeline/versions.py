"""Which version is live: make another one live, go back, and tell what was live when.

The alias in MLflow decides; it is written first and the decision is noted after it. A job that is killed
between the two leaves an alias without a note, which `read_history` tells.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.aliases import Registered, move_champion, read_registered
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError
from pipeline.ledger import Ledger
from pipeline.model_history import History, make_history, version_before


@dataclass(frozen=True)
class Move:
    """A change of the live version; `is_new` is False when that version was live already."""

    target: str
    version: int
    replaced: int | None
    bundle_sha256: str
    is_new: bool

    def to_json(self) -> dict[str, Any]:
        """Return a target's part of `leadsieve promote --json` and `leadsieve rollback --json`."""
        return {
            "version": self.version,
            "replaced": self.replaced,
            "bundle_sha256": self.bundle_sha256,
            "is_new": self.is_new,
        }


def choose_target(config: Config, target: str | None) -> str:
    """Return the target that was named, or the only one; ConfigError if that is not clear."""
    if target is not None:
        return make_target(config, target).name
    if len(config.targets) == 1:
        return next(iter(config.targets))
    raise ConfigError(f"There are several targets: {', '.join(config.targets)}. Name one with --target.")


def read_history(config: Config, ledger: Ledger, target: str) -> History:
    """Tell which version of a target was live when; CrmError if MLflow's place does not answer."""
    return make_history(target, ledger.decisions(target), read_registered(config, target).champion)


def plan_promotion(config: Config, target: str, version: int | None = None) -> Move:
    """Tell what promoting a version, by default the challenger, would replace.

    Raises
    ------
    ConfigError
        If there is no such version.

    """
    known = read_registered(config, target)
    chosen = known.challenger if version is None else version
    if chosen is None:
        raise ConfigError(
            f"Model '{known.name}' has no challenger to promote. Name a version with --version, or run "
            "`leadsieve train` or `leadsieve retrain` first."
        )
    return _plan(target, known, chosen)


def plan_rollback(config: Config, ledger: Ledger, target: str, version: int | None = None) -> Move:
    """Tell what a rollback to a version, by default the one that the live version replaced, would do.

    Raises
    ------
    ConfigError
        If nothing is live, nothing was before, or there is no such version.

    """
    known = read_registered(config, target)
    if known.champion is None:
        raise ConfigError(f"No version of model '{known.name}' is live, so there is nothing to go back from.")
    if version is not None:
        return _plan(target, known, version)
    before = version_before(make_history(target, ledger.decisions(target), known.champion))
    if before is None:
        raise ConfigError(
            f"The ledger knows no version of '{target}' that version {known.champion}, which is live, replaced. "
            f"Name one with --to; `leadsieve history --target {target}` lists them."
        )
    return _plan(target, known, before)


def _plan(target: str, known: Registered, version: int) -> Move:
    known.check_version(version)
    return Move(target, version, known.champion, known.bundles[version], is_new=version != known.champion)


def make_live(config: Config, ledger: Ledger, move: Move, kind: str, **evidence: Any) -> None:
    """Move the alias, then note the decision with its evidence.

    A version that is live already is noted again only where the ledger does not say so yet.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    move : Move
        From `plan_promotion` or `plan_rollback`.
    kind : {"promote", "rollback"}
    **evidence
        What goes into the details: why, test, swap.

    Raises
    ------
    CrmError
        If MLflow's place does not answer, or the alias was moved meanwhile.

    """
    if not move.is_new and read_history(config, ledger, move.target).note is None:
        return
    move_champion(config, move.target, move.version, move.replaced)
    outcome = "promoted" if kind == "promote" else "rolled_back"
    facts = {"version": move.version, "replaced": move.replaced, "bundle_sha256": move.bundle_sha256}
    known = {name: value for name, value in evidence.items() if value is not None}
    ledger.record_decision(kind, move.target, outcome, {**facts, **known})
