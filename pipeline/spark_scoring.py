"""Scores on Spark: partition by partition, each beside a copy of the bundle that was sent to its executor."""

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features.program import SPINE_KEY
from features.spark import make_session, quiet
from models import predict

Floats = NDArray[np.float64]

_SCORED = "entity_id string, as_of timestamp_ntz, log_odds double, contributions array<double>"


@dataclass(frozen=True)
class Scored:
    """Calibrated log-odds, and what each column of the contract adds to them (rows x columns)."""

    log_odds: Floats
    contributions: Floats


def score_on_spark(features: Path, keys: pd.DataFrame, bundle: Path, sha256: str) -> Scored:
    """Score stored features on the executors; the same numbers, to the bit, as the bundle gives in this process.

    Contributions of more than `MANY_ROWS` rows are looked up there, and are the same up to rounding (1e-12).

    Parameters
    ----------
    features : Path
        Parquet file with entity_id, as_of and the columns of the bundle's contract, where executors can read it.
    keys : DataFrame
        entity_id and as_of of its rows, in the order that is wanted.
    bundle : Path
        Folder of a saved bundle.
    sha256 : str
        Hash of the bundle; executors check it again.

    Returns
    -------
    Scored

    """
    with quiet():
        session = make_session()
        rows = session.read.parquet(features.resolve().as_uri()).repartition(session.sparkContext.defaultParallelism)
        scored = score_rows(rows, bundle, sha256).toArrow().to_pandas().set_index(SPINE_KEY)
    ordered = scored.loc[pd.MultiIndex.from_frame(keys[SPINE_KEY])]
    return Scored(ordered["log_odds"].to_numpy(dtype=np.float64), np.stack(ordered["contributions"].to_list()))


def score_rows(rows: Any, bundle: Path, sha256: str) -> Any:
    """Score a Spark frame of features, in batches of Arrow.

    Parameters
    ----------
    rows : Spark DataFrame
        entity_id, as_of and the columns of the bundle's contract.
    bundle : Path
        Folder of a saved bundle.
    sha256 : str
        Its hash.

    Returns
    -------
    Spark DataFrame
        entity_id, as_of, log_odds and contributions, one row per row.

    """
    sent = rows.sparkSession.sparkContext.broadcast(pack(bundle))
    return rows.mapInArrow(make_scorer(sent, sha256), _SCORED)


def pack(bundle: Path) -> dict[str, bytes]:
    """Files that an executor needs: those of the bundle, and the module that reads it."""
    files = {f"bundle/{file.name}": file.read_bytes() for file in sorted(bundle.iterdir())}
    return {**files, "predict.py": Path(predict.__file__).read_bytes()}


def make_scorer(parcel: Any, sha256: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that executors run. It is sent by value and names nothing of ours: they need no leadsieve."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with tempfile.TemporaryDirectory(prefix="leadsieve-") as folder:
            Path(folder, "bundle").mkdir()
            for name, content in parcel.value.items():
                Path(folder, name).write_bytes(content)
            spec: Any = importlib.util.spec_from_file_location("leadsieve_predict", Path(folder, "predict.py"))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            model = module.load_bundle(Path(folder, "bundle"), sha256)
        for batch in batches:
            frame = batch.to_pandas()
            contributions = pa.array(list(model.contributions(frame)[1]), pa.list_(pa.float64()))
            columns = [batch["entity_id"], batch["as_of"], pa.array(model.log_odds(frame)), contributions]
            yield pa.RecordBatch.from_arrays(columns, ["entity_id", "as_of", "log_odds", "contributions"])

    return score
