"""`leadsieve train`: choose, fit and register a model for each target."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress
from pipeline.config import load_config
from pipeline.errors import GateError
from pipeline.value_text import value_lines, value_table


def train(
    config: ConfigOption,
    target: Annotated[str | None, typer.Option("--target", help="Train this target only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train every target on the extracted tables and make the chosen models the live ones.

    Where a model was live it is replaced without a comparison; `leadsieve retrain` asks for evidence first.
    A target where nothing beats the base rate is not registered, and the command ends with exit code 1.
    """
    from pipeline.deployment import load_extract, make_target
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.training import train_target
    from pipeline.training_report import report_path

    settings = load_config(config)
    names = [make_target(settings, target).name] if target else list(settings.targets)
    documents: dict[str, Any] = {}
    with hold_lock(settings.folder, "train"), open_ledger(settings.folder / "ledger.db") as ledger:
        tables = load_extract(settings)
        for name in names:
            with progress.status(f"Training {name} ..."):
                trained = train_target(settings, tables, name, ledger, config)
            documents[name] = {**trained.document, "version": trained.version, "bundle_sha256": trained.bundle_sha256}
    if as_json:
        print_json({"targets": documents})
    else:
        for name, document in documents.items():
            print_training(name, document)
            if (page := report_path(settings, name)).is_file():
                _say(f"report: {page}")
    silent = [name for name, document in documents.items() if document["version"] is None]
    if silent:
        raise GateError(
            f"No signal beyond the base rate for {', '.join(silent)}: nothing was registered, and what was live stays "
            "live. Extract a longer history, add features, or let the scorecard grade alone."
        )


def print_training(name: str, document: Mapping[str, Any]) -> None:
    """Print what was compared, what was chosen, and how it did on the test rows."""
    _say(f"{name}: {document['selected']} chosen among candidates out of fold on the training rows")
    if document.get("task") == "value":
        answer.print(value_table(document))
        for line in value_lines(document):
            _say(line)
        return
    test, span = document["test"], document["evaluated_on"]
    table = Table(box=None)
    for column in ("candidate", "AUC", "log loss", "Brier", "calibration error", "lift at 10 %"):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for one in document["candidates"]:
        table.add_row(one["name"], *_figures(one))
    table.add_row(f"test: {document['selected']}", *_figures(test), style="bold")
    answer.print(table)
    low, high = test["interval"]["auc"]
    _say(
        f"test rows {test['rows']:,} ({span['from'][:10]} to {span['to'][:10]}), base rate {test['base_rate']:.1%}, "
        f"AUC {test['auc']:.3f} [{low:.3f}, {high:.3f}]; fitted in {document['seconds']:.0f} s"
    )
    print_honesty(document.get("score_interval"))
    for note in document["notes"]:
        _say(f"note: {note}")


def print_honesty(found: Mapping[str, Any] | None) -> None:
    """Print how wide the intervals of the scores are, and whether the test rows came true within them."""
    if found:
        _say(
            f"{found['coverage']:.0%} intervals of scores: {found['mean_width']:.1%} wide on average; in "
            f"{found['bins_inside'] * found['bins']:.0f} of {found['bins']} bins of test rows the observed rate lies "
            f"inside, in {found['bins_compatible'] * found['bins']:.0f} it is compatible with that"
        )


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)


def _figures(block: Mapping[str, Any]) -> list[str]:
    names = ("auc", "log_loss", "brier", "calibration_error", "lift_at_10")
    return ["" if block.get(name) is None else f"{block[name]:.3f}" for name in names]
