"""Print how two shipped cards rank real B2B deals: `python tests/eval_salvirt.py [FOLDER]`.

FOLDER holds `frames/salvirt` (all.parquet, folds.csv) and `frames/README.md` with the peers' figures.
The *untouched* card has never seen an outcome: its points are an expert's, and so is the table below that says
which answer of the sales team stands for which answer of the card; both were written before either was ever
scored on these deals, and neither was changed afterwards. The *fitted* card has the points that the deals
outside of a fold would give it. The folds keep identical deals together; AUCs are means over folds, as the
peers' are, and intervals the middle 95 % of resamples of groups of identical deals.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from eval_frames import DATA, read_peers
from numpy.typing import NDArray

from models.card_proposal import propose_card
from models.metrics import measure
from models.scorecard import Scorecard, load_scorecard

CARDS = Path(__file__).parent.parent / "configs" / "scorecards"
RESAMPLES = 500

Floats = NDArray[np.float64]
Answers = Mapping[str, str | float]

YES_NO: Answers = {"Yes": "yes", "No": "no"}
HOW_MUCH: Answers = {"Yes": 5.0, "No": 1.0}
DEFINED: Answers = {"Yes": 5.0, "Info gathering": 2.0, "Poor": 2.0, "No": 1.0}
TONE: Answers = {"Yes": 5.0, "Neutral": 3.0, "No": 1.0}
SIZE: Answers = {"Small": 2.0, "Mid": 3.0, "Big": 4.0}
WON_BEFORE: Answers = {"Current": 2.0, "Past": 1.0, "New": 0.0}
STANDING: Answers = {"Strategic account": 5.0, "Normal": 3.0, "First deal": 2.0, "Bad client": 1.0}

ON_THE_DEAL: Mapping[str, tuple[str, Answers]] = {
    "deal_assessment_need_score": ("Needs_def", DEFINED),
    "deal_assessment_scope_score": ("Scope", {"Clear": 5.0, "Few questions": 3.0, "Low": 1.0}),
    "deal_assessment_proposal_asked_answer": ("RFP", YES_NO),
    "deal_assessment_information_asked_answer": ("RFI", YES_NO),
    "deal_assessment_competitors_answer": ("Competitors", YES_NO),
    "deal_assessment_budget_score": ("Budgt_alloc", HOW_MUCH),
    "deal_assessment_expansion_answer": ("Up_sale", YES_NO),
    "deal_assessment_authority_score": ("Authority", {"High": 5.0, "Mid": 3.0, "Low": 1.0}),
    "deal_assessment_purchasing_department_answer": ("Purch_dept", YES_NO),
    "deal_assessment_formal_tender_answer": ("Forml_tend", YES_NO),
    "deal_assessment_attitude_score": ("Posit_statm", TONE),
    "deal_assessment_relationship_score": ("Att_t_client", STANDING),
    "customers_employees_band": ("Comp_size", SIZE),
    "customers_annual_revenue_growth_365d": ("Growth", {"Growth": 0.1, "Stable": 0.0, "Slow down": -0.1}),
    "deals_won_count": ("Client", WON_BEFORE),
}
"""For `qualification`. What is not listed, as "Unknown" is nowhere, is missing."""

ON_THE_CUSTOMER: Mapping[str, tuple[str, Answers]] = {
    "assessment_need_score": ("Needs_def", DEFINED),
    "assessment_budget_score": ("Budgt_alloc", HOW_MUCH),
    "assessment_attitude_score": ("Posit_statm", TONE),
    "assessment_background_score": ("Comp_size", SIZE),
    "assessment_outlook_score": ("Growth", {"Growth": 5.0, "Stable": 3.0, "Slow down": 1.0}),
    "assessment_strategic_score": (
        "Strat_deal",
        {"Very important": 5.0, "Average important": 3.0, "Unimportant": 1.0},
    ),
    "assessment_industry_position_score": ("Att_t_client", STANDING),
    "assessment_recommend_score": (
        "Source",
        {"Referral": 5.0, "Joint past": 4.0, "Event": 3.0, "Online form": 3.0, "Media": 2.0, "Direct mail": 2.0},
    ),
    "assessment_technical_cooperation_score": ("Partnership", {"Yes": 4.0, "No": 2.0}),
    "assessment_compliance_management_score": ("Purch_dept", {"Yes": 4.0, "No": 3.0}),
    "deals_won_count": ("Client", WON_BEFORE),
}
"""For `twelve_factor`, which asks about customers."""


def card_frame(deals: pd.DataFrame, mapping: Mapping[str, tuple[str, Answers]]) -> pd.DataFrame:
    """Feature frame of a card from the answers of the sales team."""
    return pd.DataFrame({name: deals[column].map(dict(answers)) for name, (column, answers) in mapping.items()})


def without_groups(card: Scorecard) -> Scorecard:
    """Return the card without its groups: the few levels that a small group can reach are not what is asked here."""
    document = card.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"groups": True})
    criteria = [{name: value for name, value in one.items() if name != "group"} for one in document["criteria"]]
    return Scorecard.model_validate({**document, "criteria": criteria})


def fitted_points(card: Scorecard, frame: pd.DataFrame, won: Floats, group: Floats, fold: Floats) -> Floats:
    """Points of each deal by the card that the other folds propose."""
    points, card = np.full(len(won), np.nan), without_groups(card)
    for k in np.unique(fold):
        learn = fold != k
        proposed = propose_card(card, frame[learn].reset_index(drop=True), won[learn], group[learn]).card
        points[~learn] = proposed.score(frame[~learn])["points"]
    return points


def mean_auc(won: Floats, points: Floats, fold: Floats) -> float:
    """AUC, as a mean over folds."""
    parts = [measure(won[fold == k], points[fold == k] / 100.0, resamples=0)["auc"] for k in np.unique(fold)]
    return float(np.mean(parts))


def interval(won: Floats, points: Floats, group: Floats, fold: Floats) -> tuple[float, float]:
    """Middle 95 % of the mean AUC when groups are drawn again within their folds."""
    draw, found = np.random.default_rng(0), []
    members = [[np.flatnonzero(group == one) for one in np.unique(group[fold == k])] for k in np.unique(fold)]
    for _ in range(RESAMPLES):
        rows = [np.concatenate([part[at] for at in draw.integers(len(part), size=len(part))]) for part in members]
        drawn = np.concatenate(rows)
        found.append(mean_auc(won[drawn], points[drawn], fold[drawn]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Print one block per card."""
    folder = (Path(sys.argv[1]) if len(sys.argv) > 1 else DATA) / "frames"
    if not (folder / "salvirt" / "all.parquet").is_file():
        raise SystemExit(f"{folder / 'salvirt'} is absent: the deals are not part of the project. Pass their folder.")
    deals = pd.read_parquet(folder / "salvirt" / "all.parquet")
    fold = pd.read_csv(folder / "salvirt" / "folds.csv")["fold"].to_numpy(np.float64)
    won, group = deals["y"].to_numpy(np.float64), deals["group"].to_numpy(np.float64)
    peers = read_peers(folder / "README.md", "ROC AUC")["salvirt"]
    print(f"peers: LightGBM {peers['LightGBM defaults']:.3f}, best {peers.max():.3f} ({peers.idxmax()})")
    for name, mapping in {"qualification": ON_THE_DEAL, "twelve_factor": ON_THE_CUSTOMER}.items():
        card, frame = load_scorecard(CARDS / f"{name}.yaml"), card_frame(deals, mapping)
        scored = card.score(frame)
        print(
            f"\n{name}: {len(won)} deals ({len(np.unique(group))} distinct), {won.mean():.3f} won, "
            f"coverage {scored['coverage'].mean():.2f}"
        )
        untouched, fitted = scored["points"].to_numpy(), fitted_points(card, frame, won, group, fold)
        for title, points in {"untouched": untouched, "fitted": fitted}.items():
            low, high = interval(won, points, group, fold)
            print(f"  {title:<10} AUC {mean_auc(won, points, fold):.3f} ({low:.3f} to {high:.3f})")
        for grade, rows in pd.Series(won).groupby(scored["grade"]):
            print(f"  {grade:<10} {len(rows):>4} deals, {rows.mean():.0%} won")


if __name__ == "__main__":
    main()
