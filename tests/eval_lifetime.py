"""Print how well lifetime value is expected: `python tests/eval_lifetime.py [--model] [NAME ...]`.

Facts of all customers as they were known a while before the end of the data (`BACK`), beside the revenue that
followed until the end, not discounted: on public data, and on a simulated CRM. Ours stands beside last year's revenue
repeated (scaled to the length of what followed), and beside the same amount for everybody. With `--model` a model
of revenue in 90 days is trained on what was known then, and carried over: some minutes each. Then the lifecycle stages
of that moment, with the share of each that bought again within 90 days, and what each brought in per customer.
LEADSIEVE_DATA names the folder with the data sets (default: ../shared/data); state goes to a temporary folder.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from eval_value import header, line

from features.labels import build_labels
from features.spine import build_scoring_spine
from features.tables import CrmTables
from features.targets import Target
from models.recipe import RecipeSettings
from models.value import evaluate_value, predict_value, refit_value, split_value_test
from models.value_metrics import measure_value
from pipeline.config import Config, load_config
from pipeline.customer_facts import make_customer_facts
from pipeline.deployment import features_of, load_extract, make_target
from pipeline.extract import extract
from pipeline.training import make_training_set
from pipeline.value_training import past_revenue_column

ROOT = Path(__file__).resolve().parents[1]
BACK = {"online_retail": 365, "cdnow": 273, "demo": 365}
"""Days before the end of the data at which customers are judged, by the config that is used."""
SHOWN = ("mae", "spearman", "gini", "captured_at_10", "predicted_over_observed")
CUSTOMERS = 4_000
AGAIN_DAYS = 90
MODEL_DAYS, MODEL_TRAINS_ON = 90, 540


def prepare(name: str, state: Path) -> tuple[Config, CrmTables]:
    """Extract a shipped config into a state folder; the demo's source is simulated."""
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    document = {**config.model_dump(), "state": state, "write_back": None}
    if name == "demo":
        place = state.with_suffix(".db")
        simulate = ["simulate", "--sql", f"sqlite:///{place}", "--customers", str(CUSTOMERS), "--force"]
        subprocess.run([sys.executable, "-m", "pipeline.cli", *simulate], check=True, stdout=subprocess.DEVNULL)
        document["source"] = {**document["source"], "sqlite": place}
    made = Config.model_validate(document)
    extract(made)
    return made, load_extract(made)


def labels(tables: CrmTables, facts: pd.DataFrame, target: Target) -> "pd.Series[float]":
    """What followed, by customer_id."""
    spine = pd.DataFrame({"entity_id": facts["customer_id"], "as_of": facts["as_of"]})
    return build_labels(tables, spine, target).set_index("entity_id")["label"]


def write_model_values(config: Config, then: CrmTables, run_folder: Path) -> Config:
    """Train on what was known then, and keep what the model says of everybody as a run would; the config with it."""
    spine = {"grid": "month", "start": (then.data_end - timedelta(days=MODEL_TRAINS_ON)).date()}
    target = {"kind": "value", "horizons_days": [MODEL_DAYS], "settle_days": 0, "spine": spine}
    made = Config.model_validate({**config.model_dump(), "targets": {"value": target}})
    rows = make_training_set(made, then, "value")
    train, test = split_value_test(rows)
    evaluation = evaluate_value(train, test, past_revenue_column(rows), RecipeSettings(seed=config.seed))
    everybody = features_of(made, then, "value", build_scoring_spine(then, make_target(made, "value"))).frame
    value = predict_value(refit_value(evaluation, rows), everybody)
    scores = pd.DataFrame({"entity_id": everybody["entity_id"], "target": "value", "horizon_days": MODEL_DAYS})
    run_folder.mkdir()
    scores.assign(value=value).to_parquet(run_folder / "scores.parquet")
    return made


def run(name: str, state: Path, *, with_model: bool) -> Iterator[str]:
    """Lines of one deployment."""
    config, tables = prepare(name, state)
    days = BACK[name]
    then = replace(tables, data_end=tables.data_end - timedelta(days=days))
    rules = {"horizon_days": days, "annual_discount_rate": 0.0}
    asked = config.model_copy(update={"value_classes": config.value_classes.model_copy(update=rules)})
    found = make_customer_facts(asked, then, state / "no-run")
    facts = found.frame[found.frame["orders_count"] > 0].reset_index(drop=True)
    revenue = labels(tables, facts, Target("value", "value", days, settle_days=0)).reindex(facts["customer_id"])
    left = labels(tables, facts, Target("left", "churn", AGAIN_DAYS, settle_days=0)).reindex(facts["customer_id"])
    facts = facts.assign(revenue=revenue.to_numpy(), again=1.0 - left.to_numpy())
    facts = facts[facts["revenue"].notna()]
    truth = facts["revenue"].to_numpy()
    last_year = facts["revenue_365d"].to_numpy()
    yield f"{name}: {len(facts):,} customers who had bought by {then.data_end}, {days} days before the end"
    yield from found.notes
    said = {
        "ours (BG/NBD, Gamma-Gamma)": facts["lifetime_value"].to_numpy(),
        "last year's revenue again": last_year * days / 365.0,
        "the mean of last year": np.full(len(facts), last_year.mean() * days / 365.0),
    }
    if with_model:
        modelled = make_customer_facts(write_model_values(asked, then, state / "run"), then, state / "run").frame
        value = modelled.set_index("customer_id")["lifetime_value"].reindex(facts["customer_id"]).to_numpy()
        said = {f"a {MODEL_DAYS}-day model carried over": value, **said}
    for what, value in said.items():
        yield line(name, what, measure_value(truth, np.maximum(value, 0.01)), SHOWN)
    for stage, rows in facts.groupby("lifecycle"):
        yield (
            f"{name:<15}{stage:<10} {len(rows):>6,} customers, {rows['again'].mean():>6.1%} bought again within "
            f"{AGAIN_DAYS} days, {rows['revenue'].mean():>9,.0f} each in {days} days, expected "
            f"{rows['lifetime_value'].mean():>9,.0f}, last year {rows['revenue_365d'].mean():>9,.0f}"
        )


def main() -> None:
    """Print the lines of the deployments named, or of all."""
    folder = Path(os.environ.setdefault("LEADSIEVE_DATA", str(ROOT.parent / "shared" / "data")))
    os.environ["LEADSIEVE_DATA"] = str(folder.resolve())
    print(header(SHOWN), flush=True)
    with chdir(ROOT), tempfile.TemporaryDirectory() as state:
        for name in [one for one in sys.argv[1:] if one != "--model"] or BACK:
            for text in run(name, Path(state) / name, with_model="--model" in sys.argv):
                print(text, flush=True)


if __name__ == "__main__":
    main()
