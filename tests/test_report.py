"""What a report tells of a deployment that was written by hand, and that nothing of the data becomes HTML."""

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import make_config
from report_world import HOSTILE, add_run, make_report_world, score
from small_crm import run_cli
from test_audit_page import Page

from features.errors import DataError
from pipeline.config import Config
from pipeline.deployment import load_extract
from pipeline.forget import forget
from pipeline.ledger import open_ledger
from pipeline.report import WrittenReport, write_report
from pipeline.report_drift import read_drift
from pipeline.report_payload import safe_json
from pipeline.report_quality import bin_shares, measure_month, read_monthly_scores, read_quality
from pipeline.report_today import Today, read_today


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_report_world(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def today(config: Config) -> Today:
    with open_ledger(config.folder / "ledger.db") as ledger:
        return read_today(config, ledger, load_extract(config))


@pytest.fixture(scope="module")
def written(config: Config, tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    with open_ledger(config.folder / "ledger.db") as ledger:
        return write_report(config, ledger, tmp_path_factory.mktemp("pages") / "report")


def unpack(page: str, name: str) -> Any:
    packed = re.search(rf'<script type="application/json" id="{name}">([^<]*)</script>', page)
    assert packed is not None
    return json.loads(zlib.decompress(base64.b64decode(packed[1])))


def row(today: Today, entity: str) -> dict[str, Any]:
    return dict(today.rows.set_index("entity_id").loc[entity])


def test_the_last_run_is_that_of_the_newest_data_and_the_one_before_has_older_data(today: Today) -> None:
    assert (today.run.run_id, today.previous and today.previous.run_id) == ("score-20240701-abc", "score-20240610-abc")


def test_a_deal_stakes_its_amount_and_a_customer_a_year_of_revenue(today: Today) -> None:
    assert (row(today, "D2")["amount"], row(today, "D2")["stake"]) == (5000.0, 1500.0)  # 0.3 x 5,000
    assert (row(today, "C2")["amount"], row(today, "C2")["stake"]) == (1000.0, 750.0)  # 0.75 x 1,000


def test_a_deal_has_the_name_and_region_of_its_customer_and_its_own_owner(today: Today) -> None:
    deal = row(today, "D2")
    assert [deal[name] for name in ("customer_id", "name", "region", "owner")] == ["C2", "北京客户", "south", "U2"]


def test_model_and_card_disagree_by_the_difference_of_percentiles(today: Today) -> None:
    # by likelihood D1 > D2 > D3, by points D2 > D1 > D3: thirds of the way
    assert [round(row(today, one)["gap"]) for one in ("D1", "D2", "D3")] == [33, -33, 0]
    # leaving is not wished for: C1 is the better one by model and by card
    assert [round(row(today, one)["gap"]) for one in ("C1", "C2")] == [0, 0]


def test_what_changed_is_told_against_the_run_before(today: Today) -> None:
    assert (row(today, "D1")["before_grade"], row(today, "D1")["before_probability"]) == ("fair", 0.5)
    assert [bool(one) for one in today.rows.set_index("entity_id")["is_new"].loc[["D1", "D2", "D3"]]] == [
        False,
        False,
        True,
    ]
    assert today.gone[["entity_id", "name", "outcome"]].to_numpy().tolist() == [["D4", "Gamma Ltd", "won"]]


def test_the_strongest_reasons_come_first_without_the_remainder(today: Today) -> None:
    assert [feature for *_, feature in row(today, "D2")["reasons"]] == ["deal_amount", "deal_age_days"]


def test_months_are_measured_once_their_labels_are_ripe(config: Config) -> None:
    with open_ledger(config.folder / "ledger.db") as ledger:
        monthly = read_monthly_scores(config, ledger)
    quality = {one.target: one for one in read_quality(config, load_extract(config), monthly)}["churn"]
    march, june, july = quality.months
    # labels 0, 1, 1 of C1 (0.2), C2 (0.6), C3 (0.1): the 1 of C2 is ahead of the 0, that of C3 is not
    assert (march.month, march.rows, march.ripe, march.auc) == ("2024-03", 3, 3, 0.5)
    assert march.said == pytest.approx(0.3)
    assert march.seen == pytest.approx(2 / 3)
    # the card gave 80 points to the one who stayed and 30 and 50 to those who left
    assert march.card_auc == 1.0
    assert march.log_loss == pytest.approx(-(np.log(0.8) + np.log(0.6) + np.log(0.1)) / 3)
    assert march.base_loss == pytest.approx(-(np.log(1 / 3) + 2 * np.log(2 / 3)) / 3)
    assert (june.ripe, july.ripe) == (0, 0)  # their 30 days end after the data
    assert {share.name: (share.rows, share.seen) for share in quality.grades} == {
        "good": (1, 0.0), "poor": (1, 1.0), "fair": (1, 1.0),
    }  # fmt: skip


def test_a_value_is_measured_by_its_mean_alone() -> None:
    rows = pd.DataFrame({"value": [10.0, 20.0, 5.0], "label": [0.0, 40.0, np.nan], "model_version": ["1", "1", "1"]})
    month = measure_month("2024-01", rows, "value")
    assert (month.ripe, month.said, month.seen, month.auc) == (2, 15.0, 20.0, None)


def test_equal_scores_stay_in_one_bin() -> None:
    ripe = pd.DataFrame(
        {"probability": [0.1] * 6 + [0.9] * 4, "label": [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]}
    )
    assert [(one.rows, one.said, round(one.seen, 3)) for one in bin_shares(ripe)] == [
        (6, pytest.approx(0.1), 0.167),
        (4, 0.9, 0.75),
    ]


def test_the_columns_that_moved_most_come_first_and_equal_ones_are_left_out(tmp_path: Path) -> None:
    frame = {"same": [1.0, 2.0, 3.0, 4.0], "moved": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "a", "b", None]}
    pd.DataFrame(frame).to_parquet(tmp_path / "frame.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"frame": {"file": "frame.parquet"}}}))
    now = {**frame, "moved": [3.0, 4.0, 9.0, np.nan], "kind": ["a", "b", "b", "b"], "entity_id": list("wxyz")}
    pd.DataFrame(now).to_parquet(tmp_path / "now.parquet")
    first, second = read_drift(tmp_path, tmp_path / "now.parquet")
    # kind: a 2/4 to 1/4, b 1/4 to 3/4, null 1/4 to 0; moved: two of four are below 3 then, one (missing) now
    assert (first.name, first.distance, first.missing_then, first.median_then) == ("kind", 0.5, 0.25, None)
    assert (second.name, second.distance, second.median_then, second.median_now) == ("moved", 0.25, 2.5, 4.0)
    assert read_drift(tmp_path / "nothing", tmp_path / "now.parquet") == ()


def test_json_in_a_page_cannot_end_its_element_nor_a_line() -> None:
    text = safe_json([HOSTILE])
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == [HOSTILE]


def test_nothing_of_the_data_is_html_and_nothing_is_fetched(written: WrittenReport) -> None:
    for name in written.bytes:
        text = (written.folder / name).read_text(encoding="utf-8")
        assert "onerror" not in re.sub(r'<script type="application/json".*?</script>', "", text)
        assert "<u>9" not in text
        assert not re.search(r"(src|href)=[\"'](?!index|customers|health|#)", text)
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)


def test_only_the_script_and_the_style_of_the_page_may_run(written: WrittenReport) -> None:
    for name in written.bytes:
        text = (written.folder / name).read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy is not None
        said = policy[1].replace("&#39;", "'")
        assert said.startswith("default-src 'none'; script-src 'sha256-")
        for tag in ("script", "style"):
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in said
        assert " style=" not in text
        assert "onclick" not in text


def test_the_list_has_texts_once_and_names_them_by_place(written: WrittenReport) -> None:
    rows = unpack((written.folder / "index.html").read_text(encoding="utf-8"), "packed-rows")
    at = rows["id"].index("D3")
    assert (rows["n"][rows["id"].index("D1")], rows["owners"][rows["o"][at]]) == (HOSTILE, "U1")
    assert [rows["marks"][place] for place in (*rows["f"][at], *rows["x"][at])] == [
        ["Pays late", "付款延迟"],
        ["In court", "涉诉"],
    ]
    assert (rows["g"][at], rows["b"][at], rows["new"][at], rows["v"][at]) == (2, -1, 1, 20)


def test_a_customer_file_has_scores_of_the_customer_and_of_its_deals(written: WrittenReport) -> None:
    page = (written.folder / "customers.html").read_text(encoding="utf-8")
    index, files = unpack(page, "packed-index"), unpack(page, "part-0")
    assert index == {"id": ["C1", "C2", "C3", "C4"], "n": [HOSTILE, "北京客户", "Gamma Ltd", "Delta <b>AG</b>"]}
    first, second, third, fourth = files
    assert first["facts"] == {"revenue_365d": 400, "lifecycle": "mature", "abc_value": "A"}
    assert first["profile"] == {"created_at": "2023-01-01 00:00:00", "region": "north", "owner_id": "U1"}
    deal, customer = first["scores"]
    assert (deal["id"], deal["c"], deal["y"], deal["ask"]) == ("D1", [60, 20], [1000, 2], ["Who signs?", "谁签字？"])
    assert (customer["id"], customer["p"], customer["past"]) == (
        "C1",
        0.25,
        [0.2, 0.3, 0.25, 0.25],
    )  # by month, and now
    assert second["scores"][0]["gone"] == [["stage 2", "第 2 阶段"]]
    assert (third["scores"][0]["new"], fourth["scores"]) == (1, [])


def test_names_can_be_left_out(tmp_path: Path) -> None:
    config = make_report_world(tmp_path, report={"show_names": False})
    with open_ledger(config.folder / "ledger.db") as ledger:
        written = write_report(config, ledger)
    assert written.folder == config.folder / "report"
    pages = {name: (written.folder / name).read_text(encoding="utf-8") for name in written.bytes}
    assert unpack(pages["index.html"], "packed-rows")["n"] == [None] * 5
    assert unpack(pages["customers.html"], "packed-index")["n"] == [None] * 4
    assert "Gamma" not in "".join(pages.values())


def test_the_same_input_gives_the_same_pages(config: Config, written: WrittenReport, tmp_path: Path) -> None:
    with open_ledger(config.folder / "ledger.db") as ledger:
        again = write_report(config, ledger, tmp_path)
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["customers.html", "health.html", "index.html"]
    for name in written.bytes:
        assert (again.folder / name).read_bytes() == (written.folder / name).read_bytes()


def test_without_scores_there_is_nothing_to_report(tmp_path: Path) -> None:
    config = make_report_world(tmp_path / "scored")
    with (
        open_ledger(tmp_path / "empty.db") as ledger,
        pytest.raises(DataError, match=r"Nothing was scored yet.*Run `leads"),
    ):
        write_report(config, ledger)


def test_a_target_that_nobody_was_scored_for_yet_is_on_the_pages_without_rows(config: Config, tmp_path: Path) -> None:
    given = config.model_dump(mode="json")
    given["targets"]["spend"] = {"kind": "value", "horizons_days": [90], "spine": {"grid": "month"}}
    wider = Config.model_validate(given)
    with open_ledger(config.folder / "ledger.db") as ledger:
        pages = write_report(wider, ledger, tmp_path).folder
    assert "Customers (spend)" in (pages / "index.html").read_text(encoding="utf-8")
    assert "<h2>spend " in (pages / "health.html").read_text(encoding="utf-8")


def test_the_command_writes_the_pages_and_says_where(config: Config, tmp_path: Path) -> None:
    place = tmp_path / "world.yaml"
    place.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    told = run_cli("report", "--config", str(place), "--folder", str(tmp_path / "out"), "--json").document
    assert (told["run_id"], told["rows"], sorted(told["bytes"])) == (
        "score-20240701-abc", 5, ["customers.html", "health.html", "index.html"],
    )  # fmt: skip
    answer = run_cli("report", "--config", str(place), "--folder", str(tmp_path / "out"))
    assert f"open {tmp_path / 'out' / 'index.html'} in a browser" in answer.out
    empty = tmp_path / "empty.yaml"
    empty.write_text(place.read_text(encoding="utf-8").replace("name: world", "name: other"), encoding="utf-8")
    answer = run_cli("report", "--config", str(empty))
    assert answer.code == 3
    assert "so nothing was scored yet. Run `leadsieve score` first." in answer.err


def test_a_first_run_has_nothing_before_it(tmp_path: Path) -> None:
    make_report_world(tmp_path / "first")
    config = make_config(
        tmp_path / "first",
        {"customers": {}},
        targets=make_report_world(tmp_path / "other").model_dump(mode="json")["targets"],
    )
    with open_ledger(tmp_path / "one.db") as ledger:
        add_run(
            ledger,
            config.model_copy(update={"state": tmp_path / "elsewhere"}),
            "2024-07-02",
            [score("churn", "C1", 0.5, 50, "fair")],
        )
        today = read_today(config, ledger, load_extract(config))
    assert (today.previous, len(today.gone), bool(today.rows["is_new"].any())) == (None, 0, False)
    assert today.rows["amount"].isna().all()  # the run kept no facts of its customers


def test_forgetting_somebody_deletes_the_pages_that_name_them(tmp_path: Path) -> None:
    config = make_report_world(tmp_path)
    with open_ledger(config.folder / "ledger.db") as ledger:
        place = write_report(config, ledger).folder
        forget(config, ledger, "C1")
        assert list(place.iterdir()) == []
        again = write_report(config, ledger)
    text = (again.folder / "customers.html").read_text(encoding="utf-8")
    assert unpack(text, "packed-index")["id"] == ["C2", "C3", "C4"]
    facts = pd.read_parquet(config.folder / "runs" / again.run_id / "customers.parquet")
    assert facts["customer_id"].tolist() == ["C2"]  # what the run kept of its customers goes too


REVIEW = {
    "since": "2024-01-01",
    "targets": {
        "conversion": {
            "kind": "conversion", "settled": 40, "unripe": 5, "notes": [f"Look at {HOSTILE}."],
            "grades": [{"grade": "good", "rows": 20, "rate": 0.5, "low": 0.3, "high": 0.7, "revenue": None}],
            "slices": [
                {"by": "region", "level": HOSTILE, "verdict": "reversed"},
                {"by": "region", "level": "x", "verdict": "holds"},
            ],
            "card": {
                "criteria": [{"id": "size", "verdict": "no effect", "value": 0.123, "low": 0.1, "high": 0.2}],
                "proposal": {
                    "criteria": [{"weight_today": 60, "weight": 12.5}],
                    "gain": {"proposed": 0.7, "today": 0.65, "low": 0.01, "high": 0.09},
                },
            },
            "model_against_card": {name: {"auc": auc} for name, auc in (("model", 0.8), ("card", 0.7), ("both", 0.81))},
            "disagreements": {
                "likely_but_low": {"rows": 4, "rate": 0.25, "low": 0.05, "high": 0.7},
                "unlikely_but_high": {"rows": 0},
            },
            "overrides": {"made": 3, "helped": 2, "hurt": 1},
        },
        "churn": {"kind": "churn", "settled": 0, "unripe": 9, "notes": ["Nothing has ripened yet."]},
    },
}  # fmt: skip


def test_the_page_of_health_shows_what_the_review_found(tmp_path: Path) -> None:
    config = make_report_world(tmp_path)
    (config.folder / "review").mkdir()
    (config.folder / "review" / "latest.json").write_text(json.dumps(REVIEW), encoding="utf-8")
    with open_ledger(config.folder / "ledger.db") as ledger:
        page = Page((write_report(config, ledger).folder / "health.html").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    for told in (
        "no effect无作用",
        "0.123 0.100 – 0.200 60 12.5",
        "+0.050",
        "50.0% 30.0% – 70.0%",
        "AUC: model模型 0.800 · card评分卡 0.700 · both together两者结合 0.810",
        "helped有益 2, hurt有害 1",
    ):
        assert told in text
    assert "Size <i>of</i> it" in text
    assert text.count("</script><img src=x") == 2  # the note and the level, as text
    assert "img" not in page.tags
    assert "Unlikely to turn out well" not in text  # nobody was
