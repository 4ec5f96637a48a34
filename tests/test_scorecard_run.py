"""A card with presets in a scoring run: graded, stored, and explained from what was stored."""

import pandas as pd
from small_crm import World

PRESETS = """
flags:
  - {id: small, name: {en: Few orders, zh: 订单少}, feature: orders_count_365d, when: {below: 4}}
presets:
  startup:
    kind: stage
    name: {en: Startup, zh: 初创期}
    criteria: {amount: {weight: 40}, tenure: {weight: 0}, engagement: {weight: 10}}
  shop: {kind: industry, name: {en: Shop, zh: 零售}, criteria: {amount: {missing: 10}}}
"""


def test_a_run_grades_with_the_presets_of_the_config_and_can_be_explained_later(world: World):
    path = world.folder / "configs" / "scorecards" / "starter_customer.yaml"
    path.write_text(path.read_text(encoding="utf-8") + PRESETS, encoding="utf-8")
    before = world.run("score", "--json").document["run_id"]
    world.change_config(targets__churn__scorecard_presets=["shop", "startup"])
    run = world.run("score", "--json").document["run_id"]
    assert run != before
    folder = world.state / "runs" / run
    scores = pd.read_parquet(folder / "scores.parquet").query("target == 'churn'")
    assert set(scores["card_version"]) == {"1+startup+shop"}
    parts = pd.read_parquet(folder / "card_churn.parquet").set_index("entity_id")
    assert parts["points"].to_dict() == scores.set_index("entity_id")["points"].to_dict()
    assert parts["points_tenure"].eq(0).all()
    assert parts["points_amount"].max() == 40
    few = pd.read_parquet(folder / "features_churn.parquet").set_index("entity_id")["orders_count_365d"] < 4
    assert few.any()
    assert parts["flags"].eq('["small"]').to_dict() == few.to_dict()
    path.unlink()  # a past score rests on the card as the run stored it
    explained = world.run("explain", scores["entity_id"].iloc[0], "--target", "churn", "--json").document
    assert explained["is_equal"]
    assert explained["card_version"] == "1+startup+shop"
