"""Tables of our own in a CRM's database: which of them are there, and making those that are not."""

from contextlib import closing

from sqlalchemy import Engine, MetaData, Table

from pipeline.adapters.sql_own_table import OwnTable
from pipeline.config import Config, WriteBack
from pipeline.crm import find_place, make_sql_target
from pipeline.database import answering, describe_place, lacks_file, make_engine
from pipeline.field_values import check_write_back


def install_tables(config: Config, check: bool) -> tuple[str, list[dict[str, str]]]:
    """Make the tables of our own that the config names and the database does not have.

    Parameters
    ----------
    config : Config
        The deployment.
    check : bool
        Whether only to look.

    Returns
    -------
    str
        The database, for people.
    list of dict
        `piece` and `state` (there, missing, made) of each table; none for a config that writes only into
        the CRM's own tables.

    Raises
    ------
    ConfigError
        If a table of that name is there and is none of ours, or the account lacks a right.
    CrmError
        If the database does not answer.

    """
    section = check_write_back(config)
    engine = make_engine(find_place(section))
    with closing(make_sql_target(section, engine)) as target:
        names = _list_tables(section)
        missing = [name for name in names if not _is_there(engine, name)]
        if missing and not check:
            target.install()
            _install_others(section, engine)
        left = "missing" if check else "made"
        rows = [{"piece": f"table {name}", "state": left if name in missing else "there"} for name in names]
    return describe_place(engine.url), rows


def _list_tables(section: WriteBack) -> list[str]:
    """Tables of our own."""
    names = [table.target for table in section.tables.values()] if section.insert_missing else []
    others = (section.history, section.follow_ups)
    return list(dict.fromkeys([*names, *(other.table for other in others if other)]))


def _is_there(engine: Engine, name: str) -> bool:
    """Whether there is a table of a name; a SQLite file that is not there is not made by looking."""
    if lacks_file(engine.url):
        return False
    found = OwnTable(engine, name, lambda own, schema: Table(own, MetaData(), schema=schema), "write_back")
    with answering(engine, "reading its catalogue"):
        return found.find() is not None


def _install_others(section: WriteBack, engine: Engine) -> None:
    """Make the tables of the history and of the tasks."""
    from pipeline.adapters.sql_follow_ups import SqlFollowUps
    from pipeline.adapters.sql_history import SqlHistory

    if section.history:
        SqlHistory(engine, section.history.table).install()
    if section.follow_ups:
        SqlFollowUps(engine, section.follow_ups).install()
