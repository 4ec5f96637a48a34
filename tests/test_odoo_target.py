"""Scores into Odoo: on a fake server, and the same on a real one where there is one."""

from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from fake_odoo import FakeOdoo, Fault
from odoo_place import FIELDS, LEADS, SCORED, Place, make_batch, name_ends

from pipeline.adapters.odoo_action import find_action, run_action
from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_own import ACTIONS
from pipeline.adapters.odoo_target import OdooTarget
from pipeline.adapters.patient import Patience, PatientTarget
from pipeline.adapters.target import TargetField, TargetTable
from pipeline.errors import ConfigError, CrmError, PassingCrmError
from pipeline.write_batches import send

OLD = (0.25, "B", "old")
NEW = (0.75, "A", "客户活跃")
SHOWN = {"x_trial_probability": 0.25, "x_trial_grade": "B", "x_trial_reasons": "old"}


class Answering:
    """A client whose server answers to the action as its code says, which somebody changed."""

    def __init__(self, client: OdooClient, answer: Any) -> None:
        self._client, self._answer, self.place = client, answer, client.place

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        return self._answer if method == "run" else self._client.call(model, method, **arguments)


def test_fields_are_told_as_odoo_declares_them(place: Place) -> None:
    fields = (*SCORED, "x_trial_points", "x_trial_at", "x_trial_day", "x_trial_choice", "x_trial_page")
    with place.open() as target:
        described = target.describe(LEADS, fields)
    assert list(described.values()) == [
        TargetField("x_trial_probability", "number", empty=0.0),
        TargetField("x_trial_grade", "text", length=10),
        TargetField("x_trial_reasons", "text"),
        TargetField("x_trial_points", "integer", empty=0),
        TargetField("x_trial_at", "time", decimals=0),  # Odoo keeps no parts of seconds
        TargetField("x_trial_day", "date"),
        TargetField("x_trial_choice", "text"),
        TargetField("x_trial_page", "other"),  # Odoo rewrites what it does not like in a page
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("probability", "is Odoo's own score and is never written"),
        ("automated_probability", "is Odoo's own score and is never written"),
        ("name", "is not ours: ours begin with 'x_'"),
        ("x_trial_grde", "does not exist. Did you mean 'x_trial_grade'"),
        ("x_trial_fixed", "is read-only"),
        ("x_trial_computed", "is computed by Odoo"),
        ("x_trial_related", "shows a field of another record"),
        ("x_trial_translated", "has a value for each language"),
        ("x_trial_company", "has a value for each company"),
    ],
)
def test_a_field_that_scores_may_not_go_to_is_refused(place: Place, name: str, message: str) -> None:
    with place.open() as target, pytest.raises(ConfigError, match=message):
        target.describe(LEADS, [name])


def test_a_model_that_does_not_exist_and_a_key_that_is_none_are_refused(place: Place) -> None:
    with place.open() as target:
        with pytest.raises(ConfigError, match=r"the model 'crm\.led' does not exist\. Check the name of the model"):
            target.describe(TargetTable("crm.led", "id"), SCORED)
        with pytest.raises(ConfigError, match=r"the key of Odoo's model 'crm\.lead' is 'id', got 'name'"):
            target.describe(TargetTable("crm.lead", "name"), SCORED)


def test_archived_records_are_read_and_deleted_ones_are_absent(place: Place) -> None:
    first, lost, gone, empty = place.add(SHOWN, {**SHOWN, "active": False}, SHOWN, {})
    place.delete(gone)
    with place.open() as target:
        found = target.read_fields(LEADS, [first, lost, gone, empty, "0", f"0{first}", "L1", "9" * 12], SCORED)
    assert found.ids == [first, lost, empty]
    assert found.columns == {
        "x_trial_probability": [0.25, 0.25, 0.0],  # numbers of Odoo are never null
        "x_trial_grade": ["B", "B", None],
        "x_trial_reasons": ["old", "old", None],
    }


def test_each_record_of_a_batch_has_an_end_of_its_own(place: Place) -> None:
    changed, edited, lost, gone, there = place.add(SHOWN, SHOWN, {**SHOWN, "active": False}, SHOWN, SHOWN)
    place.edit(edited, x_trial_grade="mine")
    place.delete(gone)
    place.edit(there, **dict(zip(SCORED, NEW, strict=True)))
    ids = [gone, there, edited, lost, changed, "L1"]
    with place.open() as target:
        results = target.write_batch(make_batch(ids, [OLD] * 6, [NEW] * 6))
    assert [result.record_id for result in results] == ids
    assert name_ends(results) == ["missing", "done", "conflict", "done", "done", "missing"]
    assert results[2].message == "x_trial_grade: expected 'B', found 'mine'"
    assert place.read([changed, edited, lost, there], *SCORED) == [NEW, (0.25, "mine", "old"), NEW, NEW]


def test_what_somebody_does_right_before_the_write_costs_only_that_record(place: Place) -> None:
    first, gone, edited = place.add(SHOWN, SHOWN, SHOWN)

    def act() -> None:
        place.delete(gone)
        place.edit(edited, x_trial_grade="mine")

    with place.open(before_write=act) as target:
        results = target.write_batch(make_batch([first, gone, edited], [OLD] * 3, [NEW] * 3))
        assert target.requests == 4  # fields, the action, a try without records, and its run
    assert name_ends(results) == ["done", "missing", "conflict"]
    assert place.read([first, edited], *SCORED) == [NEW, (0.25, "mine", "old")]


@pytest.mark.parametrize(
    "name", ["probability", "name", "user_id", "x_no", *(name for name in FIELDS if "_trial_" in name)]
)
def test_the_action_itself_writes_nothing_but_plain_fields_of_ours(place: Place, name: str) -> None:
    [lead] = place.add({})
    before = place.read([lead], "name", *SCORED)
    with closing(place.connect()) as client:
        action = find_action(client, "crm.lead")
        rows: list[list[Any]] = [[int(lead), ["another"], ["A"]]]
        if name in (*SCORED, "x_trial_choice", "x_trial_points", "x_trial_at", "x_trial_day"):
            left, written = run_action(client, action, [name], rows)
            assert ([number for number, _ in left], written) == ([int(lead)], [])
        else:
            with pytest.raises(OdooRefusal, match=f"Invalid field '{name}' on 'crm.lead'"):
                run_action(client, action, [name], rows)
    assert place.read([lead], "name", *SCORED) == before


def test_a_batch_of_which_odoo_keeps_something_else_is_not_written_at_all(place: Place) -> None:
    first, second = place.add(SHOWN, SHOWN)
    rows: list[list[Any]] = [[int(first), list(OLD), list(NEW)], [int(second), list(OLD), [0.5, "A" * 11, "cut"]]]
    with closing(place.connect()) as client:
        action = find_action(client, "crm.lead")
        message = f"does not keep what is sent for 'x_trial_grade' of record {second}"
        with pytest.raises(OdooRefusal, match=message):
            run_action(client, action, SCORED, rows)
    assert place.read([first, second], *SCORED) == [OLD, OLD]


def test_an_odoo_without_the_action_is_refused_before_anything_is_written(
    fake_odoo: FakeOdoo, fake_place: Place
) -> None:
    [lead] = fake_place.add(SHOWN)
    fake_odoo.models[ACTIONS].records.clear()
    with fake_place.open() as target:
        with pytest.raises(
            ConfigError,
            match=r"there is no action .* for 'crm\.lead' that the user of this key may run",
        ):
            target.describe(LEADS, SCORED)
        with pytest.raises(ConfigError, match=r"An administrator makes it, .* with `leadsieve crm install"):
            target.write_batch(make_batch([lead], [OLD], [NEW]))
    assert fake_place.read([lead], *SCORED) == [OLD]


@pytest.mark.parametrize(
    ("name", "empty", "value", "kept", "message"),
    [
        ("x_trial_grade", False, "A" * 11, "A", "keeps 10 characters, got 11"),
        ("x_trial_choice", False, "C", "B", "has no choice of this name"),
        ("x_trial_reasons", False, "a\0b", "ab", "cannot keep a NUL character"),
        ("x_trial_points", 0, 2**31, 7, "keeps integers below"),
    ],
)
def test_a_value_that_odoo_would_not_keep_costs_only_its_record(
    place: Place, name: str, empty: Any, value: Any, kept: Any, message: str
) -> None:
    first, second = place.add({}, {})
    with place.open() as target:
        results = target.write_batch(make_batch([first, second], [(None,)] * 2, [(value,), (kept,)], (name,)))
    assert name_ends(results) == ["rejected", "done"]
    assert message in str(results[0].message)
    assert place.read([first, second], name) == [(empty,), (kept,)]


def test_what_odoo_refuses_is_rejected_as_a_whole_and_not_repeated_in_the_message(place: Place) -> None:
    first, second = place.add(SHOWN, SHOWN)
    batch = make_batch([first, second], [OLD] * 2, [NEW, ("quite likely", "A", "x")])
    with place.open() as target:
        results = target.write_batch(batch)
    assert name_ends(results) == ["rejected", "rejected"]
    assert "could not convert string to float: '…'" in str(results[0].message)
    assert place.read([first, second], *SCORED) == [OLD, OLD]


def test_one_bad_record_of_many_costs_one_record_beside_a_conflict(fake_place: Place) -> None:
    ids = fake_place.add(*[SHOWN] * 240)
    fake_place.edit(ids[7], x_trial_grade="mine")
    values = [("quite likely", "A", "x") if at == 30 else NEW for at in range(240)]
    batch = make_batch(ids, [OLD] * 240, values)
    with fake_place.open() as target:
        assert Counter(name_ends(target.write_batch(batch))) == {"rejected": 240}  # one transaction
        ends = name_ends(send(PatientTarget(target, Patience()), batch))
    assert {at: end for at, end in enumerate(ends) if end != "done"} == {7: "conflict", 30: "rejected"}
    assert Counter(fake_place.read(ids, *SCORED)) == {NEW: 238, OLD: 1, (0.25, "mine", "old"): 1}


def test_values_come_back_as_they_were_sent(place: Place) -> None:
    fields = ("x_trial_probability", "x_trial_reasons", "x_trial_points", "x_trial_at", "x_trial_day", "x_trial_choice")
    rows = [
        (1 / 3, " blanks \n and lines\r\n", -5, "2024-05-01 02:00:00", "2024-05-01", "A"),
        (-0.0, "", 0, None, None, None),
        (1e300, "🙂 'quotes' \\ <b>", 2**31 - 1, "2024-05-01T02:00:00.5", "2024-05-01 02:00:00", ""),
        (None, None, None, "2024-05-01", None, "B"),
    ]
    kept = [
        (1 / 3, " blanks \n and lines\r\n", -5, "2024-05-01 02:00:00", "2024-05-01", "A"),
        (0.0, "", 0, None, None, None),
        (1e300, "🙂 'quotes' \\ <b>", 2**31 - 1, "2024-05-01 02:00:00", "2024-05-01", None),
        (0.0, None, 0, "2024-05-01 00:00:00", None, "B"),
    ]
    ids = place.add({}, {}, {}, {})
    with place.open() as target:
        results = target.write_batch(make_batch(ids, [(None,) * 6] * 4, rows, fields))
        found = target.read_fields(LEADS, ids, fields)
    assert [(result.status, result.message) for result in results] == [("done", None)] * 4
    assert list(zip(*found.columns.values(), strict=True)) == kept


@pytest.mark.parametrize("action", ["insert", "delete"])
def test_records_of_odoo_are_neither_added_nor_removed(fake_place: Place, action: Any) -> None:
    [lead] = fake_place.add(SHOWN)
    batch = replace(make_batch([lead], [OLD], [NEW]), action=action)
    with fake_place.open() as target:
        [result] = target.write_batch(batch)
    assert result.status == "rejected"
    assert "only updated" in str(result.message)
    assert fake_place.read([lead], *SCORED) == [OLD]


def test_a_batch_is_one_request(fake_place: Place) -> None:
    ids = fake_place.add(*[SHOWN] * 200)
    with fake_place.open() as target:
        target.describe(LEADS, SCORED)
        before = target.requests
        target.write_batch(make_batch(ids, [OLD] * 200, [NEW] * 200))
        assert target.requests - before == 1 == target.capabilities().requests_per_batch


@pytest.mark.parametrize("answer", [False, {"left": []}])
def test_an_action_that_somebody_changed_is_told(fake_place: Place, answer: Any) -> None:
    [lead] = fake_place.add(SHOWN)
    with closing(fake_place.connect()) as client:
        target = OdooTarget(Answering(client, answer))  # type: ignore[arg-type]
        with pytest.raises(
            ConfigError, match=r"answers otherwise than it should, .* puts it right with `leadsieve crm"
        ):
            target.write_batch(make_batch([lead], [OLD], [NEW]))


def test_an_action_that_is_removed_meanwhile_ends_the_run(fake_odoo: FakeOdoo, fake_place: Place) -> None:
    [lead] = fake_place.add(SHOWN)
    with fake_place.open() as target:
        target.describe(LEADS, SCORED)
        fake_odoo.models[ACTIONS].records.clear()
        with pytest.raises(ConfigError, match=r"An administrator makes it, .* with `leadsieve crm install"):
            target.write_batch(make_batch([lead], [OLD], [NEW]))


@pytest.mark.parametrize("fault", ["drop_after", "stall_after"])
def test_a_batch_whose_answer_got_lost_is_sent_again_and_written_once(
    fake_odoo: FakeOdoo, fake_place: Place, fault: Fault
) -> None:
    ids = fake_place.add(SHOWN, SHOWN)
    batch = make_batch(ids, [OLD] * 2, [NEW] * 2)
    counts = fake_odoo.models["crm.lead"].written
    counts.clear()
    fake_odoo.fail(fault, "run", after=1)  # its first run is a try without records
    with closing(fake_place.connect(read_s=0.2)) as client:
        target = OdooTarget(client)
        with pytest.raises(PassingCrmError, match=r"was not answered within|the connection failed or broke"):
            target.write_batch(batch)
        assert name_ends(target.write_batch(batch)) == ["done", "done"]
    assert set(fake_odoo.models["crm.lead"].written.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("429", PassingCrmError, "was answered with 429, try again later"),
        ("503", PassingCrmError, "was answered with 503"),
        ("drop", PassingCrmError, "the connection failed or broke"),
        ("serialization", PassingCrmError, r"could not do it at this moment \(SerializationFailure\)"),
        ("error200", CrmError, "was answered with 200 and an error"),
        ("html", CrmError, "200 and a web page instead of JSON, so a proxy or another program answers there"),
        ("redirect", ConfigError, "was redirected to sso.example/web/login, so something else answers there"),
    ],
)
def test_what_goes_wrong_on_the_way_is_named(
    fake_odoo: FakeOdoo, fake_place: Place, fault: Fault, error: type[Exception], message: str
) -> None:
    fake_odoo.retry_after = "7"
    fake_odoo.fail(fault, "search_read")
    with fake_place.open() as target:
        with pytest.raises(error, match=message) as caught:
            target.read_fields(LEADS, ["1"], SCORED)
        assert target.read_fields(LEADS, ["1"], SCORED).ids == []
    assert not {"secret", *fake_odoo.users} & set(str(caught.value).replace("/", " ").replace(":", " ").split())
    if fault in ("429", "503"):
        assert getattr(caught.value, "wait_s", None) == 7.0


def test_a_server_that_was_stopped_answers_again_when_it_is_started(fake_odoo: FakeOdoo, fake_place: Place) -> None:
    [lead] = fake_place.add(SHOWN)
    with fake_place.open() as target:
        assert target.read_fields(LEADS, [lead], SCORED).ids == [lead]
        fake_odoo.stop()
        with pytest.raises(PassingCrmError, match=r"cannot be reached|failed or broke"):
            target.read_fields(LEADS, [lead], SCORED)
        fake_odoo.start()
        assert name_ends(target.write_batch(make_batch([lead], [OLD], [NEW]))) == ["done"]


def test_a_field_or_a_right_that_is_taken_away_meanwhile_ends_the_run(fake_odoo: FakeOdoo, fake_place: Place) -> None:
    [lead] = fake_place.add(SHOWN)
    with fake_place.open() as target:
        target.describe(LEADS, SCORED)
        fake_odoo.forbid("crm.lead", "nightly", "write")
        with pytest.raises(ConfigError, match=r"this user of Odoo may not change 'crm\.lead'"):
            target.write_batch(make_batch([lead], [OLD], [NEW]))
        del fake_odoo.models["crm.lead"].fields["x_trial_grade"]
        with pytest.raises(ConfigError, match=r"field 'x_trial_grade' of Odoo's model 'crm\.lead' does not exist"):
            target.read_fields(LEADS, [lead], SCORED)


def test_a_refused_key_is_an_error_of_the_deployment_that_does_not_show_it(place: Place) -> None:
    with (
        closing(OdooClient(place.server.url, place.server.database, "not-a-key-of-anybody")) as client,
        pytest.raises(ConfigError, match="Odoo refuses the API key") as caught,
    ):
        client.call("crm.lead", "search_count", domain=[])
    assert "not-a-key" not in str(caught.value)


def test_a_database_that_does_not_exist_is_told_from_one_that_cannot_be_reached(place: Place) -> None:
    with (
        closing(OdooClient(place.server.url, "sales", place.keys["nightly"])) as client,
        pytest.raises(ConfigError, match="Odoo answers there and has no database of this name"),
    ):
        client.call("crm.lead", "search_count", domain=[])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://crm.example", "plain http would send the API key readable by all on the way"),
        ("https://job:secret@crm.example", "holds a user or password"),
        ("crm.example", r"cannot be read \(not shown\)"),
        ("https://crm.example:port", r"cannot be read \(not shown\)"),
        ("https://crm.example?key=secret", r"cannot be read \(not shown\)"),
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        OdooClient(url, "crm", "key")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"the API key of Odoo is empty or has .* \(not shown\)") as caught:
        OdooClient("https://crm.example", "crm", key)
    assert not key.strip() or key not in str(caught.value)
