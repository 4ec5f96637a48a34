"""CRMs whose write-back is killed: each can be put back, opened by a job, and tells what really changed in it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from crm_world import CRM_URL, SERVED, make_config, make_scores
from faulty_crm import FaultyCrm
from faulty_plan import KINDS, draw_plan
from faulty_world import connected
from odoo_installed import FIELDS, LEAD, install
from odoo_server import RealOdoo
from odoo_subject import run_behind
from postgres_server import Database
from write_log import empty_log, install_log, read_log, remove_log

from pipeline.config import Config

CARD = """
id: small
version: '1'
entity: deal
criteria:
  - {id: age, name: {en: Age, zh: 时间}, weight: 100, feature: deal_age_days, missing: 50,
     bands: [{below: 30, points: 100}, {at_least: 30, points: 0}]}
flags:
  - {id: silent, name: {en: Gone quiet, zh: 久未联系}, feature: deal_age_days, when: {at_least: 30}}
grades:
  - {id: hot, at_least: 60, name: {en: Priority, zh: 重点跟进}}
  - {id: cold, at_least: 0, name: {en: Drop, zh: 直接放弃}}
"""
BATCH = 20
EVERY = 10
"""Every so many records get a task."""

Row = tuple[float | None, str | None, str | None]


class Site(Protocol):
    """One CRM with records that a job writes to."""

    name: str
    ids: list[str]
    config: Config

    def put_back(self) -> None:
        """Make everything as it was before any job, and count from here on."""
        ...

    def connect(self) -> AbstractContextManager[None]:
        """Within, a job writes to this CRM."""
        ...

    def rows(self) -> dict[str, Row]:
        """The fields of every record."""
        ...

    def writes(self) -> Counter[tuple[str, str]]:
        """How often each field of each record has got another value."""
        ...

    def own(self) -> tuple[list[str], list[str]]:
        """Entities that have a history row, and records that have an open task; twice, if there are two."""
        ...


def old_row(number: int) -> Row:
    """What a record has before: half of them nothing."""
    return (0.0, None, None) if number % 2 else (0.123456, "cold", f"old {number}")


def new_row(number: int, count: int) -> Row:
    """What a record gets."""
    return (round((number + 1) / (count + 2), 4), ("hot", "cold")[number % 2], f"{number} 次")


def make_scored(ids: Sequence[str]) -> pd.DataFrame:
    """Scores of run r1: every record changes in all fields, and every tenth gets a task."""
    rows = [(one, *new_row(number, len(ids))[:2], [f"{number} 次"]) for number, one in enumerate(ids)]
    flags = ['["silent"]' if number % EVERY == 0 else None for number in range(len(ids))]
    return make_scores("r1", rows).assign(flags=flags).astype({"flags": "str"})


def give_card(folder: Path, config: Config) -> Config:
    """A config whose target has the card with the flag that tasks are made for."""
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    target = config.targets["conversion"].model_copy(update={"scorecard": folder / "card.yaml"})
    return config.model_copy(update={"targets": {"conversion": target}})


OWN: Mapping[str, Any] = {"batch_rows": BATCH, "history": {}, "follow_ups": {"flags": {"conversion": ["silent"]}}}


class FaultySite:
    """A faulty CRM in a file: every sixth request fails, besides the kills."""

    name = "faulty CRM"

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        self.ids = [str(number) for number in range(count)]
        self.config = give_card(folder, make_config(folder, **OWN))
        self._place, self._plan = folder / "faulty.db", draw_plan(seed, 1 / 6, KINDS)

    def open(self) -> "closing[FaultyCrm]":
        """Open it as whoever looks into it does."""
        return closing(FaultyCrm(self._place, self._plan))

    def put_back(self) -> None:
        self._place.unlink(missing_ok=True)
        with self.open() as crm, crm.transaction():
            crm.make_table("deals", "deal_id", {"score": "number", "grade": "text", "why": "text"})
            for number, one in enumerate(self.ids):
                crm.put("deals", one, dict(zip(("score", "grade", "why"), old_row(number), strict=True)))

    @contextmanager
    def connect(self) -> Iterator[None]:
        with self.open() as crm, connected(crm):
            yield

    def rows(self) -> dict[str, Row]:
        with self.open() as crm:
            found = crm.read_all("deals")
        return {one: (row["score"], row["grade"], row["why"]) for one, row in found.items()}

    def writes(self) -> Counter[tuple[str, str]]:
        with self.open() as crm:
            counted = crm.writes()
        return Counter({(one, name): times for (table, one, name), times in counted.items() if table == "deals"})

    def own(self) -> tuple[list[str], list[str]]:
        with self.open() as crm:
            history = [key.rpartition("/")[2] for (key,) in crm.run("SELECT key FROM history")]
            tasks = [key.split("/")[1] for (key,) in crm.run("SELECT key FROM tasks WHERE closed_by IS NULL")]
        return sorted(history), sorted(tasks)


class PostgresSite:
    """A PostgreSQL whose trigger counts."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, count: int, database: Database) -> None:
        self.ids = [str(number) for number in range(count)]
        SERVED[folder] = self._database = database
        os.environ[CRM_URL] = database.url
        follow_ups = {**OWN["follow_ups"], "owner_field": "owner"}
        self.config = give_card(folder, make_config(folder, **{**OWN, "follow_ups": follow_ups}))
        run = database.execute
        for name in ("deals", "deals_before"):
            run(f"CREATE TABLE {name} (deal_id TEXT PRIMARY KEY, owner TEXT, score FLOAT8, grade TEXT, why TEXT)")
        for number, one in enumerate(self.ids):
            run("INSERT INTO deals_before VALUES (%s, 'ann', %s, %s, %s)", (one, *old_row(number)))
        install_log(run, "deals", "deal_id", ("score", "grade", "why"))

    def _run(self, statement: str) -> list[Any]:
        """Run a statement on a connection that forks inherit and leave alone."""
        return self._database.execute(statement)

    def put_back(self) -> None:
        self._run("TRUNCATE deals")
        self._run("INSERT INTO deals SELECT * FROM deals_before")
        self._run("DROP TABLE IF EXISTS leadsieve_scores, leadsieve_follow_ups")
        empty_log(self._run)

    def connect(self) -> AbstractContextManager[None]:
        return nullcontext()

    def rows(self) -> dict[str, Row]:
        return {one: tuple(row) for one, *row in self._run("SELECT deal_id, score, grade, why FROM deals")}  # type: ignore[misc]

    def writes(self) -> Counter[tuple[str, str]]:
        return read_log(self._run)

    def own(self) -> tuple[list[str], list[str]]:
        return (
            sorted(one for (one,) in self._run("SELECT entity_id FROM leadsieve_scores")),
            sorted(one for (one,) in self._run("SELECT record_id FROM leadsieve_follow_ups WHERE state = 'open'")),
        )


class OdooSite:
    """A real Odoo; a trigger within its own database counts."""

    name = "Odoo"

    def __init__(self, folder: Path, count: int, server: RealOdoo) -> None:
        self._server, self._names, self._run = server, tuple(FIELDS), run_behind(server)
        config = install(server, folder, **OWN)
        self.config = give_card(folder, config)
        os.environ.update(ODOO_URL=server.url, ODOO_KEY=server.keys["nightly"])
        (nightly,) = server.admin.call("res.users", "search", domain=[["login", "=", "nightly"]])
        self.ids = server.add_leads([{"name": f"kill {number}", "user_id": nightly} for number in range(count)])
        self._some = f"({', '.join(self.ids)})"
        remove_log(self._run, "crm_lead")
        install_log(self._run, "crm_lead", "id", self._names)

    def close(self) -> None:
        """Take away what the trials made."""
        self._forget_own()
        remove_log(self._run, "crm_lead")
        self._server.remove_leads(self.ids)

    def _forget_own(self) -> None:
        self._run("DELETE FROM x_lead_score WHERE x_run_id = 'r1'")
        self._run(f"DELETE FROM mail_activity WHERE res_model = '{LEAD}' AND res_id IN {self._some}")

    def put_back(self) -> None:
        values = ", ".join(
            f"({one}, {score}, {_quoted(grade)}, {_quoted(why)})"
            for one, (score, grade, why) in zip(self.ids, map(old_row, range(len(self.ids))), strict=True)
        )
        sets = ", ".join(f"{name} = olds.v{k}" for k, name in enumerate(self._names))
        olds = f"(VALUES {values}) AS olds (id, v0, v1, v2)"
        self._run(f"UPDATE crm_lead SET {sets} FROM {olds} WHERE crm_lead.id = olds.id")
        self._forget_own()
        empty_log(self._run)

    def connect(self) -> AbstractContextManager[None]:
        return nullcontext()

    def rows(self) -> dict[str, Row]:
        found = self._run(f"SELECT id, {', '.join(self._names)} FROM crm_lead WHERE id IN {self._some}")
        return {str(one): (score or 0.0, grade, why) for one, score, grade, why in found}

    def writes(self) -> Counter[tuple[str, str]]:
        names = dict(zip(self._names, ("score", "grade", "why"), strict=True))
        return Counter({(one, names[name]): times for (one, name), times in read_log(self._run).items()})

    def own(self) -> tuple[list[str], list[str]]:
        run = self._run
        tasks = f"SELECT res_id FROM mail_activity WHERE active AND res_model = '{LEAD}' AND res_id IN {self._some}"
        return (
            sorted(one for (one,) in run("SELECT x_entity_id FROM x_lead_score WHERE x_run_id = 'r1'")),
            sorted(str(one) for (one,) in run(tasks)),
        )


def _quoted(text: str | None) -> str:
    return "NULL::varchar" if text is None else f"'{text}'"
