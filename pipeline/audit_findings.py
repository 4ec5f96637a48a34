"""What to do about what the audit found: the verdict in sentences, the worst first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.audit import Audit
from pipeline.audit_alike import Alike
from pipeline.audit_duplicates import Duplicates
from pipeline.audit_maturity import Maturity
from pipeline.audit_parity import Parity
from pipeline.audit_words import FRAME, count_of, full_name, list_some, show_share
from pipeline.sentences import count_rows

SHOWN = 5
Level = Literal["error", "look", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Parameters
    ----------
    level : {"error", "look", "note"}
        error: the exit code is 1. look: somebody should decide. note: good to know.
    what, remedy : str
        A sentence each; a note may have nothing to do.

    """

    level: Level
    what: str
    remedy: str = ""


def find(audit: Audit) -> list[Finding]:
    """Everything worth a sentence, errors first."""
    found = [*_columns(audit), *_parity(audit.parity), *_lateness(audit), *_maturity(audit), *_quality(audit)]
    return sorted(found, key=lambda one: ("error", "look", "note").index(one.level))


def sum_up(audit: Audit) -> str:
    """What it comes to, in one sentence."""
    parts = []
    if count := len(audit.leaks_in_use):
        parts.append("1 column that leaks is in use" if count == 1 else f"{count} columns that leak are in use")
    if audit.parity is not None and audit.parity.state == "differs":
        parts.append("the last scores cannot be computed again")
    if parts:
        return f"Not passed: {', and '.join(parts)}."
    undated = sum(one.verdict == "undated" for one in audit.columns)
    several = f" Of {undated:,} columns nothing proves when they were filled." if undated else ""
    rest = " Of 1 column nothing proves when it was filled." if undated == 1 else several
    return f"Passed: no leak is in use.{rest}"


_BY_VERDICT: tuple[tuple[str, bool, Level, str, str], ...] = (
    ("suspicious", True, "look", "suspicious and in use", "Ask the question beside it before the next training."),
    ("undated", True, "look", "in use, though nothing proves when filled", "Ask the question beside it."),
    ("leak", False, "note", "a leak, read by no feature", "Leave that so."),
    ("suspicious", False, "note", "suspicious, read by no feature", "Ask before you declare it."),
    (
        "undated", False, "note", "nothing proves when filled, so not in use",
        "What is known before the outcome: say so in the config, or for a frame with --known.",
    ),
)  # fmt: skip


def _columns(audit: Audit) -> Iterator[Finding]:
    for one in audit.leaks_in_use:
        name = full_name(one.table, one.column)
        remedy = (
            f"Take '{one.column}' out of tables.{one.table}.{one.declared} in the config, or say under revealed which "
            "time tells when it was filled; then extract and train again."
        )
        remedy = "Leave it out of --known." if one.table == FRAME else remedy
        yield Finding("error", f"{name} is a leak and in use: {one.evidence}", remedy)
    for verdict, in_use, level, what, remedy in _BY_VERDICT:
        found = [one for one in audit.columns if one.verdict == verdict and one.in_use == in_use]
        if found:
            names = list_some([full_name(one.table, one.column) for one in found])
            yield Finding(level, f"{names}: {what}.", remedy)


def _parity(parity: Parity | None) -> Iterator[Finding]:
    if parity is None:
        return
    if parity.state == "no run":
        yield Finding("note", "Parity was not checked: nothing was scored yet, or the frames of past runs are gone.")
        return
    told = "; ".join(f"{one.target} {one.rows:,} rows x {one.features:,} features" for one in parity.targets)
    differing = sum(one.differing for one in parity.targets)
    why = " ".join(parity.notes)
    if parity.state == "agrees":
        tables = "the same tables" if parity.is_same_extract else "tables extracted since"
        yield Finding(
            "note", f"Run {parity.run_id}, built again from {tables}, agrees to the bit ({told}). {why}".strip()
        )
        return
    what = f"Run {parity.run_id}, built again, differs in {count_of(differing, 'value')} ({told})."
    if parity.state == "changed since":
        yield Finding(
            "look", f"{what} {why}", "Score again, then check again: with nothing changed, nothing may differ."
        )
    elif parity.is_same_extract:
        yield Finding(
            "error", f"{what} Tables and config are those that were scored.",
            "A feature of your own may not be a function of the tables alone; if there is none, report this.",
        )  # fmt: skip
    else:
        yield Finding(
            "error",
            f"{what} The tables were extracted since, and tell another past: rows came with a known_at before "
            f"{parity.as_of:%Y-%m-%d %H:%M:%S}.",
            "Let known_at be when the CRM really knew a row, or set known_at: first_seen for the table behind the "
            "features that differ.",
        )


def _lateness(audit: Audit) -> Iterator[Finding]:
    if audit.lateness and not any(one.late for one in audit.lateness):
        yield Finding(
            "note",
            "No row was known later than it occurred: the source knows everything at once, or does not say when.",
            "If it has a column that says so, name it as known_at; later extracts date new rows by themselves.",
        )


def _maturity(audit: Audit) -> Iterator[Finding]:
    for one in audit.maturity:
        yield from _of_target(one)


def _of_target(one: Maturity) -> Iterator[Finding]:
    if not any(cohort.ripe for cohort in one.cohorts):
        yield Finding(
            "look", f"{one.target}: no cohort is ripe, so nothing can be learnt yet.", "Extract a longer history."
        )
        return
    dead = [cohort for cohort in one.cohorts if cohort.looks_dead]
    if trained := [cohort.month for cohort in dead if cohort.in_training]:
        alive = [cohort.month for cohort in one.cohorts if not cohort.looks_dead and cohort.month > trained[-1]]
        remedy = f"Set targets.{one.target}.spine.start to {alive[0]}-01, or ask" if alive else "Ask"
        yield Finding(
            "look",
            f"{one.target}: dead by the look of it: {list_some(trained)}, of which next to nothing is known after "
            f"{one.horizon_days} days.",
            f"{remedy} since when outcomes are recorded.",
        )
    if left := [cohort.month for cohort in dead if not cohort.in_training]:
        yield Finding("note", f"{one.target}: dead by the look of it: {list_some(left)}, which spine.start leaves out.")
    if unripe := [cohort.month for cohort in one.cohorts if cohort.state != "ripe"]:
        yield Finding(
            "note",
            f"{one.target}: not all labels are ripe yet: {list_some(unripe)}; nobody learns from those that are not.",
        )


def _quality(audit: Audit) -> Iterator[Finding]:
    quality = audit.quality
    empty = [full_name(f.table, f.column) for f in quality.fillings if f.rows and f.missing == f.rows]
    if empty:
        yield Finding(
            "look", f"{list_some(empty)}: without any value.", "Leave it out of the SELECT, or correct it there."
        )
    constant = [
        f"{full_name(f.table, f.column)} (always {f.constant})" for f in quality.fillings if f.constant is not None
    ]
    if constant:
        yield Finding("note", f"{list_some(constant)}: only one value.")
    for alike in quality.alike[:SHOWN]:
        yield Finding("note", describe_alike(alike))
    for day in quality.busy_days[:SHOWN]:
        name = full_name(day.table, day.column)
        yield Finding(
            "look",
            f"{name}: {count_rows(day.rows)}, {show_share(day.share)} of all, lie on {day.day}.",
            "If that day is a migration or a default, the time is not when it happened: correct it, or start later.",
        )
    yield from _duplicates(audit.duplicates)


def _duplicates(found: Duplicates | None) -> Iterator[Finding]:
    if found is not None and found.groups:
        groups = count_of(len(found.groups), "group")
        yield Finding(
            "look",
            f"{found.in_groups:,} of {found.customers:,} customers are there more than once, in {groups} such as "
            f"{list_some(found.groups[0])} (by {', '.join(found.compared_by)}).",
            "Merge them in the CRM.",
        )


def describe_alike(one: Alike) -> str:
    """Say in what two columns are alike."""
    first, second = full_name(one.table, one.first), full_name(one.table, one.second)
    how = {
        "renamed": "have the same values under other names",
        "same order": f"have the same order (rank correlation {one.correlation or 0:.4f})",
        "same distance": "are always the same time apart",
    }[one.kind]
    return f"{first} and {second} {how}, in {count_rows(one.rows)}."
