"""Laws: writing twice is writing once, and undo is exact, whatever the values."""

import tempfile
from pathlib import Path
from typing import Any

from crm_world import make_config, make_crm, make_scores, open_run, run_sql
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.writeback import undo_run, write_back

WORDS = st.none() | st.text(max_size=8)
STORED = WORDS | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary(max_size=4)
SCORE = st.tuples(st.none() | st.floats(-1e6, 1e6), WORDS, st.lists(st.text(max_size=5), max_size=2))


@settings(max_examples=10, deadline=None)
@given(
    stored=st.lists(st.tuples(STORED, STORED, STORED), min_size=20, max_size=20),
    scored=st.lists(SCORE, min_size=20, max_size=20),
)
def test_writing_twice_is_writing_once_and_undo_is_exact(
    stored: list[tuple[Any, Any, Any]], scored: list[tuple[float | None, str | None, list[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = "deal_id INTEGER PRIMARY KEY, name TEXT, score, grade, why"  # untyped: every value stays as it is
        make_crm(
            folder, [(deal, "n", *values) for deal, values in enumerate(stored)], f"CREATE TABLE deals ({columns})"
        )
        everything = "SELECT *, typeof(score), typeof(grade), typeof(why) FROM deals ORDER BY deal_id"
        before = run_sql(folder, everything)
        config = make_config(folder, batch_rows=7)
        rows = [(str(deal), *score) for deal, score in enumerate(scored)]
        with open_run(config, "r1", "r2") as ledger:
            write_back(config, ledger, make_scores("r1", rows), "r1").check()
            once = run_sql(folder, everything)
            assert write_back(config, ledger, make_scores("r2", rows), "r2").records == 0
            assert run_sql(folder, everything) == once
            assert undo_run(config, ledger, "r1").tables[0].conflicts == 0
        assert run_sql(folder, everything) == before
