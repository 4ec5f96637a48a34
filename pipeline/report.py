"""`leadsieve report`: three pages that hold all they show, written from the ledger, the runs and the tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.atomic_files import replace_text
from pipeline.config import Config
from pipeline.deployment import load_extract
from pipeline.ledger import Ledger
from pipeline.report_customers import make_customers_page
from pipeline.report_health import make_health_page
from pipeline.report_pipeline import make_pipeline_page
from pipeline.report_quality import read_monthly_scores
from pipeline.report_today import read_today


@dataclass(frozen=True)
class WrittenReport:
    """What was written: bytes of each page by its place, and of how many rows and customers they tell."""

    folder: Path
    bytes: Mapping[str, int]
    run_id: str
    rows: int


def write_report(
    config: Config, ledger: Ledger, folder: Path | None = None, say: Callable[[str], None] = lambda what: None
) -> WrittenReport:
    """Write the pages of a report; each that is there is replaced when the new one is complete.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    folder : Path, optional
        Default: `report` in the state folder of the deployment.
    say : callable
        Told what comes next.

    Raises
    ------
    DataError
        If nothing was scored yet, or the tables are gone.

    """
    place = folder or config.folder / "report"
    say("reading the scores")
    tables = load_extract(config)
    today = read_today(config, ledger, tables)
    pages = {"index.html": make_pipeline_page(today, config.name, config.currency)}
    say("putting the customer files together")
    monthly = read_monthly_scores(config, ledger)
    pages["customers.html"] = make_customers_page(config, tables, today, monthly)
    say("settling past scores")
    pages["health.html"] = make_health_page(config, ledger, tables, today, monthly)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        replace_text(place / name, text)
    sizes = {name: (place / name).stat().st_size for name in pages}
    return WrittenReport(place, sizes, today.run.run_id, len(today.rows))
