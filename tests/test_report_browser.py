"""The pages of a report in a headless Chromium: no errors, and what a person does with lists, keys and switches."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from browser import Browser, find_chromium
from report_world import HOSTILE, make_report_world

from pipeline.config import Config
from pipeline.deployment import load_extract
from pipeline.ledger import open_ledger
from pipeline.report import write_report
from pipeline.report_pipeline import make_pipeline_page
from pipeline.report_today import read_today

NAMES = "[...document.querySelectorAll('#rows td.who b')].map((one) => one.textContent)"
IDS = "[...document.querySelectorAll('#rows td.who small')].map((one) => one.textContent.split(' ')[0])"
STATUS = "document.getElementById('status').textContent"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_report_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def pages(config: Config) -> Path:
    with open_ledger(config.folder / "ledger.db") as ledger:
        return write_report(config, ledger).folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    place = find_chromium()
    if place is None:
        pytest.skip("there is no Chromium on this machine: install the package chromium to try the pages in it")
    browser = Browser(place, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(program: Browser) -> Iterator[Browser]:
    """A window of a desk, in English; at the end there were no errors and nothing was asked for but the pages."""
    program.errors.clear()
    program.requests.clear()
    program.look(1300, 900)
    yield program
    assert program.errors == []
    assert [one for one in program.requests if not one.startswith(("file:", "about:"))] == []


def choose(browser: Browser, select: str, text: str) -> None:
    """Choose an option by its text, as a person does."""
    browser.ask(
        f"(() => {{ const one = document.getElementById('{select}');"
        f"one.value = [...one.options].find((option) => option.textContent === '{text}').value;"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def click(browser: Browser, selector: str) -> None:
    browser.ask(f'document.querySelector("{selector}").click()')


@pytest.mark.parametrize("page", ["index.html", "customers.html", "health.html"])
@pytest.mark.parametrize("query", ["?lang=en", "?lang=zh&theme=dark"])
def test_every_page_opens_without_an_error_and_fits_a_phone(
    browser: Browser, pages: Path, page: str, query: str
) -> None:
    for width in (1300, 375):
        browser.look(width, 800)
        browser.open(pages / page, query)
        assert browser.ask("document.documentElement.scrollWidth") <= width


def test_html_in_a_name_is_shown_as_text(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    assert HOSTILE in browser.ask(NAMES)
    browser.open(pages / "customers.html", "?lang=en#C1")
    assert browser.ask("document.querySelector('#file h2').textContent") == f"{HOSTILE} C1"
    assert browser.ask("document.querySelectorAll('img, main b, main i:not(.meter i), main u').length") == 1  # an ask
    assert browser.ask("document.title") == "Customer file · world"
    assert "Size <i>of</i> it" in browser.ask("document.body.textContent")


def test_lists_are_sorted_by_what_they_are_for(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    # good before poor; of the good ones D2 stakes 1,500 and D1 600
    assert browser.ask(IDS) == ["D2", "D1", "D3"]
    click(browser, "[data-view=risk]")
    assert browser.ask(IDS) == ["C2", "C1"]  # 750 and 100 at risk
    assert "✎ by hand" in browser.ask("document.getElementById('rows').textContent")
    assert "card: fair" in browser.ask("document.getElementById('rows').textContent")
    click(browser, "[data-view=warnings]")
    assert browser.ask(IDS) == ["C2", "D3"]
    click(browser, "[data-view=changed]")
    assert browser.ask(IDS) == ["D1", "D3"]  # up a grade; new
    assert "was fair" in browser.ask("document.querySelector('#rows .up').textContent")


def test_a_head_sorts_up_and_down(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    click(browser, "#heads [data-column=p]")
    assert browser.ask(IDS) == ["D1", "D2", "D3"]
    assert browser.ask("document.querySelector('#heads th[aria-sort]').textContent") == "Likelihood"
    click(browser, "#heads [data-column=p]")
    assert browser.ask(IDS) == ["D3", "D2", "D1"]
    assert browser.ask("document.querySelector('#heads th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    assert browser.ask("document.activeElement.dataset.column") == "p"


def test_filters_narrow_the_list_down_together(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    click(browser, "[data-view=all]")
    choose(browser, "f-owner", "U1")
    assert sorted(browser.ask(IDS)) == ["C1", "D1", "D3"]
    choose(browser, "f-region", "north")
    assert sorted(browser.ask(IDS)) == ["C1", "D1"]
    choose(browser, "f-target", "churn")
    assert browser.ask(IDS) == ["C1"]
    choose(browser, "f-grade", "poor")
    assert browser.ask(IDS) == []
    assert browser.ask(STATUS) == "Nobody matches. Change or clear the filters."
    click(browser, "#f-clear")
    assert len(browser.ask(IDS)) == 5
    click(browser, ".funnel button[data-target=churn][data-grade=poor]")
    assert browser.ask(IDS) == ["C2"]


def test_the_switch_changes_every_word_and_is_kept_for_the_other_pages(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    assert browser.ask("document.querySelector('h1').innerText") == "Pipeline today"
    click(browser, "#language")
    assert browser.ask("document.querySelector('h1').innerText") == "今日商机"
    assert browser.ask("[document.title, document.documentElement.lang]") == ["今日商机 · world", "zh-CN"]
    assert browser.ask("document.querySelector('#rows .badge').textContent") == "好"
    assert browser.ask("document.querySelector('#heads').innerText").split()[:2] == ["客户", "等级"]
    assert "金额 5,000" in browser.ask("document.querySelector('#rows').innerText")
    assert browser.ask("document.getElementById('f-text').placeholder") == "名称或编号（/）"
    assert "lang=zh" in browser.ask("document.querySelector('.top nav a[href^=health]').href")
    click(browser, "#language")
    assert browser.ask("document.querySelector('h1').innerText") == "Pipeline today"


def test_light_and_dark_follow_the_system_until_the_switch_says_otherwise(browser: Browser, pages: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    browser.open(pages / "index.html", "?lang=en")
    browser.ask("localStorage.clear()")
    light = browser.ask(paper)
    browser.look(1300, 900, dark=True)
    dark = browser.ask(paper)
    assert light != dark
    click(browser, "#theme")
    assert browser.ask(paper) == light
    browser.look(1300, 900, media="print")
    click(browser, "#theme")
    assert browser.ask(paper) == "rgb(255, 255, 255)"
    browser.ask("localStorage.clear()")


def test_the_list_can_be_worked_by_keys_alone(browser: Browser, pages: Path) -> None:
    browser.open(pages / "index.html", "?lang=en")
    browser.press("/")
    assert browser.ask("document.activeElement.id") == "f-text"
    for letter in "d2":
        browser.press(letter)
    browser.wait(f"{STATUS} === '1 of 1 shown'")
    assert browser.ask(IDS) == ["D2"]
    browser.ask("document.querySelector('#rows button.open').focus()")
    browser.press("Enter")
    browser.wait("document.querySelector('#rows tr.detail') !== null")
    assert browser.ask("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "open for <u>9</u> days" in browser.ask("document.querySelector('#rows tr.detail').textContent")
    assert browser.ask("document.querySelector('#rows tr.detail a').getAttribute('href')").endswith("#C2")
    click(browser, "#f-clear")
    browser.ask("document.querySelector('#rows button.open').focus()")
    browser.press("ArrowDown")
    assert browser.ask("document.activeElement.closest('tr').dataset.i") == browser.ask(
        "document.querySelectorAll('#rows tr.row')[1].dataset.i"
    )


def test_a_customer_is_found_by_typing_and_chosen_by_keys(browser: Browser, pages: Path) -> None:
    browser.open(pages / "customers.html", "?lang=en")
    assert "With most at stake" in browser.ask("document.getElementById('file').textContent")
    browser.press("/")
    for letter in "gamma":
        browser.press(letter)
    browser.wait("document.querySelectorAll('#found li').length === 1")
    browser.press("Enter")
    browser.wait("document.querySelector('#file h2')?.textContent === 'Gamma Ltd C3'")
    assert browser.ask("location.hash") == "#C3"
    assert "In court" in browser.ask("document.getElementById('file').textContent")
    browser.ask("document.getElementById('q').focus()")
    browser.ask("document.getElementById('q').select()")
    browser.press("c")
    browser.wait("document.querySelectorAll('#found li').length === 4")  # one by its name too
    browser.press("ArrowDown")
    chosen = browser.ask("document.querySelector('#found [aria-selected=true] small').textContent")
    browser.press("Enter")
    browser.wait(f"location.hash === '#{chosen}'")
    browser.press("Escape")
    assert browser.ask("document.getElementById('found').hidden") is True


def test_a_file_says_what_it_does_not_know(browser: Browser, pages: Path) -> None:
    browser.open(pages / "customers.html", "?lang=en#C4")
    assert "Not scored" in browser.ask("document.getElementById('file').textContent")
    for asked in ("C9", "%E0"):  # the second one was cut short
        browser.open(pages / "customers.html", f"?lang=en#{asked}")
        assert browser.ask("document.getElementById('file').textContent") == f"Not in this report: {asked}"


def test_without_deals_the_customers_at_risk_come_first(browser: Browser, config: Config, tmp_path: Path) -> None:
    with open_ledger(config.folder / "ledger.db") as ledger:
        today = read_today(config, ledger, load_extract(config))
    rows, targets = today.rows[today.rows["target"] == "churn"], [one for one in today.targets if one.name == "churn"]
    page = make_pipeline_page(replace(today, rows=rows.reset_index(drop=True), targets=tuple(targets)), "one", "EUR")
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "index.html", "?lang=en")
    assert browser.ask("document.querySelector('#views [aria-pressed=true]').dataset.view") == "risk"
    assert browser.ask(IDS) == ["C2", "C1"]
    click(browser, "[data-view=priority]")
    assert browser.ask(IDS) == ["C1", "C2"]  # good before poor
    assert browser.ask("document.getElementById('f-target').closest('label').hidden") is True


def test_of_many_rows_only_some_are_in_the_page(browser: Browser, config: Config, tmp_path: Path) -> None:
    with open_ledger(config.folder / "ledger.db") as ledger:
        today = read_today(config, ledger, load_extract(config))
    deals = today.rows[today.rows["target"] == "conversion"]
    many = pd.concat([deals] * 1700, ignore_index=True)
    many["entity_id"] = [f"D{at:05d}" for at in range(len(many))]
    (tmp_path / "index.html").write_text(make_pipeline_page(replace(today, rows=many), "many", "EUR"), encoding="utf-8")
    browser.open(tmp_path / "index.html", "?lang=en")
    assert browser.ask(STATUS) == "60 of 5,100 shown"
    assert browser.ask("document.querySelectorAll('#rows tr').length") == 60
    browser.press("/")
    for letter in "d0509":
        browser.press(letter)
    assert browser.ask(STATUS) == "10 of 10 shown"
    assert os.path.getsize(tmp_path / "index.html") < 400_000  # packed: 78 bytes a row at most
