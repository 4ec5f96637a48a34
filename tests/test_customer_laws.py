"""The laws of time hold for facts about customers, too: for crowds of random worlds (`laws`)."""

import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import make_config
from hypothesis import given
from hypothesis import strategies as st
from laws import SEARCHES, crowds, extracted, law
from test_laws import scrambled

from features.tables import CrmTables
from pipeline.customer_facts import make_customer_facts


def facts(tables: CrmTables, at: datetime) -> pd.DataFrame:
    """Facts of all customers at a moment."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), {"customers": {}})
        return make_customer_facts(config, replace(tables, data_end=at), Path(folder)).frame


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the bit; where few worlds are drawn, what a table without rows leaves null does not count."""
    columns = [name for name in left if not SEARCHES or (left[name].notna().any() and right[name].notna().any())]
    assert SEARCHES or left["revenue"].gt(0).any()
    pd.testing.assert_frame_equal(left[columns], right[columns], check_exact=True)


@law
@given(st.data())
def test_facts_of_a_moment_are_what_an_extract_taken_then_gives_whatever_becomes_known_later(data: Any) -> None:
    crowd = data.draw(crowds["churn"])
    with extracted(crowd.world, crowd.at) as then:
        known = facts(then, crowd.at)
    for later in (crowd.world, scrambled(crowd)):
        with extracted(later) as today:
            same(facts(today, crowd.at), known)
