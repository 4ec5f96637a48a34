"""Seed one fault at a time into the rules of time and of the write-back and see which test catches it.

    python tests/run_mutants.py [--only TEXT] [--jobs N]

Each fault is put into a copy of the project; the tests that look at its file run there until the first failure, and
if they find nothing, the laws. Prints the fault and the test that caught it; exit 1 if any fault lives.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
FIRST = {
    "view.py": ("features_time", "view_columns", "ended_rows"),
    "versions.py": ("view_columns", "ended_rows", "ended_labels"),
    "view_columns.py": ("view_columns", "features_time"),
    "settled.py": ("view_columns", "settled"),
    "family.py": ("families",),
    "pooled.py": ("pooled", "ended_rows"),
    "group.py": ("features_time",),
    "plan.py": ("reductions", "view_columns", "ended_rows"),
    "program.py": ("features_time",),
    "build.py": ("view_columns",),
    "labels.py": ("ended_labels", "features_time"),
    "spine.py": ("ended_rows", "features_time"),
    "targets.py": ("features_time", "ended_labels", "subscription_churn"),
    "subscribers.py": ("subscription_churn",),
    "customer_rows.py": ("customer_facts",),
    "../models/lifecycle.py": ("lifecycle",),
    "../models/value_classes.py": ("value_classes",),
    "../pipeline/history.py": ("features_time", "history"),
    "../pipeline/normalise.py": ("daylight_saving",),
    "../pipeline/adapters/sql_table.py": ("writeback", "conformance"),
    "../pipeline/adapters/patient.py": ("patient", "writeback_budget", "writeback_faults"),
    "../pipeline/write_batches.py": ("writeback_resume", "writeback_budget", "writeback_faults"),
    "../pipeline/write_compare.py": ("writeback", "writeback_faults"),
    "../pipeline/write_view.py": ("writeback_resume", "writeback_faults"),
    "../pipeline/undo_columns.py": ("undo_plan",),
    "../pipeline/score_history.py": ("score_history",),
}
"""Literal tests that look at a file."""
LAWS = ("laws", "ended_laws")
IS_KNOWN = 'as_of <= known_until`."""\n    known = rows.known_at < as_of'
WAS_KNOWN = 'whatever became of it since."""\n    known = rows.known_at < as_of'
MUTANTS = (
    ("a row known exactly at as_of is seen", "versions.py", IS_KNOWN, IS_KNOWN.replace(" < ", " <= ")),
    ("event time instead of known time", "versions.py", IS_KNOWN,
     IS_KNOWN.replace("rows.known_at <", 'rows["occurred_at" if "occurred_at" in rows.columns else "known_at"] <')),
    ("an old version ends too early", "versions.py", "as_of <= rows.known_until", "as_of < rows.known_until"),
    ("old versions never end", "versions.py", "rows.known_until.isnull() | (as_of <= rows.known_until)",
     "rows.known_until.isnull() | rows.known_until.notnull()"),
    ("a revealed column is not masked", "view.py", "elif column in clocks:", "elif False:"),
    ("a column revealed exactly at as_of is seen", "view.py", "lambda clock: clock < joined.as_of",
     "lambda clock: clock <= joined.as_of"),
    ("a window is open on its early side", "group.py", "return time >= self.view[self.start]",
     "return time > self.view[self.start]"),
    ("a window is a day too long", "view.py", "spine.as_of - ibis.interval(days=days)",
     "spine.as_of - ibis.interval(days=days + 1)"),
    ("the join uses the wrong key", "view.py", "return left.snapshot_key == table[key]",
     "return left.snapshot_key <= table[key]"),
    ("the previous row may be the row itself", "view_columns.py", "order_by=view[time], preceding=(None, 1)",
     "order_by=view[time], preceding=(None, 0)"),
    ("the empty value is forgotten", "program.py", "value.fill_null(empty)", "value"),
    ("no key gives the empty value, not null", "program.py", "has_key = joined[part.by].notnull()",
     "has_key = ibis.literal(True)"),
    ("a pooled row settled exactly at as_of counts", "pooled.py", "order = [line.time, line.is_event]",
     "order = [line.time, -line.is_event]"),
    ("pooled rows count from when they occurred", "pooled.py", "time=settled.counts_from",
     "time=settled.created_at"),
    ("a fact about a customer counts rows known later", "customer_rows.py", "is_known(table, as_of), ", ""),
    ("a fact about a customer sees what is revealed at the end of the data", "customer_rows.py",
     "lambda clock: clock < as_of", "lambda clock: clock <= as_of"),
    ("a purchase at the moment itself is counted", "../models/lifecycle.py", "before = micros < end",
     "before = micros <= end"),
    ("a customer that crosses the line is in the worse class", "../models/value_classes.py",
     "- held  # the sum", "# the sum"),
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
    ("a version that ended before it was known counts", "versions.py",
     "rows.filter(rows.known_until.isnull() | (rows.known_at < rows.known_until))", "rows"),
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
    ("a subscription that ends at as_of is not alive", "subscribers.py", "subscriptions.ended_at < present.as_of",
     "subscriptions.ended_at <= present.as_of"),
    ("an end that becomes known at as_of is known", "subscribers.py", "subscriptions.ended_at_known_at < present.as_of",
     "subscriptions.ended_at_known_at <= present.as_of"),
    ("an old version of a subscription makes a subscriber", "subscribers.py",
     "is_known(subscriptions, present.as_of)", "subscriptions.known_at < present.as_of"),
    ("a subscription is nobody's when it changes hands", "subscribers.py", "(asked.as_of <= versions.until)",
     "(asked.as_of < versions.until)"),
    ("two versions hold at once", "subscribers.py", "versions.since < moment", "versions.since <= moment"),
    ("no version holds at its end", "subscribers.py", "(mine.horizon_end <= states.until)",
     "(mine.horizon_end < states.until)"),
    ("a subscription that begins when the horizon ends counts", "subscribers.py",
     "states.began_at < mine.horizon_end", "states.began_at <= mine.horizon_end"),
    ("a subscription that ends when the horizon does is dead", "subscribers.py",
     "found.ends_at < found.horizon_end", "found.ends_at <= found.horizon_end"),
    ("a subscription deleted when the horizon ends is gone", "subscribers.py", "found.until < found.horizon_end",
     "found.until <= found.horizon_end"),
    ("a deleted subscription is dead", "subscribers.py", " | (~is_alive & joined.is_unsure.fill_null(False))", ""),
    ("a deleted subscription is forgotten", "subscribers.py", " | states.is_last", ""),
    ("a subscriber that ended when the horizon does is censored", "subscribers.py",
     "joined.ended_at < joined.until", "joined.ended_at <= joined.until"),
    ("an end that a later version tells is not seen", "subscribers.py", "rows.ended_at.min().over(from_here)",
     "rows.ended_at"),
    ("notice makes settling take less than no time", "targets.py", "max(0, int(-(-p95 // 86_400)))",
     "int(-(-p95 // 86_400))"),
    ("ended results stay in the pooled sums", "pooled.py", "return begun, taken, left", "return begun, left"),
    ("a pooled row that ended exactly at as_of is gone", "pooled.py", "**row, time=ended.counts_until,",
     "**row | {'is_event': -1}, time=ended.counts_until,"),
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
    ("a history holds only the version that holds", "view.py", "(was_known if history else is_known)", "is_known"),
    ("a history holds what becomes known later", "versions.py", WAS_KNOWN,
     WAS_KNOWN.replace("rows.known_at < as_of", "rows.known_at.notnull()")),
    ("a history holds versions that never held", "versions.py",
     "known &= rows.known_until.isnull() | (rows.known_at < rows.known_until)", "known &= rows.known_at.notnull()"),
    ("the value before is the one after", "view_columns.py",
     "view.known_at)\n    names", "view.known_at.desc())\n    names"),
    ("the value before is that of another row", "view_columns.py", "group_by=[view.row, view[spec.key]]",
     "group_by=[view.row]"),
    ("the stage before is the one that was known before", "view_columns.py",
     "order_by=[ranked.occurred_at, ranked[STAGE_RANK]]", "order_by=[ranked.known_at, ranked[STAGE_RANK]]"),
    ("the newest answer is the one that was known last", "view_columns.py",
     "[view.occurred_at.desc(), view.answer.desc()]", "[view.known_at.desc(), view.answer.desc()]"),
    ("the answer before is the one that was known before", "view_columns.py",
     "order_by=[view.occurred_at, view.answer]", "order_by=[view.known_at, view.answer]"),
    ("the touch before is the one that was known before", "view_columns.py",
     "order_by=[view.occurred_at, view.direction]", "order_by=[view.known_at, view.direction]"),
    ("of two touches at once the outbound one comes first", "view_columns.py",
     "order_by=[view.occurred_at, view.direction]", "order_by=[view.occurred_at, view.direction.desc()]"),
    ("what came before is found among rows that are known later", "settled.py", "told[SETTLED_AT] < snapshots.as_of",
     "told.known_at < snapshots.as_of"),
    ("what came before is settled at the moment it becomes known", "settled.py", "told[SETTLED_AT] < snapshots.as_of",
     "told[SETTLED_AT] <= snapshots.as_of"),
    ("what is entered late at once with a row comes after it", "settled.py", "changing.changed_at.desc()",
     "changing.changed_at"),
    ("rows that have ended were never before others", "settled.py", "ibis.coalesce(until, rows.known_at)",
     "rows.known_at"),
    ("a contact is as it is today", "view_columns.py",
     "(contacts.met_at < view.as_of) & (contacts.met_until.isnull() | (view.as_of <= contacts.met_until))",
     "contacts.met_until.isnull()"),
    ("a contact known exactly at as_of is seen", "view_columns.py", "contacts.met_at < view.as_of",
     "contacts.met_at <= view.as_of"),
    ("a contact is gone at the moment of its correction", "view_columns.py", "view.as_of <= contacts.met_until",
     "view.as_of < contacts.met_until"),
    ("a customer's parent is today's", "family.py",
     "is_known(customers, spine.as_of)]", "customers.known_until.isnull()]"),
    ("the members of a family are today's", "family.py", "is_known(links, families.as_of)]",
     "links.known_until.isnull()]"),
    ("the members of a family are all there ever were", "family.py", "is_known(links, families.as_of)]",
     "links.known_at < families.as_of]"),
    ("a family is the same at all moments", "family.py", 'rows = heads.join(families, [FAMILY, "as_of"])',
     "rows = heads.join(families, [FAMILY])"),
    ("who is its own parent is there twice", "family.py", "customers.parent_id != customers.customer_id",
     "customers.parent_id.notnull()"),
    ("answers about a deal count for a customer of that name", "view.py", " & table.entity.isin(_ENTITIES[key])", ""),
    ("pooled counts are of 364 days", "pooled.py", "RECENT_DAYS = 365", "RECENT_DAYS = 364"),
    ("pooled counts are of all times", "pooled.py", "return begun, taken, left", "return begun, taken"),
    ("pooled counts are of what became known lately", "pooled.py", "old = versions[group.at] +",
     "old = versions.counts_from +"),
    ("what was known a year late is recent for a moment", "pooled.py",
     "is_recent = settled.recent_until > settled.counts_from", "is_recent = settled.counts_from.notnull()"),
    ("a deal counts in the region that its customer has today", "pooled.py",
     "(known.from_ <= versions.counts_from) & (known.until_.isnull() | (versions.counts_from < known.until_))",
     "known.until_.isnull()"),
    ("a region counts from after the moment it became known", "pooled.py", "known.from_ <= versions.counts_from",
     "known.from_ < versions.counts_from"),
    ("a stay ends with the change that occurred next", "pooled.py",
     "order_by=[versions.known_at, versions.occurred_at, versions[STAGE_RANK]]",
     "order_by=[versions.occurred_at, versions[STAGE_RANK]]"),
    ("rows without a number lower a mean", "pooled.py", "settled.filter(*(settled[hit].notnull() for hit in hits))",
     "settled"),
    ("rows without the key are a pool of their own", "pooled.py", "known_pool = line.pool.notnull()",
     "known_pool = ibis.literal(True)"),
    ("the calendar is that of UTC", "build.py", "tz_convert(zone)", 'tz_convert("UTC")'),
    ("a pass is cut to its window whoever looks further back", "plan.py",
     "if days is None or feature.empty is None or not stays_within(feature.value, Window(days, view, time).mask):",
     "if days is None or feature.empty is None:"),
    ("what is revealed with the outcome is a column like others", "plan.py",
     "later = {*stored.revealed, ", "later = {"),
    ("a day counts from its beginning", "../pipeline/normalise.py",
     "+ INTERVAL 1 DAY)', zone)} - INTERVAL", "+ INTERVAL 0 DAY)', zone)} - INTERVAL"),
    ("a write does not look whether the old value is still there", "../pipeline/adapters/sql_table.py",
     "if one in before and before[one] == expected[one]]", "if one in before]"),
    ("a write is noted after it was sent", "../pipeline/write_batches.py",
     "ledger.writes.intend(number)\n        sent = send_one(number, batch)",
     "sent = send_one(number, batch)\n        ledger.writes.intend(number)"),
    ("a batch that is refused as a whole is given up", "../pipeline/write_batches.py",
     "if len(refused) < 2 or target", "if len(refused) < 2000 or target"),
    ("a write that was interrupted and arrived is not noted", "../pipeline/write_view.py",
     'return replace(write, state="done", error=None)', 'return replace(write, state="dropped", error=None)'),
    ("an edit of a person is overwritten", "../pipeline/write_compare.py",
     "last is not NEVER and last != old", "last is NEVER and last != old and False"),
    ("an edit after an interrupted write is overwritten the second night", "../pipeline/write_compare.py",
     "frozenset(edited.union(set(contested) - values.keys()))", "frozenset(edited)"),
    ("an undo overwrites what a person has edited since", "../pipeline/undo_columns.py",
     "edited = _where(ne, found, written.new)", "edited = np.zeros_like(there)"),
    ("the budget of a run is not kept", "../pipeline/adapters/patient.py",
     "if self.left is not None and expected > self.left:", "if False:"),
    ("what cannot pass is tried again", "../pipeline/adapters/patient.py",
     "retry_if_exception_type(PassingCrmError)", "retry_if_exception_type(Exception)"),
    ("rows whose end is not known are sent again", "../pipeline/adapters/patient.py",
     "if left := [row for row in rows if row.key not in there]:", "if left := [row for row in rows if row.key]:"),
    ("history rows are added without looking whether they are there", "../pipeline/score_history.py",
     "wanted = wanted[[key not in there for key in keys]]", "wanted = wanted[[bool(key) for key in keys]]"),
)  # fmt: skip


def run_mutant(copy: Path, file: str, old: str, new: str) -> str | None:
    """Put a fault in, run the tests, take it out; return the test that failed, None if none did."""
    path = copy / "features" / file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        return _first_failure(copy, FIRST[file]) or _first_failure(copy, LAWS)
    finally:
        path.write_text(text, encoding="utf-8")


def _first_failure(copy: Path, tests: Sequence[str]) -> str | None:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    files = [f"tests/test_{name}.py" for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return sys.exit(f"The tests did not run: {done.stdout[-2000:]}")
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found.group(1) if found else None


def check_mutants() -> None:
    """Check that every fault can be put in at exactly one place."""
    for what, file, old, _ in MUTANTS:
        times = (ROOT / "features" / file).read_text(encoding="utf-8").count(old)
        if times != 1:
            sys.exit(f"'{what}': features/{file} holds '{old}' {times} times, expected once: update MUTANTS.")


def copy_project(folder: Path) -> Path:
    """Copy what the tests need."""
    for name in ("features", "models", "pipeline", "tests", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def main() -> None:
    """Run all faults and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose description holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    options = parser.parse_args()
    check_mutants()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant[0]]
    copies: Queue[Path] = Queue()
    begun = time.monotonic()

    def run(mutant: tuple[str, str, str, str]) -> bool:
        what, *fault = mutant
        copy = copies.get()
        caught = run_mutant(copy, *fault)
        copies.put(copy)
        print(f"{'caught' if caught else 'ALIVE '}  {what}: {caught or 'no test failed'}", flush=True)
        return caught is not None

    with tempfile.TemporaryDirectory(prefix="leadsieve-mutants-") as folder:
        for job in range(options.jobs):
            copies.put(copy_project(Path(folder) / str(job)))
        with ThreadPoolExecutor(options.jobs) as pool:
            caught = sum(pool.map(run, chosen))
    print(f"{caught} of {len(chosen)} faults caught in {(time.monotonic() - begun) / 60:.0f} minutes")
    sys.exit(caught < len(chosen))


if __name__ == "__main__":
    main()
