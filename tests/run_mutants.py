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
TESTS = ("tests/test_features_time.py", "tests/test_laws.py")
MUTANTS = (
    ("a row known exactly at as_of is seen", "view.py", "rows.known_at < as_of", "rows.known_at <= as_of"),
    ("event time instead of known time", "view.py", "known = rows.known_at < as_of",
     'known = rows["occurred_at" if "occurred_at" in rows.columns else "known_at"] < as_of'),
    ("an old version ends too early", "view.py", "as_of <= rows.known_until", "as_of < rows.known_until"),
    ("old versions never end", "view.py", "rows.known_until.isnull() | (as_of <= rows.known_until)",
     "rows.known_until.isnull() | rows.known_until.notnull()"),
    ("a revealed column is not masked", "view.py", "if column not in revealed:", "if True:"),
    ("a column revealed exactly at as_of is seen", "view.py", "ibis.ifelse(known_at < joined.as_of",
     "ibis.ifelse(known_at <= joined.as_of"),
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
    ("pooled rows count from when they occurred", "pooled.py", 'time=settled[f"{group.at}_known_at"]',
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
     "joined.closed_known_at.isnull() | (joined.closed_known_at >= joined.as_of)", "joined.as_of.notnull()"),
    ("the population looks at purchases not yet known", "spine.py", "bought.known_at < moments.as_of",
     "bought.occurred_at < moments.as_of"),
    ("a return counts as a purchase", "targets.py", 'fill_null(orders.amount.cast("float64")) > 0',
     'fill_null(orders.amount.cast("float64")) > -1e9'),
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
