"""Predict with a saved bundle. This file works alone: copied out of the project, it still loads one.

A bundle holds one feature contract, members (linear curves, trees) with weights, and a calibrator.
Raw log-odds are the weighted sum of the members'; the calibrator turns them into the log-odds that
are written. Everything is JSON or LightGBM's own text: nothing in a bundle is ever unpickled.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

try:
    from models.errors import BundleError
except ImportError:

    class BundleError(Exception):  # type: ignore[no-redef]
        """A saved model that cannot be used; the text says what, where, got and remedy."""


PROTOCOL = 1
MANIFEST = "manifest.json"
MODEL = "model.json"
MISSING, UNSEEN = -1, -2
CHUNK_ROWS = 50_000
MANY_ROWS = 10_000
"""From more rows on, contributions of trees are looked up in tables, which take a second or two to make."""
CHECKED_ROWS = 8
"""Rows of every chunk whose looked-up contributions are compared with LightGBM's own."""

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]


def _read_number(column: "pd.Series[Any]", name: str) -> Floats:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if column.isna().all():
        return np.full(len(column), np.nan)
    raise BundleError(
        f"Column '{name}' holds {column.dtype}, expected numbers as when the model was fitted. "
        "Rebuild the features with the version that trained the model, or train again."
    )


def _read_text(column: "pd.Series[Any]", name: str, categories: Sequence[str]) -> NDArray[np.int32]:
    """Return the place of each value among the categories, -1 for missing and -2 for unseen."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column) and not missing.all():
        raise BundleError(
            f"Column '{name}' holds {column.dtype}, expected text as when the model was fitted. "
            "Rebuild the features with the version that trained the model, or train again."
        )
    places = pd.Index(np.array(categories, dtype=object))
    found = places.get_indexer(pd.Index(column.to_numpy(dtype=object)))
    return np.where(missing, MISSING, np.where(found < 0, UNSEEN, found)).astype(np.int32)


def read_columns(frame: pd.DataFrame, contract: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Read the columns of a contract: float64 for numbers, category places for text.

    Raises
    ------
    BundleError
        If a column is missing or of another kind; the text names the nearest column.

    """
    columns: dict[str, NDArray[Any]] = {}
    for entry in contract:
        name = entry["name"]
        if name not in frame.columns:
            near = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=1)
            hint = f" Did '{near[0]}' replace it?" if near else ""
            raise BundleError(
                f"Column '{name}' is missing from the {len(frame):,} rows to score; the model needs it.{hint} "
                "Rename it back, or train again."
            )
        is_text = entry["kind"] == "text"
        columns[name] = (
            _read_text(frame[name], name, entry["categories"]) if is_text else _read_number(frame[name], name)
        )
    return columns


def look_up(codes: NDArray[Any], entry: Mapping[str, Any]) -> Floats:
    """Value of each category; the last two places of the table are unseen (-2) and missing (-1)."""
    table = np.array([*entry["values"], entry["unseen"], entry["missing"]], dtype=np.float64)
    return np.asarray(table[codes])


def term_values(column: NDArray[Any], term: Mapping[str, Any]) -> Floats:
    """Return what a column adds to the log-odds: a piecewise-linear curve, or one value per category."""
    if term["kind"] == "text":
        return look_up(column, term)
    values = np.interp(column, term["knots"], term["values"])
    return np.asarray(np.where(np.isnan(column), term["missing"], values))


class LinearMember:
    """Intercept plus one term per column, summed in the order of the document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.base = float(document["intercept"])
        self.terms: Sequence[Mapping[str, Any]] = document["terms"]

    def log_odds(self, columns: Columns, rows: int) -> Floats:
        """Sum of intercept and terms."""
        total = np.full(rows, self.base)
        for term in self.terms:
            total += term_values(columns[term["column"]], term)
        return total

    def contributions(self, columns: Columns, rows: int) -> dict[str, Floats]:
        """Each term; with `base` they sum to the log-odds."""
        return {term["column"]: term_values(columns[term["column"]], term) for term in self.terms}


class TreeMember:
    """LightGBM trees over numbers, text entering as encodings."""

    def __init__(self, document: Mapping[str, Any], text: str) -> None:
        self.inputs: Sequence[Mapping[str, Any]] = document["inputs"]
        self.text = text
        self.booster = lgb.Booster(model_str=text)
        blank = np.full((1, len(self.inputs)), np.nan)
        self.base = float(np.asarray(self.booster.predict(blank, pred_contrib=True))[0, -1])

    def _matrix(self, columns: Columns, rows: int) -> Floats:
        matrix = np.empty((rows, len(self.inputs)), order="F")  # it is filled, and looked up, column by column
        for place, entry in enumerate(self.inputs):
            column = columns[entry["column"]]
            matrix[:, place] = look_up(column, entry) if entry["kind"] == "text" else column
        return matrix

    def log_odds(self, columns: Columns, rows: int) -> Floats:
        """Sum of the trees."""
        return np.asarray(self.booster.predict(self._matrix(columns, rows), raw_score=True), dtype=np.float64)

    def contributions(self, columns: Columns, rows: int) -> dict[str, Floats]:
        """Exact Shapley values, inputs made of one column added up; with `base` they sum to the log-odds."""
        return self.explain(columns, rows)[1]

    def explain(self, columns: Columns, rows: int) -> tuple[Floats, dict[str, Floats]]:
        """Log-odds, and what each column contributes to them."""
        found = self._explain(self._matrix(columns, rows))
        folded: dict[str, Floats] = {}
        for entry, part in zip(self.inputs, found[:-1], strict=True):
            name = entry["column"]
            folded[name] = folded[name] + part if name in folded else part
        return found[-1], folded

    def _explain(self, matrix: Floats) -> Floats:
        """Shapley values and below them the log-odds: by tables if there are many rows, else by LightGBM itself."""
        if len(matrix) > MANY_ROWS and self._tables is not None:
            found: Floats = self._tables.explain(matrix)
            some, known = found[:, :CHECKED_ROWS], self._ask_lightgbm(matrix[:CHECKED_ROWS])
            if np.allclose(some, known, rtol=0, atol=1e-8) and np.array_equal(some[-1], known[-1]):
                return found
        return self._ask_lightgbm(matrix)

    def _ask_lightgbm(self, matrix: Floats) -> Floats:
        if not len(matrix):
            return np.zeros((len(self.inputs) + 1, 0))
        parts = np.asarray(self.booster.predict(matrix, pred_contrib=True))[:, :-1].T
        return np.vstack([parts, np.asarray(self.booster.predict(matrix, raw_score=True))])

    @cached_property
    def _tables(self) -> Any:
        """Tables of these trees; None where this file is alone, outside the project, or trees are of another kind."""
        try:
            from models.tree_leaves import UnreadableTreesError
            from models.tree_reasons import TreeReasons
        except ImportError:
            return None
        try:
            return TreeReasons(self.text, len(self.inputs))
        except UnreadableTreesError:
            return None


AnyMember: TypeAlias = "LinearMember | TreeMember | PurchaseMember | HurdleMember"


class PurchaseMember:
    """BG/NBD: the chance that a customer buys nothing within the horizon, from how often and when they bought.

    A customer buys at a constant rate and may leave after a purchase; rates are gamma distributed (r, alpha) over
    customers, chances to leave beta (a, b). The document says whether the first purchase may be the last one (MBG/NBD)
    and how many of the counted purchases come before the first repeat (`first`, 0 or 1).
    """

    name = "purchase_rhythm"

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.base = float(document["base"])
        self.reads: tuple[str, str, str] = (document["count"], document["since_last"], document["since_first"])

    def log_odds(self, columns: Columns, rows: int) -> Floats:
        """Log-odds of no purchase; without a history the base."""
        count, since_last, since_first = (columns[name] for name in self.reads)
        repeats = count - float(self.document["first"])
        known = (repeats >= 0) & (since_last >= 0) & (since_first >= 0)
        found = np.full(rows, self.base)
        at = np.flatnonzero(known)
        until_last = np.maximum(since_first[at] - since_last[at], 0.0)
        found[at] = no_purchase_log_odds(self.document, repeats[at], until_last, since_first[at])
        return found

    def contributions(self, columns: Columns, rows: int) -> dict[str, Floats]:
        """One part for the whole member; with `base` it is the log-odds."""
        return {self.name: self.log_odds(columns, rows) - self.base}

    @property
    def words(self) -> dict[str, str]:
        """Templates of its reason; the fields are columns of the row."""
        count, since_last, _ = self.reads
        orders = (f"{{{count}:,.0f}} orders", f"下单 {{{count}:,.0f}} 次")
        if not self.document["first"]:
            orders = (f"came back {{{count}:,.0f}} times", f"复购 {{{count}:,.0f}} 次")
        return {
            "en": f"purchase rhythm: {orders[0]}, the last {{{since_last}:,.0f}} days ago",
            "zh": f"购买节奏：{orders[1]}，最近一次在 {{{since_last}:,.0f}} 天前",
        }


def no_purchase_log_odds(parameters: Mapping[str, Any], repeats: Floats, until_last: Floats, age: Floats) -> Floats:
    """Log-odds of no purchase in `[as_of, as_of + horizon)`, all times in days; see `models.bg_nbd`.

    With g = (r + x) log((alpha + T + h) / (alpha + T)) and d the odds of having left, P = (d + exp(-g)) / (1 + d). A
    share `doubt` of the probability is kept for either outcome: no rhythm knows of holidays and bankruptcies.
    """
    r, alpha, a, b, horizon, doubt = (float(parameters[key]) for key in ("r", "alpha", "a", "b", "horizon", "doubt"))
    chances = repeats + (1.0 if parameters["first_may_be_last"] else 0.0)
    with np.errstate(divide="ignore"):
        left = np.log(a * (chances > 0)) - np.log(b + np.maximum(chances, 1.0) - 1.0)
    left += (r + repeats) * (np.log(alpha + age) - np.log(alpha + until_last))
    silent = -(r + repeats) * np.log1p(horizon / (alpha + age))
    found = np.asarray(np.logaddexp(left, silent) - np.log(-np.expm1(silent)))
    if doubt == 0.0:
        return found
    sure = 1.0 - 2.0 * doubt
    return np.asarray(np.log(doubt + sure * to_probability(found)) - np.log(doubt + sure * to_probability(-found)))


class HurdleMember:
    """Log of expected revenue: log of the chance of any, and log of what those bring in who bring in anything.

    The chance comes from a model of its own, of no revenue; what its columns add to its raw log-odds is scaled to
    what they add to the log of the chance, so that the sum stays exact.
    """

    def __init__(self, document: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        self.silent = Bundle({}, {"columns": [], **document["silent"]}, texts)
        self.amount = TreeMember(document["amount"], texts[document["amount"]["file"]])
        silent = float(sum(weight * member.base for weight, member in self.silent.members))
        self.silent_base: Floats = np.array([silent])
        self.base: float = float(self._buys(self.silent_base)[0][0]) + self.amount.base

    def _buys(self, raw: Floats) -> tuple[Floats, Floats]:
        """Log of the chance of any revenue, and its slope over the raw log-odds of none."""
        log_odds, slope = calibrate(self.silent.calibrator, raw)
        return -np.logaddexp(0.0, log_odds), -slope * to_probability(log_odds)

    def log_odds(self, columns: Columns, rows: int) -> Floats:
        """Log of expected revenue."""
        return self._buys(self.silent.raw_of(columns, rows))[0] + self.amount.log_odds(columns, rows)

    def contributions(self, columns: Columns, rows: int) -> dict[str, Floats]:
        """What each column adds to the log; with `base` they sum to it."""
        raw, base = self.silent.raw_of(columns, rows), self.silent_base
        near = np.abs(raw - base) < 1e-9
        steepness = (self._buys(raw)[0] - self._buys(base)[0]) / np.where(near, 1.0, raw - base)
        slope = np.where(near, self._buys(base)[1], steepness)
        found = self.amount.contributions(columns, rows)
        for weight, member in self.silent.members:
            for name, values in member.contributions(columns, rows).items():
                found[name] = found.get(name, np.zeros(rows)) + weight * slope * values
        return found


def _make_member(document: Mapping[str, Any], texts: Mapping[str, str]) -> "AnyMember":
    if document["kind"] == "linear":
        return LinearMember(document)
    if document["kind"] == "hurdle":
        return HurdleMember(document, texts)
    return PurchaseMember(document) if document["kind"] == "bg_nbd" else TreeMember(document, texts[document["file"]])


def _curve(calibrator: Mapping[str, Any], raw: Floats) -> tuple[Floats, Floats]:
    """Value and slope of a piecewise-linear curve whose first and last pieces go on for ever."""
    x, y = np.asarray(calibrator["x"], dtype=np.float64), np.asarray(calibrator["y"], dtype=np.float64)
    slopes = np.concatenate([[calibrator["first_slope"]], np.diff(y) / np.diff(x), [calibrator["last_slope"]]])
    piece = np.searchsorted(x, raw, side="right")
    start = np.maximum(piece - 1, 0)
    return y[start] + slopes[piece] * (raw - x[start]), slopes[piece]


def calibrate(calibrator: Mapping[str, Any], raw: Floats) -> tuple[Floats, Floats]:
    """Return calibrated log-odds and the slope of the calibrator there, which is above zero."""
    if calibrator["kind"] == "identity":
        return raw.copy(), np.ones_like(raw)
    if calibrator["kind"] == "sigmoid":
        slope = float(calibrator["slope"])
        return float(calibrator["intercept"]) + slope * raw, np.full_like(raw, slope)
    return _curve(calibrator, raw)


def chord(curve: Callable[[Floats], tuple[Floats, Floats]], base: float, raw: Floats) -> tuple[float, Floats]:
    """Return the value of a rising curve at a base, and its mean slope from there to each row.

    What adds up to `raw - base`, times that slope, adds up to the difference of the curve's values; no sign changes.
    `curve` returns values and slopes.
    """
    (start,), (slope,) = curve(np.array([base]))
    near = np.abs(raw - base) < 1e-9
    return float(start), np.where(near, slope, (curve(raw)[0] - start) / np.where(near, 1.0, raw - base))


def to_probability(log_odds: Floats) -> Floats:
    """Return 1 / (1 + exp(-log_odds)) without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def keep_direction(log_odds: Mapping[int, Floats], primary: int, direction: int) -> dict[int, Floats]:
    """Clip the log-odds of several horizons so that they rise (direction +1) or fall (-1) with the horizon in each row.

    Those of the primary horizon stay as they are; the others are clipped outward from it, the nearest first.

    >>> said = {30: np.array([0.2, -1.0]), 90: np.array([0.0, 0.0]), 180: np.array([-0.5, 2.0])}
    >>> {days: values.tolist() for days, values in keep_direction(said, 90, +1).items()}
    {30: [0.0, -1.0], 90: [0.0, 0.0], 180: [0.0, 2.0]}

    """
    longer = sorted(days for days in log_odds if days > primary)
    shorter = sorted((days for days in log_odds if days < primary), reverse=True)
    kept = {primary: log_odds[primary]}
    for side, is_rising in ((longer, direction > 0), (shorter, direction < 0)):
        bound = log_odds[primary]
        for days in side:
            bound = kept[days] = (np.maximum if is_rising else np.minimum)(log_odds[days], bound)
    return dict(sorted(kept.items()))


def _explain_member(member: AnyMember, columns: Columns, rows: int) -> tuple[Floats, dict[str, Floats]]:
    """Log-odds of a member and what each reason contributes to them; trees are asked once for both."""
    if isinstance(member, TreeMember):
        return member.explain(columns, rows)
    return member.log_odds(columns, rows), member.contributions(columns, rows)


class Bundle:
    """A fitted model: what it expects, and what it says.

    With `is_value` it is a model of revenue: its log-odds are the log of the expected revenue.
    `horizons` holds the models of further horizons, by days; most bundles have none.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        model: Mapping[str, Any],
        texts: Mapping[str, str],
        horizons: "Mapping[int, Bundle] | None" = None,
    ) -> None:
        self.manifest = manifest
        self.horizons: Mapping[int, Bundle] = horizons or {}
        self.columns: Sequence[Mapping[str, Any]] = model["columns"]
        self.calibrator: Mapping[str, Any] = model["calibrator"]
        self.steps: Mapping[str, Any] | None = model.get("interval")
        self.is_value = model.get("task") == "value"
        self.members: list[tuple[float, AnyMember]] = [
            (float(entry["weight"]), _make_member(entry, texts)) for entry in model["members"]
        ]

    @property
    def reason_names(self) -> list[str]:
        """What contributions are given for: the columns of the contract, then members that are no sum of columns."""
        return [*(str(entry["name"]) for entry in self.columns), *self.reason_words]

    @property
    def reason_words(self) -> dict[str, dict[str, str]]:
        """Templates of the reasons that are no columns."""
        words: dict[str, dict[str, str]] = {}
        for _, member in self.members:
            if isinstance(member, PurchaseMember):
                words[member.name] = member.words
            elif isinstance(member, HurdleMember):
                words |= member.silent.reason_words
        return words

    def raw_of(self, columns: Columns, rows: int) -> Floats:
        """Raw log-odds of columns that were read already."""
        total = np.zeros(rows)
        for weight, member in self.members:
            total += weight * member.log_odds(columns, rows)
        return total

    def _chunks(self, frame: pd.DataFrame) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
        """Columns of the contract, some rows at a time; a row does not depend on the rows beside it.

        Chunks are of one size, so that many rows are many in each.
        """
        for rows in np.array_split(np.arange(len(frame)), -(-len(frame) // CHUNK_ROWS) or 1):
            part = frame.iloc[rows[0] : rows[-1] + 1] if len(rows) else frame
            yield read_columns(part, self.columns), len(part)

    def raw_log_odds(self, frame: pd.DataFrame) -> Floats:
        """Log-odds before calibration."""
        return np.concatenate([self.raw_of(columns, rows) for columns, rows in self._chunks(frame)])

    def log_odds(self, frame: pd.DataFrame) -> Floats:
        """Calibrated log-odds, the number that is written and explained."""
        return calibrate(self.calibrator, self.raw_log_odds(frame))[0]

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Probabilities, or the values of a model of revenue."""
        return self.value(frame) if self.is_value else to_probability(self.log_odds(frame))

    def value(self, frame: pd.DataFrame) -> Floats:
        """Expected revenue of each row, by a model of revenue; it is above zero."""
        return np.exp(self.log_odds(frame))

    def log_odds_by_horizon(self, frame: pd.DataFrame, primary: Floats | None = None) -> dict[int, Floats]:
        """Calibrated log-odds of every horizon by its days, in the target's direction: see `keep_direction`.

        Parameters
        ----------
        frame : DataFrame
        primary : array of float64, optional
            What `log_odds` says of the frame, if it is known already. It is returned as it is.

        """
        own = self.log_odds(frame) if primary is None else primary
        facts = self.manifest.get("horizons", {})
        days = int(facts.get("primary", self.manifest.get("horizon") or 0))
        further = {other: bundle.log_odds(frame) for other, bundle in self.horizons.items()}
        return keep_direction({days: own, **further}, days, int(facts.get("direction", 1)))

    def interval(self, log_odds: Floats) -> tuple[Floats, Floats]:
        """Return the probabilities between which scores like these are expected to come true; null without a table.

        Calibrated log-odds in; the interval always holds their probability.
        """
        if self.steps is None:
            return np.full(len(log_odds), np.nan), np.full(len(log_odds), np.nan)
        step = np.searchsorted(np.asarray(self.steps["log_odds"], dtype=np.float64), log_odds, side="right")
        probability = to_probability(log_odds)
        low, high = (np.asarray(self.steps[name], dtype=np.float64)[step] for name in ("low", "high"))
        return np.minimum(low, probability), np.maximum(high, probability)

    def contributions(self, frame: pd.DataFrame) -> tuple[float, Floats]:
        """What each of `reason_names` adds: base + row sum = calibrated log-odds.

        Each member's share of the raw log-odds is scaled by the slope of the calibrator between the
        base and the row, so that signs stay and the sum is exact.

        Returns
        -------
        base : float
            Calibrated log-odds of the base.
        array of float64, rows x reason names

        """
        return self.explain(frame)[1:]

    def explain(self, frame: pd.DataFrame) -> tuple[Floats, float, Floats]:
        """Calibrated log-odds with their base and contributions: the trees are asked once for both."""
        base = float(sum(weight * member.base for weight, member in self.members))
        log_odds, found, done = np.empty(len(frame)), np.empty((len(frame), len(self.reason_names))), 0
        for columns, rows in self._chunks(frame):
            part = slice(done, done + rows)
            log_odds[part], parts = self._explain(columns, rows, base)
            found[part] = parts.T
            done += rows
        return log_odds, float(calibrate(self.calibrator, np.array([base]))[0][0]), found

    def _explain(self, columns: Columns, rows: int, base: float) -> tuple[Floats, Floats]:
        """Calibrated log-odds and contributions of some rows, reason names x rows."""
        place = {name: at for at, name in enumerate(self.reason_names)}
        parts, raw = np.zeros((len(place), rows)), np.zeros(rows)
        for weight, member in self.members:
            said, shares = _explain_member(member, columns, rows)
            raw += weight * said
            for name, values in shares.items():
                parts[place[name]] += weight * values
        parts *= chord(lambda values: calibrate(self.calibrator, values), base, raw)[1]
        return calibrate(self.calibrator, raw)[0], parts

    def unseen_share(self, frame: pd.DataFrame) -> dict[str, float]:
        """Share of rows, per text column, whose category the model has never met."""
        columns = read_columns(frame, self.columns)
        text = [entry["name"] for entry in self.columns if entry["kind"] == "text"]
        return {name: float((columns[name] == UNSEEN).mean()) if len(frame) else 0.0 for name in text}


def _read_checked(path: Path, expected: str | None, sentence: str) -> bytes:
    """Content of a file whose hash is the expected one."""
    if not path.is_file():
        raise BundleError(f"{path.parent}: {path.name} is missing from the bundle. Train again, or roll back.")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if expected not in (None, digest):
        raise BundleError(f"{path} has hash {digest[:12]}, expected {str(expected)[:12]}: {sentence}")
    return content


def _read_manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(content)
        protocol, files = manifest["protocol"], manifest["files"]
        models = [MODEL, *(f"{days}-{MODEL}" for days in manifest.get("horizons", {}).get("further", ()))]
        named = set(models) <= set(files) and all(Path(name).name == name for name in files)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not the manifest of a bundle ({error!r}). Restore it, or train again.") from None
    if protocol != PROTOCOL:
        raise BundleError(f"{path} has protocol {protocol}, expected {PROTOCOL}. Use the version that saved it.")
    if not named:
        raise BundleError(
            f"{path} names the files {', '.join(files)}, expected {', '.join(models)} among them and no folders."
        )
    return manifest


def load_bundle(folder: Path | str, expected_sha256: str | None = None) -> Bundle:
    """Load a bundle after checking hashes: the manifest's own, then that of every file it names.

    Raises
    ------
    BundleError
        If something is missing, has another hash, or is of another protocol.

    """
    path = Path(folder) / MANIFEST
    content = _read_checked(
        path, expected_sha256, "it is not the bundle that was registered. Restore it from the registry, or train again."
    )
    manifest = _read_manifest(path, content)
    changed = "it was changed after it was saved. Restore the bundle from the registry, or train again."
    texts = {
        name: _read_checked(Path(folder) / name, digest, changed).decode("utf-8")
        for name, digest in manifest["files"].items()
    }
    further = {int(days): _part(texts, f"{days}-") for days in manifest.get("horizons", {}).get("further", ())}
    horizons = {days: Bundle({}, json.loads(part[MODEL]), part) for days, part in further.items()}
    return Bundle(manifest, json.loads(texts[MODEL]), texts, horizons)


def _part(texts: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Files of a further horizon, under the names that they have in a bundle of their own."""
    return {name.removeprefix(prefix): text for name, text in texts.items() if name.startswith(prefix)}
