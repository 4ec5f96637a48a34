"""`leadsieve run`: the nightly job."""

import time

import typer

from pipeline.commands.options import ConfigOption, JsonOption, print_json
from pipeline.config import load_config


def run(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Extract, score and write back, under the deployment's lock. Safe to kill and to run again.

    One line per step on stderr: name, seconds, rows in, rows out.
    """
    from pipeline.extract import extract
    from pipeline.field_values import check_write_back
    from pipeline.horizon_scores import primary_scores
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.score import score
    from pipeline.writeback import write_back

    settings = load_config(config)
    check_write_back(settings)
    with hold_lock(settings.folder, "run"), open_ledger(settings.folder / "ledger.db") as ledger:
        clock = _Clock()
        extracted = extract(settings)
        read, stored = (sum(getattr(one, key) for one in extracted.tables) for key in ("rows_read", "rows"))
        clock.step("extract", read, stored)
        scored = score(settings, ledger)
        clock.step("score", stored, len(scored.scores))
        report = write_back(settings, ledger, scored.scores, scored.run_id)
        left = {key: sum(getattr(table, key) for table in report.tables) for key in ("conflicts", "missing")}
        clock.step("write_back", len(primary_scores(settings, scored.scores)), report.records, **left)
    if as_json:
        facts = {"run_id": scored.run_id, "data_end": extracted.data_end.isoformat(), "notes": scored.notes}
        print_json({**facts, "steps": clock.steps})
    report.check()


class _Clock:
    """Times the steps of a job and logs a line for each."""

    def __init__(self) -> None:
        self.steps: list[dict[str, object]] = []
        self._since = time.perf_counter()

    def step(self, name: str, rows_in: int, rows_out: int, **more: int) -> None:
        now = time.perf_counter()
        step = {"step": name, "seconds": round(now - self._since, 2), "rows_in": rows_in, "rows_out": rows_out, **more}
        self._since = now
        self.steps.append(step)
        typer.echo(" ".join(f"{key}={value}" for key, value in step.items()), err=True)
