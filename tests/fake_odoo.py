"""A small server on loopback that speaks Odoo 19's JSON-2 over records in memory, and fails when told to.

A test of `test_odoo_target.py` puts the same calls to this and to a real server, where there is one.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest
from fake_odoo_methods import METHODS, WRITES, Call
from fake_odoo_models import FakeModel, OdooError

from pipeline.adapters.odoo_action import ACTIONS, NAME

Fault = Literal[
    "429", "502", "503", "504", "drop", "drop_after", "stall_after", "html", "error200", "serialization", "redirect"
]
"""drop: the connection ends before anything is done; drop_after, stall_after: all is done and nobody is told."""

LEAD_FIELDS: Mapping[str, dict[str, Any]] = {
    "name": {"type": "char", "required": True},
    "active": {"type": "boolean"},
    "probability": {"type": "float", "depends": ["stage_id"]},
    "expected_revenue": {"type": "monetary"},
    "x_probability": {"type": "float", "manual": True},
    "x_grade": {"type": "char", "size": 10, "manual": True},
    "x_reasons": {"type": "text", "manual": True},
    "x_choice": {"type": "selection", "selection": [["A", "a"], ["B", "b"]], "manual": True},
    "x_points": {"type": "integer", "manual": True},
    "x_scored_at": {"type": "datetime", "manual": True},
}

_PAGE = "<!DOCTYPE html>\n<title>Sign in</title>"


@dataclass
class Order:
    """What to do wrong: with which method (None: any), how often, after how many calls that go well."""

    fault: Fault
    method: str | None
    times: int
    after: int


class FakeOdoo:
    """A server with one database. It keeps its records when it is stopped and started again."""

    def __init__(self) -> None:
        self.database = "crm"
        self.users = {"fake-admin-key": "admin", "fake-nightly-key": "nightly"}
        self.models: dict[str, FakeModel] = {}
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.retry_after: str | None = None
        self.lock = threading.RLock()
        self._orders: list[Order] = []
        self._before: list[tuple[str, Callable[[], object]]] = []
        self._server: _Server | None = None
        self._port = 0
        self.gone = threading.Event()
        self.add_model("crm.lead", LEAD_FIELDS)
        actions = self.add_model(ACTIONS, {"name": {"type": "char"}, "model_name": {"type": "char"}})
        actions.add({"name": NAME, "model_name": "crm.lead"})
        self.start()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self._port}"

    def add_model(self, name: str, fields: Mapping[str, dict[str, Any]]) -> FakeModel:
        """Add a model; fields are as `fields_get` tells them, what is left out is usual."""
        self.models[name] = FakeModel(name, deepcopy(dict(fields)))
        return self.models[name]

    def fail(self, fault: Fault, method: str | None = None, *, times: int = 1, after: int = 0) -> None:
        """Do something wrong at the next calls of a method."""
        self._orders.append(Order(fault, method, times, after))

    def before(self, method: str, act: Callable[[], object]) -> None:
        """Do something once, right before the next call of a method: another user was faster."""
        self._before.append((method, act))

    def forbid(self, model: str, user: str, *operations: str) -> None:
        """Take the rights to read, write, create or unlink a model from a user."""
        self.models[model].forbidden.setdefault(user, set()).update(operations)

    def start(self) -> None:
        """Listen, at the same port as before."""
        self.gone.clear()
        self._server = _Server(self, self._port)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """End all connections and listen no more."""
        self.gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
            self._server = None

    def take_fault(self, method: str) -> Fault | None:
        """Return what to do wrong with this call."""
        for order in self._orders:
            if order.method not in (None, method) or not order.times:
                continue
            if order.after:
                order.after -= 1
                continue
            order.times -= 1
            return order.fault
        return None

    def answer(self, user: str, model: str, method: str, arguments: dict[str, Any]) -> Any:
        """Do one call, whole or not at all."""
        for entry in [entry for entry in self._before if entry[0] == method]:
            self._before.remove(entry)
            entry[1]()
        self.calls.append((model, method, arguments))
        if model not in self.models:
            raise OdooError(404, "werkzeug.exceptions.NotFound", f"the model {model!r} does not exist")
        act = METHODS.get(method)
        if act is None:
            message = f"The method '{model}.{method}' does not exist"
            raise OdooError(404, "werkzeug.exceptions.NotFound", message)
        before = deepcopy(self.models[model]) if method in WRITES else None
        try:
            return act(Call(self.models[model], user, arguments, self.models))
        except OdooError:
            if before is not None:
                self.models[model].records, self.models[model].written = before.records, before.written
            raise


class _Server(ThreadingHTTPServer):
    """The socket of a fake, and its open connections."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, odoo: FakeOdoo, port: int) -> None:
        self.odoo = odoo
        self.connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), _Request)

    def close_connections(self) -> None:
        """End what is open, as a server that is killed does."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that go away."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms for the client
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/web/version":
            self._send(200, {"version": "19.0", "version_info": [19, 0, 0, "final", 0, ""]})
        elif self.path == "/web/health?db_server_status=1":
            self._send(200, {"status": "pass", "db_server_status": True})
        else:
            self._send_page(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        odoo, asked = self.server.odoo, re.fullmatch(r"/json/2/([a-z0-9_.]+)/(\w+)", self.path)
        if self.headers.get("X-Odoo-Database") != odoo.database or asked is None:
            self._send_page(404)
            return
        model, method = asked.groups()
        fault = odoo.take_fault(method)
        if fault is not None and not fault.endswith("_after"):
            self._fail(fault)
            return
        try:
            with odoo.lock:
                answer = odoo.answer(self._find_user(), model, method, json.loads(body))
            status = 200
        except OdooError as error:
            status, answer = error.status, _describe(error.name, str(error))
        if fault == "stall_after":
            odoo.gone.wait(60)
        if fault is not None:
            self.close_connection = True
            return
        self._send(status, answer)

    def _find_user(self) -> str:
        key = self.headers.get("Authorization", "").removeprefix("bearer ")
        if key not in self.server.odoo.users:
            raise OdooError(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
        return self.server.odoo.users[key]

    def _fail(self, fault: Fault) -> None:
        if fault == "drop":
            self.close_connection = True
        elif fault == "html":
            self._send_page(200)
        elif fault == "redirect":
            self._send_page(303, Location="https://someone:secret@sso.example/web/login?redirect=x")
        elif fault == "error200":
            self._send(200, _describe("builtins.KeyError", "'gone'"))
        elif fault == "serialization":
            message = "could not serialize access due to concurrent update\n"
            self._send(500, _describe("psycopg2.errors.SerializationFailure", message))
        else:
            wait = self.server.odoo.retry_after
            self._send_page(int(fault), **({"Retry-After": wait} if wait else {}))

    def _send(self, status: int, answer: Any) -> None:
        self._send_bytes(status, "application/json; charset=utf-8", json.dumps(answer).encode(), {})

    def _send_page(self, status: int, **headers: str) -> None:
        self._send_bytes(status, "text/html; charset=utf-8", _PAGE.encode(), headers)

    def _send_bytes(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def _describe(name: str, message: str) -> dict[str, Any]:
    """Body of an error, with the traceback that nobody should show."""
    return {"name": name, "message": message, "arguments": [message], "context": {}, "debug": "Traceback: secret"}


@pytest.fixture
def fake_odoo() -> Iterator[FakeOdoo]:
    """A fake server with the model `crm.lead` and no records."""
    server = FakeOdoo()
    yield server
    server.stop()
