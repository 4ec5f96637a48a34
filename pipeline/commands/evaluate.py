"""`leadsieve evaluate`: the recipe of `train` on ready-made flat frames."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.commands.options import JsonOption, answer, print_json, progress
from pipeline.commands.train import print_honesty

if TYPE_CHECKING:
    from models.recipe import Evaluation
    from models.training_set import TrainingSet
    from pipeline.config_schema import Profit

COLUMNS = {
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "cal. error",
    "lift_at_10": "lift",
}


def _cells(figures: dict[str, Any]) -> list[str]:
    return ["-" if figures[name] is None else f"{figures[name]:.4f}" for name in COLUMNS]


def _interval(figures: dict[str, Any], name: str) -> str:
    low, high = figures["interval"][name]
    return f"{figures[name]:.4f}" + ("" if low is None else f" [{low:.4f}, {high:.4f}]")


def _print_table(document: dict[str, Any]) -> None:
    table = Table("candidate", *COLUMNS.values(), title=f"Out of fold on the training rows ({document['folds']})")
    for figures in document["candidates"]:
        chosen = figures["name"] == document["selected"]
        table.add_row(figures["name"], *_cells(figures), style="bold" if chosen else None)
    test, selected = document["test"], document["selected"]
    table.add_section()
    table.add_row("on the test rows", *_cells(test))
    answer.print(table)
    answer.print(f"Selected: {selected}; calibrator: {document['calibrator']}; {document['seconds']:.0f} s.")
    answer.print(
        f"{test['rows']:,} test rows, base rate {test['base_rate']:.4f}: AUC {_interval(test, 'auc')}, "
        f"log loss {_interval(test, 'log_loss')} (95 %)."
    )
    print_honesty(document.get("score_interval"))
    if selected == "base_rate":
        answer.print("Nothing beats the base rate beyond noise: there is no signal to score by.")
    for note in document["notes"]:
        answer.print(f"Note: {note}")


def _split_purchases(columns: str | None) -> list[str]:
    """Return the three columns that `--purchases` names."""
    if columns is None:
        return []
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 3 or not all(names):
        raise typer.BadParameter(
            f"--purchases names {columns!r}, expected three columns: COUNT,LAST,FIRST. List all three, with commas."
        )
    return names


def evaluate(
    train: Annotated[Path, typer.Argument(help="Training frame, Parquet or CSV.")],
    test: Annotated[Path, typer.Argument(help="Test frame with the same columns.")],
    label: Annotated[str, typer.Option("--label", help="Column of 0, 1 and null (censored).")],
    time: Annotated[str | None, typer.Option("--time", help="Column of dates or integers; never a feature.")] = None,
    horizon: Annotated[int, typer.Option("--horizon", help="Days for dates, rows for integers.")] = 0,
    group: Annotated[str | None, typer.Option("--group", help="Customer of each row; never a feature.")] = None,
    purchases: Annotated[
        str | None,
        typer.Option(
            "--purchases",
            metavar="COUNT,LAST,FIRST",
            help="Where label 1 is no purchase within the horizon: columns of the number of purchases so far, the "
            "days since the last and those since the first.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page into this file.")] = None,
    value_per_event: Annotated[
        float | None, typer.Option("--value-per-event", help="For the report: what contacting an event brings.")
    ] = None,
    cost_per_contact: Annotated[
        float | None, typer.Option("--cost-per-contact", help="For the report: what contacting any row costs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare candidates on a flat training frame, choose one, and measure it on a test frame."""
    from models.flat_frames import read_flat_frames
    from models.recipe import evaluate as run_recipe

    profit = _read_profit(value_per_event, cost_per_contact, html)

    rows, unseen = read_flat_frames(train, test, label, time, group, horizon, _split_purchases(purchases))
    with progress.status(f"Comparing candidates on {len(rows):,} rows x {rows.frame.shape[1]} features"):
        evaluation = run_recipe(rows, unseen)
    if html is not None:
        with progress.status("Writing the report"):
            write_frame_report(html, evaluation, rows, unseen, train, label, profit)
    if as_json:
        print_json(evaluation.to_json())
        return
    _print_table(evaluation.to_json())
    if html is not None:
        answer.print(f"The report is {html}.", markup=False, soft_wrap=True)


def _read_profit(value: float | None, cost: float | None, html: Path | None) -> "Profit | None":
    """Return what the two options say together."""
    if value is None and cost is None:
        return None
    if value is None or cost is None or html is None:
        raise typer.BadParameter(
            "--value-per-event and --cost-per-contact make the profit curve of --html. Pass all three, or none."
        )
    if min(value, cost) <= 0:
        raise typer.BadParameter(
            f"--value-per-event is {value:g} and --cost-per-contact {cost:g}, expected both above 0. Correct them."
        )
    from pipeline.config_schema import Profit

    return Profit(value_per_event=value, cost_per_contact=cost)


def write_frame_report(
    path: Path,
    evaluation: "Evaluation",
    rows: "TrainingSet",
    unseen: "TrainingSet",
    train: Path,
    label: str,
    profit: "Profit | None" = None,
) -> None:
    """Write the evaluation report of flat frames, with the audit of the training frame's features."""
    from pipeline.audit import audit_frame
    from pipeline.evaluation_report import Setting, write_evaluation_report

    audited = audit_frame(train, label, ()).columns
    verdicts = [replace(one, in_use=True) for one in audited if one.column in rows.frame.columns]
    write_evaluation_report(
        path, evaluation, rows, unseen, Setting(title=f"{train.name}, {label}", profit=profit, verdicts=verdicts)
    )
