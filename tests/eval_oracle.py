"""How close the shipped model comes to the truth of a simulated world (`make oracle`).

Simulates, extracts and trains with the product's own functions and the demo's config, and compares the model on
the test block with the true chance of the same rows. Exit code 1 when the model's distance above 0.5 (AUC, mean
over the seeds) is less than 95 % of the oracle's, or a base rate or the oracle's AUC is out of its range.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from small_crm import write_configs

from models.recipe import RecipeSettings, evaluate
from models.split import split_test
from models.training_set import TrainingSet
from pipeline.config import Config
from pipeline.deployment import load_extract
from pipeline.extract import extract
from pipeline.simulate import Plan, simulate_parts, write_sql
from pipeline.simulation_leaks import LEAKS
from pipeline.simulation_truth import Truth, build_truth, join_truths
from pipeline.training import make_training_set

NEEDED = 0.95
BASE_RATES = 0.08, 0.30
ORACLE_AUC = 0.78, 0.88
TARGETS = "conversion", "churn"


@dataclass(frozen=True)
class Result:
    """Figures of one target in one world; the oracle's are of the test rows and of the whole spine."""

    target: str
    seed: int
    rows: int
    base_rate: float
    model: float
    oracle: float
    spine_base_rate: float
    spine_oracle: float
    selected: str

    @property
    def share(self) -> float:
        """The model's distance above 0.5, as a share of the oracle's."""
        return (self.model - 0.5) / (self.oracle - 0.5)


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    rank = pd.Series(score).rank().to_numpy()
    ones = label == 1
    below = rank[ones].sum() - ones.sum() * (ones.sum() + 1) / 2
    return float(below / (ones.sum() * (~ones).sum()))


def true_chances(truth: pa.Table, rows: TrainingSet) -> np.ndarray:
    """Truth of each row; it must be there for all."""
    frame = truth.select(["entity_id", "as_of", "probability"]).to_pandas()
    keys = rows.keys.astype({"entity_id": "str", "as_of": "datetime64[us]"})
    frame = frame.astype({"entity_id": "str", "as_of": "datetime64[us]"})
    chance = keys.merge(frame, on=["entity_id", "as_of"], how="left", validate="one_to_one")["probability"].to_numpy()
    assert np.isnan(chance).mean() < 0.001, f"{np.isnan(chance).sum()} of {len(chance)} rows have no truth"
    return np.nan_to_num(chance, nan=float(np.nanmean(chance)))


def measure_world(customers: int, seed: int, has_leaks: bool = False, only: tuple[str, ...] = TARGETS) -> list[Result]:
    """Simulate, extract, train; the figures of each target."""
    with tempfile.TemporaryDirectory(prefix="leadsieve-oracle-") as folder:
        world = write_configs(Path(folder))
        if has_leaks:
            world.change_config(**leak_columns(world.config), feature_modules=["leaks.py"])
            write_leak_groups(Path(folder) / "leaks.py")
        parts = list(simulate_parts(Plan(customers, seed, has_leaks=has_leaks)))
        names = {name: None for part in parts for name in part.tables}
        tables = {n: pa.concat_tables([part.tables[n] for part in parts if n in part.tables]) for n in names}
        tables.pop("leaks", None)
        write_sql(tables, Path(folder) / "crm.db")
        truth = join_truths([build_truth(part.world, part.numbers, part.tables) for part in parts])
        config = world.config
        source = config.source.model_copy(update={"sqlite": Path(folder) / "crm.db"})
        config = config.model_copy(update={"source": source})
        if has_leaks:
            config = config.model_copy(update={"feature_modules": (Path(folder) / "leaks.py",)})
        extract(config)
        crm = load_extract(config)
        return [measure_target(make_training_set(config, crm, name), truth, name, seed) for name in only]


def measure_target(rows: TrainingSet, truth: Truth, name: str, seed: int) -> Result:
    """Choose and fit on the training rows, compare on the test block."""
    train, test = split_test(rows)
    chances = getattr(truth, name)
    spine = true_chances(chances, rows)
    fitted = evaluate(train, test, RecipeSettings(seed=7, resamples=2))
    return Result(
        target=name,
        seed=seed,
        rows=len(test.label),
        base_rate=float(test.label.mean()),
        model=auc(test.label, np.asarray(fitted.test_probability)),
        oracle=auc(test.label, true_chances(chances, test)),
        spine_base_rate=float(rows.label.mean()),
        spine_oracle=auc(rows.label, spine),
        selected=fitted.selected,
    )


def leak_columns(config: Config) -> dict[str, list[str] | str]:
    """Changes of the config that read the planted columns as static ones."""
    changes: dict[str, list[str] | str] = {}
    for table in ("customers", "deals"):
        columns = [leak.column for leak in LEAKS if leak.table == table]
        mapping = config.tables[table]
        changes[f"tables__{table}__select"] = mapping.select.replace(
            " FROM ", "".join(f", {column}" for column in columns) + " FROM "
        )
        changes[f"tables__{table}__static"] = [*mapping.static, *columns]
    return changes


def write_leak_groups(path: Path) -> None:
    """Write feature groups that show the planted columns, as a data scientist would add columns of a CRM."""
    parts = ["from features.expressions import days_between", "from features.group import Feature, feature_group"]
    for table, key in (("customers", "customer_id"), ("deals", "deal_id")):
        values = ", ".join(leak_feature(table, leak.column) for leak in LEAKS if leak.table == table)
        parts.append(
            f'@feature_group("{table}", by="{key}")\n'
            f'def leaks_of_{table}({table}):\n    """Planted columns."""\n    return {{{values}}}'
        )
    path.write_text("\n\n\n".join(parts) + "\n", encoding="utf-8")


def leak_feature(table: str, column: str) -> str:
    """Code of one feature: counts as numbers, times as days before `as_of`, the rest as text."""
    value, unit = f"{table}.{column}.max()", "text"
    if column.startswith("lifetime"):
        unit = "count"
    elif column.endswith("_at"):
        value, unit = f"days_between({value}.cast('timestamp(6)'), {table}.as_of.max())", "days"  # SQLite has text
    return f"'leak_{table}_{column}': Feature({value}, None, '{unit}', '{{value}}', '{{value}}')"


def print_result(one: Result) -> None:
    """Print one line."""
    print(
        f"{one.target:<11} seed {one.seed}: {one.rows:>6,} test rows, base rate {one.base_rate:.1%}, "
        f"AUC {one.model:.4f} ({one.selected}), oracle {one.oracle:.4f}, share {one.share:.1%}; "
        f"whole spine: base rate {one.spine_base_rate:.1%}, oracle {one.spine_oracle:.4f}",
        flush=True,
    )


def judge(results: list[Result]) -> list[str]:
    """Print the means; return what falls short."""
    problems = []
    for target in TARGETS:
        rows = [one for one in results if one.target == target]
        model, oracle = (float(np.mean([getattr(one, name) for one in rows])) for name in ("model", "oracle"))
        rate, spine = (
            float(np.mean([getattr(one, name) for one in rows])) for name in ("spine_base_rate", "spine_oracle")
        )
        share = (model - 0.5) / (oracle - 0.5)
        print(f"{target:<11} mean: AUC {model:.4f}, oracle {oracle:.4f}, share {share:.1%} (needed {NEEDED:.0%})")
        if share < NEEDED:
            problems.append(f"{target}: the model reaches {share:.1%} of the oracle's distance above 0.5")
        if not BASE_RATES[0] <= rate <= BASE_RATES[1]:
            problems.append(f"{target}: base rate {rate:.1%}")
        if not ORACLE_AUC[0] <= spine <= ORACLE_AUC[1]:
            problems.append(f"{target}: AUC of the oracle {spine:.3f}")
    return problems


def main() -> None:
    """Measure all seeds, then one with the planted leaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--no-leaks", action="store_true", help="leave out the world with planted leaks")
    options = parser.parse_args()
    results = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        begun = time.perf_counter()
        for one in measure_world(options.customers, seed):
            results.append(one)
            print_result(one)
        print(f"            {time.perf_counter() - begun:.0f} s", flush=True)
    problems = judge(results)
    if not options.no_leaks:
        print("With the planted leaks as static columns:")
        for one in measure_world(options.customers, options.first_seed, has_leaks=True):
            print_result(one)
            if one.model <= one.oracle:
                problems.append(f"{one.target}: with the planted leaks the model does not pass the oracle")
    print("pass" if not problems else "FAIL: " + "; ".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
