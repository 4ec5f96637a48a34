"""Leads of a fake or a real Odoo and what another user does to them: the same calls for both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fake_odoo import FakeOdoo
from odoo_installed import install
from odoo_server import RealOdoo

from pipeline.adapters.odoo_client import OdooClient
from pipeline.adapters.odoo_target import OdooTarget
from pipeline.adapters.target import RecordResult, TargetTable, Value, WriteBatch
from pipeline.config import Config

LEADS = TargetTable("crm.lead", "id")
SCORED = ("x_trial_probability", "x_trial_grade", "x_trial_reasons")
EVERYBODY = {"active_test": False, "tracking_disable": True, "lang": "en_US"}

FIELDS: Mapping[str, dict[str, Any]] = {
    "x_trial_probability": {"ttype": "float"},
    "x_trial_grade": {"ttype": "char", "size": 10},
    "x_trial_reasons": {"ttype": "text"},
    "x_trial_choice": {
        "ttype": "selection",
        "selection_ids": [[0, 0, {"value": key, "name": key.lower()}] for key in ("A", "B")],
    },
    "x_trial_points": {"ttype": "integer"},
    "x_trial_at": {"ttype": "datetime"},
    "x_trial_day": {"ttype": "date"},
    "x_trial_fixed": {"ttype": "char", "readonly": True},
    "x_trial_computed": {
        "ttype": "float",
        "compute": "for record in self: record['x_trial_computed'] = 1.0",
        "depends": "name",
        "store": True,
    },
    "x_trial_related": {"ttype": "char", "related": "partner_id.name"},
    "x_trial_translated": {"ttype": "char", "translate": "standard"},
    "x_trial_company": {"ttype": "char", "company_dependent": True},
    "x_trial_page": {"ttype": "html"},
}
"""Fields as an administrator makes them."""

_TOLD: Mapping[str, dict[str, Any]] = {
    "name": {"type": "char", "required": True},
    "active": {"type": "boolean"},
    "probability": {"type": "float", "depends": ["stage_id"]},
    "x_trial_choice": {"type": "selection", "selection": [["A", "a"], ["B", "b"]]},
    "x_trial_computed": {"type": "float", "depends": ["name"]},
    "x_trial_related": {"type": "char", "related": "partner_id.name", "depends": ["partner_id.name"]},
    "x_trial_translated": {"type": "char", "translate": True},
}
"""The same as `fields_get` tells them, where that differs."""


class Place:
    """An Odoo with leads of a test, which are gone when it is closed."""

    def __init__(self, server: FakeOdoo | RealOdoo, keys: Mapping[str, str]) -> None:
        self.server = server
        self.keys = dict(keys)
        self._made: list[int] = []
        self.admin = self.connect("admin")

    def connect(self, user: str = "nightly", **limits: float) -> OdooClient:
        return OdooClient(self.server.url, self.server.database, self.keys[user], **limits)

    @contextmanager
    def open(self, before_write: Callable[[], object] | None = None) -> Iterator[OdooTarget]:
        """The nightly user's adapter; somebody else may be faster than its first write."""
        with closing(self.connect()) as client:
            yield OdooTarget(client if before_write is None else Overtaken(client, before_write))  # type: ignore[arg-type]

    def add(self, *leads: Mapping[str, Any]) -> list[str]:
        made = self._call("create", vals_list=[{"name": "trial", **lead} for lead in leads])
        self._made += made
        return [str(number) for number in made]

    def edit(self, record_id: str, **values: Any) -> None:
        self._call("write", ids=[int(record_id)], vals=values)

    def delete(self, *ids: str) -> None:
        self._call("unlink", ids=list(map(int, ids)))

    def read(self, ids: Sequence[str], *fields: str) -> list[tuple[Any, ...]]:
        domain = [["id", "in", list(map(int, ids))]]
        rows = self._call("search_read", domain=domain, fields=list(fields), order="id")
        return [tuple(row[name] for name in fields) for row in rows]

    def close(self) -> None:
        self._call("unlink", ids=self._call("search", domain=[["id", "in", self._made]]))
        self.admin.close()

    def _call(self, method: str, **arguments: Any) -> Any:
        return self.admin.call("crm.lead", method, context=EVERYBODY, **arguments)


class Overtaken:
    """A client whose first write comes after what somebody else does."""

    def __init__(self, client: OdooClient, act: Callable[[], object]) -> None:
        self._client = client
        self.place = client.place
        self._acts = [act]

    @property
    def requests(self) -> int:
        return self._client.requests

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        if method == "run" and arguments["context"]["rows"] and self._acts:
            self._acts.pop()()
        return self._client.call(model, method, **arguments)


def make_odoo_config(folder: Path, database: str, fields: Mapping[str, str], **write_back: Any) -> Config:
    """A deployment whose conversion scores go to leads; address and key are in ODOO_TEST_URL and ODOO_TEST_KEY."""
    place = {"adapter": "odoo", "url_env": "ODOO_TEST_URL", "database": database, "key_env": "ODOO_TEST_KEY"}
    mapping = {"target": "crm.lead", "key": "id", "fields": dict(fields)}
    return Config.model_validate(
        {
            "name": "demo",
            "state": folder,
            "source": {"adapter": "sql", "sqlite": folder / "none.db"},
            "tables": {"deals": {"select": "SELECT 1"}},
            "targets": {"conversion": {"kind": "conversion", "horizons_days": [90], "spine": {"grid": "month"}}},
            "write_back": {
                **place,
                "tables": {"conversion": mapping},
                "owned_fields": {"crm.lead": list(fields)},
                **write_back,
            },
        }
    )


def make_batch(
    ids: Sequence[str],
    expected: Sequence[tuple[Value, ...]],
    values: Sequence[tuple[Value, ...]],
    fields: tuple[str, ...] = SCORED,
) -> WriteBatch:
    """A batch of rows, one per record."""
    columns = [[list(column) for column in zip(*rows, strict=True)] for rows in (expected, values)]
    return WriteBatch(LEADS, "update", fields, list(ids), *columns, key="trial")


def name_ends(results: Sequence[RecordResult]) -> list[str]:
    return [result.status for result in results]


def make_fake_place(fake: FakeOdoo) -> Place:
    """The fake, with the fields of the tests."""
    usual = {name: {"type": entry["ttype"], **_plain(entry)} for name, entry in FIELDS.items()}
    fake.add_model("crm.lead", deepcopy({**usual, **_TOLD}))
    return Place(fake, {user: key for key, user in fake.users.items()})


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("size", "readonly", "company_dependent") if name in entry}


@pytest.fixture
def fake_place(fake_odoo: FakeOdoo) -> Iterator[Place]:
    """Leads of a fake."""
    with closing(make_fake_place(fake_odoo)) as place:
        yield place


@pytest.fixture
def real_place(odoo: RealOdoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Leads of a real server, with a key of its own for the nightly user."""
    install(odoo, tmp_path_factory.mktemp("install"))
    odoo.add_fields("crm.lead", FIELDS)
    keys = {**odoo.keys, "nightly": odoo.make_key("nightly")}
    with closing(Place(odoo, keys)) as place:
        yield place
    odoo.revoke_key(keys["nightly"])


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    """Leads of either: the test holds for both."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found
