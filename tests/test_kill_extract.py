"""An extract that is killed at any point leaves the tables of the one before, or its own."""

import re

import kill_extract
import pytest


def test_extracts_killed_at_random_leave_good_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert kill_extract.main(["--kills", "3", "--seed", "1"]) == 0
    assert re.search(r"3 of 3 days equal to the unkilled extracts", capsys.readouterr().out)
