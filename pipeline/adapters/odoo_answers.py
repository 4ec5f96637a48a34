"""What an answer of Odoo's JSON-2 API means: a result, a refusal, or something that may pass.

Odoo answers an error with a JSON object of `name` (class of the exception), `message`, `arguments`, `context`
and `debug` (a traceback, never looked at). Whatever else comes, comes from something before it.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Literal
from urllib.parse import urlsplit

from pipeline.errors import ConfigError, CrmError, PassingCrmError

Kind = Literal["missing", "value", "right", "model"]

BUSY = frozenset({408, 429, 502, 503, 504})
"""What a server or the proxy before it answers when it may work later."""

_PASSING = (
    "builtins.MemoryError",
    "psycopg2.DatabaseError",
    "psycopg2.OperationalError",
    "psycopg2.InterfaceError",
    "psycopg2.pool.",
    "psycopg2.errors.SerializationFailure",
    "psycopg2.errors.Deadlock",
    "psycopg2.errors.Lock",
    "psycopg2.errors.QueryCanceled",
    "psycopg2.errors.AdminShutdown",
    "psycopg2.errors.CrashShutdown",
    "psycopg2.errors.CannotConnectNow",
    "psycopg2.errors.TooManyConnections",
    "psycopg2.errors.DiskFull",
    "psycopg2.errors.OutOfMemory",
    "psycopg2.errors.ReadOnlySqlTransaction",
    "psycopg2.errors.InFailedSqlTransaction",
    "psycopg2.errors.IdleInTransactionSessionTimeout",
    "odoo.exceptions.ConcurrencyError",
    "odoo.exceptions.LockError",
    "odoo.sql_db.",
)
"""Beginnings of the names of exceptions that are about the moment and not about what was sent."""

_IN_ACTION = re.compile(r"\w+\((.*)\) while evaluating$", re.MULTILINE)


class OdooRefusal(CrmError):  # noqa: N818  (not a fault: an answer)
    """Odoo understood the request and refuses it, now and later; nothing of it was done.

    Parameters
    ----------
    message : str
        What happened, for people, without what was sent.
    kind : "missing", "value", "right" or "model"
        missing: a record does not exist; value: a field or a value is not taken; right: the user may not do
        it; model: there is no such model or method.
    said : str
        What Odoo itself says of it.

    """

    def __init__(self, message: str, kind: Kind, said: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.said = said or message


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, place: str, call: str, sent: Mapping[str, Any]
) -> Any:
    """Return the result that an answer holds.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping
        Headers of the answer, whatever their case.
    body : bytes
        Body of the answer.
    place, call : str
        Which server, and which `model.method`, for error texts.
    sent : mapping
        Arguments of the call: what is blotted out where the answer repeats it.

    Raises
    ------
    PassingCrmError
        If it may work when tried again.
    OdooRefusal
        If Odoo refuses it.
    ConfigError
        If the key is refused, or something else answers at this address.
    CrmError
        If the answer is none of Odoo's.

    """
    where = f"{place}: {call}"
    if 300 <= status < 400:
        raise ConfigError(
            f"{where} was redirected to {_name_address(headers.get('Location'))}, so something else answers there "
            "(a proxy's login page, or another address). Give the address at which Odoo itself answers."
        )
    if status in BUSY:
        raise PassingCrmError(f"{where} was answered with {status}, try again later", read_wait(headers))
    try:
        answer = json.loads(body)
    except ValueError:
        raise _describe_foreign(status, headers, where) from None
    if status == 200 and not _is_error(answer):
        return answer
    raise _describe_error(status, answer if isinstance(answer, dict) else {}, where, sent)


def read_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of the header Retry-After, which is a number or a moment; None if there is none.

    Examples
    --------
    >>> read_wait({"Retry-After": "2"})
    2.0
    >>> read_wait({}) is None
    True

    """
    given = headers.get("Retry-After")
    if given is None:
        return None
    if given.strip().isdigit():
        return float(given)
    try:
        return max(parsedate_to_datetime(given).timestamp() - time(), 0.0)
    except ValueError:
        return None


def _is_error(answer: Any) -> bool:
    """Whether the body of a 200 is an error: one of JSON-2, or one of JSON-RPC."""
    if not isinstance(answer, dict):
        return False
    return {"name", "message", "debug"} <= set(answer) or {"jsonrpc", "error"} <= set(answer)


def _describe_foreign(status: int, headers: Mapping[str, str], where: str) -> Exception:
    """Error for an answer that is not JSON."""
    kind = (headers.get("Content-Type") or "no type").split(";")[0]
    what = "a web page" if kind == "text/html" else f"{kind}"
    text = f"{where} was answered with {status} and {what} instead of JSON"
    if status == 413:
        return CrmError(f"{text}: the request is too large for a proxy. Set a smaller write_back.batch_rows.")
    if status >= 500:
        return PassingCrmError(f"{text}, so Odoo is not ready or broken; its log has the reason")
    if status >= 400:
        return ConfigError(
            f"{text}, so Odoo is not at this address. Give the one at which Odoo itself answers, such as "
            "https://crm.example, with no path but that of a proxy."
        )
    return CrmError(
        f"{text}, so a proxy or another program answers there. Check the address, and run again once Odoo answers."
    )


def _describe_error(status: int, answer: Mapping[str, Any], where: str, sent: Mapping[str, Any]) -> Exception:
    """Error for an answer of Odoo that says what went wrong."""
    name, said = str(answer.get("name", "")), clean_message(answer.get("message"), sent)
    if status == 401:
        return ConfigError(
            f"{where}: Odoo refuses the API key (401), so it has expired, was revoked or is of another database. Make "
            "a key for this user in Odoo (its preferences, Security) and put it into the variable that key_env names."
        )
    if status == 200:
        return CrmError(f"{where} was answered with 200 and an error: {said}. Nothing is known of what was done.")
    if name.startswith(_PASSING) or status == 409:
        return PassingCrmError(f"{where}: Odoo could not do it at this moment ({name.rpartition('.')[2]})")
    if status == 403:
        said = clean_message(_find_right(str(answer.get("message"))), sent)
        return OdooRefusal(f"{where} is not allowed for this user: {said}", "right", said)
    if status == 404:
        return OdooRefusal(f"{where}: {said}", "missing" if name.endswith("MissingError") else "model", said)
    if status in (422, 500):
        return OdooRefusal(f"{where} was refused: {said}", "value", said)
    return CrmError(f"{where} was answered with {status}: {said}.")


def _find_right(message: str) -> str:
    r"""Return what a refusal says of the right: Odoo begins one by a record rule with a joke.

    Examples
    --------
    >>> _find_right("Uh-oh!\n\nSorry, Ann (id=6) doesn't have 'write' access to:\n- Lead (crm.lead)\n\nIf you ...")
    "a record rule gives Ann (id=6) no 'write' access to Lead (crm.lead)"

    """
    ruled = re.search(r"^Sorry, (.+) doesn't have ('\w+') access to:\n- (.+)$", message, re.MULTILINE)
    return f"a record rule gives {ruled[1]} no {ruled[2]} access to {ruled[3]}" if ruled else message


def clean_message(message: Any, sent: Mapping[str, Any]) -> str:
    r"""First line of a message, with every value blotted out that was sent in records: as such, or for the action.

    Examples
    --------
    >>> clean_message("could not convert string to float: 'a lot'", {"vals": {"x_score": "a lot"}})
    "could not convert string to float: '…'"
    >>> clean_message("KeyError('x_score') while evaluating\nrows = ...", {})
    'x_score'

    """
    lines = _unwrap(str(message or "it gives no reason")).strip().splitlines()
    text = lines[0][:1000] if lines else ""
    rows = [values for _, *values in (sent.get("context") or {}).get("rows", ())]
    records = (sent.get("vals"), sent.get("vals_list"), rows)
    shown = {str(value) for record in records for value in _find_values(record)}
    values = shown | {repr(value)[1:-1] for value in shown}
    for value in sorted((value for value in values if len(value) > 1 and value in text), key=len, reverse=True):
        text = text.replace(value, "…")
    return text[:300].rstrip(". ")


def _unwrap(message: str) -> str:
    """Text of an error in the code of an action, of which Odoo shows the `repr`, and then the code."""
    wrapped = _IN_ACTION.match(message)
    try:
        return str(ast.literal_eval(wrapped[1])) if wrapped else message
    except (SyntaxError, ValueError):
        return message


def _find_values(sent: Any) -> Iterator[str | int | float]:
    """Texts and numbers within what was sent, but not the names of fields."""
    if isinstance(sent, dict):
        sent = list(sent.values())
    if isinstance(sent, list | tuple):
        for entry in sent:
            yield from _find_values(entry)
    elif isinstance(sent, str | int | float) and not isinstance(sent, bool):
        yield sent


def _name_address(location: str | None) -> str:
    """Host and path of an address; never its user, password or question."""
    if not location:
        return "nowhere"
    try:
        parts = urlsplit(location)
        return f"{parts.hostname or ''}{parts.path}"
    except ValueError:
        return "an address that cannot be read"
