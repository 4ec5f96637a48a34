"""Benchmark: the history of scores and follow-up tasks, in SQLite and in a real PostgreSQL.

    .venv/bin/python tests/bench_history.py [--rows 1000000] [--few 20000]

Prints what it takes to add the rows of a run, reasons in two languages included, to find that all are there (the second
time), to remove them, and to raise a task for every twentieth of `few` customers. Beside PostgreSQL stands a bare COPY
of rows that are text already, into the same table. Seconds are those on the clock, then those of processors: ours, and
the server's.
"""

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))


MASTERS: list[str] = []
"""Process of the server, while there is one."""


def read_server_seconds() -> float:
    """Processor seconds of the server: its first process with those that have ended, and the others."""
    ticks = 0
    for place in Path("/proc").iterdir() if MASTERS else ():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split() if place.name.isdigit() else []
        except OSError:  # it has just ended
            continue
        if place.name in MASTERS:
            ticks += sum(map(int, fields[11:15]))
        elif fields and fields[1] in MASTERS:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(name: str, rows: int, work: Callable[[], Any]) -> Any:
    wall, cpu, served = time.perf_counter(), time.process_time(), read_server_seconds()
    found = work()
    wall, cpu, served = time.perf_counter() - wall, time.process_time() - cpu, read_server_seconds() - served
    times = f"{wall:7.1f} s  {cpu:7.1f} + {served:5.1f} s CPU"
    print(f"{name:42} {rows:>9,} rows {times}  {rows / wall:>9,.0f} rows/s", flush=True)
    return found


def make_scores(rows: int, run_id: str) -> Any:
    """Scores with seven reasons each, every twentieth with a flag."""
    import numpy as np
    import pandas as pd
    from crm_world import make_scores as make_few

    reasons = json.dumps(
        [
            {"feature": f"activities_call_count_{n}d", "value": n, "contribution": 0.25, "en": f"{n} calls in 90 days",
             "zh": f"90 天内通话 {n} 次"}
            for n in range(7)
        ],
        ensure_ascii=False,
    )  # fmt: skip
    one = make_few(run_id, [("0", 0.5, "priority", [])])
    frame = one.loc[one.index.repeat(rows)]
    flags = pd.Series(['["early_warning"]' if n % 20 == 0 else None for n in range(rows)], dtype="str")
    ids = [f"D{n:07}" for n in range(rows)]
    return frame.reset_index(drop=True).assign(
        entity_id=ids, probability=np.random.default_rng(1).random(rows), reasons=reasons, flags=flags
    )


def bench_history(config: Any, rows: int, name: str) -> None:
    from crm_world import open_run

    from pipeline.crm import open_crm
    from pipeline.score_history import add_history, plan_history, remove_history

    scores = make_scores(rows, "r1")
    with open_run(config, "r1") as ledger, open_crm(config) as crm:
        assert crm.history is not None
        history = crm.history

        def add() -> Any:
            return add_history(config, ledger, history, plan_history(config, history, scores, "r1"))

        done = measure(f"{name}: history", rows, add)
        assert done.added == rows
        again = measure(f"{name}: history, the second time", rows, add)
        assert (again.added, again.unchanged) == (0, rows)
        gone = measure(f"{name}: undo", rows, lambda: remove_history(ledger, history, "r1"))
        assert gone.removed == rows


def bench_copy(config: Any, rows: int) -> None:
    """Fill the table of the history, which is empty, with text that is there already."""
    from pipeline.adapters.history_rows import COLUMNS, make_rows
    from pipeline.crm import open_crm

    text = io.BytesIO()
    for row in make_rows(make_scores(rows, "r1"), "r1"):
        values = (getattr(row, name) for name in COLUMNS)
        text.write(("\t".join("\\N" if value is None else str(value) for value in values) + "\n").encode())
    text.seek(0)
    with open_crm(config) as crm:
        assert crm.history is not None
        inner: Any = crm.history.history
        connection = inner._engine.raw_connection()

        def copy() -> None:
            connection.cursor().execute(f"COPY leadsieve_scores ({', '.join(COLUMNS)}) FROM STDIN", stream=text)
            connection.commit()

        measure("PostgreSQL: bare COPY of ready text", rows, copy)
        connection.close()


def bench_follow_ups(config: Any, rows: int, name: str) -> None:
    from crm_world import open_run

    from pipeline.crm import open_crm
    from pipeline.follow_up_plan import plan_follow_ups
    from pipeline.follow_ups import raise_follow_ups, withdraw_follow_ups

    scores = make_scores(rows, "r2")
    tasks = rows // 20
    with open_run(config, "r2") as ledger, open_crm(config) as crm:
        assert crm.follow_ups is not None
        crm_tasks = crm.follow_ups
        ledger.replace_scores("r2", scores)
        ledger.finish_run("r2", "done")

        def raise_all() -> Any:
            return raise_follow_ups(ledger, crm_tasks, plan_follow_ups(config, ledger, crm_tasks, scores, "r2"))

        assert measure(f"{name}: tasks", tasks, raise_all).raised == tasks
        assert measure(f"{name}: tasks, the second time", tasks, raise_all).still_open == tasks
        back = measure(f"{name}: undo of tasks", tasks, lambda: withdraw_follow_ups(ledger, crm_tasks, "r2"))
        assert back.withdrawn == tasks


def make_world(folder: Path, rows: int) -> Any:
    from crm_world import make_config, run_sql
    from test_follow_ups import CARD

    folder.mkdir()
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    mapping = {"target": "deals", "key": "deal_id", "fields": {}}
    section = {"flags": {"conversion": ["early_warning"]}, "owner_field": "owner"}
    config = make_config(folder, tables={"conversion": mapping}, history={}, follow_ups=section)
    target = config.targets["conversion"].model_copy(update={"scorecard": folder / "card.yaml"})
    number = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
    run_sql(folder, "CREATE TABLE deals (deal_id VARCHAR(20) PRIMARY KEY, owner VARCHAR(20))")
    padded = "'D' || substr('0000000' || CAST(i AS TEXT), length(CAST(i AS TEXT)) + 1)"
    run_sql(folder, f"{number} INSERT INTO deals SELECT {padded}, 'Ann' FROM n", (rows,))
    return config.model_copy(update={"targets": {"conversion": target}})


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of history and follow-up tasks.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=20_000)
    asked = parser.parse_args()
    from crm_world import CRM_URL, SERVED
    from postgres_server import run_server

    with tempfile.TemporaryDirectory() as place:
        world = make_world(Path(place) / "sqlite", asked.few)
        bench_history(world, asked.few, "SQLite")
        bench_follow_ups(world, asked.few, "SQLite")
        with run_server(fsync="on", synchronous_commit="on") as server:
            served = Path(place) / "postgres"
            [(folder,)] = server.execute("SHOW data_directory")
            MASTERS.append((Path(folder) / "postmaster.pid").read_text().split()[0])
            SERVED[served] = server
            os.environ[CRM_URL] = server.url
            world = make_world(served, asked.few)
            bench_history(world, asked.few, "PostgreSQL")
            bench_follow_ups(world, asked.few, "PostgreSQL")
            bench_history(world, asked.rows, "PostgreSQL")
            bench_copy(world, asked.rows)


if __name__ == "__main__":
    main()
