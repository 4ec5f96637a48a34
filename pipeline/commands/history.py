"""`leadsieve history`: which version was live when, and on what evidence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, TargetOption, answer, print_json, say
from pipeline.config import load_config

if TYPE_CHECKING:
    from pipeline.model_history import History

FIGURES = {"auc": "AUC", "log_loss": "log loss"}


def history(config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Tell which version of each target was live from when to when (UTC), and the decisions that changed nothing."""
    from pipeline.deployment import make_target
    from pipeline.ledger import open_ledger
    from pipeline.versions import read_history

    settings = load_config(config)
    names = [make_target(settings, target).name] if target else list(settings.targets)
    with open_ledger(settings.folder / "ledger.db") as ledger:
        histories = {name: read_history(settings, ledger, name) for name in names}
    if as_json:
        print_json({"targets": {name: found.to_json() for name, found in histories.items()}})
        return
    for found in histories.values():
        _show(found)


def _show(found: "History") -> None:
    """Print one target."""
    if not found.tenures and not found.unchanged:
        say(f"{found.target}: nothing was decided yet.")
    if found.tenures:
        answer.print(_intervals(found))
    if found.unchanged:
        answer.print(_unchanged(found))
    if found.note:
        say(f"note: {found.note}")


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, title=title, title_justify="left")
    for column in columns:
        is_number = column == "version" or column in FIGURES.values()
        table.add_column(column, justify="right" if is_number else "left", no_wrap=column != "why")
    return table


def _intervals(found: "History") -> Table:
    """One row per interval; a day that nobody noted is a question mark."""
    table = _table(f"{found.target}: live versions", "version", "from", "to", "by", *FIGURES.values(), "why")
    for one in found.tenures:
        begin = f"{one.live_from:%Y-%m-%d %H:%M:%S}" if one.live_from else "?"
        end = f"{one.live_to:%Y-%m-%d %H:%M:%S}" if one.live_to else "now" if one.is_live else "?"
        table.add_row(str(one.version), begin, end, one.kind, *_figures(one.test), Text(one.why or ""))
    return table


def _unchanged(found: "History") -> Table:
    """One row per decision that left what was live."""
    table = _table(f"{found.target}: changed nothing", "at", "decision", *FIGURES.values(), "why")
    for one in found.unchanged:
        test = one.details.get("test")
        figures = _figures(test if isinstance(test, Mapping) else {})
        what = f"{one.kind}: {one.outcome}"
        table.add_row(f"{one.decided_at:%Y-%m-%d %H:%M:%S}", what, *figures, Text(str(one.details.get("why") or "")))
    return table


def _figures(test: Mapping[str, Any]) -> list[str]:
    return ["" if test.get(name) is None else f"{test[name]:.3f}" for name in FIGURES]
