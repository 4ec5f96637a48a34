"""Which version of a model was live when, and on what evidence: the ledger's decisions beside MLflow's alias."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.ledger import Decision

MADE_LIVE = {("train", "champion"), ("retrain", "promoted"), ("promote", "promoted"), ("rollback", "rolled_back")}
"""Kind and outcome of the decisions that make their version the live one."""

UNNOTED = "unnoted"
"""Kind of an interval that MLflow's alias tells of and no decision does."""


@dataclass(frozen=True)
class Tenure:
    """One interval `[live_from, live_to)` (UTC) in which a version was live, and what made it so.

    `live_from` is None where nobody noted the beginning; `live_to` is None where it goes on, and also
    where the end was not noted (`is_live` tells which). `evidence` is what else the decision says.
    """

    version: int
    live_from: datetime | None
    live_to: datetime | None
    is_live: bool
    kind: str
    why: str | None
    test: Mapping[str, Any]
    evidence: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `versions` in `leadsieve history --json`."""
        return {
            "version": self.version,
            "from": show_time(self.live_from),
            "to": show_time(self.live_to),
            "is_live": self.is_live,
            "kind": self.kind,
            "why": self.why,
            "test": dict(self.test),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class History:
    """All intervals of a target, oldest first, and the decisions that changed nothing.

    `note` is a sentence where alias and ledger disagree, None where they agree.
    """

    target: str
    live: int | None
    tenures: tuple[Tenure, ...]
    unchanged: tuple[Decision, ...]
    note: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a target's part of `leadsieve history --json`."""
        unchanged = [
            {"decided_at": show_time(one.decided_at), "kind": one.kind, "outcome": one.outcome, **one.details}
            for one in self.unchanged
        ]
        versions = [tenure.to_json() for tenure in self.tenures]
        return {"live": self.live, "versions": versions, "unchanged": unchanged, "note": self.note}


def show_time(moment: datetime | None) -> str | None:
    """UTC in ISO form, None for what is not known."""
    return None if moment is None else f"{moment.isoformat(timespec='seconds')}Z"


def make_history(target: str, decisions: Sequence[Decision], live: int | None) -> History:
    """Lay the decisions about a target out as intervals.

    Parameters
    ----------
    target : str
    decisions : sequence of Decision
        As `Ledger.decisions` returns them, newest first.
    live : int or None
        The version behind MLflow's alias now, which is the only truth about now.

    """
    in_order = sorted(decisions, key=lambda one: one.decided_at)
    turns = [one for one in in_order if _makes_live(one)]
    turns = [one for at, one in enumerate(turns) if at == 0 or _version(one) != _version(turns[at - 1])]
    ends = [*(one.decided_at for one in turns[1:]), None]
    figures = {_version(one): one.details["test"] for one in in_order if "version" in one.details and _has_test(one)}
    tenures = [
        _make_tenure(one, end, is_live=end is None and _version(one) == live, figures=figures)
        for one, end in zip(turns, ends, strict=False)
    ]
    last = turns[-1] if turns else None
    if live is not None and (last is None or _version(last) != live):
        tenures.append(Tenure(live, None, None, True, UNNOTED, None, figures.get(live, {}), {}))
    unchanged = tuple(one for one in in_order if not _makes_live(one))
    return History(target, live, tuple(tenures), unchanged, _disagreement(target, last, live))


def _makes_live(decision: Decision) -> bool:
    return (decision.kind, decision.outcome) in MADE_LIVE and "version" in decision.details


def _version(decision: Decision) -> int:
    return int(decision.details["version"])


def _has_test(decision: Decision) -> bool:
    return isinstance(decision.details.get("test"), Mapping)


def _make_tenure(decision: Decision, end: datetime | None, *, is_live: bool, figures: Mapping[int, Any]) -> Tenure:
    """One interval; a version keeps the test figures of its training when it comes back."""
    version, why = _version(decision), decision.details.get("why")
    test = decision.details["test"] if _has_test(decision) else figures.get(version, {})
    evidence = {name: value for name, value in decision.details.items() if name not in ("version", "why", "test")}
    return Tenure(version, decision.decided_at, end, is_live, decision.kind, why and str(why), test, evidence)


def _disagreement(target: str, last: Decision | None, live: int | None) -> str | None:
    """Say where alias and ledger differ, and the way out; None where they agree."""
    noted = None if last is None else _version(last)
    if noted == live:
        return None
    known = f"the last decision in the ledger ({last.kind}, {last.decided_at:%Y-%m-%d %H:%M:%S})" if last else ""
    if live is None:
        return (
            f"MLflow says no version of '{target}' is live, {known} says version {noted}: somebody removed the alias. "
            f"Run `leadsieve promote --target {target} --version {noted}` to set it again."
        )
    says = f"{known} says version {noted}" if last else "and the ledger has no decision that made it so"
    other = f", or `--version {noted}` to make that one live" if last else ""
    return (
        f"MLflow says version {live} of '{target}' is live, {says}: a job was killed between the two, or somebody "
        f"moved the alias by hand. Run `leadsieve promote --target {target} --version {live}` to note it{other}."
    )


def version_before(history: History) -> int | None:
    """Return what the live version replaced when it was promoted, None if nothing.

    Coming back by a rollback does not count as being promoted, so that two rollbacks go back twice.
    """
    promoted = [at for at, one in enumerate(history.tenures) if one.version == history.live and one.kind != "rollback"]
    return history.tenures[promoted[-1] - 1].version if promoted and promoted[-1] > 0 else None
