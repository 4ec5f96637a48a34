"""Whatever goes wrong with a CRM, and as often: in the end every value is there, written once, and undo is exact."""

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from crm_world import open_run
from faulty_crm import FaultyCrm
from faulty_plan import KINDS, Delete, Edit, Fault, Kind
from faulty_store import JOB, PERSON, Change
from faulty_world import (
    FIELDS,
    connected,
    done_once,
    fill,
    make_deployment,
    make_plan,
    run_until_calm,
    scores_of,
    wanted,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.errors import CrmError
from pipeline.writeback import undo_run, write_back

EXAMPLES = 12 * int(os.environ.get("LEADSIEVE_LAWS", "1"))
SEARCHES = "LEADSIEVE_LAWS" in os.environ
Segments = Sequence[tuple[Fault | None, int]]
DEALS = 10
EVERY_FIELD = [(str(deal), name) for deal in range(DEALS) for name in sorted(FIELDS)]
ONCE = Counter({("deals", deal, name): 1 for deal, name in EVERY_FIELD})

segments = st.lists(st.tuples(st.none() | st.sampled_from(KINDS), st.integers(1, 12)), max_size=8)
"""Runs of the same fault; one of eight or more is more than a job waits for."""
people = st.dictionaries(
    st.integers(1, 40),
    st.builds(Edit, st.just("deals"), st.sampled_from("0123"), st.sampled_from(FIELDS), st.just("mine"))
    | st.builds(Delete, st.just("deals"), st.sampled_from("45")),
    max_size=4,
)
law = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SEARCHES else [])],
    deadline=None,
    derandomize=not SEARCHES,
)


class World:
    """A faulty CRM with deals, and a ledger, for one example of a law."""

    def __init__(
        self, folder: Path, faults: Sequence[tuple[Fault | None, int]], events: Any = None, **crm: Any
    ) -> None:
        self.crm = FaultyCrm(plan=make_plan(faults, events), **crm)
        fill(self.crm, DEALS)
        self.before = self.crm.read_all("deals")
        self._filled = len(self.crm.changes("deals"))
        self.last_fault = max([sum(times for _, times in faults), *(events or {})])
        self.limit = self.last_fault + 3
        self.config = make_deployment(folder)
        self.ledger = open_run(self.config)
        self.runs: list[str] = []

    @property
    def changes(self) -> list[Change]:
        """What has changed since the example began."""
        return self.crm.changes("deals")[self._filled :]

    def write(self, change_run: bool) -> Any:
        """Write until all is calm: as the same run again, or as the run of the next night."""

        def job() -> Any:
            run_id = f"r{len(self.runs) if change_run else 0}"
            if run_id not in self.runs:
                self.runs.append(run_id)
                self.ledger.start_run(run_id, "score", {}, "name: demo")
            return write_back(self.config, self.ledger, scores_of(run_id, DEALS), run_id)

        with connected(self.crm):
            return run_until_calm(self.crm, self.last_fault, job, self.limit)

    def undo(self, faults: Segments = ()) -> None:
        """Take all runs back, the newest first, while more goes wrong."""
        begun, plan = self.crm.requests, make_plan(faults)
        self.crm.plan = lambda number: plan(number - begun)
        last = begun + sum(times for _, times in faults)
        self.limit += last - begun
        with connected(self.crm):
            for run_id in reversed(self.runs):
                run_until_calm(
                    self.crm, last, lambda run_id=run_id: undo_run(self.config, self.ledger, run_id), self.limit
                )


@law
@given(segments, segments, st.booleans(), st.booleans(), st.sampled_from(["atomic", "partial"]))
def test_after_any_faults_every_value_is_written_once_and_undo_is_exact(
    faults: Any, later: Any, change_run: bool, compares: bool, failure: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), faults, compares=compares, failure=failure)
        report = world.write(change_run)
        report.check()
        assert world.crm.read_all("deals") == wanted(DEALS)
        assert world.crm.writes() == ONCE
        assert done_once(world.ledger, world.runs) == EVERY_FIELD
        assert world.ledger.writes.outstanding() == []
        world.undo(later)
        assert world.crm.read_all("deals") == world.before
        assert world.crm.writes() == ONCE + ONCE
        assert world.ledger.writes.outstanding() == []
        world.ledger.close()


@law
@given(segments, people, st.sampled_from(["atomic", "partial"]))
def test_whatever_people_do_meanwhile_no_edit_is_overwritten_after_our_write_and_undo_leaves_it(
    faults: Any, events: Any, failure: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), faults, events, failure=failure)
        world.write(change_run=True)
        after = world.crm.read_all("deals")
        history = world.changes
        assert max(Counter(one[:2] for one in history if one.who == JOB).values(), default=0) <= 1
        for one, row in wanted(DEALS).items():
            for name in FIELDS:
                changes = [change for change in history if (change.record_id, change.field) == (one, name)]
                is_ours = one in after and after[one][name] == row[name]
                assert one not in after or is_ours or changes[-1].who == PERSON
        assert world.ledger.writes.outstanding() == []
        world.undo()
        for one, row in world.crm.read_all("deals").items():
            for name in FIELDS:
                assert row[name] == what_undo_leaves(world, history, one, name)
        world.ledger.close()


def test_an_edit_after_an_interrupted_write_stays_every_night(tmp_path: Path) -> None:
    """r0 wrote deal 9 and never heard so; a person edits it; r1 tells a conflict, and so do r2 and r3."""
    world = World(tmp_path, [(None, 2), ("drop_after", 1), ("unavailable", 7)])
    for night in range(4):
        world.ledger.start_run(f"r{night}", "score", {}, "name: demo")
        with connected(world.crm), contextlib.suppress(CrmError):
            report = write_back(world.config, world.ledger, scores_of(f"r{night}", DEALS), f"r{night}")
            assert report.tables[0].conflicts == 1
        if night == 0:
            assert world.crm.read_all("deals")["9"] == wanted(DEALS)["9"]
            world.crm.put("deals", "9", {"score": 0.77})
        assert world.crm.read_all("deals")["9"] == wanted(DEALS)["9"] | {"score": 0.77}
    with connected(world.crm):
        scores = scores_of("r3", DEALS)
        assert write_back(world.config, world.ledger, scores, "r3", take_over=True).tables[0].conflicts == 0
    assert world.crm.read_all("deals") == wanted(DEALS)
    world.ledger.close()


def what_undo_leaves(world: World, history: Sequence[Change], record_id: str, name: str) -> Any:
    """A person's edit, if it is the newest change; else what was there before we wrote."""
    mine = [change for change in history if (change.record_id, change.field) == (record_id, name)]
    if not mine:
        return world.before[record_id][name]
    return mine[-1].old if mine[-1].who == JOB else "mine"


BAD = "A"
"""A grade that the CRM refuses; deals 0, 3, 6 and 9 would get it."""


@pytest.mark.parametrize("failure", ["atomic", "partial"])
def test_bad_records_cost_themselves_only_and_are_told(tmp_path: Path, failure: Any) -> None:
    world = World(tmp_path, [], failure=failure, refused=[BAD])
    report = world.write(change_run=False)
    rows, target = world.crm.read_all("deals"), wanted(DEALS)
    for deal in map(str, range(DEALS)):
        assert rows[deal] == (world.before if deal in ("0", "3", "6", "9") else target)[deal]
    assert report.tables[0].rejected == 4 * len(FIELDS)
    with pytest.raises(CrmError, match="refused 12 values"):
        report.check()
    world.undo()
    assert world.crm.read_all("deals") == world.before
    world.ledger.close()


@pytest.mark.parametrize("failure", ["atomic", "partial"])
def test_a_field_that_is_taken_and_not_stored_is_refused_and_its_record_left_as_it_was(
    tmp_path: Path, failure: Any
) -> None:
    world = World(tmp_path, [], failure=failure, dropped=["grade"])
    report = world.write(change_run=False)
    assert world.crm.read_all("deals") == world.before
    assert report.tables[0].rejected == DEALS * len(FIELDS)
    world.ledger.close()


def test_an_edit_within_the_window_of_a_crm_that_cannot_compare_is_overwritten_and_undo_gives_what_was_read(
    tmp_path: Path,
) -> None:
    """The one loss that no adapter can exclude: the window is as long as one write (see the adapter's docs)."""
    write_request = 4  # after the catalogue, the plan's look at all deals, and the last look at the first batch
    world = World(tmp_path, [], {write_request: Edit("deals", "9", "grade", "mine")}, compares=False)
    world.write(change_run=False)
    assert [change.who for change in world.changes if change[:2] == ("9", "grade")] == [PERSON, JOB]
    assert world.crm.read_all("deals") == wanted(DEALS)
    world.undo()
    assert world.crm.read_all("deals") == world.before
    world.ledger.close()


def test_an_edit_in_the_same_moment_is_a_conflict_where_the_crm_compares(tmp_path: Path) -> None:
    world = World(tmp_path, [], {3: Edit("deals", "9", "grade", "mine")})
    config, ledger = world.config, world.ledger
    ledger.start_run("r0", "score", {}, "name: demo")
    with connected(world.crm):
        report = write_back(config, ledger, scores_of("r0", DEALS), "r0")
    assert (report.records, report.tables[0].conflicts) == (DEALS - 1, 1)
    assert world.crm.read_all("deals")["9"] == world.before["9"] | {"grade": "mine"}
    ledger.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "stale"])
def test_a_fault_that_passes_is_not_noticed(tmp_path: Path, kind: Kind) -> None:
    world = World(tmp_path, [(None, 2), (kind, 1), (None, 2), (kind, 2)])
    world.ledger.start_run("r0", "score", {}, "name: demo")
    with connected(world.crm):
        report = write_back(world.config, world.ledger, scores_of("r0", DEALS), "r0")
    waiting = report.tables[0].outstanding
    assert (waiting > 0) == (kind == "partial")  # the busy records wait for the next run
    assert world.crm.writes().total() + waiting == ONCE.total()
    world.ledger.close()
