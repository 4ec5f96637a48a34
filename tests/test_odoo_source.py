"""Reading Odoo over its API: which records are asked for, what they become, and what is said when it cannot be."""

import time
from contextlib import closing
from datetime import UTC, date, datetime

import duckdb
import fake_odoo_methods
import pyarrow as pa
import pytest
from fake_odoo import FakeOdoo

from pipeline.adapters import odoo_models
from pipeline.adapters.odoo_source import OdooSource
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError, CrmError
from pipeline.extract import extract

NOON = "2024-07-01 12:00:00"
DEALS = {
    "select": "SELECT id AS deal_id, create_date AS created_at, name, NULL AS closed_at, NULL AS outcome, write_date "
    "FROM crm_lead",
    "known_at": "created_at",
    "modified_at": "write_date",
    "remembered": ["name"],
}
LEADS = {"fields": ["create_date", "name"], "rows_of": "deals"}


@pytest.fixture
def server(fake_odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch) -> FakeOdoo:
    """An Odoo with three leads, the second one archived, at noon of July 1."""
    tell_time(monkeypatch, NOON)
    for number, day in ((1, "2024-06-01"), (2, "2024-06-02"), (5, "2024-06-03")):
        add_lead(fake_odoo, number, f"{day} 08:00:00")
    fake_odoo.models["crm.lead"].records[2]["active"] = False
    monkeypatch.setenv("FAKE_URL", fake_odoo.url)
    monkeypatch.setenv("FAKE_KEY", "fake-nightly-key")
    return fake_odoo


def tell_time(monkeypatch, moment):
    """Let the clock of the fake server stand."""
    monkeypatch.setitem(fake_odoo_methods.METHODS, "default_get", lambda call: {"date": moment})


def add_lead(server, number, moment, **values):
    server.models["crm.lead"].add({"name": f"L{number}", **values}, record_id=number)
    server.models["crm.lead"].records[number].update(create_date=moment, write_date=moment)


def write_lead(server, number, moment, **values):
    server.models["crm.lead"].records[number].update(values, write_date=moment)


def configure(tmp_path, models=None, tables=None, **source):
    values = {
        "name": "crm",
        "state": str(tmp_path / "state"),
        "source": {
            "adapter": "odoo",
            "url_env": "FAKE_URL",
            "key_env": "FAKE_KEY",
            "database": "crm",
            "models": {"crm.lead": LEADS} if models is None else models,
            **source,
        },
        "tables": tables or {"deals": DEALS},
        "targets": {},
    }
    return Config.model_validate(values)


@pytest.fixture
def opened(server, tmp_path):
    """Opens the source of a config; it is closed at the end."""
    server.add_model("mail.message", {"date": {"type": "datetime"}})
    sources = []

    def open_source(models=None, tables=None, **source):
        sources.append(OdooSource(configure(tmp_path, models, tables, **source), tmp_path / "spill"))
        return sources[-1]

    yield open_source
    for source in sources:
        source.close()


def rows(batches):
    return [tuple(row.values()) for row in pa.Table.from_batches(list(batches)).to_pylist()]


def simple(columns, table="crm_lead"):
    """A table of deals that delivers some columns, read in full."""
    select = f"SELECT id AS deal_id, {columns} FROM {table} ORDER BY id"
    return {"deals": {"select": select}}


def reads(server):
    """Conditions of all pages that were asked for."""
    return [arguments["domain"] for _, method, arguments in server.calls if method == "search_read"]


def test_values_become_what_they_are_and_false_is_null_where_odoo_means_nothing(server, opened):
    kinds = {
        "text": {"type": "char"},
        "partner": {"type": "many2one"},
        "tags": {"type": "many2many"},
        "day": {"type": "date"},
        "moment": {"type": "datetime"},
        "is_hot": {"type": "boolean"},
        "amount": {"type": "monetary"},
        "count": {"type": "integer"},
    }
    full = {"text": "é", "partner": 7, "day": "2024-05-01", "moment": "2024-05-01 22:30:00"}
    thing = server.add_model("x.thing", kinds)
    thing.records[thing.add({**full, "is_hot": True, "amount": 12.5, "count": 3})]["tags"] = [3, 4]
    thing.add({})
    columns = "text, partner, tags, day, moment, is_hot, amount, count"
    source = opened({"x.thing": {"fields": list(kinds)}}, simple(columns, "x_thing"))
    [batch] = source.read("deals")
    assert str(batch.schema.field("moment").type) == "timestamp[us, tz=UTC]"
    assert [tuple(row.values())[1:] for row in batch.to_pylist()] == [
        ("é", 7, "3,4", date(2024, 5, 1), datetime(2024, 5, 1, 22, 30, tzinfo=UTC),
         True, 12.5, 3),
        (None, None, None, None, None, False, 0.0, 0),
    ]  # fmt: skip


def test_archived_records_are_read_unless_the_config_leaves_them_out(opened):
    names = simple("name")
    assert rows(opened({"crm.lead": {"fields": ["name"]}}, names).read("deals")) == [(1, "L1"), (2, "L2"), (5, "L5")]
    assert rows(opened({"crm.lead": {"fields": ["name"], "archived": False}}, names).read("deals")) == [
        (1, "L1"),
        (5, "L5"),
    ]


def test_only_records_of_the_domain_are_read_and_an_entry_may_have_a_name_of_its_own(opened):
    models = {"named": {"model": "crm.lead", "fields": ["name"], "domain": [["name", "!=", "L1"]]}}
    assert rows(opened(models, simple("name", "named")).read("deals")) == [(2, "L2"), (5, "L5")]


def test_a_model_without_records_has_its_columns(server, opened):
    server.models["crm.lead"].records.clear()
    [batch] = opened({"crm.lead": {"fields": ["name", "active"]}}, simple("name, active")).read("deals")
    assert (batch.num_rows, batch.schema.names) == (0, ["deal_id", "name", "active"])


@pytest.mark.parametrize(
    ("models", "columns", "message"),
    [
        ({"crm.lead": {"fields": ["nam"]}}, "name", "reads field 'nam', which crm.lead does not have.*mean 'name'"),
        ({"crm.lead": {"fields": ["picture"]}}, "id", "reads field 'picture', which is of type binary and no value"),
        (
            {"crm.leads": {"fields": ["name"]}},
            "name",
            "reads 'crm_lead', which is no model of source.*crm_leads",
        ),
        (
            {"crm.lead": {"fields": ["name"], "domain": [["nobody", "=", 1]]}},
            "name",
            "source.models.crm.lead: .*Invalid field crm.lead.nobody.*Correct its domain",
        ),
    ],
)
def test_what_odoo_does_not_have_is_said_before_anything_is_read(server, opened, models, columns, message):
    server.models["crm.lead"].fields["picture"] = {"type": "binary"}
    with pytest.raises(ConfigError, match=message):
        opened(models, simple(columns))
    assert reads(server) == []


def test_a_select_that_is_no_sql_is_a_mistake_of_the_config(opened):
    with pytest.raises(ConfigError, match=r"tables.deals.select fails: Parser Error.*Correct the SELECT"):
        opened(None, {"deals": {**DEALS, "select": "SELECT id FRM crm_lead"}})


def test_a_model_that_is_not_installed_is_an_empty_table_if_it_is_optional_and_that_is_said(opened):
    select = "SELECT id AS deal_id, partner_id, date_order, amount_total, state FROM sale_order"
    fields = ["partner_id", "date_order", "amount_total", "state"]
    source = opened({"sale.order": {"fields": fields, "optional": True}}, {"deals": {"select": select}})
    [batch] = source.read("deals")
    assert [str(kind) for kind in batch.schema.types] == ["int64", "int64", "timestamp[us, tz=UTC]", "double", "string"]
    assert (batch.num_rows, source.count("deals")) == (0, 0)
    assert source.warnings("deals") == ["sale.order counts as empty: it is not installed"]
    with pytest.raises(ConfigError, match=r"source.models.sale.order: .*does not exist.*Install its app"):
        opened({"sale.order": {"fields": fields}}, {"deals": {"select": select}})


def test_a_model_that_the_user_may_not_read_names_the_right_and_how_to_get_it(server, opened):
    server.add_model("mail.tracking.value", {"old": {"type": "char"}})
    server.forbid("mail.tracking.value", "nightly", "read")
    tables, entry = simple("old", "mail_tracking_value"), {"fields": ["old"]}
    with pytest.raises(ConfigError, match=r"not allowed for this user.*`leadsieve crm install`, run once"):
        opened({"mail.tracking.value": entry}, tables)
    source = opened({"mail.tracking.value": {**entry, "optional": True}}, tables)
    assert rows(source.read("deals")) == []
    assert "counts as empty: it may not be read. `leadsieve crm install`" in source.warnings("deals")[0]


def test_every_record_comes_though_pages_are_cut_before_odoo_takes_out_what_the_user_may_not_see(
    server, opened, monkeypatch
):
    monkeypatch.setattr(odoo_models, "PAGE", 2)
    for number in range(10, 19):
        add_lead(server, number, NOON)
    hidden = {1, 2, 10, 11, 12, 13, 18}  # two whole pages, the last record, and one of another page
    search, page, count = (fake_odoo_methods.METHODS[name] for name in ("search", "search_read", "search_count"))
    for name, act, seen in (
        ("search", search, lambda found: [one for one in found if one not in hidden]),
        ("search_read", page, lambda found: [one for one in found if one["id"] not in hidden]),
        ("search_count", count, lambda found: found - len(hidden)),
    ):
        monkeypatch.setitem(fake_odoo_methods.METHODS, name, lambda call, act=act, seen=seen: seen(act(call)))
    found = rows(opened({"crm.lead": {"fields": ["name"]}}, simple("name")).read("deals"))
    assert [number for number, _ in found] == [5, 14, 15, 16, 17]


def test_a_lead_that_comes_and_one_that_goes_while_the_others_are_read_are_looked_after(server, opened):
    def act():
        del server.models["crm.lead"].records[1]
        add_lead(server, 3, NOON)
        add_lead(server, 4, NOON)

    source = opened({"crm.lead": {"fields": ["name"]}}, simple("name"))
    server.before("search_count", act)
    assert rows(source.read("deals")) == [(2, "L2"), (3, "L3"), (4, "L4"), (5, "L5")]


def test_a_count_that_is_not_reached_though_nothing_changed_is_an_error_that_names_both_figures(opened, monkeypatch):
    source = opened({"crm.lead": {"fields": ["name"]}}, simple("name"))
    monkeypatch.setitem(fake_odoo_methods.METHODS, "search_count", lambda call: 4)
    with pytest.raises(CrmError, match=r"crm.lead: Odoo counts 4 records and delivers 3, and nothing changed meanwh"):
        list(source.read("deals"))


def test_records_that_odoo_names_and_does_not_deliver_are_missing(server, opened, monkeypatch):
    page = fake_odoo_methods.METHODS["search_read"]

    def cut(call):
        add_lead(server, max(server.models["crm.lead"].records) + 1, NOON)  # it goes on changing
        return [record for record in page(call) if record["id"] not in (2, 5)]

    source = opened({"crm.lead": {"fields": ["name"]}}, simple("name"))
    monkeypatch.setitem(fake_odoo_methods.METHODS, "search_read", cut)
    with pytest.raises(
        CrmError, match=r"crm.lead: 2 of \d records are missing \(id 2, 5\): Odoo names them and does not"
    ):
        list(source.read("deals"))


def test_a_model_that_changes_all_the_time_is_read_all_the_same(server, opened, monkeypatch):
    count = fake_odoo_methods.METHODS["search_count"]

    def grow(call):
        add_lead(server, max(server.models["crm.lead"].records) + 1, NOON)
        return count(call)

    source = opened({"crm.lead": {"fields": ["name"]}}, simple("name"))
    monkeypatch.setitem(fake_odoo_methods.METHODS, "search_count", grow)
    assert [row[0] for row in rows(source.read("deals"))] == [1, 2, 5, 6]  # 7 came when all had been read


def test_an_error_that_passes_is_waited_for(server, opened, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    source = opened({"crm.lead": {"fields": ["name"]}}, simple("name"))
    server.fail("503", "search_read", times=2)
    assert len(rows(source.read("deals"))) == 3
    assert len(waits) == 2


def test_only_leads_written_since_are_asked_for(server, opened):
    write_lead(server, 5, "2024-06-30 10:00:00", name="won")
    source = opened()
    changed = rows(source.read("deals", datetime(2024, 6, 30, 9, 30)))
    assert [(row[0], row[2]) for row in changed] == [(5, "won")]
    assert reads(server)[0] == [["write_date", ">=", "2024-06-30 09:30:00"], ["id", ">", 0]]
    assert [(one.name, one.records) for one in source.reads] == [("crm.lead", 1)]
    assert (source.count("deals"), rows(source.keys("deals"))) == (3, [(1,), (2,), (5,)])


def test_a_model_that_another_table_needs_too_is_read_once_and_whole(server, opened):
    stages = {"select": "SELECT id AS deal_id, create_date AS occurred_at, name AS stage FROM crm_lead"}
    source = opened(None, {"deals": DEALS, "stage_changes": stages})
    assert rows(source.read("deals", datetime(2024, 7, 1))) == []
    assert len(rows(source.read("stage_changes"))) == 3
    assert len(rows(source.read("deals"))) == 3
    assert (len(source.reads), source.count("deals"), len(rows(source.keys("deals")))) == (1, 3, 3)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("SELECT *, id AS deal_id FROM crm_lead WHERE name <> 'L1'", "1 records that the SELECT leaves out"),
        ("SELECT *, id + 100 AS deal_id FROM crm_lead", "3 records that the SELECT leaves out"),
        (
            "SELECT *, id AS deal_id FROM crm_lead UNION ALL FROM (SELECT *, id FROM crm_lead)",
            "3 records that it",
        ),
        (
            "SELECT * REPLACE (create_date AS write_date), id AS deal_id FROM crm_lead",
            "1 rows whose write_date is not the record's write_date",
        ),
        ("SELECT *, id AS deal_id FROM crm_lead UNION ALL SELECT *, 7 FROM crm_lead", "3 rows whose deal_id is no id"),
    ],
)
def test_rows_that_are_not_the_records_they_are_said_to_be_stop_the_extract(server, opened, select, message):
    write_lead(server, 1, NOON)
    source = opened(None, {"deals": {**DEALS, "select": select}})
    with pytest.raises(ConfigError, match=f"says rows_of: deals, and tables.deals.select has {message}"):
        list(source.read("deals"))


def test_the_data_ends_by_odoos_clock_and_by_the_config_where_that_says_so(opened, monkeypatch):
    source = opened()
    tell_time(monkeypatch, "2024-07-01 12:00:09")
    assert (source.data_end(), source.clock()) == (datetime(2024, 7, 1, 12), datetime(2024, 7, 1, 12, 0, 9))
    fixed = opened(data_end="2024-06-15 00:00:00")
    assert (fixed.data_end(), fixed.clock()) == (datetime(2024, 6, 15), None)
    tell_time(monkeypatch, False)
    with pytest.raises(CrmError, match="Odoo says that it is now False"):
        source.clock()


def stored(folder):
    """What holds of the deals in an extract."""
    query = "SELECT deal_id, name FROM '{}' WHERE known_until IS NULL ORDER BY 1".format(next(folder.glob("deals*")))
    return duckdb.sql(query).fetchall()


def test_an_incremental_extract_ends_like_a_full_one(server, opened, tmp_path, monkeypatch):
    """A lead is changed, one comes, one is archived, one vanishes as a merge leaves it; then nothing happens."""
    del opened  # which only adds the model of messages
    config = configure(tmp_path / "night")
    extract(config)
    write_lead(server, 1, "2024-07-01 15:00:00", name="changed")
    write_lead(server, 5, "2024-07-01 16:00:00", name="archived", active=False)
    del server.models["crm.lead"].records[2]
    add_lead(server, 8, "2024-07-01 17:00:00")
    tell_time(monkeypatch, "2024-07-02 12:00:00")
    report = extract(config)
    assert [(table.rows_read, table.rows_ended) for table in report.tables] == [(3, 1)]
    full = extract(configure(tmp_path / "whole"))
    assert full.tables[0].rows_read == 3
    assert stored(report.folder) == stored(full.folder) == [("1", "changed"), ("5", "archived"), ("8", "L8")]
    tell_time(monkeypatch, "2024-07-03 12:00:00")
    server.calls.clear()
    with closing(OdooSource(config, tmp_path / "spill")) as source:
        again = extract(config, source=source)
        assert [one.records for one in source.reads] == [0]
    assert (again.tables[0].rows_read, again.tables[0].rows_changed) == (0, 0)


@pytest.mark.parametrize(
    ("models", "tables", "message"),
    [
        (
            {"crm.lead": {"fields": ["name"]}},
            {"deals": DEALS},
            "tables.deals has modified_at, and no model says rows_of",
        ),
        (None, simple("create_date"), "models has rows_of: deals, and tables.deals has no modified_at"),
        (
            {"crm.lead": {**LEADS, "rows_of": "stages"}},
            None,
            "rows_of: stages, which must be one of customers, contacts",
        ),
        ({"crm.lead": LEADS, "crm_lead": LEADS}, None, "models has two entries for the table 'crm_lead'"),
        ({}, None, "adapter 'odoo' needs url_env, database, key_env and models"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(tmp_path, models, tables, message):
    with pytest.raises(ValueError, match=message):
        configure(tmp_path, models, tables)


def test_models_are_for_odoo_alone(tmp_path):
    source = {"adapter": "files", "folder": ".", "data_end": "2024-01-01", "models": {"crm.lead": LEADS}}
    values = {"name": "crm", "source": source, "tables": {"deals": DEALS}, "targets": {}}
    with pytest.raises(ValueError, match="models is for adapter 'odoo', and the adapter is 'files'"):
        Config.model_validate(values)


def test_a_misspelt_key_of_a_model_names_the_nearest(tmp_path):
    text = "name: crm\nsource: {adapter: odoo, models: {crm.lead: {field: [name]}}}\ntables: {}\ntargets: {}\n"
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"unknown key 'field' in source.models.crm.lead. Did you mean 'fields'\?"):
        load_config(tmp_path / "c.yaml")
