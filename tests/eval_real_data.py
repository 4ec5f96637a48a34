"""Extract, train and score the public data through the shipped configs: `python tests/eval_real_data.py [NAME ...]`.

Prints one line per target. LEADSIEVE_DATA names the folder with the data sets (default: ../shared/data); state goes
to a temporary folder.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import Config, load_config
from pipeline.deployment import load_extract
from pipeline.extract import extract
from pipeline.ledger import open_ledger
from pipeline.score import score
from pipeline.training import train_target

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("olist", "bpic2012", "maven_crm", "cdnow", "online_retail")
HEADER = (
    f"{'deployment':<15}{'target':<12}{'extracted':>10}{'train':>9}{'test':>8}{'base':>8}{'AUC':>8}  "
    f"{'95 % interval':<17}{'log loss':>9}{'scored':>8}{'extract':>9}{'train':>8}{'score':>8}  selected"
)


class Result(NamedTuple):
    """One target: rows of the extract, of the training and of the scoring run; seconds of each."""

    name: str
    target: str
    extracted: int
    trained: int
    document: dict[str, Any]
    scored: int
    seconds: tuple[float, float, float]

    def __str__(self) -> str:
        """One line; the base rate is that of the test rows."""
        test = self.document["test"]
        low, high = test["interval"]["auc"]
        seconds = "".join(f"{value:>7.1f}s" for value in self.seconds)
        return (
            f"{self.name:<15}{self.target:<12}{self.extracted:>10,}{self.trained:>9,}{test['rows']:>8,}"
            f"{test['base_rate']:>8.4f}{test['auc']:>8.4f}  {f'[{low:.3f}, {high:.3f}]':<17}{test['log_loss']:>9.4f}"
            f"{self.scored:>8,} {seconds}  {self.document['selected']}"
        )


def run(config: Config, path: Path) -> Iterator[Result]:
    """Run a deployment from its files to its scores; the times of extract and score are those of all targets."""
    started = time.monotonic()
    report = extract(config)
    extracting = time.monotonic() - started
    tables = load_extract(config)
    with open_ledger(config.folder / "ledger.db") as ledger:
        trained, training = {}, {}
        for name in config.targets:
            started = time.monotonic()
            trained[name] = dict(train_target(config, tables, name, ledger, path).document)
            training[name] = time.monotonic() - started
        started = time.monotonic()
        scores = score(config, ledger).scores
        scoring = time.monotonic() - started
    for name, document in trained.items():
        yield Result(
            config.name,
            name,
            sum(table.rows for table in report.tables),
            document["fitted_on"]["rows"],
            document,
            int((scores["target"] == name).sum()),
            (extracting, training[name], scoring),
        )


def main() -> None:
    """Print one line per target of the deployments named, or of all."""
    folder = Path(os.environ.setdefault("LEADSIEVE_DATA", str(ROOT.parent / "shared" / "data")))
    if not folder.is_dir():
        raise SystemExit(
            f"{folder} is absent: the data are not part of the project. Set LEADSIEVE_DATA to their folder."
        )
    os.environ["LEADSIEVE_DATA"] = str(folder.resolve())
    print(HEADER, flush=True)
    with chdir(ROOT), tempfile.TemporaryDirectory() as state:  # scorecards are named from the project's folder
        for name in sys.argv[1:] or NAMES:
            path = Path("configs") / f"{name}.yaml"
            for result in run(load_config(path).model_copy(update={"state": Path(state)}), path):
                print(result, flush=True)


if __name__ == "__main__":
    main()
