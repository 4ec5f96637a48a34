"""What the nightly job tells Prometheus: a strict reader of its text format, and the answers by hand."""

import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, CrmError
from pipeline.run_log import RunLog, part_of_job
from pipeline.run_metrics import COUNTERS, GAUGES, RECORD_ENDS, VALUE_ENDS, RunEnd, read_metrics, write_metrics

HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\\n]|\\\\|\\n)+)")
TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (gauge|counter)")
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse_strictly(text: str) -> Samples:
    """Read Prometheus' text format as strictly as its own parser does, and refuse what its linter would.

    Every family has one HELP and one TYPE before its samples, which stand together; no sample is there twice; the
    last line ends; counters end in `_total` and never fall below 0, gauges do not; units are base units.
    """
    assert text.endswith("\n"), "the last line does not end"
    kinds: dict[str, str] = {}
    found: Samples = {}
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if said := HELP.fullmatch(line):
            kind = TYPE.fullmatch(next(lines))
            assert kind, f"no TYPE after {line}"
            assert kind[1] == said[1] not in kinds, line
            assert (kind[2] == "counter") == kind[1].endswith("_total"), line
            assert not re.search(r"_(ms|minutes|hours|days|percent|kb|count|gauge|counter)\b", kind[1]), line
            kinds[kind[1]] = kind[2]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, f"neither a comment nor a sample: {line!r}"
        name, value = sample[1], float(sample[sample.lastindex or 0])
        assert name == list(kinds)[-1], f"{line} is not below its own TYPE"
        labels = [(label, _unescape(text)) for label, text in re.findall(LABEL, sample[2] or "")]
        key = name, frozenset(labels)
        assert len(dict(labels)) == len(labels), f"a label twice: {line}"
        assert key not in found, f"twice: {line}"
        assert kinds[name] == "gauge" or value >= 0, f"below 0: {line}"
        found[key] = value
    return found


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], text)


def get(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"leadsieve_{name}", frozenset({"deployment": "shop", **labels}.items())))


def make_log(**records: int) -> RunLog:
    """A run of two steps; what became of the CRM's records is given, three values of each that is written."""
    log = RunLog(lambda line: None)
    log.deployment = "shop"
    log.data_end = datetime(2026, 1, 1)  # UTC: 1,767,225,600 seconds
    log.records, log.values = Counter(records), Counter(written=3 * records.get("written", 0))
    log.requests = 3
    with log.step("extract") as step:
        step.rows_in, step.rows_out = 120, 100
    with log.step("score", 100) as step:
        step.rows_out = 40
    return log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadsieve.prom"


def write(path: Path, log: RunLog, code: int, at: float) -> Samples:
    write_metrics(path, log, RunEnd(code, at), otherwise="mycrm")
    return parse_strictly(path.read_text(encoding="utf-8"))


def test_the_text_says_what_the_run_did(path: Path) -> None:
    found = write(path, make_log(written=7, conflict=1), 0, 1767300000.25)
    assert get(found, "run_exit_code") == 0
    assert get(found, "run_last_end_timestamp_seconds") == 1767300000.25
    assert get(found, "run_last_success_timestamp_seconds") == 1767300000.25
    assert get(found, "run_data_end_timestamp_seconds") == 1767225600
    assert [get(found, f"run_step_rows_{way}", step="extract") for way in ("in", "out")] == [120, 100]
    assert [get(found, f"run_step_rows_{way}", step="score") for way in ("in", "out")] == [100, 40]
    assert get(found, "run_step_failed", step="score") == 0
    assert get(found, "run_step_duration_seconds", step="score") is not None
    records = {end: get(found, "run_records_total", outcome=end) for end in RECORD_ENDS}
    assert records == {"written": 7, "conflict": 1, "skipped": 0, "missing": 0}
    values = {end: get(found, "run_values_total", outcome=end) for end in VALUE_ENDS}
    assert values == {"written": 21, "unchanged": 0, "rejected": 0, "outstanding": 0, "waiting": 0}
    assert get(found, "run_requests_total") == 3
    assert get(found, "runs_total", exit_code="0") == 1
    assert {name for name, _ in found} == {*GAUGES, *COUNTERS}
    assert path.stat().st_mode & 0o777 == 0o644  # the node exporter is another user
    assert [one.name for one in path.parent.iterdir()] == ["leadsieve.prom"]


def test_a_failed_run_keeps_the_last_success_and_counts_on(path: Path) -> None:
    write(path, make_log(written=7), 0, 1000)
    broken = RunLog(lambda line: None)
    broken.deployment = "shop"
    with pytest.raises(CrmError, match="down"), broken.step("extract"):
        raise CrmError("down")
    found = write(path, broken, 4, 2000)
    assert get(found, "run_exit_code") == 4
    assert get(found, "run_last_end_timestamp_seconds") == 2000
    assert get(found, "run_last_success_timestamp_seconds") == 1000  # that of the run before
    assert get(found, "run_data_end_timestamp_seconds") == 1767225600  # it read nothing newer
    assert get(found, "run_step_failed", step="extract") == 1
    assert get(found, "run_step_rows_in", step="score") is None  # no step of this run
    assert get(found, "run_records_total", outcome="written") == 7
    third = write(path, make_log(written=5), 0, 3000)
    assert get(third, "run_records_total", outcome="written") == 12  # 7 + 5
    assert get(third, "run_requests_total") == 6  # 3 + 0 + 3
    assert [get(third, "runs_total", exit_code=code) for code in ("0", "4")] == [2, 1]


def test_before_the_first_success_there_is_no_time_of_it(path: Path) -> None:
    found = write(path, RunLog(lambda line: None), 2, 1000)
    assert [name for name, _ in found if "success" in name] == []
    ((_, labels),) = [key for key in found if key[0] == "leadsieve_run_exit_code"]
    assert labels == {("deployment", "mycrm")}  # no config was read, so the file's name stands in


def test_a_config_that_cannot_be_read_leaves_the_name_of_the_deployment(path: Path) -> None:
    write(path, make_log(), 0, 1000)
    found = write(path, RunLog(lambda line: None), 2, 2000)
    assert (get(found, "run_exit_code"), get(found, "run_last_success_timestamp_seconds")) == (2, 1000)


def test_names_of_every_kind_survive_the_file(path: Path) -> None:
    name = 'north "A"\\south\n东区, {x="1"} 7'
    log = make_log()
    log.deployment = name
    write(path, log, 0, 1000)
    log.deployment = None
    found = write(path, log, 0, 2000)
    assert {dict(labels)["deployment"] for _, labels in found} == {name}
    assert found["leadsieve_runs_total", frozenset({("deployment", name), ("exit_code", "0")})] == 2


@pytest.mark.parametrize("text", ["", "half a li", 'leadsieve_runs_total{deployment="shop"} many\n', "\x00\ufffd"])
def test_a_file_that_is_no_such_file_is_written_anew(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    assert get(write(path, make_log(), 0, 1000), "runs_total", exit_code="0") == 1


GOOD = "# HELP a_total Runs.\n# TYPE a_total counter\na_total 1\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD.removesuffix("\n"), "the last line does not end"),
        (GOOD.replace("a_total", "a"), "# HELP a Runs"),  # a counter by another name
        (GOOD + "a_total 2\n", "twice: a_total 2"),
        (GOOD.replace("# TYPE a_total counter\n", ""), "no TYPE after # HELP a_total"),
        (GOOD.replace("a_total 1", 'a_total{b="x"y"} 1'), "neither a comment nor a sample"),
        (GOOD.replace("a_total 1", "a_total -1"), "below 0: a_total -1"),
        (GOOD + "b 1\n", "b 1 is not below its own TYPE"),
    ],
)
def test_the_format_is_read_strictly(bad: str, reason: str) -> None:
    assert parse_strictly(GOOD) == {("a_total", frozenset()): 1}
    with pytest.raises(AssertionError, match=reason):
        parse_strictly(bad)


def test_lines_of_the_log_have_the_exit_code_of_the_step_that_failed() -> None:
    lines: list[str] = []
    log = RunLog(lines.append)
    with log.step("extract") as step:
        step.rows_in, step.rows_out, step.more = 12, 10, {"held_back": 2}
    with pytest.raises(ConfigError, match="wrong"), log.step("score", 10):
        raise ConfigError("wrong")
    shown: list[Any] = [re.sub(r"seconds=\d+\.\d+", "seconds=S", line) for line in lines]
    assert shown == [
        "step=extract seconds=S rows_in=12 rows_out=10 held_back=2",
        "step=score seconds=S rows_in=10 rows_out=0 exit_code=2",
    ]


def test_the_parts_of_a_step_are_told_before_it_and_once_however_often_they_are_done() -> None:
    lines: list[str] = []
    log = RunLog(lines.append)

    def write_back() -> None:
        for rows in (3, 4):
            with part_of_job("read_back", rows) as step:
                step.rows_out += rows
        with part_of_job("history", 9):
            raise CrmError("down")

    with log.under_way(), pytest.raises(CrmError, match="down"), log.step("write_back", 9):
        write_back()
    assert [re.sub(r"seconds=\d+\.\d+", "seconds=S", line) for line in lines] == [
        "step=read_back seconds=S rows_in=7 rows_out=7",
        "step=history seconds=S rows_in=9 rows_out=0 exit_code=4",
        "step=write_back seconds=S rows_in=9 rows_out=0 exit_code=4",
    ]
    with part_of_job("history"):  # of no job
        pass
    assert len(lines) == 3


def test_an_interrupted_step_is_no_step_that_ended() -> None:
    log = RunLog(lambda line: None)
    with pytest.raises(KeyboardInterrupt, match=r"^$"), log.step("score"):
        raise KeyboardInterrupt
    assert log.steps == []


def test_reading_gives_what_was_written(path: Path) -> None:
    strict = write(path, make_log(written=7), 0, 1000)
    loose = read_metrics(path.read_text(encoding="utf-8"))
    assert {(name, frozenset(labels)): value for name, of in loose.items() for labels, value in of.items()} == strict
