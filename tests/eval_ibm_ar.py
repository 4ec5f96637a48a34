"""Late payment of real invoices from the shipped invoice features: `python tests/eval_ibm_ar.py`.

IBM's sample of accounts receivable, 2,466 invoices of 100 customers. Every invoice is looked at when it is issued:
what was issued or paid on the same date is not known then. A plain logistic regression is fitted on the invoices
that were due before the newest quarter began, and asked which of that quarter's were paid late. `Disputed` and the
settlement columns are only known afterwards and stay out.

Three sets of columns are compared: the invoice's own; beside them two of the shipped features; and beside these
one group on a column of this deployment's own, the share of earlier invoices that went out without paper. (Without
paper a customer pays about a week earlier, so a mean delay says something else after a customer has switched.) The
sets are measured on four blocks of the older invoices, too. Exit code 1 when the AUC of the last set on the newest
quarter is below the bar; the shipped features alone are below it there. LEADSIEVE_DATA names the folder with the data
set (default: ../shared/data).
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from features.build import build_features
from features.expressions import ratio
from features.group import Feature, FeatureDict, feature_group
from features.groups.invoices import invoice_payments, invoice_payments_lately
from features.tables import CrmTables, load_tables
from models.metrics import measure
from pipeline.config import Config
from pipeline.extract import extract

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
BAR = 0.875
TEST_SHARE = 0.25
BLOCKS = (0.40, 0.55, 0.70, 0.85, 1.0)
"""Edges of the older invoices' blocks, as shares of these invoices in the order of time."""

LEVELS = ["region", "paperless"]  # all terms are 30 days
OWN = ["amount"]
SHIPPED = [*OWN, "invoices_delay_mean", "invoices_delay_mean_365d"]  # rates travel better than running totals
SETS = {"own": OWN, "shipped": SHIPPED, "all": [*SHIPPED, "invoices_paperless_share"]}
SOURCE = "FROM read_csv('ibm_ar/WA_Fn-UseC_-Accounts-Receivable.csv', all_varchar = true)"


class Result(NamedTuple):
    """METRICS of every set on the test rows, and its mean AUC on the blocks before them."""

    trained: int
    first_test_day: pd.Timestamp
    tested: Mapping[str, dict[str, Any]]
    earlier: Mapping[str, float]


@feature_group("invoices")
def paperless_history(invoices: Any) -> FeatureDict:
    """Share of the invoices judged so far that went out without paper."""
    is_judged = invoices.paid_at.notnull() | (invoices.due_at < invoices.as_of)  # noqa: PD004  (Ibis, not pandas)
    share = ratio((is_judged & (invoices.paperless == "yes")).sum(), is_judged.sum())
    return {
        "invoices_paperless_share": Feature(
            share, None, "share", "{value:.0%} of invoices without paper", "电子发票占比 {value:.0%}"
        )
    }


def _date(column: str) -> str:
    return f"CAST(strptime({column}, '%m/%d/%Y') AS DATE)"


def extract_invoices(data: Path, state: Path) -> CrmTables:
    """Extract customers and invoices; what was paid is revealed by its date."""
    tables = {
        "customers": {
            "select": f"SELECT customerID AS customer_id, min({_date('InvoiceDate')}) AS created_at, "
            f"any_value(countryCode) AS region {SOURCE} GROUP BY customerID",
            "static": ["region"],
        },
        "invoices": {
            "select": f"SELECT invoiceNumber AS invoice_id, customerID AS customer_id, InvoiceAmount AS amount, "
            f"{_date('InvoiceDate')} AS occurred_at, {_date('DueDate')} AS due_at, {_date('SettledDate')} AS paid_at, "
            f"CASE WHEN {_date('PaperlessDate')} <= {_date('InvoiceDate')} THEN 'yes' ELSE 'no' END AS paperless "
            f"{SOURCE}"
        },
    }
    source = {"adapter": "files", "folder": str(data), "data_end": "2014-01-10"}
    config = {"name": "ibm_ar", "state": str(state), "source": source, "tables": tables, "targets": {}}
    return load_tables(extract(Config.model_validate(config)).folder)


def invoice_rows(tables: CrmTables) -> pd.DataFrame:
    """Return one row per invoice: its own attributes, its customer's history when it was issued, and `late`."""
    invoices = pd.read_parquet(tables.path("invoices"))
    regions = pd.read_parquet(tables.path("customers"), columns=["customer_id", "region"])
    key = {"customer_id": "entity_id", "occurred_at": "as_of"}
    spine = invoices[list(key)].drop_duplicates().rename(columns=key)
    spine["customer_id"] = spine["entity_id"]
    groups = (invoice_payments, invoice_payments_lately, paperless_history)
    built = build_features(tables, spine, groups, "customers").frame
    rows = invoices.merge(regions, on="customer_id").rename(columns=key).merge(built, on=list(key.values()))
    rows["amount"] = rows["amount"].astype("float64")
    return rows.assign(late=(rows["paid_at"] > rows["due_at"]).astype("float64"))


def measure_set(train: pd.DataFrame, test: pd.DataFrame, numbers: Sequence[str], resamples: int = 0) -> dict[str, Any]:
    """METRICS of a logistic regression: medians for gaps, standardised numbers, levels one-hot, nothing tuned.

    Intervals resample whole customers.
    """
    gaps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer((gaps, list(numbers)), (OneHotEncoder(), LEVELS))
    model = make_pipeline(columns, LogisticRegression()).fit(train, train["late"])
    probability = np.asarray(model.predict_proba(test)[:, 1])
    return measure(test["late"].to_numpy(), probability, test["entity_id"].to_numpy(), resamples=resamples)


def split(rows: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp | None = None) -> tuple[Any, Any]:
    """Invoices whose label was known when the test rows begin, and those issued in `[begin, end)`."""
    tested = (rows["as_of"] >= begin) if end is None else rows["as_of"].between(begin, end, inclusive="left")
    return rows[rows["due_at"] < begin], rows[tested]


def run(data: Path, state: Path, resamples: int = 1000) -> Result:
    """Extract, build, fit and measure."""
    rows = invoice_rows(extract_invoices(data, state))
    begin = rows["as_of"].quantile(1 - TEST_SHARE, interpolation="lower").normalize()
    older = rows[rows["as_of"] < begin]
    edges = [older["as_of"].quantile(share, interpolation="lower").normalize() for share in BLOCKS[:-1]]
    blocks = [split(older, *edge) for edge in pairwise([*edges, begin])]
    train, test = split(rows, begin)
    return Result(
        len(train),
        begin,
        {name: measure_set(train, test, numbers, resamples) for name, numbers in SETS.items()},
        {
            name: float(np.mean([measure_set(*block, numbers)["auc"] for block in blocks]))
            for name, numbers in SETS.items()
        },
    )


def main() -> int:
    """Print the figures; 1 if the AUC is below the bar."""
    if not (DATA / "ibm_ar").is_dir():
        raise SystemExit(f"{DATA / 'ibm_ar'} is absent: the data are not part of the project. Set LEADSIEVE_DATA.")
    with tempfile.TemporaryDirectory() as state:
        result = run(DATA.resolve(), Path(state))
    last = result.tested["all"]
    print(
        f"trained on {result.trained:,} invoices due before {result.first_test_day:%Y-%m-%d}, tested on the "
        f"{last['rows']:,} issued from then on; {last['base_rate']:.3f} of these were paid late"
    )
    print(f"{'columns':<10}{'AUC':>7}  {'95 % interval':<17}{'log loss':>9}{'AUC on earlier blocks':>23}")
    for name, found in result.tested.items():
        low, high = found["interval"]["auc"]
        interval = f"[{low:.3f}, {high:.3f}]"
        print(f"{name:<10}{found['auc']:>7.4f}  {interval:<17}{found['log_loss']:>9.4f}{result.earlier[name]:>23.4f}")
    is_met = last["auc"] >= BAR
    print(f"bar: AUC {BAR}: {'met' if is_met else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
