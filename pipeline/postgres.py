"""PostgreSQL: how one URL reaches both of its drivers, and what their errors mean."""

import re
import ssl
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from pipeline.errors import ConfigError

EXTRA = "Install it with `.venv/bin/pip install -e '.[postgres]'` in the folder of leadsieve."
"""What to do where a driver is missing."""

DRIVER = "postgresql+pg8000"
"""What SQLAlchemy writes with, unless a URL names another; what is read without a name is read by ADBC."""

_KEPT = ("application_name", "connect_timeout", "host", "sslmode", "sslrootcert")
_AWAY = ("08", "40", "53", "57", "58", "25006", "55P03")  # 25006: a standby, 55P03: somebody holds the record
_REFUSED = ("22", "23", "44", "P0")
_SAID = re.compile(r"(?:ERROR|FATAL|PANIC):\s+([^\n]+)")
_LISTENER = re.compile(r" \(timeout is .*\)")
_PREFIX = re.compile(r"^(?:[A-Z_]+: )?(?:\[libpq\] )?(?:Failed to connect: )?")


def is_postgres(url: URL) -> bool:
    """Whether a URL is one of PostgreSQL, under either of the names people write."""
    return url.get_backend_name() in ("postgresql", "postgres")


def choose_driver(url: URL) -> URL:
    """Return the URL with the driver that comes with leadsieve, unless it names another.

    Examples
    --------
    >>> from sqlalchemy import make_url
    >>> choose_driver(make_url("postgres://crm.example/sales")).drivername
    'postgresql+pg8000'

    """
    return url.set(drivername=DRIVER) if url.drivername in ("postgresql", "postgres") else url


def make_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return a URL without options and what they mean to pg8000, which reads none from a URL.

    Raises
    ------
    ConfigError
        If there is no counterpart to an option; its value is not shown.

    """
    options = {name: value if isinstance(value, str) else value[0] for name, value in url.query.items()}
    unknown = sorted(set(options) - set(_KEPT))
    if unknown:
        raise ConfigError(
            f"A PostgreSQL URL has the option '{unknown[0]}', expected {', '.join(_KEPT[:-1])} or {_KEPT[-1]}. "
            "Remove it."
        )
    arguments: dict[str, Any] = {"application_name": options.get("application_name", "leadsieve")}
    if (context := _make_ssl(options.get("sslmode", "prefer"), options.get("sslrootcert"))) is not None:
        arguments["ssl_context"] = context
    host = options.get("host", "")
    bare = url.set(query={})
    if host.startswith("/"):
        arguments["unix_sock"] = f"{host}/.s.PGSQL.{url.port or 5432}"
    elif host:
        bare = bare.set(host=host)
    return bare, arguments


def _make_ssl(mode: str, root: str | None) -> ssl.SSLContext | bool | None:
    """Encryption as libpq's sslmode has it; None: if the server offers it."""
    if mode in ("allow", "prefer"):
        return None
    if mode == "disable":
        return False
    if mode not in ("require", "verify-ca", "verify-full"):
        raise ConfigError(
            "A PostgreSQL URL has an unknown sslmode, expected disable, prefer, require, verify-ca or verify-full. "
            "Correct it."
        )
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError as error:
        raise ConfigError(
            f"A PostgreSQL URL names sslrootcert {root}, which cannot be read ({error.strerror or error}). Correct it."
        ) from None
    context.check_hostname = mode == "verify-full"
    if mode == "require" and root is None:
        context.verify_mode = ssl.CERT_NONE
    return context


def make_uri(url: URL) -> str:
    """URL as libpq reads it, with every part quoted; it gives up on a silent host after 15 seconds."""
    user = ":".join(quote(part, safe="") for part in (url.username, url.password) if part is not None)
    place = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    if ":" in str(url.host or ""):  # IPv6
        place = f"[{url.host}]{f':{url.port}' if url.port else ''}"
    options = {"application_name": "leadsieve", "connect_timeout": "15"}
    options |= {name: value if isinstance(value, str) else value[0] for name, value in url.query.items()}
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in options.items())
    return f"postgresql://{user}{'@' if user else ''}{place}/{quote(url.database or '', safe='')}?{query}"


def find_state(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of either driver; None if the server sent none."""
    source = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = source.args[0] if source.args else None
    state = said.get("C") if isinstance(said, dict) else getattr(source, "sqlstate", None)
    return str(state) if state else None


def find_message(error: BaseException) -> str:
    """Return what the server said, without details, which may show values, and without the query."""
    said = error.args[0] if error.args else None
    if isinstance(said, dict):
        return str(said.get("M", "no message"))
    text = str(error)
    found = _SAID.search(text)
    return found[1] if found else _LISTENER.sub("", _PREFIX.sub("", text.split("\n\nQuery was")[0]))


def is_away(state: str) -> bool:
    """Whether an SQLSTATE means that the same may work later."""
    return state.startswith(_AWAY)


def is_refusal(state: str) -> bool:
    """Whether an SQLSTATE means that a value is not allowed: wrong for its type, a constraint or a trigger."""
    return state.startswith(_REFUSED)
