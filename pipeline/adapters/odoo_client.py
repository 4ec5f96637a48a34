"""Calls to Odoo's JSON-2 API: one place for the address, the key, time-outs and what an answer means."""

import json
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError, SSLError

from pipeline.adapters.odoo_answers import OdooRefusal, read_answer
from pipeline.errors import ConfigError, PassingCrmError

__all__ = ["OdooClient", "OdooRefusal"]


class OdooClient:
    """A user of one Odoo database, known by an API key.

    Nothing is tried again here, and no error shows the key.

    Parameters
    ----------
    url : str
        Address of the server, `https://crm.example`; plain http only on this machine, since anybody on the
        way could read the key.
    database : str
        Name of the database.
    key : str
        API key of the user.
    connect_s, read_s : float
        Seconds to wait for a connection, and for an answer; Odoo itself ends a call after 120 s.

    Raises
    ------
    ConfigError
        If the address, the name or the key cannot be one.

    Examples
    --------
    >>> OdooClient("http://crm.example", "crm", "secret")
    Traceback (most recent call last):
    pipeline.errors.ConfigError: Odoo at crm.example: plain http would send the API key readable by all on the way. \
Use https; http is for a server on this machine.

    """

    def __init__(self, url: str, database: str, key: str, *, connect_s: float = 10.0, read_s: float = 130.0) -> None:
        parts = _read_address(url)
        self.place = f"Odoo database '{database}' on {parts.hostname}"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/")
        self._headers = {
            "Authorization": f"bearer {_check_header(key, 'the API key of Odoo')}",
            "X-Odoo-Database": _check_header(database, "the name of the Odoo database"),
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
        }
        self._timeout = urllib3.Timeout(connect=connect_s, read=read_s)
        self._pool = urllib3.PoolManager(timeout=self._timeout, retries=False)
        self._requests = 0

    @property
    def requests(self) -> int:
        """Requests sent since the client was made."""
        return self._requests

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """Call a method of a model and return its result.

        Parameters
        ----------
        model, method : str
            Such as `crm.lead` and `search_read`.
        **arguments : Any
            Its arguments by name; `ids` are the records it is called on, `context` what Odoo calls so.

        Raises
        ------
        PassingCrmError
            If it may work when tried again; whether it was done is not known.
        OdooRefusal
            If Odoo refuses it.
        ConfigError
            If the key is refused, there is no such database, or something else answers at this address.
        CrmError
            If the answer is none of Odoo's.

        """
        body = json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        answer = self._send("POST", f"/json/2/{model}/{method}", f"{model}.{method}", body, self._headers)
        if answer.status == 404 and not answer.headers.get("Content-Type", "").startswith("application/json"):
            raise self._explain_absence(f"{model}.{method}")
        return read_answer(answer.status, answer.headers, answer.data, self.place, f"{model}.{method}", arguments)

    def read_version(self) -> str:
        """Version of the server, such as `19.0`."""
        answer = self._send("GET", "/web/version", "version", None, {})
        return str(read_answer(answer.status, answer.headers, answer.data, self.place, "version", {})["version"])

    def _send(
        self, verb: str, path: str, call: str, body: bytes | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; what the network does becomes an error of ours, without its URL."""
        self._requests += 1
        try:
            return self._pool.request(
                verb, self._origin + self._path + path, body=body, headers=headers, redirect=False, preload_content=True
            )
        except HTTPError as error:
            raise _explain_network(error, f"{self.place}: {call}", self._timeout) from None

    def _explain_absence(self, call: str) -> Exception:
        """Odoo answers with the same page for a database that does not exist and for one it cannot reach."""
        answer = self._send("GET", "/web/health?db_server_status=1", call, None, {})
        if answer.status == 200 and b'"db_server_status": true' in answer.data:
            return ConfigError(
                f"{self.place}: Odoo answers there and has no database of this name. Check `database` in the config."
            )
        return PassingCrmError(f"{self.place}: {call} was not found; Odoo cannot reach its database at this moment")


def _explain_network(error: HTTPError, where: str, timeout: urllib3.Timeout) -> Exception:
    """Error of ours for one of the network."""
    if isinstance(error, SSLError):
        reason = getattr(error.args[0], "verify_message", None) if error.args else None
        if reason or any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
            return ConfigError(
                f"{where}: the certificate of the server is not accepted ({str(reason).rstrip('.')}). Check the "
                "address; the certificate of an authority of your own belongs into the file that SSL_CERT_FILE names."
            )
        return PassingCrmError(f"{where}: the encrypted connection failed")
    if isinstance(error, ReadTimeoutError):
        return PassingCrmError(f"{where} was not answered within {timeout.read_timeout:.0f} s")
    if isinstance(error, ConnectTimeoutError):
        return PassingCrmError(
            f"{where}: the server cannot be reached ({type(error).__name__}). Check the address, and that Odoo runs"
        )
    return PassingCrmError(f"{where}: the connection failed or broke ({type(error).__name__})")


def _read_address(url: str) -> SplitResult:
    """Parts of the address of a server.

    Raises
    ------
    ConfigError
        If it is none, holds a password, or would send the key in clear to another machine.

    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ConfigError("The address of Odoo cannot be read (not shown). Expected one such as https://crm.example.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"The address of Odoo at {host} holds a user or password (not shown). Leave them out; the key is enough."
        )
    if parts.scheme == "http" and not _is_here(host):
        raise ConfigError(
            f"Odoo at {host}: plain http would send the API key readable by all on the way. Use https; http is for a "
            "server on this machine."
        )
    return parts


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_header(value: str, what: str) -> str:
    """Refuse what cannot stand in a header; the value is not shown."""
    if not value.strip() or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigError(
            f"The value given for {what} is empty or has blanks or signs that it cannot have (not shown). Set it again."
        )
    return value
