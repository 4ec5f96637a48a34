"""What a whole run writes to Odoo, whose fields keep less than a score has."""

from pathlib import Path

import pandas as pd
import pytest
from crm_world import make_scores, open_run
from odoo_place import Place, make_odoo_config

from pipeline.writeback import undo_run, write_back

FIELDS = {"x_trial_probability": "probability", "x_trial_grade": "grade", "x_trial_at": "as_of"}


def test_null_and_parts_of_seconds_are_written_as_odoo_keeps_them_and_cost_no_second_write(
    fake_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODOO_TEST_URL", fake_place.server.url)
    monkeypatch.setenv("ODOO_TEST_KEY", fake_place.keys["nightly"])
    config = make_odoo_config(tmp_path, "crm", FIELDS)
    ids = fake_place.add({}, {})
    scores = make_scores("r1", [(ids[0], None, "a grade that is long", []), (ids[1], 0.123456, None, [])])
    scores = scores.assign(as_of=pd.Timestamp("2024-05-01 02:00:00.5"))
    with open_run(config, "r1", "r2") as ledger:
        assert write_back(config, ledger, scores, "r1").records == 2
        assert fake_place.read(ids, *FIELDS) == [
            (0.0, "a grade t…", "2024-05-01 02:00:00"),  # numbers of Odoo have no null; 10 characters fit
            (0.1235, False, "2024-05-01 02:00:00"),
        ]
        again = write_back(config, ledger, scores.assign(run_id="r2"), "r2")
        assert (again.records, again.tables[0].fields) == (0, 0)
        undo_run(config, ledger, "r1")
    assert fake_place.read(ids, *FIELDS) == [(0.0, False, False)] * 2
