"""What every adapter must pass when it writes (see `conformance`)."""

import pytest
from conformance import NEW, NUMBERS, OLD, TEXTS, Row, Subject, batch_of, check_written_once, read_rows, statuses, write

NOTHING: Row = (None, None, None)


class WriteConformance:
    """A record is written whole or not at all, and once."""

    def test_what_is_done_is_there(self, subject: Subject) -> None:
        ids = subject.make([OLD, OLD, OLD])
        results = write(subject, dict.fromkeys(ids[:2], (OLD, NEW)))
        assert statuses(results) == [(one, "done") for one in ids[:2]]
        assert [subject.read(one) for one in ids] == [NEW, NEW, OLD]
        check_written_once(subject, ids[:2])

    def test_results_come_in_the_order_of_the_batch(self, subject: Subject) -> None:
        ids = subject.make([OLD] * 5)
        subject.delete(ids[1])
        subject.edit(ids[3], subject.fields[1], "mine")
        order = [ids[4], ids[1], ids[0], ids[3], ids[2]]
        ends = ["done", "missing", "done", "conflict", "done"]
        results = write(subject, dict.fromkeys(order, (OLD, NEW)))
        assert statuses(results) == list(zip(order, ends, strict=True))
        assert [result.message is None for result in results] == [end == "done" for end in ends]

    @pytest.mark.parametrize("edited", [0, 1, 2])
    def test_one_edited_field_keeps_the_whole_record(self, subject: Subject, edited: int) -> None:
        ids = subject.make([OLD, OLD])
        mine = (0.125, "mine", "mine")[edited]
        subject.edit(ids[0], subject.fields[edited], mine)
        results = write(subject, dict.fromkeys(ids, (OLD, NEW)))
        assert statuses(results) == [(ids[0], "conflict"), (ids[1], "done")]
        assert subject.read(ids[0]) == tuple(mine if k == edited else OLD[k] for k in range(3))
        check_written_once(subject, ids[1:])

    def test_an_edit_of_a_field_that_is_not_written_is_no_conflict(self, subject: Subject) -> None:
        (one,) = subject.make([OLD])
        subject.edit(one, subject.fields[2], "mine")
        with subject.open() as adapter:
            results = adapter.write_batch(batch_of(subject, {one: (OLD, NEW)}, fields=(1, 0)))
        assert statuses(results) == [(one, "done")]
        assert subject.read(one) == (*NEW[:2], "mine")

    def test_a_record_that_does_not_exist_is_missing_and_not_made(self, subject: Subject) -> None:
        here, gone = subject.make([OLD, OLD])
        subject.delete(gone)
        results = write(subject, dict.fromkeys((gone, subject.absent, here), (OLD, NEW)))
        assert statuses(results) == [(gone, "missing"), (subject.absent, "missing"), (here, "done")]
        assert subject.count() == 1

    def test_sent_twice_it_is_written_once(self, subject: Subject) -> None:
        ids = subject.make([OLD, OLD])
        for _ in range(2):
            results = write(subject, dict.fromkeys(ids, (OLD, NEW)))
            assert statuses(results) == [(one, "done") for one in ids]
        assert [subject.read(one) for one in ids] == [NEW, NEW]
        check_written_once(subject, ids)

    def test_a_record_that_has_the_values_is_done_whatever_was_expected(self, subject: Subject) -> None:
        (one,) = subject.make([NEW])
        assert statuses(write(subject, {one: (OLD, NEW)})) == [(one, "done")]
        check_written_once(subject, [])

    def test_null_is_expected_where_null_is(self, subject: Subject) -> None:
        number = None if subject.traits.has_null_numbers else 0.0
        ids = subject.make([(number, None, None), (number, "", None), OLD])
        results = write(subject, dict.fromkeys(ids, ((number, None, None), NEW)))
        assert statuses(results) == [(ids[0], "done"), (ids[1], "conflict"), (ids[2], "conflict")]
        assert subject.read(ids[0]) == NEW

    def test_null_is_written(self, subject: Subject) -> None:
        (one,) = subject.make([OLD])
        empty: Row = (None if subject.traits.has_null_numbers else 0.0, None, None)
        assert statuses(write(subject, {one: (OLD, empty)})) == [(one, "done")]
        assert subject.read(one) == empty

    def test_texts_and_numbers_are_written_as_they_are(self, subject: Subject) -> None:
        rows: list[Row] = [(number, text, text) for number, text in zip(NUMBERS * 2, TEXTS, strict=False)]
        ids = subject.make([OLD] * len(rows))
        results = write(subject, {one: (OLD, row) for one, row in zip(ids, rows, strict=True)})
        assert {result.status for result in results} == {"done"}
        assert [subject.read(one) for one in ids] == rows
        back = write(subject, {one: (row, OLD) for one, row in zip(ids, rows, strict=True)})
        assert {result.status for result in back} == {"done"}
        assert read_rows(subject, ids) == dict.fromkeys(ids, OLD)

    def test_a_batch_of_nobody_is_nothing(self, subject: Subject) -> None:
        assert write(subject, {}) == []

    def test_a_full_batch_is_taken(self, subject: Subject) -> None:
        with subject.open() as adapter:
            many = min(adapter.capabilities().max_batch, subject.traits.many)
        ids = subject.make([OLD] * many)
        results = write(subject, dict.fromkeys(ids, (OLD, NEW)))
        assert statuses(results) == [(one, "done") for one in ids]
        check_written_once(subject, ids)


class ArchiveConformance:
    """For a CRM that archives records: they are records like others."""

    def test_archived_records_are_read_and_written(self, subject: Subject) -> None:
        ids = subject.make([OLD, OLD])
        subject.archive(ids[0])
        assert read_rows(subject, ids) == dict.fromkeys(ids, OLD)
        assert statuses(write(subject, dict.fromkeys(ids, (OLD, NEW)))) == [(one, "done") for one in ids]
        assert [subject.read(one) for one in ids] == [NEW, NEW]


class RefusalConformance:
    """For a CRM that cannot store everything: a record that is refused costs what the limits say."""

    def test_a_value_that_is_refused_fails_its_record_or_its_batch(self, subject: Subject) -> None:
        bad = subject.traits.refused
        assert bad is not None
        ids = subject.make([OLD] * 3)
        with subject.open() as adapter:
            is_atomic = adapter.capabilities().failure == "atomic"
            wanted = {one: (OLD, bad if one == ids[1] else NEW) for one in ids}
            results = adapter.write_batch(batch_of(subject, wanted))
        is_whole = is_atomic and results[0].status == "rejected"  # an adapter may know better, and spare the others
        others, kept = ("rejected", OLD) if is_whole else ("done", NEW)
        assert statuses(results) == [(ids[0], others), (ids[1], "rejected"), (ids[2], others)]
        assert [subject.read(one) for one in ids] == [kept, OLD, kept]

    def test_alone_it_is_refused_too_and_says_why(self, subject: Subject) -> None:
        bad = subject.traits.refused
        assert bad is not None
        (one,) = subject.make([OLD])
        (result,) = write(subject, {one: (OLD, bad)})
        assert result.status == "rejected"
        assert result.message
        assert subject.read(one) == OLD


class InsertConformance:
    """For a CRM in which we may add records: each once, and only what we added is removed."""

    def test_a_record_is_added_once(self, subject: Subject) -> None:
        for _ in range(2):
            assert statuses(write(subject, {"n1": (NOTHING, NEW)}, "insert")) == [("n1", "done")]
            assert subject.count() == 1
        assert subject.read("n1") == NEW
        assert statuses(write(subject, {"n1": (NOTHING, OLD)}, "insert")) == [("n1", "conflict")]
        assert subject.read("n1") == NEW

    def test_a_record_is_removed_if_it_is_as_expected(self, subject: Subject) -> None:
        write(subject, {"n1": (NOTHING, NEW), "n2": (NOTHING, NEW)}, "insert")
        assert statuses(write(subject, {"n1": (OLD, NOTHING)}, "delete")) == [("n1", "conflict")]
        for _ in range(2):
            assert statuses(write(subject, {"n1": (NEW, NOTHING)}, "delete")) == [("n1", "done")]
            assert (subject.read("n1"), subject.read("n2")) == (None, NEW)
