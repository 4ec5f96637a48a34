"""The units of the nightly job: what is tried again, and what systemd itself says of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands.run import METRICS_VARIABLE
from pipeline.errors import DEFECT, EXIT_CODES, CrmError, LockError

UNITS = sorted((Path(__file__).resolve().parent.parent / "configs" / "systemd").iterdir())
ANALYZE = shutil.which("systemd-analyze")


def settings_of(name: str) -> list[tuple[str, str]]:
    [unit] = [unit for unit in UNITS if unit.name == name]
    return re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_nightly_job_is_tried_again_after_the_exit_codes_where_that_helps_and_no_other() -> None:
    settings = dict(settings_of("leadsieve.service"))
    passing = {EXIT_CODES[CrmError], EXIT_CODES[LockError]}
    assert settings["Restart"] == "on-failure"
    assert set(map(int, settings["RestartPreventExitStatus"].split())) == {*EXIT_CODES.values(), DEFECT} - passing


def test_the_nightly_job_scores_then_writes_the_pages_and_tells_prometheus() -> None:
    settings = settings_of("leadsieve.service")
    commands = [value.split("/leadsieve ")[1] for key, value in settings if key == "ExecStart"]
    assert commands == ["run --config configs/mycrm.yaml", "report --config configs/mycrm.yaml"]
    assert dict(settings)["Environment"] == (
        f"{METRICS_VARIABLE}=/var/lib/prometheus/node-exporter/leadsieve_mycrm.prom"
    )


def test_a_challenger_that_is_refused_is_no_failure() -> None:
    assert dict(settings_of("leadsieve-retrain.service"))["SuccessExitStatus"] == "1"


if ANALYZE:  # a machine without systemd has no such test

    @pytest.mark.parametrize("name", [unit.name for unit in UNITS])
    def test_systemd_finds_nothing_wrong_with_a_unit(name: str, tmp_path: Path) -> None:
        for unit in UNITS:
            text = unit.read_text(encoding="utf-8").replace("/srv/leadsieve/.venv/bin/leadsieve", sys.executable)
            (tmp_path / unit.name).write_text(text, encoding="utf-8")  # verify asks for a program that exists
        command = [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")
