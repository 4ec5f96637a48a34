"""A simulated CRM in a real Odoo, extracted as configs/odoo.yaml says by the unprivileged user, and compared."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from odoo_server import RealOdoo
from odoo_world import load_world, look_up, simulate

from features.build import build_features
from features.spine import build_scoring_spine
from features.tables import load_tables
from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.adapters.odoo_source import OdooSource
from pipeline.config import load_config
from pipeline.deployment import load_catalog, make_target
from pipeline.extract import ExtractReport, extract

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Read:
    """A simulated CRM, what its records are called in Odoo, and what was read of it there."""

    report: ExtractReport
    config: Path
    world: duckdb.DuckDBPyConnection

    def rows(self, query: str) -> list[Any]:
        """Run a query over `sim_<table>`, with Odoo's ids and its times, and over `<table>` as it was stored."""
        return self.world.execute(query).fetchall()

    def difference(self, simulated: str, stored: str) -> list[Any]:
        """Rows of either query that the other lacks, up to five of each."""
        assert self.rows(f"SELECT count(*) > 0 FROM ({stored})") == [(True,)]
        only = "(SELECT '{}', * FROM (SELECT * FROM ({}) EXCEPT ALL SELECT * FROM ({})) LIMIT 5)"
        lacking = " UNION ALL ".join(
            [only.format("simulated", simulated, stored), only.format("stored", stored, simulated)]
        )
        return self.rows(lacking)


def write_config(server: RealOdoo, folder: Path) -> Path:
    """The shipped config for this server, its state in a folder of the test."""
    values = yaml.safe_load((ROOT / "configs" / "odoo.yaml").read_text(encoding="utf-8"))
    values["source"]["database"] = values["write_back"]["database"] = server.database
    for target in values["targets"].values():
        target["scorecard"] = str(ROOT / target["scorecard"])
    values |= {"state": str(folder), "currency": "USD", "stages": [*values["stages"], "Negotiation"]}
    folder.mkdir()
    path = folder / "odoo.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def as_nightly(odoo: RealOdoo) -> Iterator[RealOdoo]:
    """A server whose nightly user's key is in the environment, and no other."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ODOO_URL", odoo.url)
        environment.setenv("ODOO_KEY", odoo.keys["nightly"])
        yield odoo


@pytest.fixture(scope="module")
def read(as_nightly: RealOdoo, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """What an extract reads of a simulated CRM."""
    folder = tmp_path_factory.mktemp("odoo")
    simulate(folder / "sim", 100)
    shift = load_world(as_nightly.folder, folder / "sim")
    path = write_config(as_nightly, folder / "state")
    config = load_config(path)
    installer = OdooInstaller(as_nightly.admin, config)
    installer.install()
    installer.add_member("nightly")
    report = extract(config)
    world = duckdb.connect()
    for one in report.tables:
        [file] = report.folder.glob(f"{one.name}[.-]*parquet")
        world.execute(f"CREATE VIEW {one.name} AS FROM '{file}'")
    names = {
        "partners": "SELECT ref, id FROM res_partner WHERE ref LIKE 'C0%' OR ref LIKE 'P0%'",
        "leads": "SELECT referred, id FROM crm_lead WHERE referred LIKE 'D0%'",
        "messages": "SELECT message_id, id FROM mail_message WHERE message_id LIKE '<sim-A%'",
        "sales": "SELECT client_order_ref, id FROM sale_order WHERE client_order_ref LIKE 'R0%'",
        "moves": "SELECT ref, id FROM account_move WHERE ref LIKE 'I0%'",
        "users": "SELECT login, id FROM res_users WHERE login LIKE 'U0%'",
    }
    for name, query in names.items():
        world.execute(f"CREATE TABLE {name} (name VARCHAR, id VARCHAR)")
        world.executemany(f"INSERT INTO {name} VALUES (?, ?)", [list(row) for row in look_up(as_nightly.folder, query)])
    world.execute(f"CREATE MACRO moved(moment) AS date_trunc('second', moment + INTERVAL {shift.days} DAY)")
    for file in sorted((folder / "sim").glob("*.parquet")):
        world.execute(f"CREATE VIEW sim_{file.stem} AS FROM '{file}'")
    return Read(report, path, world)


def test_every_lead_is_there_lost_ones_too_with_its_customer_its_dates_and_its_outcome(read):
    simulated = """SELECT leads.id, moved(created_at), partners.id AS customer, moved(closed_at), outcome, lost_reason,
        source FROM sim_deals JOIN leads ON leads.name = deal_id JOIN partners ON partners.name = customer_id"""
    stored = """SELECT deal_id, created_at, customer_id, closed_at, outcome, lost_reason, source FROM deals
        WHERE deal_id IN (SELECT id FROM leads) AND known_until IS NULL"""
    assert read.difference(simulated, stored) == []
    assert read.rows("SELECT count(*) FROM leads") == read.rows("SELECT count(*) FROM sim_deals")
    assert read.rows("SELECT count(*) > 20 FROM deals WHERE outcome = 'lost' AND known_until IS NULL") == [(True,)]


def test_owner_and_amount_of_a_lead_are_those_it_had_at_each_moment(read):
    simulated = """SELECT leads.id, moved(occurred_at), field, CASE field WHEN 'amount' THEN
        CAST(CAST(new_value AS DECIMAL(18, 2)) AS VARCHAR) ELSE (SELECT id FROM users WHERE name = new_value) END
        FROM sim_attribute_changes JOIN leads ON name = entity_id
        WHERE table_name = 'deals' AND field IN ('amount', 'owner_id')"""
    stored = """SELECT entity_id, occurred_at, field, CASE field WHEN 'amount' THEN
        CAST(CAST(coalesce(new_value, '0') AS DECIMAL(18, 2)) AS VARCHAR) ELSE new_value END
        FROM attribute_changes WHERE table_name = 'deals' AND entity_id IN (SELECT id FROM leads)
        AND field IN ('amount', 'owner_id') AND NOT coalesce(is_own, false)"""
    assert read.difference(simulated, stored) == []


def test_a_lead_begins_in_its_first_stage_and_goes_through_all_others(read):
    simulated = """SELECT leads.id, moved(occurred_at), CASE stage WHEN 'proposal' THEN 'Proposition'
        ELSE upper(stage[1]) || stage[2:] END FROM sim_stage_changes JOIN leads ON name = deal_id
        UNION ALL SELECT leads.id, moved(closed_at), 'Won' FROM sim_deals JOIN leads ON name = deal_id
        WHERE outcome = 'won'"""
    stored = "SELECT deal_id, occurred_at, stage FROM stage_changes WHERE deal_id IN (SELECT id FROM leads)"
    assert read.difference(simulated, stored) == []


def test_emails_calls_meetings_and_notes_have_kind_direction_and_whom_they_are_about(read):
    simulated = """SELECT messages.id, moved(occurred_at), moved(known_at), customer.id AS customer, leads.id AS lead,
        CASE kind WHEN 'support' THEN 'note' ELSE kind END, CASE kind WHEN 'email' THEN direction END,
        CASE WHEN kind = 'email' AND direction = 'inbound' THEN contact.id END
        FROM sim_activities JOIN messages ON messages.name = '<sim-' || activity_id || '>'
        LEFT JOIN leads ON leads.name = deal_id LEFT JOIN partners AS customer ON customer.name = customer_id
        LEFT JOIN partners AS contact ON contact.name = contact_id"""
    stored = """SELECT activity_id, occurred_at, known_at, customer_id, deal_id, kind, direction, contact_id
        FROM activities WHERE activity_id IN (SELECT id FROM messages)"""
    assert read.difference(simulated, stored) == []


def test_customers_and_their_contacts_are_the_companies_and_people_of_odoo(read):
    customers = """SELECT partners.id, moved(created_at), name, tax_number, users.id AS owner FROM sim_customers AS c
        JOIN partners ON partners.name = customer_id LEFT JOIN users ON users.name = owner_id"""
    customers = customers.replace(" name,", " c.name,")
    stored = """SELECT customer_id, created_at, name, tax_number, owner_id FROM customers
        WHERE customer_id IN (SELECT id FROM partners) AND known_until IS NULL"""
    assert read.difference(customers, stored) == []
    contacts = """SELECT one.id, company.id AS company, title FROM sim_contacts
        JOIN partners AS one ON one.name = contact_id JOIN partners AS company ON company.name = customer_id"""
    stored = "SELECT contact_id, customer_id, title FROM contacts WHERE contact_id IN (SELECT id FROM partners)"
    assert read.difference(contacts, stored) == []
    [(count,)] = read.rows("SELECT count(DISTINCT customer_id) FROM customers")
    [(simulated,)] = read.rows("SELECT count(*) FROM sim_customers")
    assert simulated <= count <= simulated + 10  # neither our own company nor the people who work here


def test_orders_and_invoices_have_their_amounts_and_the_days_they_were_issued_and_paid(read):
    simulated = """SELECT sales.id, moved(occurred_at), moved(greatest(occurred_at, known_at)), partners.id AS customer,
        CAST(amount AS DECIMAL(18, 2)) FROM sim_orders JOIN sales ON sales.name = order_id
        JOIN partners ON partners.name = customer_id"""
    stored = """SELECT order_id, occurred_at, known_at, customer_id, CAST(amount AS DECIMAL(18, 2)) FROM orders
        WHERE order_id IN (SELECT id FROM sales)"""
    assert read.difference(simulated, stored) == []
    simulated = """SELECT moves.id, CAST(moved(occurred_at) AS DATE), partners.id AS customer,
        CAST(amount AS DECIMAL(18, 2)), CAST(moved(due_at) AS DATE), CAST(moved(paid_at) AS DATE),
        moved(paid_at_known_at)
        FROM sim_invoices JOIN moves ON moves.name = invoice_id JOIN partners ON partners.name = customer_id"""
    stored = """SELECT invoice_id, CAST(occurred_at AS DATE), customer_id, CAST(amount AS DECIMAL(18, 2)),
        CAST(due_at AS DATE), CAST(paid_at AS DATE), paid_at_known_at FROM invoices
        WHERE invoice_id IN (SELECT id FROM moves)"""
    assert read.difference(simulated, stored) == []


def test_every_model_was_counted_and_nothing_was_left_out_in_silence(read):
    assert [table.name for table in read.report.tables] == [
        "customers", "contacts", "deals", "stage_changes", "activities", "orders", "invoices", "attribute_changes",
    ]  # fmt: skip
    assert {table.name: (dict(table.dropped), dict(table.quarantined), table.warnings) for table in read.report.tables
            if table.dropped or table.quarantined or table.warnings} == {}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [("conversion", "deal_stage_rank"), ("churn", "orders_count_365d")])
def test_features_of_those_who_are_scored_are_built_of_what_odoo_has(read, name, expected):
    config = load_config(read.config)
    tables, target = load_tables(read.report.folder), make_target(config, name)
    spine = build_scoring_spine(tables, target)
    built = build_features(tables, spine, load_catalog(config), target.table).frame
    assert len(built) == len(spine) > 10
    assert built[expected].notna().mean() > 0.9
    assert not [column for column in built if "probability" in column]


def newest(folder: Path) -> list[Any]:
    """What holds of the leads in an extract, as far as Odoo says it."""
    [file] = folder.glob("deals[.-]*parquet")
    columns = "deal_id, created_at, customer_id, source, owner_id, team_id, amount, closed_at, outcome, lost_reason"
    return duckdb.sql(f"SELECT {columns} FROM '{file}' WHERE known_until IS NULL ORDER BY deal_id").fetchall()


def test_the_next_extract_reads_what_changed_and_ends_like_a_full_one(read, as_nightly, tmp_path):
    """People change, delete, lose and put away a lead, merge two, and make one that gets its customer later."""
    open_leads = "SELECT id FROM crm_lead WHERE referred LIKE 'D0%' AND won_status = 'pending' ORDER BY id"
    changed, deleted, lost, away, kept, merged = (str(row[0]) for row in look_up(as_nightly.folder, open_leads)[:6])
    as_nightly.edit(changed, {"expected_revenue": 4321.5})
    as_nightly.remove_leads([deleted])
    reason = as_nightly.admin.call("crm.lost.reason", "search", domain=[], limit=1)[0]
    as_nightly.admin.call("crm.lead", "action_set_lost", ids=[int(lost)], lost_reason_id=reason)
    as_nightly.admin.call("crm.lead", "merge_opportunity", ids=[int(kept), int(merged)])
    as_nightly.edit(away, {"active": False})
    [made] = as_nightly.add_leads([{"name": "made", "type": "opportunity"}])
    [(customer,)] = look_up(as_nightly.folder, "SELECT min(id) FROM res_partner WHERE ref LIKE 'C0%'")
    as_nightly.edit(made, {"partner_id": customer})
    time.sleep(1.1)  # the data end at a whole second of Odoo's clock: what changes within it is read the next time
    config = load_config(read.config)
    report = extract(config)
    leads = next(table for table in report.tables if table.name == "deals")
    assert (leads.rows_new, leads.rows_ended) == (1, 3)
    assert 5 <= leads.rows_read < 20  # those five, and what other tests wrote within the hour
    whole = extract(load_config(write_config(as_nightly, tmp_path / "whole")))
    assert newest(report.folder) == newest(whole.folder)
    outcome = {row[0]: row[8] for row in newest(report.folder)}
    assert (outcome[lost], outcome[made], deleted in outcome, away in outcome) == ("lost", None, False, False)
    assert [row[2] for row in newest(report.folder) if row[0] == made] == [None]  # whom it began with
    assert (kept in outcome) != (merged in outcome)  # Odoo itself chooses which of two it keeps
    as_nightly.remove_leads([made])


def test_nothing_is_read_again_of_leads_messages_orders_and_invoices_when_nothing_changed(read):
    config = load_config(read.config)
    late = config.model_copy(update={"source": config.source.model_copy(update={"overlap_minutes": 0})})
    with closing(OdooSource(late, read.config.parent / "spill")) as source:
        extract(late, source=source)
        counts = {one.name: one.records for one in source.reads}
    watched = ("crm.lead", "contact", "mail.message", "sale.order", "account.move")
    assert {name: counts[name] for name in watched} == dict.fromkeys(watched, 0)
