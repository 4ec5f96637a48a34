"""Which values of a card a deployment can have at all, and why it lacks the others."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from features.build import build_features
from features.errors import DataError
from features.group import Entity
from features.groups.columns import column_name
from features.plan import feature_names
from features.tables import CrmTables
from models.nearest import nearest
from models.scorecard_schema import Card, Question
from pipeline.config import Config
from pipeline.deployment import load_catalog, load_extract


@dataclass(frozen=True)
class Sources:
    """Features of one kind of entity in a deployment.

    Parameters
    ----------
    known : set of str
        Names of the catalog, also those that the deployment lacks the tables for.
    present : set of str
        Features that are built.
    reasons : mapping of feature to str
        Why the others are not.
    questions : tuple of str
        Questions of the assessments whose answers become features.

    """

    known: Collection[str]
    present: Collection[str]
    reasons: Mapping[str, str]
    questions: tuple[str, ...]


def find_sources(config: Config, entity: Entity) -> Sources:
    """Find out which features the newest extract can give for an entity; DataError if there is none."""
    tables = load_extract(config)
    catalog = load_catalog(config)
    nobody = pd.DataFrame({"entity_id": [], "as_of": [], "customer_id": []}).astype({"as_of": "datetime64[us]"})
    built = build_features(tables, nobody, catalog, entity)
    reasons = dict(built.skipped)
    for group in catalog:
        if group.name in built.skipped:
            reasons |= dict.fromkeys(feature_names((group,), tables), built.skipped[group.name])
    return Sources(feature_names(catalog, tables), set(built.columns), reasons, tables.questions)


def known_features(config: Config) -> set[str]:
    """Names that a card may use: those of the newest extract, and before the first one those of the catalog."""
    try:
        tables = load_extract(config)
    except DataError:
        zone = config.time_zone
        tables = CrmTables(config.folder, pd.Timestamp(0), zone, config.currency, {}, (), config.questions)
    return feature_names(load_catalog(config), tables)


def lacks(question: Question, card: Card, sources: Sources) -> str | None:
    """Say why a question of a card can have no value in this deployment; None if it can."""
    if question.answer is not None and not {*question.reads(card.entity)} & {*sources.present}:
        return _no_answers(question.answer, question.reads(card.entity), sources)
    reads = question.reads(card.entity)
    absent = [name for name in reads if name not in sources.present]
    if question.parsed is not None:
        if question.parsed.can_have_value(sources.present):
            return None
    elif len(absent) < len(reads):
        return None
    return "; ".join(dict.fromkeys(_reason(name, sources) for name in absent))


def _reason(name: str, sources: Sources) -> str:
    return f"{name}: {sources.reasons.get(name, 'left out here')}"


def _no_answers(question: str, reads: Sequence[str], sources: Sources) -> str:
    """Why nobody's answers to a question are there."""
    if column_name(question) in map(column_name, sources.questions):
        return _reason(reads[0], sources)
    said = f"question '{question}' is not among the `questions` of the newest extract"
    if not sources.questions:
        return f"{said}, which has none"
    return f"{said}. {nearest(question, sources.questions, 'ones')}"


def coverage_of(card: Card, sources: Sources) -> float:
    """Share of a card's weight that the deployment can have values for."""
    return sum(one.units for one in card.criteria if lacks(one, card, sources) is None) / 10_000
