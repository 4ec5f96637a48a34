"""Every adapter passes the same tests: databases, a CRM that can fail, Odoo."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from conformance import DescribeConformance, ReadConformance, Subject, Traits
from conformance_own import FollowUpConformance, HistoryConformance
from conformance_write import (
    ArchiveConformance,
    InsertConformance,
    RefusalConformance,
    WriteConformance,
)
from crm_world import SERVED
from fake_odoo import FakeOdoo
from faulty_subject import FaultySubject
from odoo_installed import FIELDS, install
from odoo_server import RealOdoo
from odoo_subject import OdooSubject, run_behind
from postgres_server import Database
from sql_subject import SqlSubject
from write_log import install_log, read_log, remove_log

from pipeline.adapters.odoo_client import OdooClient

Make = Callable[[pytest.FixtureRequest], Subject]


@pytest.fixture(scope="module")
def database(postgres_server: Database) -> Iterator[Database]:
    """One database for all tests, which is emptied before each."""
    postgres_server.execute("CREATE DATABASE conformance")
    made = postgres_server.on("conformance")
    yield made
    made.close()
    postgres_server.execute("DROP DATABASE conformance WITH (FORCE)")


def on_postgres(request: pytest.FixtureRequest) -> Subject:
    folder = request.getfixturevalue("tmp_path")
    SERVED[folder] = database = request.getfixturevalue("database")
    for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
        database.execute(statement)
    request.addfinalizer(lambda: SERVED.pop(folder))
    return SqlSubject(folder)


def on_fake_odoo(request: pytest.FixtureRequest) -> Subject:
    fake: FakeOdoo = request.getfixturevalue("fake_odoo")
    keys = {user: key for key, user in fake.users.items()}
    lead = fake.models["crm.lead"]
    made = OdooSubject(
        lambda user: OdooClient(fake.url, fake.database, keys[user]),
        ("x_probability", "x_reasons", "x_words"),
        lambda: {(str(number), name): times for (number, name), times in lead.written.items()},
    )
    lead.fields["x_words"] = lead.fields["x_reasons"]
    request.addfinalizer(made.close)
    return made


@pytest.fixture(scope="module")
def logged_odoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOdoo]:
    """A real Odoo that has what leadsieve installs, and whose database logs what really changes."""
    server: RealOdoo = request.getfixturevalue("odoo")
    install(server, tmp_path_factory.mktemp("odoo"))
    run = run_behind(server)
    remove_log(run, "crm_lead")
    install_log(run, "crm_lead", "id", tuple(FIELDS))
    yield server
    remove_log(run, "crm_lead")


def on_real_odoo(request: pytest.FixtureRequest) -> Subject:
    server: RealOdoo = request.getfixturevalue("logged_odoo")
    names = ("x_ls_probability", "x_ls_grade", "x_ls_reasons_en")
    made = OdooSubject(server.connect, names, lambda: read_log(run_behind(server)), has_own=True)
    request.addfinalizer(made.close)
    return made


SUBJECTS: Mapping[str, tuple[Traits, Make]] = {
    "sqlite": (SqlSubject.traits, lambda request: SqlSubject(request.getfixturevalue("tmp_path"))),
    "postgresql": (SqlSubject.traits, on_postgres),
    "faulty": (FaultySubject.traits, lambda request: FaultySubject()),
    "faulty, atomic, does not compare": (
        FaultySubject.traits,
        lambda request: FaultySubject(failure="atomic", compares=False),
    ),
    "fake odoo": (replace(OdooSubject.traits, has_history=False, has_tasks=False), on_fake_odoo),
    "real odoo": (OdooSubject.traits, on_real_odoo),
}


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param][1](request)


def on(applies: Callable[[Traits], object] = bool) -> pytest.MarkDecorator:
    """Every subject whose CRM can do something."""
    names = [name for name, (traits, _) in SUBJECTS.items() if applies(traits)]
    return pytest.mark.parametrize("subject", names, indirect=True)


@on()
class TestDescribe(DescribeConformance):
    pass


@on()
class TestRead(ReadConformance):
    pass


@on()
class TestWrite(WriteConformance):
    pass


@on(lambda traits: traits.archives)
class TestArchive(ArchiveConformance):
    pass


@on(lambda traits: traits.refused)
class TestRefusal(RefusalConformance):
    pass


@on(lambda traits: traits.adds_records)
class TestInsert(InsertConformance):
    pass


@on(lambda traits: traits.has_history)
class TestHistory(HistoryConformance):
    pass


@on(lambda traits: traits.has_tasks)
class TestFollowUps(FollowUpConformance):
    pass
