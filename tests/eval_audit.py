"""Which planted leaks the audit finds, and what else it flags: `python tests/eval_audit.py [SEEDS] [CUSTOMERS]`.

Simulates small CRMs with planted leaks, extracts them once, with these columns declared static and with them
not declared, and prints a line per seed.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from features.tables import TABLES, load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.audit_columns import ColumnVerdict, check_columns
from pipeline.config import Config, load_config
from pipeline.extract import extract
from pipeline.simulate import simulate_crm
from pipeline.simulation_leaks import LEAKS

ROOT = Path(__file__).resolve().parents[1]
PLANTED = {(leak.table, leak.column) for leak in LEAKS}


class Tally(NamedTuple):
    """One seed: planted columns by verdict, and clean columns that were flagged."""

    seed: int
    declared: str
    planted: Mapping[tuple[str, str], str]
    flagged: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        """One line."""
        counts = {verdict: list(self.planted.values()).count(verdict) for verdict in ("leak", "suspicious")}
        missed = [".".join(place) for place, verdict in self.planted.items() if verdict != "leak"]
        return (
            f"seed {self.seed:>3}  {self.declared:<13}{counts['leak']} leak, {counts['suspicious']} suspicious of "
            f"{len(self.planted)}; clean columns flagged: {len(self.flagged)}  {self.seconds:.1f}s  "
            f"{' '.join([*missed, *self.flagged])}"
        )


WAYS = ("static", "not declared")
"""What the config says of the planted columns."""


def audit_seed(seed: int, customers: int, state: Path, ways: Sequence[str] = WAYS) -> Iterator[Tally]:
    """Audit one simulated CRM once for each way in which its leaks may be declared."""
    tables = simulate_crm(customers, seed=seed, has_leaks=True)
    for declared in ways:
        config = leaky_config(state / declared.replace(" ", "_") / str(seed), declared == "static")
        verdicts, seconds = audit_tables(config, tables)
        planted = {(v.table, v.column): v.verdict for v in verdicts if (v.table, v.column) in PLANTED}
        clean = [v for v in verdicts if (v.table, v.column) not in PLANTED]
        flagged = tuple(f"{v.table}.{v.column}={v.verdict}" for v in clean if v.verdict in ("leak", "suspicious"))
        yield Tally(seed, declared, planted, flagged, seconds)


def leaky_config(state: Path, is_static: bool) -> Config:
    """Return the demo's config, with the planted columns declared static if told so."""
    config = load_config(ROOT / "configs" / "demo.yaml").model_copy(update={"state": state})
    if not is_static:
        return config
    mappings = dict(config.tables)
    for table, column in sorted(PLANTED):
        mapping = mappings[table]
        mappings[table] = mapping.model_copy(update={"static": (*mapping.static, column)})
    return config.model_copy(update={"tables": mappings})


def audit_tables(config: Config, tables: Mapping[str, pa.Table]) -> tuple[list[ColumnVerdict], float]:
    """Extract simulated tables and judge their columns; the seconds are those of the audit."""
    delivered = {name: table for name, table in tables.items() if name in TABLES}
    delivered["deals"] = delivered["deals"].drop_columns(["stage"])  # which shows today's stage: no config delivers it
    extract(config, source=MemorySource(delivered, tables["clock"]["now"][0].as_py()))
    started = time.monotonic()
    return check_columns(config, load_tables(config.folder / "tables")), time.monotonic() - started


def main() -> None:
    """Print one line per seed, and the sums."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    customers = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    tallies = []
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as state:
            for tally in audit_seed(seed, customers, Path(state)):
                print(tally, flush=True)
                tallies.append(tally)
    for declared in WAYS:
        some = [tally for tally in tallies if tally.declared == declared]
        verdicts = [verdict for tally in some for verdict in tally.planted.values()]
        flagged = sum(len(tally.flagged) for tally in some)
        print(f"{declared}: {verdicts.count('leak')} of {len(verdicts)} planted leaks found, {flagged} clean flagged")


if __name__ == "__main__":
    main()
