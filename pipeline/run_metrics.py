"""What the nightly job did, as a text file for Prometheus: its node exporter reads it (`--collector.textfile`).

A gauge tells of the last run. A counter grows from run to run: it goes on from what the file says, and begins at 0
where there is none, which Prometheus takes for what it is, a reset. The end of the last run that succeeded is kept
when a run fails.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from pipeline.atomic_files import replace_file
from pipeline.run_log import RunLog

Labels = tuple[tuple[str, str], ...]
Samples = dict[str, dict[Labels, float]]
"""Values by the name of the metric and by labels."""

GAUGES: Mapping[str, str] = {
    "leadsieve_run_exit_code": "Exit code of the last run: 0 done, 1 to 5 and 70 as the README says.",
    "leadsieve_run_last_end_timestamp_seconds": "When the last run ended.",
    "leadsieve_run_last_success_timestamp_seconds": "When the last run with exit code 0 ended.",
    "leadsieve_run_data_end_timestamp_seconds": "Until when the data of the last extract go.",
    "leadsieve_run_step_duration_seconds": "How long a step of the last run took.",
    "leadsieve_run_step_rows_in": "Rows that a step of the last run was given.",
    "leadsieve_run_step_rows_out": "Rows that a step of the last run passed on, or wrote.",
    "leadsieve_run_step_failed": "Whether a step of the last run failed (1) or not (0).",
}
COUNTERS: Mapping[str, str] = {
    "leadsieve_runs_total": "Runs by the exit code they ended in.",
    "leadsieve_run_records_total": "Records of the CRM by what became of them in write-back.",
    "leadsieve_run_values_total": "Values of fields of the CRM by what became of them in write-back.",
    "leadsieve_run_requests_total": "Requests that write-back sent to the CRM.",
}
KEPT = ("leadsieve_run_last_success_timestamp_seconds", "leadsieve_run_data_end_timestamp_seconds")
"""Gauges that a run which has nothing to say of them leaves as they are."""

RECORD_ENDS = ("written", "skipped", "conflict", "missing")
VALUE_ENDS = ("written", "unchanged", "rejected", "outstanding", "waiting")
"""What may become of a record and of a value: each is counted from the first run on, so that its growth is seen."""

_SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


@dataclass(frozen=True)
class RunEnd:
    """How a run ended, and when (seconds since 1970)."""

    exit_code: int
    at: float


def write_metrics(path: Path, log: RunLog, end: RunEnd, otherwise: str) -> None:
    """Write what a run did over what the file says of those before.

    The file is renamed into place, so nobody reads half of it.

    Parameters
    ----------
    path : Path
        Ends in `.prom`, as the node exporter asks; each deployment needs its own.
    log : RunLog
        Its deployment is a label of every sample.
    end : RunEnd
    otherwise : str
        Name of the deployment where its config could not be read and the file names none.

    Raises
    ------
    OSError
        If the file cannot be read or written.

    """
    known = read_metrics(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else {}
    deployment = log.deployment or _deployment(known) or otherwise
    text = to_text(_gauges(log, end, deployment, known), _counters(log, end, deployment, known))
    replace_file(path, lambda partial: _write_readable(partial, text))


def _write_readable(path: Path, text: str) -> None:
    """Write a text that every user may read: the node exporter is another one."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def _deployment(known: Samples) -> str | None:
    """Name that the samples of earlier runs bear."""
    names = (dict(labels).get("deployment") for labels in known.get("leadsieve_run_exit_code", {}))
    return next(names, None)


def _gauges(log: RunLog, end: RunEnd, deployment: str, known: Samples) -> Samples:
    """What the last run was like, and what an earlier one said of which this one says nothing."""
    own = (("deployment", deployment),)
    found: Samples = {name: {} for name in GAUGES}
    for name in KEPT:
        found[name] |= known.get(name, {})
    found["leadsieve_run_exit_code"][own] = end.exit_code
    found["leadsieve_run_last_end_timestamp_seconds"][own] = end.at
    if end.exit_code == 0:
        found["leadsieve_run_last_success_timestamp_seconds"][own] = end.at
    if log.data_end is not None:
        found["leadsieve_run_data_end_timestamp_seconds"][own] = log.data_end.replace(tzinfo=UTC).timestamp()
    for step in log.steps:
        labels = (*own, ("step", step.name))
        found["leadsieve_run_step_duration_seconds"][labels] = round(step.seconds, 3)
        found["leadsieve_run_step_rows_in"][labels] = step.rows_in
        found["leadsieve_run_step_rows_out"][labels] = step.rows_out
        found["leadsieve_run_step_failed"][labels] = int(step.exit_code is not None)
    return found


def _counters(log: RunLog, end: RunEnd, deployment: str, known: Samples) -> Samples:
    """What was counted before, and this run added."""
    own = (("deployment", deployment),)
    found: Samples = {name: dict(known.get(name, {})) for name in COUNTERS}

    def add(name: str, labels: Labels, count: float) -> None:
        found[name][labels] = found[name].get(labels, 0) + count

    add("leadsieve_runs_total", (*own, ("exit_code", str(end.exit_code))), 1)
    add("leadsieve_run_requests_total", own, log.requests)
    for outcome in RECORD_ENDS:
        add("leadsieve_run_records_total", (*own, ("outcome", outcome)), log.records[outcome])
    for outcome in VALUE_ENDS:
        add("leadsieve_run_values_total", (*own, ("outcome", outcome)), log.values[outcome])
    return found


def to_text(gauges: Samples, counters: Samples) -> str:
    r"""Return samples in Prometheus' text format.

    >>> to_text({"leadsieve_run_exit_code": {(("deployment", 'a"b'),): 4}}, {}).splitlines()[1:]
    ['# TYPE leadsieve_run_exit_code gauge', 'leadsieve_run_exit_code{deployment="a\\"b"} 4']
    """
    return "".join(f"{line}\n" for line in (*_lines(gauges, GAUGES, "gauge"), *_lines(counters, COUNTERS, "counter")))


def _lines(samples: Samples, texts: Mapping[str, str], kind: str) -> Iterator[str]:
    for name, values in samples.items():
        if values:
            yield f"# HELP {name} {texts[name]}"
            yield f"# TYPE {name} {kind}"
        for labels, value in sorted(values.items()):
            inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels)
            yield f"{name}{{{inside}}} {int(value) if value == int(value) else repr(float(value))}"


def _escape(text: str) -> str:
    return re.sub(r'[\\"\n]', lambda found: _ESCAPES[found[0]], text)


def read_metrics(text: str) -> Samples:
    r"""Return the samples of a text that `to_text` made; lines that are none are passed over.

    >>> read_metrics('# TYPE x gauge\nx{deployment="shop"} 4\nsomething else')
    {'x': {(('deployment', 'shop'),): 4.0}}
    """
    found: Samples = {}
    unescape = {escaped: plain for plain, escaped in _ESCAPES.items()}
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match:
            labels = tuple(
                (name, re.sub(r"\\.", lambda one: unescape[one[0]], value)) for name, value in _LABEL.findall(match[2])
            )
            found.setdefault(match[1], {})[labels] = float(match[3])
    return found
