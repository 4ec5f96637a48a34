"""A swap report of two versions of a model: both are graded as the nightly job would grade them.

The grade of now is what the live version would give in the next run on these data. The grade of then is what the other
version would give in a run that follows it: cut-offs by capacity are set anew, and a grade is kept unless a cut-off is
crossed clearly (see `pipeline.grading`).
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.predict import Bundle
from pipeline.config import Config
from pipeline.grade_strength import strength_of
from pipeline.grading import EarlierGrades, Graded, grade_scores, grades_of
from pipeline.ledger import Ledger
from pipeline.ledger_grades import RunBefore
from pipeline.model_values import model_values
from pipeline.overrides import apply_overrides, day_of
from pipeline.swap_bands import Band, SwapGrades
from pipeline.swap_population import Population
from pipeline.swap_report import SwapReport, compare_grades, compare_scores

Floats = NDArray[np.float64]

_NOW = "now"
_SAID = ("probability", "log_odds", "value")


@dataclass(frozen=True)
class Version:
    """A version of a model: its number and the hash of its bundle, as far as it has them."""

    bundle: Bundle
    number: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Said:
    """What a version says of everybody; `judge` tells it from others."""

    probability: Floats
    log_odds: Floats
    value: Floats
    judge: str


def make_swap_report(
    config: Config, ledger: Ledger, population: Population, challenger: Version, live: Version | None
) -> SwapReport:
    """Tell who would change grade if a challenger replaced the live version.

    Call it before promotion, and then `report.check()`, which raises GateError when more would move than
    `retrain.max_movers_share` allows; `report.to_json()` belongs into the details of the decision.

    Parameters
    ----------
    config : Config
        With `capacity.contacts_per_week` and `retrain.max_movers_share`.
    ledger : Ledger
        Has the grades of the last run, and those given by hand.
    population : Population
        From `make_population(config, tables, name)`.
    challenger : Version
        Nothing has to be registered yet.
    live : Version or None
        None before the first one: then nobody moves.

    Raises
    ------
    BundleError
        If a version cannot score the features of today.

    """
    settings: dict[str, Any] = {
        "as_of": population.as_of,
        "entity": population.entity,
        "live_version": None if live is None else live.number,
        "version": challenger.number,
        "capacity": config.capacity.contacts_per_week,
        "max_movers_share": config.retrain.max_movers_share,
    }
    if population.people.empty:  # and then there are no features either
        after, before = None, None
    else:
        after = _ask(challenger, population, "challenger")
        before = None if live is None else _ask(live, population, "live")
        graded = grade_versions(config, ledger, population, before, after)
        if graded is not None:
            return compare_grades(population.target, graded, **settings)
    is_value = config.targets[population.target].kind == "value"
    shown = {name: _measure(one, is_value) for name, one in (("before", before), ("after", after))}
    return compare_scores(
        population.target,
        population.people.assign(**shown).astype({"before": "float64", "after": "float64"}),
        measure="value" if is_value else "probability",
        grades=() if population.card is None else tuple(grade.id for grade in population.card.grades),
        **settings,
    )


def _ask(version: Version, population: Population, otherwise: str) -> Said:
    """What a version says of a population."""
    rows = np.full(len(population.people), np.nan)
    said = {"value": rows, **model_values(version.bundle, population.features)}
    probability, log_odds, value = (np.broadcast_to(said[name], rows.shape) for name in _SAID)
    return Said(probability, log_odds, value, version.sha256 or otherwise)


def _measure(said: Said | None, is_value: bool) -> Floats | None:
    return None if said is None else said.value if is_value else said.probability


def grade_versions(
    config: Config, ledger: Ledger, population: Population, live: Said | None, challenger: Said
) -> SwapGrades | None:
    """Grade everybody by both versions; None where points give the grades, which no version changes.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    population : Population
        At least one.
    live : Said or None
        None: the grades of now are those of the challenger.
    challenger : Said

    """
    name = population.target
    target = config.targets[name]
    if target.grading.by == "points":
        return None
    trial = _Trial(config, ledger, population)
    with tempfile.TemporaryDirectory() as folder:
        trial.store_features(Path(folder))
        last = ledger.grades.run_before(population.as_of)
        now = trial.grade(live or challenger, ledger.grades, last, Path(folder))
        then = now
        if live is not None:
            followed = RunBefore(_NOW, now.graded.states)
            then = trial.grade(challenger, _Grades(now.graded.scores), followed, Path(folder))
    people = population.people.assign(
        before=now.shown, after=then.shown, grade_before=now.grades, grade_after=then.grades
    )
    bounds = now.graded.states[name]["at_least"]
    bands = tuple(Band(grade.id, _bound(bounds.get(grade.id, 0.0))) for grade in grades_of(population.card))
    return SwapGrades(target.grading.by, bands, people)


def _bound(bound: float | None) -> float:
    """Where a grade begins; infinite where nobody can reach it."""
    return math.inf if bound is None else float(bound)


@dataclass(frozen=True)
class _Grades:
    """The grades of a run that is tried: what the next one finds."""

    scores: pd.DataFrame

    def of_run(self, run_id: str, target: str, horizon_days: int) -> pd.DataFrame:
        """Return its grades, as a ledger has them."""
        columns = ["entity_id", "grade", "graded_by", "vetoes", "flags"]
        mine = (self.scores["target"] == target) & (self.scores["horizon_days"] == horizon_days)
        return self.scores.loc[mine, columns].astype("str").reset_index(drop=True)


@dataclass(frozen=True)
class _Tried:
    """What a version gives: the grade of each, and the probability or value that is shown (0 with a veto)."""

    graded: Graded
    grades: NDArray[np.object_]
    shown: Floats


@dataclass(frozen=True)
class _Trial:
    """Grading a population by one version after the other."""

    config: Config
    ledger: Ledger
    population: Population

    def store_features(self, folder: Path) -> None:
        """Store the one feature that may say what an entity is worth, where a run has all."""
        asked = self.config.targets[self.population.target].grading.value_feature
        known = [column for column in ("entity_id", asked) if column in self.population.features]
        self.population.features[known].to_parquet(folder / f"features_{self.population.target}.parquet")

    def grade(self, said: Said, earlier: EarlierGrades, before: RunBefore | None, folder: Path) -> _Tried:
        """Grade everybody by what a version says, as a run that follows another one."""
        config, name, card = self.config, self.population.target, self.population.card
        rows = self._rows(said)
        scores = pd.concat([rows, self.population.worth], ignore_index=True)
        graded = grade_scores(config, earlier, scores, {name: card}, before, folder)
        by_hand = [
            one for one in self.ledger.overrides.in_force(day_of(config, self.population.as_of)) if one.target == name
        ]
        shown, _ = apply_overrides(config, graded.scores, by_hand, {name: card})
        graded = Graded(shown, graded.states, graded.notes)
        grades = shown["grade"].to_numpy(dtype=object)[: len(rows)]
        return _Tried(graded, grades, self._shown(rows, scores, folder))

    def _rows(self, said: Said) -> pd.DataFrame:
        """Scores of a version as a run has them before they are graded."""
        name, card = self.population.target, self.population.card
        people = self.population.people[["entity_id", "grade", "points", "vetoes", "flags"]]
        return people.assign(
            target=name,
            horizon_days=self.config.targets[name].horizons_days[0],
            graded_by="points" if card is not None else None,
            model_version=said.judge,
            bundle_sha256=said.judge,
            card_version=None if card is None else str(card.version),
            probability=said.probability,
            log_odds=said.log_odds,
            value=said.value,
            reasons="[]",
        ).reset_index(drop=True)

    def _shown(self, rows: pd.DataFrame, scores: pd.DataFrame, folder: Path) -> Floats:
        name = self.population.target
        if self.config.targets[name].grading.by == "value":
            found = np.exp(strength_of(self.config, name, rows, scores, folder))
        else:
            found = rows["probability"].to_numpy(np.float64)
        return np.where(rows["vetoes"].notna(), 0.0, found)
