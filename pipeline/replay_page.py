"""A replay as tables and as a page: quality and money per period and policy, and what was decided when."""

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table
from rich.text import Text

from models.policy import Moment
from models.replay_figures import Account, Summary
from pipeline.atomic_files import replace_text
from pipeline.replay import Replayed
from pipeline.svg_chart import Chart, make_plot, round_ticks

PAGES = Path(__file__).parent / "pages"
SHOWN_PERIODS = 6
"""Periods that are named under a chart."""
OUTCOMES = {
    "first": "first model",
    "trained": "trained, in force",
    "promoted": "promoted",
    "refused": "refused",
    "nothing_new": "no new labels",
    "one_class": "one label only",
    "no_signal": "nothing to learn",
}


def show(value: float | None, digits: int = 4) -> str:
    """Write a figure, or a dash where there is none.

    >>> show(0.46819), show(None), show(12345.6, 0)
    ('0.4682', '-', '12,346')
    """
    return "-" if value is None else f"{value:,.{digits}f}"


def make_tables(replayed: Replayed) -> list[Table]:
    """Tables for a terminal: the policies over all, then the log loss of each per period."""
    if replayed.summary is None:
        return []
    return [_policies(replayed, replayed.summary), _periods(replayed.summary)]


def _policies(replayed: Replayed, summary: Summary) -> Table:
    money = [f"profit, {replayed.currency}", "missed"] if summary.contacts else []
    table = Table("policy", title=f"{replayed.target}: what each policy would have brought")
    for name in ("trainings", "in force", "AUC", "log loss", "regret", "mean score", *money):
        table.add_column(name, justify="right")
    place = replayed.advice.place if replayed.advice else None
    for at, account in enumerate(summary.accounts):
        table.add_row(
            Text(summary.title(account)), *_cells(account, bool(money)), style="bold" if at == place else None
        )
    return table


def _cells(account: Account, has_money: bool) -> list[str]:
    played, figures = account.played, account.overall
    plain = [f"{played.trainings}", f"{played.promotions}", show(figures.auc, 3), show(figures.log_loss)]
    money = [show(figures.profit, 0), show(figures.missed, 0)] if has_money else []
    return [*plain, show(figures.regret), show(figures.mean_probability, 3), *money]


def _periods(summary: Summary) -> Table:
    table = Table("period", title="Log loss per period")
    table.add_column("rows", justify="right")
    table.add_column("base rate", justify="right")
    for account in summary.accounts:
        table.add_column(Text(summary.title(account)), justify="right")
    for at, name in enumerate(summary.names):
        own = [account.periods[at] for account in summary.accounts]
        table.add_row(name, f"{own[0].rows:,}", show(own[0].base_rate, 3), *(show(one.log_loss, 3) for one in own))
    return table


def write_page(replayed: Replayed, path: Path) -> None:
    """Write the page of a replay; a file that is there is replaced when the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, make_page(replayed))


def make_page(replayed: Replayed) -> str:
    """Return the page of a replay. All that comes from the data is text there, never HTML."""
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    summary = replayed.summary
    return pages.get_template("replay.html").render(
        replayed=replayed,
        summary=summary,
        place=replayed.advice.place if replayed.advice else None,
        charts=draw_all(summary, replayed.currency) if summary else [],
        moments=_configured_moments(replayed),
        outcomes=OUTCOMES,
        show=show,
    )


def draw_all(summary: Summary, currency: str) -> list[tuple[str, Chart]]:
    """Draw quality per period and, with prices, the money so far: one line per policy."""
    losses = [[one.log_loss for one in account.periods] for account in summary.accounts]
    saved = [[first - one for first, one in zip(losses[0], line, strict=True)] for line in losses]
    aucs = [[one.auc for one in account.periods] for account in summary.accounts]
    first = summary.title(summary.accounts[0])
    charts = [
        ("Log loss per period", _draw(summary, losses)),
        (f"Log loss saved per period, against: {first}", _draw(summary, saved)),
        ("AUC per period", _draw(summary, aucs)),
    ]
    if summary.contacts is not None:
        profits = [list(accumulate(one.profit or 0.0 for one in account.periods)) for account in summary.accounts]
        money = [[one - other for one, other in zip(line, profits[0], strict=True)] for line in profits]
        title = f"Profit so far in {currency}, more than: {first}"
        charts.append((title, _draw(summary, money, lambda value: f"{value:,.0f}")))
    return charts


def _plain(value: float) -> str:
    return f"{value:g}"


def _draw(summary: Summary, lines: Sequence[Sequence[float | None]], write: Callable[[float], str] = _plain) -> Chart:
    """One line per policy over the periods; a period without the figure leaves a gap."""
    known = [value for line in lines for value in line if value is not None] or [0.0]
    low, high = min(known), max(known)
    room = (high - low) / 20 or 0.05
    last = max(len(summary.names) - 1, 1)
    plot = make_plot((0, last), (low - room, high + room), height=230, left=52)
    step = -(-len(summary.names) // SHOWN_PERIODS)
    ticks = [(float(at), _short(summary.names[at])) for at in range(0, len(summary.names), step)]
    plot.axes(ticks, [(value, write(value)) for value in round_ticks(low, high)], "period", "")
    for at, line in enumerate(lines):
        for is_known, part in groupby(enumerate(line), key=lambda pair: pair[1] is not None):
            if is_known:
                pairs = [(float(x), float(y)) for x, y in part if y is not None]
                plot.line([x for x, _ in pairs], [y for _, y in pairs], f"policy p{at}")
                for x, y in pairs:
                    name = f"{summary.title(summary.accounts[at])}, {summary.names[int(x)]}: {write(round(y, 4))}"
                    plot.dot(x, y, f"policy p{at}", name, 2)
    legend = tuple((f"p{at}", summary.title(account)) for at, account in enumerate(summary.accounts))
    return Chart("One line per policy over the periods; the table below has the figures.", tuple(plot.shapes), legend)


def _short(name: str) -> str:
    """Begin of a period: its month, or the first row."""
    return name.split(" to ")[0]


def _configured_moments(replayed: Replayed) -> Sequence[Moment]:
    """What happened at the moments of the policy in use."""
    accounts = replayed.summary.accounts if replayed.summary else ()
    return next((one.played.moments for one in accounts if one.played.policy == replayed.configured), ())
