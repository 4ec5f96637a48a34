"""`leadsieve report`: pages for people, as files that need nothing else."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import ConfigOption, JsonOption, open_scores, print_json, progress, say
from pipeline.config import load_config
from pipeline.report_words import PAGES


def report(
    config: ConfigOption,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to write; default: report in the state folder.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the first page in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the pages for people: the pipeline today, the customer files, the health of models and cards."""
    from pipeline.report import write_report

    settings = load_config(config)
    started = time.perf_counter()
    with open_scores(settings) as ledger, progress.status("Writing the report ...") as status:
        written = write_report(settings, ledger, folder, lambda what: status.update(f"Writing the report: {what} ..."))
    if as_json:
        print_json(
            {
                "folder": str(written.folder),
                "run_id": written.run_id,
                "rows": written.rows,
                "bytes": dict(written.bytes),
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
    else:
        for name, size in written.bytes.items():
            say(f"{written.folder / name} ({size / 1e6:.1f} MB)")
        say(f"{written.rows:,} scores of run {written.run_id}; open {written.folder / next(iter(PAGES))} in a browser.")
    if open_it:
        webbrowser.open((written.folder / next(iter(PAGES))).resolve().as_uri())
