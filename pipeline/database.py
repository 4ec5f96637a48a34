"""Connections to databases: SQLite set up for jobs that may be killed, and errors that show no secret."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, ClauseElement, Connection, Engine, Executable, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.sql.compiler import SQLCompiler

from pipeline import postgres
from pipeline.errors import ConfigError, CrmError


def make_engine(place: Path | str, *, busy_seconds: float = 10.0, write_ahead: bool = False) -> Engine:
    """Make an engine for a database; nothing is opened yet.

    On SQLite a transaction begins with BEGIN, or with BEGIN IMMEDIATE when it is opened through
    `writing(engine)`: what is read before a write is then still true when it is written.

    Parameters
    ----------
    place : Path or str
        A SQLite file, or an SQLAlchemy URL.
    busy_seconds : float
        SQLite and PostgreSQL: seconds to wait for another program's lock.
    write_ahead : bool
        SQLite: keep a write-ahead log, synced at every commit, and enforce foreign keys.

    Raises
    ------
    ConfigError
        If the URL cannot be read or its driver is not installed; the text never shows the URL.

    """
    url = read_url(place)
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": busy_seconds} if is_sqlite else {}
    if url.drivername == postgres.DRIVER:
        url, arguments = postgres.make_arguments(url)
    try:
        engine = create_engine(url, connect_args=arguments, hide_parameters=True, pool_pre_ping=not is_sqlite)
    except NoSuchModuleError:
        raise ConfigError(
            f"SQLAlchemy knows no database '{url.drivername}'. Use one of its dialects, such as postgresql."
        ) from None
    except ModuleNotFoundError as error:
        remedy = postgres.EXTRA if error.name == "pg8000" else "Install it."
        raise ConfigError(
            f"{describe_place(url)} needs the Python package '{error.name}', which is not installed. {remedy}"
        ) from None
    if is_sqlite:
        _set_up_sqlite(engine, write_ahead)
    elif postgres.is_postgres(url):
        _set_up_postgres(engine, busy_seconds)
    return engine


def read_url(place: Path | str) -> URL:
    """Return the URL of a SQLite file or of an SQLAlchemy URL string.

    Examples
    --------
    >>> read_url(Path("crm.db"))
    sqlite:///crm.db

    """
    if isinstance(place, Path):
        return URL.create("sqlite", database=str(place))
    try:
        return postgres.choose_driver(make_url(place))
    except (ArgumentError, ValueError):
        raise ConfigError(
            "A database URL cannot be read (not shown, it may hold a password). "
            "Expected dialect://user:password@host/database."
        ) from None


def _set_up_sqlite(engine: Engine, write_ahead: bool) -> None:
    """Take transactions out of the driver's hands, and switch on what a ledger needs."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA cache_size = -65536")
        if write_ahead:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_postgres(engine: Engine, busy_seconds: float) -> None:
    """Wait for nobody's lock for ever."""

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(busy_seconds * 1000)}")


def writing(engine: Engine) -> Engine:
    """Return the same engine, for transactions that write."""
    return engine.execution_options(writes=True)


def execute_many(connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
    """Execute a statement for many rows of parameters that the driver takes as they are.

    On SQLite this leaves out SQLAlchemy's work per row, which would be half of the time.
    """
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(statement, rows)
        return
    compiled = cast(ClauseElement, statement).compile(dialect=connection.dialect, column_keys=list(rows[0]))
    names = cast(SQLCompiler, compiled).positiontup or []
    pick = itemgetter(*names)
    connection.exec_driver_sql(str(compiled), [pick(row) for row in rows])


def describe_place(url: URL) -> str:
    """Name a database for people: never its user, password or options.

    Examples
    --------
    >>> describe_place(make_url("postgresql://job:secret@crm.example/sales?sslpassword=secret"))
    "postgresql database 'sales' on crm.example"

    """
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {url.database}"
    return f"{url.get_backend_name()} database '{url.database}' on {url.host or 'this machine'}"


def describe_error(error: BaseException, url: URL) -> str:
    """Return what a database said, on one line, with every secret of the URL blotted out."""
    source = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join((postgres.find_message(source) if postgres.is_postgres(url) else str(source)).split()).rstrip(".")
    options = [value for values in url.query.values() for value in ([values] if isinstance(values, str) else values)]
    for secret in (url.render_as_string(hide_password=False), str(url.password or ""), *options):
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return text[:300]


def is_refusal(error: DBAPIError) -> bool:
    """Whether a database refused a value: wrong for its type, or for a constraint."""
    state = postgres.find_state(error)
    return postgres.is_refusal(state) if state else isinstance(error, IntegrityError | DataError)


def lacks_right(error: DBAPIError) -> bool:
    """Whether the account may not do what it tried."""
    return postgres.find_state(error) == "42501"


def may_pass(error: DBAPIError) -> bool:
    """Whether an error may go away by itself: a lock, a lost connection, a server that restarts."""
    state = postgres.find_state(error)
    return postgres.is_away(state) if state else isinstance(error, OperationalError | InterfaceError)


@contextmanager
def answering(engine: Engine, doing: str) -> Iterator[None]:
    """Turn whatever a database refuses into a CrmError that says where, doing what, and that a re-run is safe."""
    try:
        yield
    except SQLAlchemyError as error:
        raise CrmError(
            f"{describe_place(engine.url)} failed while {doing}: {describe_error(error, engine.url)}. "
            "Nothing is lost; run the same command again once the database answers."
        ) from None


def lacks_file(url: URL) -> bool:
    """Whether a database is a SQLite file that does not exist."""
    return url.get_backend_name() == "sqlite" and bool(url.database) and not Path(str(url.database)).is_file()


def check_file(url: URL) -> None:
    """Check that a SQLite file is there, since opening one that is not would make an empty one.

    Raises
    ------
    CrmError
        If it is missing.

    """
    if lacks_file(url):
        raise CrmError(
            f"{describe_place(url)} does not exist, so the CRM cannot be reached. "
            "Check the path in write_back and that its disk is mounted, then run again."
        )
