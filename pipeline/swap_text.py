"""A swap report as text and as a page: counts first, then owners, regions, and those who move furthest."""

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table
from rich.text import Text

from pipeline.atomic_files import replace_text
from pipeline.swap_report import Line, SwapReport

PAGES = Path(__file__).parent / "pages"
SHOWN_LINES = 12


def sum_up(report: SwapReport) -> list[str]:
    """Return the report in a few sentences."""
    if not report.rows:
        return [f"{report.target}: nobody is eligible at the end of the data, so no grade changes."]
    if report.live_version is None:
        moved = f"{report.target}: no version is live yet; {report.rows:,} {report.entity} get their first grades."
    else:
        moved = (
            f"{report.target}: {report.movers:,} of {report.rows:,} {report.entity} change grade "
            f"({report.movers_share:.1%}): {report.up:,} up, {report.down:,} down."
        )
    return [moved, *_cap(report), *_contacts(report)]


def _cap(report: SwapReport) -> list[str]:
    if report.max_movers_share is None:
        return []
    verdict = "over" if report.is_over_cap else "within"
    return [f"That is {verdict} retrain.max_movers_share, {report.max_movers_share:.1%}."]


def _contacts(report: SwapReport) -> list[str]:
    """Contacts against the capacity, and who is new on the list."""
    contacts = report.contacts
    whom = f"from a {report.measure} of {contacts.at_least:,.3f}"
    if report.graded_by is not None:
        whom = f"those graded {report.bands[0].name} by {report.graded_by}"
    told = f"Contacts, {whom}: "
    told += f"{contacts.before:,} now, {contacts.after:,} then"
    if contacts.capacity is None:
        told += "; capacity.contacts_per_week is not set."
    else:
        over = contacts.after - contacts.capacity
        left = f"{over:,} more than" if over > 0 else f"{-over:,} fewer than" if over else "exactly"
        told += f", {left} the {contacts.capacity:,} a week that can be made."
    if report.live_version is None or not contacts.size:
        return [told]
    return [told, f"Of the first {contacts.size:,} in order of {report.measure}, {contacts.entering:,} are new."]


def make_tables(report: SwapReport) -> list[Table]:
    """Tables for a terminal; none if there is nobody."""
    if not report.rows:
        return []
    tables = [_crossing(report)]
    for name, lines in (("owner", report.by_owner), ("region", report.by_region)):
        if lines:
            tables.append(_by(name, report.entity, lines))
    return [*tables, _largest(report)] if report.largest else tables


def _table(*columns: str, title: str, texts: Sequence[str] = ()) -> Table:
    table = Table(box=None, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right")
    return table


def _crossing(report: SwapReport) -> Table:
    names = [band.name for band in report.bands]
    table = _table("now", "from", *(f"then {name}" for name in names), title="Grade now and then", texts=("now",))
    for band, counts in zip(report.bands, report.crossing, strict=True):
        table.add_row(band.name, say_bound(band.at_least), *(f"{count:,}" for count in counts))
    return table


def _by(name: str, entity: str, lines: Sequence[Line]) -> Table:
    table = _table(name, entity, "up", "down", "contacts now", "then", title=f"By {name}", texts=(name,))
    for line in lines[:SHOWN_LINES]:
        counts = (line.rows, line.up, line.down, line.contacts_before, line.contacts_after)
        table.add_row(Text(line.name), *(f"{count:,}" for count in counts))
    if len(lines) > SHOWN_LINES:
        table.add_row(f"and {len(lines) - SHOWN_LINES:,} more")
    return table


def _largest(report: SwapReport) -> Table:
    texts = ("id", "owner", "region", "grade")
    table = _table("id", "owner", "region", "grade", "now", "then", title="Those who move furthest", texts=texts)
    for one in report.largest:
        told = (one.entity_id, one.owner, one.region, f"{one.grade_before} -> {one.grade_after}")
        table.add_row(*map(Text, told), f"{one.before:,.3f}", f"{one.after:,.3f}")  # texts of the data are no markup
    return table


def say_bound(at_least: float) -> str:
    """Where a grade begins; nobody reaches what is infinite."""
    return f"{at_least:,.3f}" if math.isfinite(at_least) else "nobody"


def make_page(report: SwapReport) -> str:
    """Return one HTML page that needs nothing else. All that comes from the data is text there, never HTML."""
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return pages.get_template("swap.html").render(
        report=report, sentences=sum_up(report), heat=_heat(report), bound=say_bound
    )


def _heat(report: SwapReport) -> list[list[float]]:
    """Strength of the colour of each cell of the crossing: its share of the grade it is in now."""
    return [[round(count / max(1, sum(line)), 3) for count in line] for line in report.crossing]


def write_page(report: SwapReport, path: Path) -> None:
    """Write the page; a file that is there is replaced when the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, make_page(report))
