"""Kill an extract at random moments, day after day, and compare what is stored with unkilled extracts.

    python tests/kill_extract.py --kills 20 --seed 0

A made-up CRM changes every day; each day is extracted into a reference, unkilled, and into a folder where the
extract is killed once with SIGKILL. A day is good if after the kill the stored tables are, to the byte,
those of the day before or of the day itself, if the next run ends like the unkilled one, and if nothing else is
left in the folder. Exit code 1 if a day is not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = datetime(2024, 7, 1)
ROWS = 4000
TIME_LIMIT_SECONDS = 300
BEGUN = "begun"


def extract_day(folder: Path, day: int) -> None:
    """Extract what the CRM shows on a day: rows come, change, vanish, and customers merge."""
    import pyarrow as pa

    from pipeline.adapters.memory import MemorySource
    from pipeline.config import Config
    from pipeline.extract import extract

    chance = random.Random(0)
    born = datetime(2024, 1, 1)
    customers, orders = [], []
    for n in range(ROWS):
        fate, turn = chance.random(), chance.randrange(1, 25)
        is_merged = fate < 0.05 and turn <= day and n > 0
        if fate > 0.97 and turn <= day:
            continue
        owner = chance.choice("abc") if fate < 0.5 or turn > day else "d"
        into = "C0" if is_merged else None
        customers.append({"customer_id": f"C{n}", "created_at": born, "owner_id": owner, "merged_into": into})
    for n in range(ROWS + 100 * day):
        fate, turn = chance.random(), chance.randrange(1, 25)
        if fate < 0.98 or turn > day:
            amount = n if turn > day else n + 1
            orders.append({"order_id": f"O{n}", "occurred_at": born, "customer_id": f"C{n % ROWS}", "amount": amount})
    config = Config.model_validate(
        {
            "name": "world",
            "state": str(folder),
            "source": {"adapter": "files", "folder": ".", "data_end": str(FIRST + timedelta(days=day))},
            "tables": {"customers": {"select": "-", "remembered": ["owner_id"]}, "orders": {"select": "-"}},
            "targets": {},
        }
    )
    schema = pa.schema({"customer_id": pa.string(), "created_at": pa.timestamp("us"), "owner_id": pa.string(),
                        "merged_into": pa.string()})  # fmt: skip
    tables = {"customers": pa.Table.from_pylist(customers, schema=schema), "orders": pa.Table.from_pylist(orders)}
    source = MemorySource(tables, FIRST + timedelta(days=day))
    print(BEGUN, flush=True)
    extract(config, source=source)


def read_tables(folder: Path) -> dict[str, bytes]:
    """What the manifest names, and the manifest, by name; empty before the first extract."""
    from features.tables import load_tables

    place = folder / "world" / "tables"
    if not (place / "manifest.json").is_file():
        return {}
    files = [table.file for table in load_tables(place).tables.values()]
    return {name: (place / name).read_bytes() for name in ("manifest.json", *files)}


def start(folder: Path, day: int) -> "subprocess.Popen[str]":
    """Start the extract of a day and wait until it has its rows."""
    command = [sys.executable, str(Path(__file__).resolve()), "--day", str(day), "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    if process.stdout is None or process.stdout.readline().strip() != BEGUN:
        raise SystemExit(f"The extract did not begin: {process.communicate()[1][-2000:]}")
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    """Wait for an extract that must end well."""
    _, errors = process.communicate(timeout=TIME_LIMIT_SECONDS)
    if process.returncode:
        raise SystemExit(f"The extract ended with exit code {process.returncode}: {errors[-2000:]}")


def try_day(folder: Path, reference: Path, day: int, chance: random.Random) -> tuple[str, bool]:
    """Extract one day unkilled and killed; returns where the kill fell, and whether all was well."""
    before = read_tables(folder)
    process = start(reference, day)
    begun = time.monotonic()
    finish(process)
    whole, expected = time.monotonic() - begun, read_tables(reference)
    process = start(folder, day)
    time.sleep(chance.uniform(0, whole))
    where = "too late, it had ended"
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        where = "after the switch" if read_tables(folder) == expected else "before the switch"
    process.communicate()
    is_good = read_tables(folder) in (before, expected)
    finish(start(folder, day))
    left = {path.name for path in (folder / "world" / "tables").iterdir()}
    return where, is_good and read_tables(folder) == expected and left == set(expected)


def run_trials(kills: int, seed: int, scratch: Path) -> int:
    """Kill day after day and print the tally; returns how many days were not good."""
    chance = random.Random(seed)
    folder, reference = scratch / "killed", scratch / "reference"
    tally: Counter[str] = Counter()
    bad = 0
    for day in range(kills):
        where, is_good = try_day(folder, reference, day, chance)
        tally[where] += 1
        if not is_good:
            bad += 1
            print(f"Day {day} (killed {where}): the stored tables differ from those of an unkilled extract.")
            shutil.rmtree(folder)
            shutil.copytree(reference, folder)
    for where, count in sorted(tally.items()):
        print(f"{count:5,} killed {where}")
    print(f"{kills - bad:,} of {kills:,} days equal to the unkilled extracts.")
    return bad


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, or one extract of them; 1 if a day was not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many days, each with one kill")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same moments")
    parser.add_argument("--day", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.day is not None:
        extract_day(options.folder, options.day)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        return 1 if run_trials(options.kills, options.seed, Path(scratch)) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
