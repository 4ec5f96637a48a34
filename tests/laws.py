"""What the laws of time share: crowds of random worlds, their features, and what equal means.

An example of a law is a crowd: dozens of independent small worlds side by side in one extract and one build. It is
made from a seed, so that hypothesis draws a number; `make laws` (LEADSIEVE_LAWS=N) draws many, and leaves out worlds
of a crowd that breaks a law as long as it still does.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from made_worlds import crowd, moment_of
from worlds import END, START, World, export, extract_world

from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.group import Entity, Group
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target

EXAMPLES = int(os.environ.get("LEADSIEVE_LAWS", "2"))
SEARCHES = "LEADSIEVE_LAWS" in os.environ
WORLDS = 40
law = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SEARCHES else [])],
    deadline=None,
    derandomize=not SEARCHES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
crowd_law = settings(parent=law, max_examples=EXAMPLES if SEARCHES else 1)
"""For laws that draw nothing but a crowd: its forty worlds for each target are sample enough."""
label_law = settings(parent=law, max_examples=max(4, EXAMPLES))
"""Labels take less time than features."""
CONVERSION = Target("conversion", "conversion", 10, settle_days=0)
CHURN = Target("churn", "churn", 10, settle_days=0)
TARGETS = (CONVERSION, CHURN)
WEEKS = SpinePlan("week", START.date(), (0, 7))


@dataclass(frozen=True)
class Crowd:
    """Worlds of one seed, and a moment to look at them."""

    seed: int
    numbers: tuple[int, ...]

    @cached_property
    def world(self) -> World:
        return crowd(self.seed, self.numbers)

    @property
    def at(self) -> datetime:
        return moment_of(self.seed, self.world.zone)


def _crowds(first: int) -> st.SearchStrategy[Crowd]:
    everyone = st.just(tuple(range(WORLDS)))
    some = st.sets(st.integers(0, WORLDS - 1), min_size=1).map(lambda numbers: tuple(sorted(numbers)))
    drawn = st.builds(Crowd, st.integers(first, first + 2**32), (everyone | some) if SEARCHES else everyone)
    return drawn.filter(lambda one: any(row["known_at"] < one.at for row in one.world.rows["customers"]))


crowds = {"conversion": _crowds(0), "churn": _crowds(1)}
"""Crowds for each kind of target: the first examples differ."""


@contextmanager
def extracted(world: World, at: datetime = END) -> Iterator[CrmTables]:
    """What an extract at a moment stores."""
    with tempfile.TemporaryDirectory() as folder:
        yield extract_world(Path(folder), export(world, at), at)


def possible(target: Target, tables: CrmTables) -> bool:
    """Whether the tables of a target have rows: those of a few worlds may have none yet."""
    return {target.table, target.outcome[0]} <= set(tables.tables)


def features(
    tables: CrmTables, spine: pd.DataFrame, entity: Entity, catalog: Sequence[Group] = CATALOG
) -> pd.DataFrame:
    """Features by (entity_id, as_of)."""
    return indexed(build_features(tables, spine, catalog, entity))


def indexed(built: FeatureFrame) -> pd.DataFrame:
    return built.frame.set_index(["entity_id", "as_of"])


@lru_cache(maxsize=4)
def in_training(crowd: Crowd, target: Target) -> FeatureFrame:
    """Features of all snapshots of a training spine; several laws look at the same."""
    with extracted(crowd.world) as tables:
        return build_features(tables, build_spine(tables, target, WEEKS), CATALOG, target.table)


@lru_cache(maxsize=4)
def at_moment(crowd: Crowd, target: Target) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Spine and features of a crowd's moment, as all that is known today tells them."""
    with extracted(crowd.world) as tables:
        spine = build_scoring_spine(tables, target, crowd.at)
        return spine, features(tables, spine, target.table)


def same(left: pd.DataFrame, right: pd.DataFrame, *, few: bool = False) -> None:
    """Equal to the bit; with `few` worlds a column may lack where its table has no rows yet."""
    columns = [name for name in left.columns if name in right.columns]
    assert few or (len(left) and list(left.columns) == list(right.columns))
    pd.testing.assert_frame_equal(left[columns], right[columns], check_exact=True)
