"""`leadsieve demo`: the whole flow on a simulated CRM."""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import answer, progress
from pipeline.commands.train import print_training
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.ledger import Ledger

SHOWN = 10
REASONS = 4
TITLES = {"conversion": "The {n} best open deals", "churn": "The {n} customers most at risk"}


def demo(
    config: Annotated[Path, typer.Option("--config", "-c", help="YAML file of the demo.")] = Path("configs/demo.yaml"),
    customers: Annotated[int, typer.Option("--customers", help="Customers to simulate.")] = 5_000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same CRM.", min=0)] = 7,
) -> None:
    """Simulate a CRM, extract, train, score, write the scores back into it and onto pages, and show who is on top."""
    from pipeline.horizon_scores import primary_scores
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.registry import ui_command
    from pipeline.report import write_report
    from pipeline.score import score
    from pipeline.writeback import write_back

    settings = load_config(config)
    say = _Clock()
    with hold_lock(settings.folder, "demo"), open_ledger(settings.folder / "ledger.db") as ledger:
        _make_tables(settings, config, customers, seed, say)
        _train(settings, config, ledger, say)
        with progress.status("Scoring ..."):
            run = score(settings, ledger)
        say(f"scored {len(primary_scores(settings, run.scores)):,} open deals and customers as run {run.run_id}")
        with progress.status("Writing back ..."):
            # A new simulation has empty fields again, which would look like edits to the ledger of an earlier demo.
            report = write_back(settings, ledger, run.scores, run.run_id, take_over=True)
        report.check()
        say(f"wrote {report.records:,} changed records into the CRM's own tables")
        with progress.status("Writing the pages ..."):
            pages = write_report(settings, ledger)
        say(f"wrote the pages for people: {pages.folder / 'index.html'}")
    scores = primary_scores(settings, run.scores)
    for name, target in settings.targets.items():
        print_best(TITLES[target.kind], scores[scores["target"] == name])
    _print_next_steps(config, scores, ui_command(settings))


class _Clock:
    """Says what was done, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self, what: str) -> None:
        answer.print(f"[{time.perf_counter() - self._started:5.1f} s] {what}", markup=False, soft_wrap=True)


def _make_tables(settings: Config, config: Path, customers: int, seed: int, say: _Clock) -> None:
    """Simulate the CRM and extract it; anything but an earlier simulation is left alone."""
    from pipeline.extract import extract
    from pipeline.field_values import check_write_back
    from pipeline.simulate import simulate_crm, write_sql

    place, crm = settings.source.sqlite, check_write_back(settings)
    if place is None or place != crm.sqlite or settings.source.url_env or crm.url_env:
        raise ConfigError(
            f"{config}: the demo simulates its CRM into a SQLite file and writes the scores there. Set source.sqlite "
            "and write_back.sqlite to one file, and no url_env."
        )
    with progress.status(f"Simulating a CRM of {customers:,} customers ..."):
        write_sql(simulate_crm(customers, seed), place, force=True)
    say(f"simulated a CRM of {customers:,} customers into {place}")
    with progress.status("Extracting ..."):
        extracted = extract(settings, start_over=True)  # another simulation is another world
    rows = sum(table.rows_read for table in extracted.tables)
    say(f"extracted {rows:,} rows of {len(extracted.tables)} tables, data until {extracted.data_end} (UTC)")


def _train(settings: Config, config: Path, ledger: "Ledger", say: _Clock) -> None:
    """Train every target; one without signal is graded by its scorecard alone."""
    from pipeline.deployment import load_extract
    from pipeline.training import train_target

    tables = load_extract(settings)
    for name in settings.targets:
        with progress.status(f"Training {name} ..."):
            trained = train_target(settings, tables, name, ledger, config)
        print_training(name, trained.document)
        if trained.version is None:
            say(f"nothing beats the base rate for {name}, so no model was registered")
        else:
            say(f"registered version {trained.version} of {settings.name}-{name} as champion")


def print_best(title: str, scores: "pd.DataFrame") -> None:
    """Print the rows with the highest probability (points, where there is no model): grade and reasons."""
    best = scores.sort_values(["probability", "points"], ascending=False, kind="stable").head(SHOWN)
    table = Table("id", "grade", "probability", "reasons", box=None, pad_edge=False)
    for row in best.to_dict("records"):
        reasons = json.loads(row["reasons"])[:-1][:REASONS]  # the last one is everything else
        words = "; ".join(f"{'+' if reason['contribution'] > 0 else '−'} {reason['en']}" for reason in reasons)
        probability = "" if row["probability"] != row["probability"] else f"{row['probability']:.1%}"
        table.add_row(*(Text(text) for text in (row["entity_id"], str(row["grade"] or ""), probability, words)))
    answer.print()
    answer.print(title.format(n=len(best)), style="bold")
    answer.print(table)


def _print_next_steps(config: Path, scores: "pd.DataFrame", mlflow: str) -> None:
    best = scores.sort_values(["probability", "points"], ascending=False, kind="stable").iloc[0]
    place = shlex.quote(str(config))
    program = shlex.quote(os.path.relpath(sys.argv[0])) if Path(sys.argv[0]).is_file() else "leadsieve"
    entity = f"--entity {shlex.quote(best['entity_id'])} --at {shlex.quote(str(best['as_of']))}"
    lines = (
        "",
        "Where to look next",
        f"  the values behind a reason: {program} features show -c {place} {entity}",
        f"  what was written, and undo: {program} writeback status -c {place}",
        f"  the nightly job:            {program} run -c {place}",
        f"  model versions and plots:   {mlflow}",
    )
    for line in lines:
        answer.print(line, markup=False, soft_wrap=True)
