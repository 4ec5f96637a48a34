"""Scoring on Spark: the same numbers as in this process, to the bit, however the rows are spread."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import make_config, read_rows
from test_predict import FRAME, fit
from test_spark import spark  # noqa: F401  (a fixture)

from features import spark as engine
from models.bundle import save_bundle
from models.errors import BundleError
from models.predict import Bundle, load_bundle
from pipeline.adapters.memory import MemorySource
from pipeline.contract import check_contract
from pipeline.deployment import load_extract
from pipeline.extract import extract
from pipeline.judging import Judge, ask_model
from pipeline.registry import Champion
from pipeline.spark_scoring import make_scorer, pack, score_on_spark, score_rows

KEYS = pd.DataFrame(
    {
        "entity_id": [f"客户-{row % 50:02}" for row in range(len(FRAME))],  # 50 customers at four moments
        "as_of": pd.to_datetime([f"2024-0{1 + row // 50}-01" for row in range(len(FRAME))]).astype("datetime64[us]"),
    }
)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    """A saved blend of trees and curves, over numbers and text with gaps in both."""
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    return Champion(1, save_bundle(folder, fit("blend")), folder)


@pytest.fixture(scope="module")
def bundle(champion: Champion) -> Bundle:
    return load_bundle(champion.folder, champion.bundle_sha256)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "features_churn.parquet"
    pd.concat([KEYS, FRAME], axis=1).to_parquet(path, index=False)
    return path


@pytest.mark.usefixtures("spark")
def test_log_odds_and_contributions_are_those_of_this_process_to_the_bit(
    stored: Path, champion: Champion, bundle: Bundle
) -> None:
    assert FRAME.isna().any().any()
    scored = score_on_spark(stored, KEYS, champion.folder, champion.bundle_sha256)
    assert scored.log_odds.tobytes() == bundle.log_odds(FRAME).tobytes()
    assert scored.contributions.tobytes() == bundle.contributions(FRAME)[1].tobytes()


@pytest.mark.usefixtures("spark")
def test_the_order_is_that_of_the_keys_that_are_asked_for(stored: Path, champion: Champion, bundle: Bundle) -> None:
    backwards = score_on_spark(stored, KEYS.iloc[::-1], champion.folder, champion.bundle_sha256)
    assert backwards.log_odds[::-1].tobytes() == bundle.log_odds(FRAME).tobytes()


@pytest.mark.usefixtures("spark")
def test_every_partition_is_scored_and_an_empty_one_adds_no_rows(
    stored: Path, champion: Champion, bundle: Bundle
) -> None:
    with engine.quiet():
        rows = engine.make_session().read.parquet(stored.as_uri())
        spread = rows.filter("entity_id <= '客户-02'").repartition(8, "entity_id")  # three customers, eight partitions
        found = score_rows(spread, champion.folder, champion.bundle_sha256).toArrow().to_pandas()
    assert len(found) == 3 * 4
    assert sorted(found["log_odds"]) == sorted(bundle.log_odds(FRAME[KEYS["entity_id"] <= "客户-02"]))


@pytest.mark.usefixtures("spark")
def test_what_a_score_says_does_not_depend_on_where_it_was_made(
    stored: Path, champion: Champion, bundle: Bundle
) -> None:
    judge = Judge(champion, bundle, None)
    built: Any = SimpleNamespace(frame=pd.concat([KEYS, FRAME], axis=1), infos=())
    here, there = ask_model(judge, built), ask_model(judge, built, stored)
    assert here.keys() == there.keys()
    for name, values in here.items():
        np.testing.assert_array_equal(np.asarray(there[name]), np.asarray(values), err_msg=name)
    first = json.loads(there["reasons"][0])
    assert math.fsum(reason["contribution"] for reason in first) == pytest.approx(there["log_odds"][0], abs=1e-9)


def test_features_that_do_not_fit_the_model_are_refused_in_a_sentence(
    bundle: Bundle,
) -> None:
    built: Any = SimpleNamespace(frame=FRAME.drop(columns=FRAME.columns[0]), infos=(), skipped={})
    with pytest.raises(BundleError, match=rf"olumn '{FRAME.columns[0]}' is missing"):
        check_contract("churn", bundle, built, "EUR", 0.2)


def test_an_executor_needs_no_leadsieve(champion: Champion, bundle: Bundle) -> None:
    cloudpickle = pytest.importorskip("pyspark.cloudpickle", reason="PySpark is not installed: leadsieve[spark]")
    parcel = SimpleNamespace(value=pack(champion.folder))
    batch = pa.RecordBatch.from_pandas(pd.concat([KEYS, FRAME], axis=1), preserve_index=False)
    job = cloudpickle.dumps((make_scorer(parcel, champion.bundle_sha256), [batch]))
    program = (
        "import pickle, sys; sys.modules.update(dict.fromkeys(('features', 'models', 'pipeline')))\n"  # blocked
        "score, batches = pickle.load(sys.stdin.buffer)\n"
        "(answer,) = score(iter(batches))\n"
        "sys.stdout.buffer.write(answer['log_odds'].to_numpy().tobytes())"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", program], input=job, capture_output=True, check=False)
    assert ran.stderr.decode() == ""
    assert ran.stdout == bundle.log_odds(FRAME).tobytes()


@pytest.mark.parametrize(("keys", "expected"), [({}, "duckdb"), ({"engine": "spark"}, "spark")])
def test_the_config_says_which_engine_reads_an_extract(tmp_path: Path, keys: dict[str, str], expected: str) -> None:
    config = make_config(tmp_path, {"customers": {}}, **keys)
    rows = read_rows("customers", [{"customer_id": "C1", "created_at": "2024-01-01"}])
    extract(config, source=MemorySource({"customers": rows}, config.source.data_end, {}))
    assert load_extract(config).engine == expected
