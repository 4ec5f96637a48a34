"""The model as MLflow stores it. This file is copied into every version and runs without leadsieve."""

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class BundleModel(PythonModel):
    """Reads the bundle with the `predict.py` stored beside it."""

    def load_context(self, context: Any) -> None:
        """Check the bundle's hashes and load it."""
        spec = importlib.util.spec_from_file_location("leadsieve_predict", context.artifacts["predict"])
        if spec is None or spec.loader is None:
            raise ImportError(f"{context.artifacts['predict']} cannot be read. Download the model again.")
        predict = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(predict)
        self.bundle = predict.load_bundle(Path(context.artifacts["bundle"]), context.model_config["bundle_sha256"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Probability and calibrated log-odds of each row, or its value, on the index of the input."""
        if self.bundle.is_value:
            return pd.DataFrame({"value": self.bundle.value(model_input)}, index=model_input.index)
        return pd.DataFrame(
            {"probability": self.bundle.predict(model_input), "log_odds": self.bundle.log_odds(model_input)},
            index=model_input.index,
        )


set_model(BundleModel())
