"""The replay of a retraining policy: what a deployment's schedule, window, gate and prices would have brought."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import count
from typing import Any

import numpy as np

from features.engine import open_database
from features.errors import DataError
from features.tables import CrmTables
from features.targets import local_midnight, settle_days
from models.advice import Advice, recommend
from models.base_rate import BaseRate
from models.calibration import IDENTITY
from models.encoding import code_rows, make_contract
from models.logistic import Logistic
from models.policy import Fit, GateTerms, Policy, Scorer
from models.recipe import Choice, RecipeSettings, evaluate, fit_choice, refit
from models.replay import default_start, replay, ripe_before
from models.replay_figures import Contacts, Summary, sum_up
from models.split import make_folds, split_test
from models.training_set import TrainingSet
from models.tuning import try_candidate
from pipeline.challenge import cut_for_gate
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError
from pipeline.training import make_training_set

EVERY_DAYS = 30
"""Cadence to look around where the config has no schedule."""
WINDOW_DAYS = 365
"""Window to look at where the config has none."""
WEEKS_PER_MONTH = 365.25 / 12 / 7
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Replayed:
    """Policies side by side; `summary` and `advice` are None where there was nothing to learn at the start."""

    target: str
    currency: str
    configured: Policy
    compared: str
    summary: Summary | None
    advice: Advice | None
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What to do, in a sentence."""
        return self.advice.sentence if self.advice else self.compared

    def to_json(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        place = self.advice.place if self.advice else None
        figures = self.summary.to_json() if self.summary else {"policies": []}
        return {
            "target": self.target,
            "currency": self.currency,
            "compared": self.compared,
            "recommended": None if place is None else figures["policies"][place]["name"],
            "advice": self.sentence,
            "notes": list(self.notes),
            **figures,
        }


def policies_around(configured: Policy, other_window: int | None = None) -> tuple[Policy, ...]:
    """Return the policies to play: never, the configured one, half and double its cadence, another window, the gate.

    >>> [one.describe("days") for one in policies_around(Policy(30, gate=True), 365)]
    ['never', 'every 15 days, gated', 'every 30 days, gated', 'every 60 days, gated', \
'every 30 days on the last 365, gated', 'every 30 days']

    """
    every = configured.every or EVERY_DAYS
    base = replace(configured, every=every)
    cadences = [replace(base, every=days) for days in (max(1, every // 2), every, 2 * every)]
    others = [replace(base, window=other_window), replace(base, gate=not base.gate)]
    return tuple(dict.fromkeys([Policy(None), *cadences, *others]))


def _chosen_anew(settings: RecipeSettings) -> Fit:
    """Let the whole recipe choose at every training, as `retrain` does, for as long as the policy's models serve."""

    def fit(rows: TrainingSet) -> Scorer | None:
        evaluation = evaluate(*split_test(rows), settings)
        return None if evaluation.selected == BaseRate.name else refit(evaluation, rows).bundle.predict

    return fit


def _chosen_once(rows: TrainingSet, settings: RecipeSettings) -> tuple[Fit | None, str]:
    """Let the recipe choose once, on rows from before the replay; the choice has to last, every training fits it."""
    choice = evaluate(*split_test(rows), settings).choice
    if choice.name == BaseRate.name:
        return None, f"On the {len(rows):,} rows that were ripe before the replay nothing beats the base rate."
    how = f"with the settings and the calibrator that the recipe chose on the {len(rows):,} rows ripe at the start"
    return lambda new: fit_choice(choice, new).bundle.predict, f"Every training fits {choice.name}, {how}."


def _line(settings: RecipeSettings) -> Fit:
    """Fit the logistic line, its penalty chosen out of fold: what the gate compares a challenger with."""

    def fit(rows: TrainingSet) -> Scorer:
        coded = code_rows(rows, make_contract(rows.frame))
        trial = try_candidate(Logistic(), coded, make_folds(rows, settings.seed, settings.serves))
        return fit_choice(Choice(trial.name, trial.setting, IDENTITY), rows).bundle.predict

    return fit


def replay_rows(
    rows: TrainingSet,
    configured: Policy,
    policies: Sequence[Policy],
    *,
    start: Any = None,
    settle: int = 0,
    contacts: Contacts | None = None,
    period_length: int | None = None,
    choose_anew: bool = False,
    currency: str = "EUR",
    seed: int = 0,
    terms: GateTerms | None = None,
    tell: Tell | None = None,
) -> Replayed:
    """Play policies over labelled rows with models of the recipe, and recommend one.

    Parameters
    ----------
    rows : TrainingSet
    configured : Policy
        The one in use: policies are recommended with its gate, or without.
    policies : sequence of Policy
    start : datetime64 or int, optional
        First moment; by default when a third of the rows lies behind and enough of them were ripe.
    settle : int
        Days (rows) after a horizon's end until late outcomes have arrived.
    contacts, period_length
        See `sum_up`.
    choose_anew : bool
        Let the recipe choose at every training; slow. False: once, on what was ripe at the start.
    currency, seed
    terms : GateTerms, optional
        Slices that a gate looks at; the logistic line is always asked.
    tell : function, optional
        Called with the number of models fitted so far and the rows of the next one.

    Raises
    ------
    DataError
        If the history is too short.

    """
    settings = RecipeSettings(seed=seed, resamples=0, serves=configured.every)
    name = str(rows.manifest.get("target", "flat frame"))
    start = default_start(rows, settle) if start is None else start
    terms = replace(terms or GateTerms(), line=_line(settings))
    count_and_tell = _counting(tell)
    if choose_anew:
        compared = "At every training the recipe chooses anew on the rows of that training."
        choosing = {one: _chosen_anew(replace(settings, serves=one.every)) for one in policies}
        alone = [replay(rows, [one], count_and_tell(fit), start, settle, terms) for one, fit in choosing.items()]
        played = replace(alone[0], played=tuple(one.played[0] for one in alone))
    else:
        ripe = ripe_before(rows, start, settle)
        if not len(ripe):
            raise DataError(f"The replay starts at {str(start)[:10]}, when no row was ripe yet. Start later.")
        once, compared = _chosen_once(ripe, replace(settings, serves=None))
        if once is None:
            return Replayed(name, currency, configured, compared, None, None)
        played = replay(rows, policies, count_and_tell(once), start, settle, terms)
    summary = sum_up(played, contacts, period_length)
    advice = recommend(summary, currency, configured.gate)
    return Replayed(name, currency, configured, compared, summary, advice, tuple(_notes(contacts, policies)))


def _counting(tell: Tell | None) -> Callable[[Fit], Fit]:
    """Let fits say what they do, numbered from 0."""
    fitted = count()

    def telling(fit: Fit) -> Fit:
        def fit_and_tell(rows: TrainingSet) -> Scorer | None:
            if tell is not None:
                tell(next(fitted), len(rows))
            return fit(rows)

        return fit_and_tell

    return telling


def _notes(contacts: Contacts | None, policies: Sequence[Policy]) -> list[str]:
    """What a reader of the figures should know."""
    notes = []
    if contacts is None:
        notes.append("No money is told: add `profit` to the target to weigh contacts by what they cost and bring.")
    else:
        notes.append(
            f"Contacted is who scores {contacts.line:.3f} or more"
            + ("" if contacts.capacity is None else f", at most {contacts.capacity:,} per period")
            + ", nobody twice within a horizon; a contact is taken to bring what an event is worth."
        )
    if any(one.gate for one in policies):
        notes.append(
            "A gated challenger is tried on the newer half of the ripe rows since the model in force was trained, "
            "against that model, the logistic line and the base rate, on all rows and on the slices of `retrain`."
        )
    return notes


def contacts_of(config: Config, name: str) -> Contacts | None:
    """Prices of a target's contacts, and how many can be made in a month; None where nothing has a price."""
    profit, weekly = config.targets[name].profit, config.capacity.contacts_per_week
    if profit is None:
        return None
    capacity = None if weekly is None else round(weekly * WEEKS_PER_MONTH)
    return Contacts(profit.value_per_event, profit.cost_per_contact, capacity=capacity)


def replay_deployment(
    config: Config,
    tables: CrmTables,
    name: str,
    *,
    start: date | None = None,
    choose_anew: bool = False,
    tell: Tell | None = None,
) -> Replayed:
    """Replay a target's retraining policy over the deployment's past.

    Rows are those of `train`; columns were chosen by looking at all of them, labels never before they
    were ripe. Played are the configured policy, half and double its cadence, another window, no gate,
    and never training again. Contacted is who pays for the contact, as many a month as the capacity
    allows.

    Raises
    ------
    ConfigError
        If there is no such target, or it has no probabilities.
    DataError
        If the history is too short to replay.

    """
    target = make_target(config, name)
    if target.kind == "value":
        raise ConfigError(f"Target '{name}' is of kind value, and replayed are probabilities. Name another target.")
    with open_database(tables) as database:
        settle = settle_days(database, tables, target)
    rows = make_training_set(config, tables, name)
    terms = config.retrain
    configured = Policy(terms.every_days, terms.window_days, gate=True, min_gain=terms.min_gain)
    days = int((np.max(rows.time) - np.min(rows.time)) / np.timedelta64(1, "D")) if rows.time is not None else 0
    other = None if configured.window is not None or days <= WINDOW_DAYS else WINDOW_DAYS
    return replay_rows(
        rows,
        configured,
        policies_around(configured, other),
        start=None if start is None else np.datetime64(local_midnight(start, tables.time_zone), "us"),
        settle=settle,
        contacts=contacts_of(config, name),
        choose_anew=choose_anew,
        currency=config.currency,
        seed=config.seed,
        terms=GateTerms(
            cuts=cut_for_gate(config, tables, name, rows),
            slice_rows=terms.slice_rows,
            slice_floor=terms.slice_floor,
        ),
        tell=tell,
    )
