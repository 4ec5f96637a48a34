"""Pictures of a model on rows it was not fitted on, as PNG files.

Drawn without pyplot, so nothing is shared between two plots and no display is needed. Colours are
those of Okabe and Ito, which colour-blind readers tell apart.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline import curves

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#222222"
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC")


@dataclass(frozen=True)
class Subject:
    """What the rows are and what the event is, for titles.

    `rows` and `event` are plural nouns or phrases: "customers", "customers who left".
    """

    name: str = ""
    rows: str = "rows"
    event: str = "events"

    @property
    def line(self) -> str:
        """What stands below each title."""
        event = "" if self.event == "events" else f"events: {self.event}"
        return "; ".join(part for part in (self.name, event) if part)


def _figure(
    title: str, subject: Subject, columns: int = 1, size: tuple[float, float] = (7.2, 5.4), left: float = 0.95
) -> list[Axes]:
    """Empty axes side by side below a title and a line that names the subject; margins in inches."""
    figure = Figure(figsize=size, dpi=120)
    width, height = size
    figure.subplots_adjust(left / width, 0.65 / height, 1 - 0.3 / width, 1 - 0.75 / height, wspace=0.22)
    for text, inches, font_size, colour in ((title, 0.14, 13, INK), (subject.line, 0.42, 10, "#555555")):
        style = {"fontsize": font_size, "color": colour, "fontfamily": list(_fonts())}
        figure.text(0.15 / width, 1 - inches / height, text, style, ha="left", va="top")
    made = figure.subplots(1, columns, squeeze=False)[0]
    for axes in made:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=10, colors=INK)
    return list(made)


def _fonts() -> tuple[str, ...]:
    """Return the installed fonts among ours; those after the first draw Chinese names."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in FONTS if name in installed)


def _label(axes: Axes, x: str, y: str, percent: str = "") -> None:
    axes.set_xlabel(x, fontsize=11, color=INK)
    axes.set_ylabel(y, fontsize=11, color=INK)
    if "x" in percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    if "y" in percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _thin(curve: pd.DataFrame, points: int = 2000) -> pd.DataFrame:
    """Keep both ends and evenly spaced rows between: more than a picture can show is only slow."""
    if len(curve) <= points:
        return curve
    return curve.iloc[np.linspace(0, len(curve) - 1, points).round().astype(int)]


def _save(axes: Axes, path: Path) -> Path:
    """Write the figure; equal input gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")  # a name no font can write
        canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return path


def draw_roc(path: Path, y: np.ndarray, p: np.ndarray, subject: Subject = Subject()) -> Path:
    """Draw the ROC curve: how many events are found for how many false alarms."""
    roc = curves.roc_curve(y, p)
    (axes,) = _figure(f"ROC curve: AUC {curves.roc_area(roc):.3f}", subject, size=(6.4, 6.55))
    shown = _thin(roc)
    axes.plot(shown["false_positive_rate"], shown["true_positive_rate"], color=BLUE, linewidth=2.2, label="model")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.4, label="no ranking (AUC 0.5)")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    _label(
        axes,
        "False positive rate (share flagged, of all other rows)",
        "True positive rate (share found, of all events)",
        "xy",
    )
    axes.legend(loc="lower right", fontsize=10, frameon=False)
    return _save(axes, path)


def draw_precision_recall(path: Path, y: np.ndarray, p: np.ndarray, subject: Subject = Subject()) -> Path:
    """Draw precision over recall, with the base rate as the line of no skill."""
    curve, base = curves.precision_recall_curve(y, p), float(np.mean(y))
    (axes,) = _figure(f"Precision and recall: average precision {curves.average_precision(curve):.3f}", subject)
    shown = _thin(curve)
    axes.step(shown["recall"], shown["precision"], where="pre", color=BLUE, linewidth=2.0, label="model")
    axes.axhline(base, color=GREY, linestyle="--", linewidth=1.4, label=f"base rate {base:.1%}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    _label(
        axes,
        "Recall (share found, of all events)",
        "Precision (share of events, of rows flagged)",
        "xy",
    )
    axes.legend(loc="upper right", fontsize=10, frameon=False)
    return _save(axes, path)


def draw_calibration(path: Path, y: np.ndarray, p: np.ndarray, subject: Subject = Subject()) -> Path:
    """Draw the observed rate over the predicted one, in bins of equally many rows."""
    bins, base = curves.calibration_bins(y, p), float(np.mean(y))
    title = f"Calibration: predicted {np.mean(p):.1%} on average, observed {base:.1%}"
    (axes,) = _figure(title, subject, size=(6.4, 6.55))
    top = min(1.0, max(bins["high"].max(), bins["predicted"].max()) * 1.05)
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1.4, label="as predicted")
    axes.axhline(base, color=GREEN, linestyle=":", linewidth=1.4, label=f"base rate {base:.1%}")
    errors = np.vstack([bins["observed"] - bins["low"], bins["high"] - bins["observed"]]).clip(0)
    label = f"{len(bins)} bins of about {round(bins['rows'].mean()):,} rows, with 95% interval"
    axes.errorbar(
        bins["predicted"], bins["observed"], errors, color=BLUE, fmt="o-", linewidth=1.2, capsize=3, label=label
    )
    axes.set(xlim=(0, top), ylim=(0, top))
    _label(axes, "Predicted probability (mean of the bin)", "Observed share of events", "xy")
    axes.legend(loc="upper left", fontsize=10, frameon=False)
    return _save(axes, path)


def draw_gains(path: Path, y: np.ndarray, p: np.ndarray, subject: Subject = Subject()) -> Path:
    """Draw gains and lift: what contacting the highest scores first finds, against any order."""
    gains, base = curves.gains_curve(y, p), float(np.mean(y))
    tenth = curves.captured_at(gains, 0.1)
    title = f"Gains and lift: the top 10% of {subject.rows} hold {tenth:.0%} of all {subject.event}"
    left, right = _figure(title, subject, columns=2, size=(11.0, 5.2))
    shown = _thin(gains)
    left.plot(shown["contacted"], shown["captured"], color=BLUE, linewidth=2.2, label="model first")
    left.plot([0, base, 1], [0, 1, 1], color=GREEN, linestyle=":", linewidth=1.6, label="perfect order")
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.4, label="any order")
    left.plot([0.1], [tenth], "o", color=ORANGE, label=f"top 10%: {tenth:.0%} found")
    left.set(xlim=(0, 1), ylim=(0, 1.01))
    _label(left, f"Share of {subject.rows} contacted", "Share found, of all events", "xy")
    left.legend(loc="lower right", fontsize=10, frameon=False)
    steady = shown[shown["contacted"] >= 0.01]  # the lift of a handful of rows is noise
    right.plot(steady["contacted"], steady["lift"], color=BLUE, linewidth=2.2)
    right.axhline(1, color=GREY, linestyle="--", linewidth=1.4)
    right.plot([0.1], [tenth / 0.1], "o", color=ORANGE, label=f"top 10%: lift {tenth / 0.1:.2f}")
    right.set(xlim=(0, 1), ylim=(0, 1.1 * steady["lift"].max()))
    _label(right, f"Share of {subject.rows} contacted", f"Lift (1 = base rate, {base:.1%})", "x")
    right.legend(loc="upper right", fontsize=10, frameon=False)
    return _save(left, path)


def draw_importance(path: Path, importances: Mapping[str, float], subject: Subject = Subject()) -> Path:
    """Draw which features the model leans on; nothing about cause or direction."""
    shares = curves.importance_shares(importances)
    names = shares["feature"].tolist()
    left, height = 0.35 + 0.09 * max(map(len, names), default=0), 1.6 + 0.3 * max(len(names), 2)
    leader = f"{shares['feature'][0]} counts for {shares['share'][0]:.0%}" if len(shares) else "no feature is used"
    (axes,) = _figure(f"Importance: {leader}", subject, size=(9.0, height), left=left)
    colours = [GREY if name.startswith("other features (") else BLUE for name in names]
    bars = axes.barh(range(len(shares)), shares["share"], color=colours, height=0.7)
    axes.bar_label(bars, [f"{share:.1%}" for share in shares["share"]], padding=3, fontsize=9, color=INK)
    axes.set_yticks(range(len(shares)), names, fontfamily=list(_fonts()))
    axes.set_ylim(max(len(shares), 1) - 0.4, -0.6)
    axes.set_xlim(0, max(shares["share"].max() * 1.12, 0.01) if len(shares) else 1)
    axes.grid(visible=False, axis="y")
    _label(axes, "Share of the total importance", "", "x")
    return _save(axes, path)


def draw_histogram(path: Path, y: np.ndarray, p: np.ndarray, subject: Subject = Subject()) -> Path:
    """Draw how probabilities are spread, events and others apart."""
    counts, base = curves.score_histogram(y, p), float(np.mean(y))
    title = f"Scores: {len(y):,} {subject.rows}, {int(np.sum(y)):,} {subject.event}"
    (axes,) = _figure(title, subject)
    width = counts["high"] - counts["low"]
    for name, label, colour, hatch in (("others", "others", GREY, ""), ("events", subject.event, ORANGE, "//")):
        bottom = counts["others"] if name == "events" else None
        axes.bar(
            counts["low"],
            counts[name],
            width,
            bottom=bottom,
            align="edge",
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=label,
        )
    axes.axvline(base, color=BLUE, linestyle="--", linewidth=1.6, label=f"base rate {base:.1%}")
    axes.set_xlim(0, counts["high"].max())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _label(axes, "Predicted probability", f"Number of {subject.rows}", "x")
    axes.legend(loc="best", fontsize=10, frameon=False)
    return _save(axes, path)


def draw_tenths(path: Path, tenths: Sequence[Mapping[str, float]], subject: Subject, unit: str) -> Path:
    """Draw predicted against observed revenue of each tenth of the rows, by prediction."""
    (axes,) = _figure("Revenue by tenths of the prediction", subject)
    place = np.arange(1, len(tenths) + 1)
    for name, shift, colour in (("predicted", -0.2, BLUE), ("observed", 0.2, ORANGE)):
        axes.bar(place + shift, [one[name] for one in tenths], 0.38, color=colour, label=f"mean {name}")
    axes.set_xticks(place)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _label(axes, f"Tenth of the {subject.rows}, the lowest predictions first", f"Revenue within the horizon ({unit})")
    axes.legend(loc="best", fontsize=10, frameon=False)
    return _save(axes, path)


_CURVES: Mapping[str, Callable[[Path, np.ndarray, np.ndarray, Subject], Path]] = {
    "roc.png": draw_roc,
    "precision_recall.png": draw_precision_recall,
    "calibration.png": draw_calibration,
    "gains_and_lift.png": draw_gains,
    "score_histogram.png": draw_histogram,
}


def draw_all(
    folder: Path, y: np.ndarray, p: np.ndarray, importances: Mapping[str, float], subject: Subject = Subject()
) -> list[Path]:
    """Draw every picture of a model into a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there; files of the same name are replaced.
    y, p : array, shape (rows,)
        Labels (0 or 1) and predicted probabilities of rows the model was not fitted on.
    importances : mapping of feature to number
        Gains or mean absolute effects, 0 or more.
    subject : Subject
        What rows and events are called in titles.

    Returns
    -------
    list of Path
        The PNG files.

    """
    made = [draw(folder / name, y, p, subject) for name, draw in _CURVES.items()]
    return [*made, draw_importance(folder / "importance.png", importances, subject)]
