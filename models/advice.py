"""Which cadence a replay recommends: the cheapest whose loss is within noise of the best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.metrics import log_losses
from models.replay_figures import Account, Codes, Floats, Summary
from models.selection import WORTH_HAVING, clustered_error

NOISE = 1.0
"""Standard errors within which policies are equally good: training too often costs less than too seldom."""
MIN_PERIODS, MIN_OF_EACH_CLASS = 3, 20
"""Less than this is too little history to recommend anything by."""


@dataclass(frozen=True)
class Advice:
    """The recommended policy's place among those played, None with too little history, and a sentence."""

    place: int | None
    sentence: str


def noise_of(difference: Floats, group: Codes | None, period: Codes) -> float:
    """Standard error of a mean paired difference: the larger one of rows (of a group) and of periods.

    Rows of one period share its weather, so many rows of few periods say less than their number.

    >>> noise_of(np.array([1.0, -1.0, 1.0, -1.0]), None, np.array([0, 0, 1, 1]))
    0.5

    """
    periods = int(period.max()) + 1
    by_row = clustered_error(difference, np.arange(len(difference)) if group is None else group)
    by_period = clustered_error(difference, period) * np.sqrt(periods / max(periods - 1, 1))
    return float(max(by_row, by_period))


def _groups(summary: Summary) -> Codes | None:
    group = summary.replay.rows.group
    return None if group is None else np.unique(group.astype(str), return_inverse=True)[1].astype(np.int64)


def _within_noise(summary: Summary, places: Sequence[int], best: Account) -> list[int]:
    """Those of the places whose loss is not above the best one's beyond noise, or by so little that it is of no use."""
    label, group = summary.replay.rows.label, _groups(summary)
    of_use = WORTH_HAVING * float(log_losses(label, np.full(len(label), label.mean())).mean())
    least = log_losses(label, best.played.probability)
    found = []
    for place in places:
        difference = log_losses(label, summary.accounts[place].played.probability) - least
        if float(difference.mean()) <= max(of_use, NOISE * noise_of(difference, group, summary.period)):
            found.append(place)
    return found


def recommend(summary: Summary, currency: str = "EUR", gate: bool | None = None) -> Advice:
    """Recommend the policy with the fewest trainings among those within noise of the best one.

    All scored rows are pooled, and each was scored by a model that knew only what was ripe then.
    The difference is paired row by row; noise is one standard error, or 0.5 % of the base rate's loss,
    below which a difference is of no use. Among those as cheap the lowest loss decides. With `gate`
    given only policies with it (True) or without it are recommended; what the other kind did is told.
    """
    label = summary.replay.rows.label
    events = int(label.sum())
    if len(summary.names) < MIN_PERIODS or min(events, len(label) - events) < MIN_OF_EACH_CLASS:
        return Advice(
            None,
            f"No recommendation: it would rest on {_history(summary)}, and at least {MIN_PERIODS} periods and "
            f"{MIN_OF_EACH_CLASS} rows of each label are needed. Replay a longer history.",
        )
    every = range(len(summary.accounts))
    open_to = [at for at in every if _may_be(summary.accounts[at], gate)] or list(every)
    best = min((summary.accounts[at] for at in open_to), key=lambda account: account.overall.log_loss)
    near = _within_noise(summary, open_to, best)
    price = min(summary.accounts[at].played.trainings for at in near)
    affordable = [at for at in open_to if summary.accounts[at].played.trainings <= price]
    place = min(affordable, key=lambda at: summary.accounts[at].overall.log_loss)
    return Advice(place, _sentence(summary, place, best, currency))


def _may_be(account: Account, gate: bool | None) -> bool:
    policy = account.played.policy
    return gate is None or policy.every is None or policy.gate == gate


def _history(summary: Summary) -> str:
    rows, names = summary.replay.rows, summary.names
    span = f"{names[0].split(' to ')[0]} to {names[-1].split(' to ')[-1]}"
    return f"{len(rows):,} rows ({int(rows.label.sum()):,} events) of {len(names)} periods, {span}"


def _figures(account: Account) -> str:
    auc = "" if account.overall.auc is None else f", AUC {account.overall.auc:.3f}"
    return f"log loss {account.overall.log_loss:.4f}{auc}"


def _never(accounts: Sequence[Account]) -> Account | None:
    """The plainest policy that never trains again."""
    still = [one for one in accounts if one.played.policy.every is None]
    return min(still, key=lambda one: one.played.policy.window is not None) if still else None


def _sentence(summary: Summary, place: int, best: Account, currency: str) -> str:
    chosen, never = summary.accounts[place], _never(summary.accounts)
    name = summary.title(chosen)
    words = [
        f"Recommended: retrain {name}" if chosen.played.policy.every else "Recommended: do not retrain on a schedule"
    ]
    words.append(f" ({_figures(chosen)}; {chosen.played.trainings} trainings)")
    if chosen is not best:
        words.append(f", the cheapest cadence within noise of the best, {summary.title(best)} ({_figures(best)})")
    if never is not None and never is not chosen:
        words.append(f". Without retraining: {_figures(never)}")
        if chosen.overall.profit is not None and never.overall.profit is not None:
            gain = chosen.overall.profit - never.overall.profit
            words.append(f"; retraining would have brought {gain:+,.0f} {currency}")
    other = _other_kind(summary.accounts, chosen)
    if other is not None:
        kind = "A schedule" if never is chosen else "Without a gate" if chosen.played.policy.gate else "With a gate"
        words.append(f". {kind}, {summary.title(other)}: {_figures(other)}")
    return f"{''.join(words)}. This rests on {_history(summary)}."


def _other_kind(accounts: Sequence[Account], chosen: Account) -> Account | None:
    """Return what is not recommended: the same policy but for its gate, or else the best of the other kind."""
    own = chosen.played.policy
    wanted = replace(own, gate=not own.gate)
    schedules = [one for one in accounts if one.played.policy.every is not None]
    others = [one for one in schedules if own.every is None or one.played.policy.gate != own.gate]
    return min(others, key=lambda one: (one.played.policy != wanted, one.overall.log_loss), default=None)
