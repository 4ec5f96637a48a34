"""`leadsieve check`: does the data know what it should not, and is it fit to learn from?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipeline.audit_words import count_of, full_name, show_duration, show_share
from pipeline.commands.options import JsonOption, answer, print_json, progress
from pipeline.errors import ConfigError, GateError

if TYPE_CHECKING:
    from pipeline.audit import Audit
    from pipeline.audit_maturity import Maturity

_STYLES = {"leak": "bold red", "suspicious": "yellow", "undated": "dim", "use": "green"}


def check(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of the deployment.")] = None,
    frame: Annotated[Path | None, typer.Option("--frame", help="A flat frame instead: Parquet or CSV.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="--frame: column with the outcome.")] = None,
    known: Annotated[
        list[str] | None,
        typer.Option("--known", help="--frame: a column known before the outcome; may be repeated."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page into this file, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Audit the stored extract: leaking columns, lateness, ripe cohorts, quality, and parity of the last scores.

    Exit code 1 if a column that leaks is in use, or the last scores cannot be computed again. Nothing is changed.
    """
    found = _audit(config, frame, label, known or [])
    if html is not None:
        from pipeline.audit_page import write_page

        write_page(found, html)
    from pipeline.audit_findings import find, sum_up

    if as_json:
        findings = [vars(one) for one in find(found)]
        print_json({**found.to_json(), "verdict": sum_up(found), "findings": findings})
    else:
        _print(found)
        if html is not None:
            _say(f"The page is {html}.")
    if not found.is_passed:
        raise GateError(f"{sum_up(found)} What to do is said above{', and on the page' if html else ''}.")


def _audit(config: Path | None, frame: Path | None, label: str | None, known: list[str]) -> "Audit":
    """Audit what the options name."""
    from pipeline.audit import audit, audit_frame
    from pipeline.config import load_config

    if (config is None) == (frame is None):
        raise ConfigError(
            "Pass --config FILE for a deployment, or --frame FILE --label COLUMN for a flat frame: one of the two."
        )
    if config is not None:
        if label is not None or known:
            raise ConfigError("--label and --known are for --frame; the config says what is known. Leave them out.")
        settings = load_config(config)
        with progress.status("Checking the tables ..."):
            return audit(settings)
    if frame is None or label is None:
        raise ConfigError(f"--frame {frame} needs --label, the column with the outcome. Pass it.")
    with progress.status("Checking the frame ..."):
        return audit_frame(frame, label, known)


def _print(audit: "Audit") -> None:
    _print_columns(audit)
    if audit.data_end is not None:
        _print_lateness(audit)
        for one in audit.maturity:
            _print_maturity(one)
    _print_missing(audit)
    _print_parity(audit)
    _print_findings(audit)


def _table(title: str, *names: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left")
    return table


def _print_columns(audit: "Audit") -> None:
    table = _table(
        "Columns", "column", "verdict", "in use", "declared", "suspicion", "evidence", numbers=("suspicion",)
    )
    for one in audit.columns:
        texts = Text(one.evidence) + Text(f"\n{one.question}" if one.question else "", "bold")
        verdict, in_use = Text(one.verdict, _STYLES[one.verdict]), "yes" if one.in_use else "no"
        name = Text(full_name(one.table, one.column))
        table.add_row(name, verdict, in_use, one.declared, f"{one.suspicion:.2f}", texts)
    _show(table)


def _print_lateness(audit: "Audit") -> None:
    numbers = ("rows", "known later", "half at most", "95 % at most", "longest")
    table = _table(
        "Lateness: how long after it happened a row became known", "table", "time", *numbers, numbers=numbers
    )
    for one in audit.lateness:
        durations = (show_duration(seconds) for seconds in (one.median_s, one.p95_s, one.longest_s))
        table.add_row(one.table, Text(one.event), f"{one.rows:,}", show_share(one.late_share), *durations)
    _show(table)


def _print_maturity(target: "Maturity") -> None:
    numbers = ("snapshots", "ripe", "base rate", *(f"{days} d" for days in target.days))
    table = _table(
        f"Maturity of {target.target}: share (%) of each month's snapshots of which it is known so many days later "
        f"that {target.outcome} (horizon {target.horizon_days}, then {target.settle_days} days for late rows)",
        "month", *numbers, "", numbers=numbers,
    )  # fmt: skip
    table.columns[0].no_wrap = True
    shown = [one for one in target.cohorts if one.in_training or one.looks_dead]
    for one in shown:
        shares = [show_share(v).removesuffix(" %") for v in (one.base_rate, *map(one.known.get, target.days))]
        note = "looks dead" if one.looks_dead else "" if one.state == "ripe" else one.state
        outside = "" if one.in_training else "before spine.start"
        notes = ", ".join(filter(None, (note, outside)))
        table.add_row(one.month, f"{one.rows:,}", f"{one.ripe:,}", *shares, notes)
    _show(table)
    if left := len(target.cohorts) - len(shown):
        _say(f" and {count_of(left, 'month')} before spine.start, in --json and on the page")


def _print_missing(audit: "Audit") -> None:
    table = _table("Missing values", "column", "missing", "rows", "", numbers=("missing", "rows"))
    for one in sorted(audit.quality.fillings, key=lambda one: -one.missing_share):
        if one.missing_share >= 0.01:
            name = full_name(one.table, one.column)
            until = f"until {one.revealed_by}" if one.revealed_by else ""
            table.add_row(Text(name), show_share(one.missing_share), f"{one.rows:,}", until)
    if table.row_count:
        _show(table)


def _print_parity(audit: "Audit") -> None:
    differences = [] if audit.parity is None else [d for one in audit.parity.targets for d in one.differences]
    table = _table(
        "Values that differ when the last scoring run is built again", "entity", "feature", "scored", "built again"
    )
    for one in differences:
        table.add_row(Text(one.entity_id), one.feature, Text(repr(one.scored)), Text(repr(one.rebuilt)))
    if differences:
        _show(table)


def _print_findings(audit: "Audit") -> None:
    from pipeline.audit_findings import find, sum_up

    answer.print("What to do", style="bold")
    for one in find(audit):
        _say(f"{one.level:<5}  {one.what} {one.remedy}".rstrip())
    _say(sum_up(audit))


def _show(table: Table) -> None:
    answer.print(table)
    answer.print()


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)
