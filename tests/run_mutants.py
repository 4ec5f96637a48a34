"""Seed one fault at a time into the rules of time and see which test catches it.

    python tests/run_mutants.py [--only TEXT]

Each fault is put into a copy of the project; the tests of time run there until the first failure.
Prints the fault and the test that caught it; exit 1 if any fault lives.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = tuple(f"tests/test_{name}.py" for name in ("ended_rows", "ended_labels", "features_time", "laws", "ended_laws"))
MUTANTS = (
    ("a row known exactly at as_of is seen", "view.py", "rows.known_at < as_of", "rows.known_at <= as_of"),
    ("event time instead of known time", "view.py", "known = rows.known_at < as_of",
     'known = rows["occurred_at" if "occurred_at" in rows.columns else "known_at"] < as_of'),
    ("an old version ends too early", "view.py", "as_of <= rows.known_until", "as_of < rows.known_until"),
    ("old versions never end", "view.py", "rows.known_until.isnull() | (as_of <= rows.known_until)",
     "rows.known_until.isnull() | rows.known_until.notnull()"),
    ("a revealed column is not masked", "view.py", "elif column in clocks:", "elif False:"),
    ("a column revealed exactly at as_of is seen", "view.py", "lambda clock: clock < joined.as_of",
     "lambda clock: clock <= joined.as_of"),
    ("a window is open on its early side", "group.py", "return time >= self.view[self.start]",
     "return time > self.view[self.start]"),
    ("a window is a day too long", "view.py", "spine.as_of - ibis.interval(days=days)",
     "spine.as_of - ibis.interval(days=days + 1)"),
    ("the join uses the wrong key", "view.py", "conditions = [left.snapshot_key == table[by],",
     "conditions = [left.snapshot_key <= table[by],"),
    ("the previous row may be the row itself", "view.py", "preceding=(None, 1)", "preceding=(None, 0)"),
    ("the empty value is forgotten", "build.py", "value.fill_null(empty)", "value"),
    ("no key gives the empty value, not null", "build.py", "has_key = joined[part.by].notnull()",
     "has_key = ibis.literal(True)"),
    ("a pooled row settled exactly at as_of counts", "pooled.py", "order = [line.time, line.is_event]",
     "order = [line.time, -line.is_event]"),
    ("pooled rows count from when they occurred", "pooled.py", "time=settled.counts_from",
     "time=settled.created_at"),
    ("a label leaves out its first instant", "labels.py", "bought.occurred_at >= asked.as_of",
     "bought.occurred_at > asked.as_of"),
    ("a label holds the end of its horizon", "labels.py", "bought.occurred_at < asked.until",
     "bought.occurred_at <= asked.until"),
    ("settle days are ignored", "labels.py", "settled = days + settle_days(database, tables, target)",
     "settled = days"),
    ("the opening value is today's", "../pipeline/history.py", "coalesce(olds.{one.name}, {{'v'", "coalesce({{'v'"),
    ("a change known later rewrites the opening value", "../pipeline/history.py", "AND turn = 1)", "AND place = 1)"),
    ("a label ripe exactly at the end of the data is censored", "labels.py",
     "answered.settled_at <= ibis.literal", "answered.settled_at < ibis.literal"),
    ("a lead is looked at a second after its birth", "spine.py", "ibis.interval(microseconds=1) if days == 0",
     "ibis.interval(seconds=2) if days == 0"),
    ("a deal known to be closed stays in the population", "spine.py",
     "deals.closed_at_known_at.isnull() | (deals.closed_at_known_at >= moments.as_of)", "deals.created_at.notnull()"),
    ("the population looks at purchases not yet known", "spine.py", "is_known(bought, present.as_of)",
     "bought.occurred_at < present.as_of"),
    ("a return counts as a purchase", "targets.py", 'fill_null(orders.amount.cast("float64")) > 0',
     'fill_null(orders.amount.cast("float64")) > -1e9'),
    ("an ended customer is scored", "spine.py", "is_known(customers, moments.as_of)",
     "customers.known_at < moments.as_of"),
    ("an ended deal is scored", "spine.py", "is_known(deals, moments.as_of)", "deals.known_at < moments.as_of"),
    ("an ended purchase makes a buyer", "spine.py", "is_known(bought, present.as_of)",
     "bought.known_at < present.as_of"),
    ("an entity is born with its last version", "spine.py", "born_at=table.known_at.min()",
     "born_at=table.known_at.max()"),
    ("an ended row counts by its last version", "versions.py", "order_by=[*clock, rows.known_at]",
     "order_by=[*clock, rows.known_at.desc()]"),
    ("a version that ended before it was known counts", "versions.py", "(rows.known_at < rows.known_until)",
     "rows.known_until.notnull()"),
    ("a restored row has ended", "versions.py", "until.isnull().any()", "until.isnull().all()"),
    ("an ended order stays a purchase", "labels.py", "& orders.ended_at.isnull()", ""),
    ("an ended win stays a win", "labels.py", " & joined.ended_at.isnull()", ""),
    ("a deal that ended open is a no", "labels.py", "| ended_open.fill_null(False)", ""),
    ("a deal that ended at the end of the horizon is censored", "labels.py",
     "(joined.ended_at < joined.until) & (joined.closed_at", "(joined.ended_at <= joined.until) & (joined.closed_at"),
    ("a deal that ended after it closed is censored", "labels.py",
     "(joined.closed_at.isnull() | (joined.closed_at > joined.ended_at))", "joined.as_of.notnull()"),
    ("a customer that ended is lost", "labels.py", "joined.stayed.isnull() & (joined.ended_at < joined.until)",
     "joined.stayed.isnull() & (joined.ended_at < joined.as_of)"),
    ("a customer that ended at the end of the horizon is censored", "labels.py",
     "joined.stayed.isnull() & (joined.ended_at < joined.until)",
     "joined.stayed.isnull() & (joined.ended_at <= joined.until)"),
    ("a customer that ended after it bought is censored", "labels.py",
     "joined.stayed.isnull() & (joined.ended_at < joined.until)", "(joined.ended_at < joined.until)"),
    ("versions of ended rows make outcomes late", "targets.py",
     'first_versions(database, table, at=None if time == "occurred_at" else time)', "database.table(table)"),
    ("ended results stay in the pooled sums", "pooled.py", "*_events(settled, group.by, hits)",
     "*_events(settled, group.by, hits)[:1]"),
    ("a pooled row that ended exactly at as_of is gone", "pooled.py", "time=ended.counts_until, is_event=1",
     "time=ended.counts_until, is_event=-1"),
    ("a pooled row that ended before it was known is taken off", "pooled.py",
     "| (versions.counts_from < versions.counts_until)", "| versions.counts_until.notnull()"),
    ("a pooled row counts before it was known if its end is known", "pooled.py",
     'ibis.greatest(settled[f"{group.at}_known_at"], settled.known_at)', 'settled[f"{group.at}_known_at"]'),
    ("a pooled group sees what is revealed after its end", "pooled.py", "lambda clock: clock <= counts_from",
     "lambda clock: clock.notnull()"),
    ("a view tells when a row ended", "view.py", "if column in FUTURE or (column", "if (column"),
    ("a group may ask when a row ended", "view.py", "if column not in FUTURE}", "if column}"),
    ("a sensitive column is shown", "view.py", "visible[column] = unknown", "visible[column] = rows[column]"),
    ("a clock is shown before it struck", "view.py", 'kind == "time" and c.endswith("_known_at")', "False"),
)  # fmt: skip


def run_mutant(copy: Path, file: str, old: str, new: str) -> str | None:
    """Put a fault in, run the tests, take it out; return the test that failed, None if none did."""
    path = copy / "features" / file
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"features/{file} holds '{old}' {text.count(old)} times, expected once: bring the list up to date.")
    path.write_text(text.replace(old, new), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    path.write_text(text, encoding="utf-8")
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found.group(1) if found else None


def main() -> None:
    """Run all faults and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose description holds this text")
    options = parser.parse_args()
    alive = []
    chosen = [mutant for mutant in MUTANTS if options.only in mutant[0]]
    with tempfile.TemporaryDirectory(prefix="leadsieve-mutants-") as folder:
        copy = Path(folder)
        for name in ("features", "models", "pipeline", "tests", "configs"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for what, file, old, new in chosen:
            caught = run_mutant(copy, file, old, new)
            print(f"{'caught' if caught else 'ALIVE '}  {what}: {caught or 'no test failed'}", flush=True)
            alive += [] if caught else [what]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} faults caught")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
