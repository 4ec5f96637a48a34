"""The audit as one HTML page that needs nothing else: no network, light and dark, printable, fit for a phone."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.atomic_files import replace_text
from pipeline.audit import Audit
from pipeline.audit_findings import describe_alike, find, sum_up
from pipeline.audit_maturity import Cohort, Maturity
from pipeline.audit_words import count_of, full_name, show_duration, show_share

PAGES = Path(__file__).parent / "pages"
SHOWN_GROUPS = 20
_SECTIONS = {
    "summary": "What to do",
    "columns": "Columns",
    "lateness": "Lateness",
    "maturity": "Maturity",
    "quality": "Quality",
    "parity": "Parity",
}


@dataclass(frozen=True)
class Curve:
    """One cohort's line."""

    month: str
    points: str
    opacity: float
    dead: bool
    young: bool


@dataclass(frozen=True)
class Plot:
    """Maturity curves of one target in the coordinates of an SVG; `most` is the share at its top."""

    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    horizon: float
    most: float
    width: int = 720
    height: int = 300
    left: int = 64
    right: int = 704
    top: int = 12
    bottom: int = 268

    @property
    def has_dead(self) -> bool:
        """Whether any cohort looks dead."""
        return any(curve.dead for curve in self.curves)


def write_page(audit: Audit, path: Path) -> None:
    """Write the page of an audit; a file that is there is replaced when the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, make_page(audit))


def make_page(audit: Audit) -> str:
    """Return the page of an audit. All that comes from the data is text there, never HTML."""
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    fillings = audit.quality.fillings
    absent = {"lateness", "maturity", "parity"} if audit.data_end is None else set()
    return pages.get_template("check.html").render(
        audit=audit,
        verdict=sum_up(audit),
        findings=find(audit),
        sections=[pair for pair in _SECTIONS.items() if pair[0] not in absent],
        plots=[make_plot(one) for one in audit.maturity],
        missing=sorted((one for one in fillings if one.missing), key=lambda one: -one.missing_share),
        constant=[one for one in fillings if one.constant is not None],
        alike=[describe_alike(one) for one in audit.quality.alike],
        shown_groups=SHOWN_GROUPS,
        count=count_of,
        share=show_share,
        duration=show_duration,
        name=full_name,
        pieces=split_name,
    )


def split_name(name: str) -> list[str]:
    """Split a name where a line may end.

    >>> split_name("deals.expected_close_on")
    ['deals.', 'expected_', 'close_', 'on']
    """
    return re.findall(r"[^._]*[._]|[^._]+$", name)


def make_plot(target: Maturity) -> Plot:
    """Lay the curves of a target out: days on a square-root scale, shares up to the largest one."""
    frame = Plot((), (), (), 0.0, 1.0)
    most = max((v for c in target.cohorts for v in c.known.values() if v is not None), default=0.0)
    top = next((one for one in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if most <= one), 1.0)

    def across(days: float) -> float:
        return round(frame.left + (frame.right - frame.left) * math.sqrt(days / target.days[-1]), 1)

    def up(share: float) -> float:
        return round(frame.bottom - (frame.bottom - frame.top) * share / top, 1)

    def curve(place: int, cohort: Cohort) -> Curve:
        known = [(days, value) for days, value in cohort.known.items() if value is not None]
        points = " ".join(f"{across(days)},{up(value)}" for days, value in [(0, 0.0), *known])
        opacity = round(0.25 + 0.75 * (place + 1) / len(target.cohorts), 2)
        return Curve(cohort.month, points, opacity, cohort.looks_dead, cohort.state != "ripe")

    return Plot(
        curves=tuple(_front_last([curve(place, cohort) for place, cohort in enumerate(target.cohorts)])),
        x_ticks=tuple((across(days), str(days)) for days in target.days),
        y_ticks=tuple((up(top * part / 4), f"{25 * top * part:.3g} %") for part in range(5)),
        horizon=across(target.horizon_days),
        most=top,
    )


def _front_last(curves: Sequence[Curve]) -> list[Curve]:
    """Those that look dead are drawn last, on top of all others."""
    return sorted(curves, key=lambda curve: curve.dead)
