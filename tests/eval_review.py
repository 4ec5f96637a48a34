"""Whether the review of a scorecard finds what is true of a simulated world (`--seeds 20 --customers 20000`).

An expert card asks for everything that causes the outcome and that tables show, and for what does nothing at all
(`pipeline.simulation_criteria`). It is judged on the customers of one half, and proposed anew; both cards are then
compared on the other half. What is true is measured in worlds of other seeds, by the true chance of each row
instead of what happened: the information value of each criterion, and which way it points.

Rows are looked at at the beginning of quarters, so that no two of a customer share a day of their horizon, as
`leadsieve review` does. A criterion that is not monotone by construction is asked for as the manifest names it:
"far smaller or larger than usual" is the distance from the usual size. What shows in no single value of a row is
left out: how satisfied a parent is. "Orders expected of the size" and "smaller than usual" are one criterion here.

Exit code 1 unless every causal criterion with a true information value of 0.02 or more is found with its direction,
at least 90 % of the null ones are called null, and the proposed card is better with an interval above zero.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from review_worlds import CRITERIA_ASKED, Asked, Rows, expert_card, make_rows

from models.card_findings import CardReview
from models.card_proposal import propose_card
from models.card_review import group_codes, review_card
from models.information_value import bin_values, information_value
from models.scorecard import Scorecard

TARGETS = "conversion", "churn"
NEEDED_VALUE, NEEDED_NULLS = 0.02, 0.9
REFERENCE_SEEDS = range(9001, 9006)
RESAMPLES = 1000


@dataclass(frozen=True)
class Truth:
    """What is true of a criterion: its information value, and whether more of it is better (+1) or worse (-1)."""

    value: float
    direction: int


@dataclass(frozen=True)
class Result:
    """One target of one seed."""

    seed: int
    target: str
    rows: int
    lost: tuple[str, ...]
    causal: int
    nulls: int
    taken: tuple[str, ...]
    expert: float
    proposed: float
    low: float
    high: float


def measure_truth(rows: Rows, asked: Asked) -> Truth:
    """Information value of a criterion over the rows that have it, each row counted by its true chance."""
    values, chance = rows.frame[asked.column], rows.chance
    known = np.asarray(values.notna()) & ~np.isnan(chance)
    bins = bin_values(values[known])
    good = np.bincount(bins, weights=chance[known])
    value = float(information_value(good, np.bincount(bins) - good))
    if not pd.api.types.is_numeric_dtype(values):
        return Truth(value, 0)
    rank = values[known].rank().to_numpy()
    return Truth(value, int(np.sign(np.corrcoef(rank, chance[known])[0, 1])))


def find_truths(customers: int, seeds: range) -> dict[str, dict[str, Truth]]:
    """Truth of every criterion, over worlds that no card is judged in."""
    worlds = [make_rows(customers, seed, has_truth=True) for seed in seeds]
    found: dict[str, dict[str, Truth]] = {}
    for target in TARGETS:
        parts = [world[target] for world in worlds]
        joined = Rows(
            pd.concat([part.frame for part in parts], ignore_index=True),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("good", "group", "chance")),
        )
        found[target] = {one.id: measure_truth(joined, one) for one in CRITERIA_ASKED[target]}
    return found


def auc(good: np.ndarray, points: np.ndarray, weights: np.ndarray) -> float:
    """Area under the ROC curve of weighted rows, ties counted half."""
    levels, place = np.unique(points, return_inverse=True)
    ones = np.bincount(place, weights=weights * good, minlength=len(levels))
    zeros = np.bincount(place, weights=weights * (1 - good), minlength=len(levels))
    below = np.cumsum(zeros) - zeros / 2
    return float((ones * below).sum() / (ones.sum() * zeros.sum()))


def compare_cards(rows: Rows, expert: Scorecard, proposed: Scorecard, seed: int) -> tuple[float, float, float, float]:
    """AUC of both cards and the 95 % interval of the gain, by resampling customers."""
    points = [card.score(rows.frame)["points"].to_numpy() for card in (expert, proposed)]
    codes, generator = group_codes(rows.group), np.random.default_rng(seed)
    groups, gains = int(codes.max()) + 1, []
    for _ in range(RESAMPLES):
        weights = np.bincount(generator.integers(0, groups, groups), minlength=groups)[codes].astype(float)
        before, after = (auc(rows.good, one, weights) for one in points)
        gains.append(after - before)
    all_rows = np.ones(len(rows.good))
    low, high = np.quantile(gains, (0.025, 0.975))
    return auc(rows.good, points[0], all_rows), auc(rows.good, points[1], all_rows), float(low), float(high)


def judge(seed: int, target: str, rows: Rows, truths: Mapping[str, Truth]) -> Result:
    """Review and propose on one half of the customers, compare on the other."""
    codes = group_codes(rows.group)
    half = np.random.default_rng(seed).random(int(codes.max()) + 1)[codes] < 0.5
    learn, held = rows.take(half), rows.take(~half)
    card = expert_card(target)
    review = review_card(card, learn.frame, learn.good, learn.group, seed)
    proposal = propose_card(card, learn.frame, learn.good, learn.group, seed, review)
    causal = [one for one in CRITERIA_ASKED[target] if one.direction and truths[one.id].value >= NEEDED_VALUE]
    nulls = [one for one in CRITERIA_ASKED[target] if not one.direction]
    expert, proposed, low, high = compare_cards(held, card, proposal.card, seed)
    return Result(
        seed=seed,
        target=target,
        rows=len(learn.good),
        lost=tuple(_miss(one, review) for one in causal if not _is_found(one, review)),
        causal=len(causal),
        nulls=len(nulls),
        taken=tuple(one.id for one in nulls if review[one.id].verdict in ("matters", "points the wrong way")),
        expert=expert,
        proposed=proposed,
        low=low,
        high=high,
    )


def _is_found(asked: Asked, review: CardReview) -> bool:
    """Whether a causal criterion was found to have an effect, in its direction."""
    found = review[asked.id]
    return found.verdict in ("matters", "points the wrong way") and found.direction == asked.direction


def _miss(asked: Asked, review: CardReview) -> str:
    found = review[asked.id]
    return f"{asked.id} ({found.verdict}, {found.value:.3f}, direction {found.direction})"


def print_result(one: Result) -> None:
    """Print one line."""
    lost = f", missed: {', '.join(one.lost)}" if one.lost else ""
    taken = f", taken for real: {', '.join(one.taken)}" if one.taken else ""
    print(
        f"seed {one.seed:>2} {one.target:<10} {one.rows:>6,} rows: {one.causal - len(one.lost)} of {one.causal} causal "
        f"with their direction{lost}; {one.nulls - len(one.taken)} of {one.nulls} nulls called null{taken}; "
        f"AUC {one.expert:.4f} -> {one.proposed:.4f} ({one.low:+.4f} to {one.high:+.4f})",
        flush=True,
    )


def print_truths(truths: Mapping[str, Mapping[str, Truth]]) -> list[str]:
    """Print what is true; return where the marginal direction is not the one that the manifest states."""
    odd = []
    for target, found in truths.items():
        for one in CRITERIA_ASKED[target]:
            truth = found[one.id]
            kind = "null" if not one.direction else "causal" if truth.value >= NEEDED_VALUE else "too weak to ask for"
            print(f"{target:<10} {one.id:<24} true value {truth.value:.4f}, direction {truth.direction:+d}: {kind}")
            if kind == "causal" and truth.direction != one.direction:
                odd.append(
                    f"{target} {one.id}: {one.direction:+d} in the manifest, {truth.direction:+d} among all rows"
                )
    return odd


def conclude(results: list[Result]) -> list[str]:
    """Print the sums; return what falls short."""
    nulls, taken = sum(one.nulls for one in results), sum(len(one.taken) for one in results)
    causal, lost = sum(one.causal for one in results), sum(len(one.lost) for one in results)
    better = sum(one.low > 0 for one in results)
    gain = float(np.mean([one.proposed - one.expert for one in results])) if results else 0.0
    print(
        f"all: {causal - lost} of {causal} causal with their direction; {nulls - taken} of {nulls} nulls called null "
        f"({1 - taken / max(nulls, 1):.1%}); proposed card better beyond noise in {better} of {len(results)}, "
        f"AUC {gain:+.4f} on average"
    )
    problems = [f"{lost} causal criteria were missed"] if lost else []
    problems += [f"only {1 - taken / nulls:.1%} of nulls called null"] if taken > (1 - NEEDED_NULLS) * nulls else []
    return problems + ([f"{len(results) - better} cards are not better beyond noise"] if better < len(results) else [])


def main() -> None:
    """Measure the truth, then all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--reference-seeds", type=int, default=len(REFERENCE_SEEDS))
    options = parser.parse_args()
    begun = time.perf_counter()
    truths = find_truths(options.customers, REFERENCE_SEEDS[: options.reference_seeds])
    odd = print_truths(truths)
    print("\n".join(f"note: {one}" for one in odd) or "every causal criterion points as the manifest says")
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    results: list[Result] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        begun = time.perf_counter()
        for target, rows in make_rows(options.customers, seed).items():
            results.append(judge(seed, target, rows, truths[target]))
            print_result(results[-1])
        print(f"        {time.perf_counter() - begun:.0f} s", flush=True)
    problems = conclude(results)
    print("pass" if not problems else "FAIL: " + "; ".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
