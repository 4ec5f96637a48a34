"""All that the evaluation report says, computed once: the page shows it, and nothing is decided by it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.feature_use import FeatureUse, measure_features
from models.learning_curve import LearningPoint, drawn_choice, learning_curve
from models.partial_dependence import SAMPLE_ROWS, Dependence, partial_dependence
from models.profit import ProfitFigures, measure_profit
from models.recipe import Evaluation
from models.slices import SliceFigures, measure_slices
from models.split_comparison import SplitComparison, compare_splits
from models.training_set import TrainingSet
from pipeline.atomic_files import replace_text
from pipeline.audit_verdict import ColumnVerdict
from pipeline.config_schema import Profit
from pipeline.plots import Subject
from pipeline.slice_columns import cut_by_acquaintance, group_codes, slices_of_frame

SHOWN_FEATURES = 20
SHOWN_DEPENDENCES = 8
SLICE_RESAMPLES = 200


@dataclass(frozen=True)
class Setting:
    """What the report is told besides the rows.

    Parameters
    ----------
    title : str
        What stands above the page: deployment and target, or the file.
    subject : Subject
        What rows and events are called.
    currency : str
        Of the profit.
    profit : Profit or None
    profit_key : str
        How a reader sets the profit.
    cuts : mapping of title to categorical Series, or None
        What the test rows are sliced by; None cuts by their columns.
    words : mapping of feature to phrase
        What features mean, `{value}` where the value stands.
    verdicts : sequence of ColumnVerdict, or None
        Of the audit; None where it was not asked.
    seed : int

    """

    title: str
    subject: Subject = field(default_factory=Subject)
    currency: str = ""
    profit: Profit | None = None
    profit_key: str = "--value-per-event and --cost-per-contact"
    cuts: "Mapping[str, pd.Series[Any]] | None" = None
    words: Mapping[str, str] = field(default_factory=dict)
    verdicts: Sequence[ColumnVerdict] | None = None
    seed: int = 0


@dataclass(frozen=True)
class EvaluationReport:
    """What the page shows."""

    setting: Setting
    evaluation: Evaluation
    train: TrainingSet
    test: TrainingSet
    features: Sequence[FeatureUse]
    dependences: Sequence[Dependence]
    slices: Sequence[SliceFigures]
    splits: SplitComparison
    curve: Sequence[LearningPoint]
    profit: ProfitFigures | None
    months: pd.DataFrame

    @property
    def has_signal(self) -> bool:
        """Whether anything beats the base rate."""
        return self.evaluation.selected != "base_rate"

    @property
    def capped(self) -> list[str]:
        """What was computed on a part of the rows."""
        columns = self.train.frame.shape[1]
        found = []
        if self.splits.splits and self.splits.from_rows < self.splits.of_rows:
            drawn = f"{self.splits.from_rows:,} of {self.splits.of_rows:,} training rows, whole groups"
            found.append(f"The splits were compared on {drawn}.")
        if len(self.curve) > 1 and self.curve[-2].rows < 0.45 * len(self.train):
            found.append(f"Parts fitted for the learning curve have at most about {self.curve[-2].rows:,} rows.")
        if len(self.curve) > 1 and drawn_choice(self.evaluation.choice) is not self.evaluation.choice:
            found.append("The learning curve is that of the blend without its members of the newest rows.")
        if columns > SHOWN_DEPENDENCES and self.dependences:
            found.append(f"Partial dependence is drawn for {len(self.dependences)} of {columns:,} columns.")
        if len(self.test) > SAMPLE_ROWS and self.dependences:
            found.append(f"Partial dependence is the mean over {SAMPLE_ROWS:,} of {len(self.test):,} test rows.")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the figures beyond those of the evaluation, ready for JSON."""
        return {
            "features": [asdict(one) for one in self.features],
            "partial_dependence": [asdict(one) for one in self.dependences],
            "slices": [{**asdict(one), "is_small": one.is_small, "is_off": one.is_off} for one in self.slices],
            "splits": asdict(self.splits),
            "learning_curve": [asdict(one) for one in self.curve],
            "profit": None if self.profit is None else asdict(self.profit),
            "months": self.months.to_dict("records"),
            "capped": self.capped,
        }


def make_report(evaluation: Evaluation, train: TrainingSet, test: TrainingSet, setting: Setting) -> EvaluationReport:
    """Compute what the page shows: a few dozen fits of the chosen setting on capped numbers of rows.

    Parameters
    ----------
    evaluation : Evaluation
        Of these rows.
    train, test : TrainingSet
        As the evaluation got them.
    setting : Setting

    """
    bundle, group = evaluation.fitted.bundle, group_codes(test)
    features = list(measure_features(bundle, test.frame, setting.seed))
    shown = [one.name for one in features if one.name in test.frame.columns][:SHOWN_DEPENDENCES]
    cuts = cut_by_acquaintance(train, test)
    cuts |= slices_of_frame(test, features) if setting.cuts is None else setting.cuts
    label, probability = evaluation.test_label, evaluation.test_probability
    has_signal = evaluation.selected != "base_rate"
    no_splits = SplitComparison((), 0, 0, len(train), ("No model was chosen, so there is nothing to fit another way.",))
    return EvaluationReport(
        setting=setting,
        evaluation=evaluation,
        train=train,
        test=test,
        features=features,
        dependences=[partial_dependence(bundle, test.frame, name, seed=setting.seed) for name in shown],
        slices=measure_slices(cuts, label, probability, group, SLICE_RESAMPLES, setting.seed),
        splits=compare_splits(evaluation.choice, train, setting.seed) if has_signal else no_splits,
        curve=learning_curve(evaluation, train, test, setting.seed) if has_signal else [],
        profit=_measure_profit(evaluation, group, setting.profit),
        months=months_of(train, test),
    )


def _measure_profit(evaluation: Evaluation, group: Any, profit: Profit | None) -> ProfitFigures | None:
    if profit is None:
        return None
    rows = evaluation.test_label, evaluation.test_probability, group
    return measure_profit(*rows, profit.value_per_event, profit.cost_per_contact)


def months_of(train: TrainingSet, test: TrainingSet) -> pd.DataFrame:
    """Share of events per calendar month of the snapshots, with 1.96 binomial standard errors.

    Returns
    -------
    DataFrame
        `month`, `part` (training or test), `rows`, `base_rate`, `low`, `high`; empty without dates.

    """
    parts = []
    for part, rows in (("training", train), ("test", test)):
        if rows.time is not None and rows.time.dtype.kind == "M" and len(rows):
            # A local month begins in the last hours of the month before in UTC.
            month = (rows.time + np.timedelta64(14, "h")).astype("datetime64[M]").astype(str)
            parts.append(pd.DataFrame({"month": month, "part": part, "label": rows.label}))
    if not parts:
        return pd.DataFrame(columns=["month", "part", "rows", "base_rate", "low", "high"])
    by_month = pd.concat(parts).groupby(["month", "part"], sort=True)["label"]
    months = by_month.agg(rows="size", base_rate="mean").reset_index()
    half = 1.96 * np.sqrt(months["base_rate"] * (1 - months["base_rate"]) / months["rows"])
    low, high = (months["base_rate"] - half).clip(lower=0), (months["base_rate"] + half).clip(upper=1)
    return months.assign(low=low, high=high)


def save_report(path: Path, report: EvaluationReport) -> Path:
    """Write the page of a report; a file that is there is replaced when the new one is complete."""
    from pipeline.evaluation_page import make_evaluation_page

    page = make_evaluation_page(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, page)
    return path


def write_evaluation_report(
    path: Path, evaluation: Evaluation, train: TrainingSet, test: TrainingSet, setting: Setting
) -> Path:
    """Compute a report and write its page."""
    return save_report(path, make_report(evaluation, train, test, setting))
