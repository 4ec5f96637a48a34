"""The leak audit of columns: when each was filled, by what the tables and the extracts before tell.

Strength is no evidence: a column that predicts well and was known in time is used. Evidence is a value that
only comes with an outcome, a time or a count of what came later, and a change between two extracts.
"""

from collections.abc import Mapping, Sequence

from features.group import PooledGroup
from features.plan import plan_passes
from features.tables import TABLES, CrmTables
from pipeline.audit_aggregates import NUMBERS, look_at_aggregates
from pipeline.audit_aside import read_notes
from pipeline.audit_changes import Changes, read_changes
from pipeline.audit_col_changes import look_at_changes
from pipeline.audit_entities import Entities, open_entities
from pipeline.audit_evidence import Evidence
from pipeline.audit_history import look_at_history, look_at_revealed
from pipeline.audit_levels import look_at_levels
from pipeline.audit_outcome import horizon_days
from pipeline.audit_times import look_at_times
from pipeline.audit_verdict import ColumnVerdict, Figure, Verdict
from pipeline.config import Config
from pipeline.deployment import load_catalog

__all__ = ["ColumnVerdict", "check_columns"]

CANONICAL, NOT_DECLARED = "canonical", "not declared"
_ENTITIES = ("customers", "deals", "subscriptions")
_ENDS = ("merged_into", "merged_at", "deleted_at")


def check_columns(config: Config, tables: CrmTables) -> list[ColumnVerdict]:
    """Judge the columns of customers, deals and subscriptions by when they were filled.

    Keys, clocks and sensitive columns are left out: no feature reads their values.

    Parameters
    ----------
    config : Config
        The deployment.
    tables : CrmTables
        Its extracted tables.

    Returns
    -------
    list of ColumnVerdict
        In the order of the tables and of their columns.

    Raises
    ------
    DataError
        If a file of the extract is damaged.

    """
    used = _used(config, tables)
    changes = read_changes(read_notes(tables.folder))
    verdicts = []
    for name in (name for name in _ENTITIES if name in tables.tables and name in config.tables):
        with open_entities(tables, name, horizon_days(config)) as entities:
            verdicts += _check_table(config, entities, used.get(name, set()), changes.get(name, {}))
    return verdicts


def _check_table(
    config: Config, entities: Entities, used: set[str], changes: Mapping[str, Changes]
) -> list[ColumnVerdict]:
    declared = _declared(config, entities)
    claims = [c for c, how in declared.items() if how in ("static", NOT_DECLARED, CANONICAL)]
    sums = look_at_aggregates(entities, [c for c in claims if entities.columns[c] in NUMBERS])
    rows = int((entities.connection.execute("SELECT count(*) FROM rows").fetchone() or (0,))[0])
    revealed = entities.tables.tables[entities.name].revealed
    verdicts = []
    for column, how in declared.items():
        if how in ("tracked", "remembered"):
            found = [look_at_history(entities, column)]
        elif how == "revealed":
            found = [look_at_revealed(entities, column, revealed[column])]
        else:
            found = look_at_changes(entities, column, changes.get(column, Changes()), rows)
            found += sums.get(column, [])
            found += look_at_times(entities, column) if entities.columns[column] in ("time", "date") else []
            found += look_at_levels(entities, column, only_fill=how == CANONICAL)
            found = found or [Evidence("none", "", "", 0.0)]
        in_use = column in used and how != NOT_DECLARED
        verdicts.append(_judge(entities, column, how, in_use, found, changes.get(column), rows))
    return verdicts


def _declared(config: Config, entities: Entities) -> dict[str, str]:
    """Return what is said of each column that is judged."""
    spec, mapping = TABLES[entities.name], config.tables[entities.name]
    stored = entities.tables.tables[entities.name]
    groups = {"static": mapping.static, "tracked": mapping.tracked, "remembered": mapping.remembered}
    how = {column: key for key, columns in groups.items() for column in columns}
    how |= dict.fromkeys(stored.revealed, "revealed") | dict.fromkeys(entities.undeclared, NOT_DECLARED)
    skipped = {spec.key, spec.time, "known_at", "known_until", *_ENDS, *stored.sensitive}
    skipped |= {f"{time}_known_at" for time in stored.revealed.values()}
    return {column: how.get(column, CANONICAL) for column in entities.columns if column not in skipped}


def _judge(
    entities: Entities,
    column: str,
    how: str,
    in_use: bool,
    found: Sequence[Evidence],
    changes: Changes | None,
    rows: int,
) -> ColumnVerdict:
    """Return the verdict of the strongest evidence; without any it depends on what is declared."""
    ranked = sorted(found, key=lambda one: ("leak", "suspicious", "none").index(one.verdict))
    best = ranked[0]
    figures: dict[str, Figure] = {"rows": rows}
    for one in reversed(ranked):
        figures |= one.figures
    verdict: Verdict = "undated" if how == NOT_DECLARED else "use"
    sentence, question = best.sentence, best.question
    if best.verdict != "none":
        verdict = best.verdict
    elif how == NOT_DECLARED:
        sentence = f"{column} is not declared and nothing proves when it was filled, so it stays out of all features"
        question = (
            f"When is {column} filled? Declare it static if that is at creation, tracked if the CRM keeps its history, "
            "revealed with its time if it comes later, else remembered."
        )
    elif how in ("static", CANONICAL):
        sentence = _uncontradicted(entities, column, how, changes, figures)
    suspicion = best.suspicion if best.verdict != "none" else min(best.suspicion, 0.6)
    sentence = f"{sentence[0].upper()}{sentence[1:]}." if not sentence.startswith(column) else f"{sentence}."
    return ColumnVerdict(entities.name, column, verdict, how, in_use, sentence, question, round(suspicion, 3), figures)


def _uncontradicted(
    entities: Entities, column: str, how: str, changes: Changes | None, figures: Mapping[str, Figure]
) -> str:
    """Return why a column that is known since creation may be used."""
    if changes is not None and changes.rows:
        kept = changes.rows - changes.changed
        return f"{column} was the same in {kept:,} of {changes.rows:,} rows that two successive extracts had"
    claim, name = "declared" if how == "static" else "taken as", entities.name
    if not figures.get("settled"):
        return (
            f"{column} is {claim} known since creation; {figures['rows']:,} {name} have no outcome to compare it with"
        )
    return (
        f"{column} is {claim} known since creation, and nothing contradicts it: in {figures['rows']:,} {name} no value "
        "of it comes only with an outcome"
    )


def _used(config: Config, tables: CrmTables) -> dict[str, set[str]]:
    """Return the columns that features of the targets read, by table."""
    kinds = {"conversion": "deals", "churn": "customers", "value": "customers"}
    used: dict[str, set[str]] = {}
    catalog = load_catalog(config)
    for entity in sorted({kinds[target.kind] for target in config.targets.values()} & set(tables.tables)):
        passes, skipped = plan_passes(tables, catalog, entity)  # type: ignore[arg-type]
        for one in passes:
            used.setdefault(one.table, set()).update(column.removeprefix("previous_") for column in one.wanted)
        for group in catalog:
            if isinstance(group, PooledGroup) and group.name not in skipped:
                used.setdefault(group.via or group.table, set()).add(group.by)
    return used
