"""What the log of a job says of the parts of write-back: fields are read back, tasks raised, history kept."""

import re
from pathlib import Path
from unittest.mock import patch

import pytest
from test_own_rows import make_world, write_night

from pipeline.errors import PassingCrmError
from pipeline.run_log import RunLog


def write_logged(folder: Path, lines: list[str], number: int = 1) -> None:
    """Write one night of two deals, one of which has a flag, as a step of a job."""
    config = make_world(folder)
    log = RunLog(lambda line: lines.append(re.sub(r"seconds=\d+\.\d+", "seconds=S", line)))
    with log.under_way(), log.step("write_back", 2) as step:
        step.rows_out = write_night(config, number).records


def test_each_part_has_a_line_and_write_back_comes_last(crm_folder: Path) -> None:
    lines: list[str] = []
    write_logged(crm_folder, lines)
    assert lines == [
        "step=read_back seconds=S rows_in=2 rows_out=2",  # both deals: a sample takes all of few
        "step=follow_ups seconds=S rows_in=1 rows_out=1",  # one flag, one task
        "step=history seconds=S rows_in=2 rows_out=2",
        "step=write_back seconds=S rows_in=2 rows_out=2",
    ]


def test_the_part_that_fails_is_named_with_the_exit_code(crm_folder: Path) -> None:
    lines: list[str] = []
    down = PassingCrmError("The CRM is down.")
    with patch("pipeline.own_rows.add_history", side_effect=down), pytest.raises(PassingCrmError, match="is down"):
        write_logged(crm_folder, lines)
    assert lines[-2:] == [
        "step=history seconds=S rows_in=2 rows_out=0 exit_code=4",
        "step=write_back seconds=S rows_in=2 rows_out=0 exit_code=4",
    ]
