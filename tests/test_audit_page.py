"""The page of the audit: text stays text, nothing is fetched, and the curves lie where they should."""

import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.audit import Audit
from pipeline.audit_alike import Alike
from pipeline.audit_duplicates import Duplicates
from pipeline.audit_lateness import Lateness
from pipeline.audit_maturity import Cohort, Maturity
from pipeline.audit_page import make_page, make_plot, write_page
from pipeline.audit_parity import Difference, Parity, Rebuilt
from pipeline.audit_quality import BusyDay, Filling, Quality
from pipeline.audit_verdict import ColumnVerdict

HOSTILE = "<script>alert(\"1\")</script>&<b onmouseover='x'>"
VOID = {"meta", "br", "wbr", "path"}


class Page(HTMLParser):
    """What a browser makes of a page: its tags, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " if tag == "td" else ""
        self.attributes += [(name, value or "") for name, value in attributes]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += text


COHORTS = (
    Cohort("2024-01", 1000, 1000, 1000, 0.0, {7: 0.0, 90: 0.0, 365: 0.01}, in_training=False, looks_dead=True),
    Cohort("2024-02", 1000, 1000, 990, 0.1, {7: 0.05, 90: 0.1, 365: None}, in_training=True),
    Cohort("2024-03", 1000, 0, 0, None, {7: 0.05, 90: None, 365: None}, in_training=True),
)
MATURITY = Maturity("conversion", "conversion", 90, 3, "the deal was closed", COHORTS)
AUDIT = Audit(
    name="world",
    data_end=datetime(2024, 7, 1, 22, 30),
    rows={"deals": 1234, HOSTILE: 1},
    columns=(
        ColumnVerdict("deals", HOSTILE, "leak", "static", True, f"Level {HOSTILE} is there.", f"Why {HOSTILE}?", 0.97),
        ColumnVerdict("deals", "close_code", "use", "static", False, "Fine.", "", 0.0),
    ),
    lateness=(Lateness("deals", HOSTILE, "known_at", 10, 1, 0, 90, 172_800),),
    maturity=(MATURITY,),
    quality=Quality(
        (Filling("deals", HOSTILE, 10, 0, HOSTILE), Filling("deals", "closed_at", 10, 4, None, "closed_at")),
        (BusyDay("deals", HOSTILE, "2020-01-01", 30, 0.15),),
        (Alike("deals", HOSTILE, "other", "renamed", 200),),
    ),
    duplicates=Duplicates(("name",), 100, 2, ((HOSTILE, "C2"),), {}, {}),
    parity=Parity(
        "differs", "score-1", datetime(2024, 6, 30), True,
        (Rebuilt("conversion", 50, 80, 0, (), (), 1, (Difference("conversion", HOSTILE, "source", HOSTILE, None),)),),
        (f"Note {HOSTILE}.",),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(make_page(AUDIT))


def test_html_in_names_levels_and_ids_is_shown_as_text(page: Page) -> None:
    assert {"script", "b"} & set(page.tags) == {"b"}  # our own, around what to do
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    bare = page.text.replace("\n", "")
    assert bare.count(HOSTILE) >= 12
    assert f"Why {HOSTILE}?" in bare


def test_the_page_fetches_nothing(page: Page) -> None:
    text = make_page(AUDIT)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert [value for name, value in page.attributes if name in ("src", "href")] == [
        "#summary", "#columns", "#lateness", "#maturity", "#quality", "#parity",
    ]  # fmt: skip
    assert not re.search(r"url\(|@import|https?:", text)


def test_it_is_for_light_and_dark_for_paper_and_for_a_phone() -> None:
    text = make_page(AUDIT)
    for media in ("(prefers-color-scheme: dark)", "print", "(max-width: 40rem)"):
        assert f"@media {media}" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text


def test_every_section_says_what_was_found(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "Data until 2024-07-01 22:30:00 (UTC)" in text
    assert "Not passed: 1 column that leaks is in use, and the last scores cannot be computed again." in text
    assert "known_at" not in text  # people read when something happened
    assert "10 10.0 % 0 90 s 2.0 days" in text
    assert "2024-01 1,000 1,000 0.0 % 0.0 % 0.0 % 1.0 % looks dead; before spine.start" in text
    assert "2024-03 1,000 0 5.0 % not yet" in text
    assert "deals.closed_at 40.0 % 10 until closed_at" in text
    assert "2 of 100 customers, in 1 group." in text
    assert "Run score-1, as of 2024-06-30 00:00:00 (UTC)" in text


def test_a_flat_frame_has_no_sections_about_time_and_no_table_before_its_columns() -> None:
    columns = (ColumnVerdict("frame", "Lead Source", "use", "known", True, "Fine.", "", 0.0),)
    frame = Audit("leads.csv", None, {"frame": 10}, columns, Quality((Filling("frame", "Tags", 10, 5, None),), (), ()))
    page = Page(make_page(frame))
    assert [value for name, value in page.attributes if name == "href"] == ["#summary", "#columns", "#quality"]
    assert "frame.Tags" not in page.text
    assert "Tags" in page.text


def test_without_cohorts_the_page_says_so() -> None:
    assert "Nobody is eligible at any time." in make_page(replace(AUDIT, maturity=(replace(MATURITY, cohorts=()),)))


def test_curves_lie_where_days_and_shares_are() -> None:
    plot = make_plot(MATURITY)
    curves = {curve.month: curve for curve in plot.curves}
    # 640 wide from 64, by the root of the days: 365 days at the end, 91.25 would be in the middle
    assert plot.x_ticks[-1] == (704.0, "365")
    assert plot.horizon == round(64 + 640 * (90 / 365) ** 0.5, 1)
    # the largest share is 10 %, so the top is 10 %, and 5 % lies half way between 268 and 12
    assert [text for _, text in plot.y_ticks] == ["0 %", "2.5 %", "5 %", "7.5 %", "10 %"]
    assert curves["2024-02"].points == f"64.0,268.0 {round(64 + 640 * (7 / 365) ** 0.5, 1)},140.0 {plot.horizon},12.0"
    assert (curves["2024-01"].dead, curves["2024-02"].dead, plot.has_dead) == (True, False, True)
    assert (curves["2024-02"].young, curves["2024-03"].young) == (False, True)
    assert plot.curves[-1].dead  # drawn over the others


def test_the_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "pages" / "check.html"
    write_page(AUDIT, path)
    assert path.read_text(encoding="utf-8") == make_page(AUDIT)
    assert [one.name for one in path.parent.iterdir()] == ["check.html"]
