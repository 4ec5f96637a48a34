"""`leadsieve evaluate` on flat frames: one JSON document, a table for people, exit codes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from small_crm import only_candidates
from test_bg_nbd import simulate as simulate_purchases
from test_recipe import simulate
from typer.testing import CliRunner

from features.errors import DataError
from models.bg_nbd import Parameters
from models.training_set import TrainingSet
from pipeline.commands.evaluate import evaluate


def write(path: Path, rows: TrainingSet) -> Path:
    frame = rows.frame.assign(y=rows.label.astype(int), at=rows.time, who=rows.group)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


app = typer.Typer()
app.command()(evaluate)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


OPTIONS = ("--label", "y", "--time", "at", "--group", "who", "--horizon", 30)


def test_json_is_one_document_with_the_promised_keys(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", simulate(300))
    result = run(train, write(tmp_path / "test.csv", simulate(200, seed=1)), *OPTIONS, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert {"selected", "seconds", "test", "candidates"} <= set(document)
    assert document["test"]["rows"] == 200
    assert document["selected"] in [one["name"] for one in document["candidates"]]


def test_people_get_a_table_and_the_notes(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", simulate(200, snapshots=2))
    result = run(train, write(tmp_path / "test.parquet", simulate(200, seed=1)), *OPTIONS)
    assert result.exit_code == 0
    assert "Selected: logistic" in result.stdout
    assert "200 test rows, base rate" in result.stdout
    assert "2 distinct times: candidates were compared on grouped folds." in " ".join(result.stdout.split())


def test_the_report_is_written_beside_what_is_printed(tmp_path: Path) -> None:
    page = tmp_path / "pages" / "report.html"
    frames = [write(tmp_path / f"{name}.csv", simulate(200, seed=seed)) for seed, name in enumerate(("train", "test"))]
    with only_candidates("base_rate", "logistic"):
        profit = ("--value-per-event", 90, "--cost-per-contact", 9)
        result = run(*frames, *OPTIONS, "--html", page, *profit, "--json")
        document = json.loads(result.stdout)
    text = page.read_text(encoding="utf-8")
    assert f"<b>{document['test']['log_loss']:.4f}</b>" in text
    assert "<title>train.csv, y: evaluation</title>" in text
    assert "A contact pays from a probability of 10.0 % on" in text
    assert "4 columns judged by when they were filled" in text  # those of the features: not label, time and group


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--value-per-event", 90, "--cost-per-contact", 9), "Pass all three, or none."),
        (("--html", "page.html", "--value-per-event", 90), "Pass all three, or none."),
        (("--html", "page.html", "--value-per-event", 90, "--cost-per-contact", 0), "expected both above 0."),
    ],
)
def test_half_a_profit_is_refused_before_anything_is_read(options: tuple[Any, ...], expected: str) -> None:
    result = run("none.csv", "none.csv", *OPTIONS, *options)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.replace("│", " ").split())


def test_no_signal_is_an_answer_and_no_failure(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", simulate(300, strength=0.0))
    result = run(train, write(tmp_path / "test.parquet", simulate(200, seed=1, strength=0.0)), *OPTIONS)
    assert result.exit_code == 0
    assert "Nothing beats the base rate beyond noise" in result.stdout


def test_a_purchase_history_brings_its_own_candidate(tmp_path: Path) -> None:
    histories, label = simulate_purchases(Parameters(r=0.8, alpha=60.0, a=0.7, b=2.0), 120, 30.0, seed=0)
    frame = pd.DataFrame({"y": label, "n": histories.repeats + 1, "first": histories.age, "at": "2024-05-01"})
    frame.assign(last=histories.age - histories.until_last).to_csv(tmp_path / "rows.csv", index=False)
    options = ("--label", "y", "--time", "at", "--horizon", 30, "--json", "--purchases")
    result = run(tmp_path / "rows.csv", tmp_path / "rows.csv", *options, "n, last, first")
    assert "bg_nbd" in [one["name"] for one in json.loads(result.stdout)["candidates"]]
    result = run(tmp_path / "rows.csv", tmp_path / "rows.csv", *options, "n,last")
    assert result.exit_code == 2
    assert "expected three columns: COUNT,LAST,FIRST" in " ".join(result.output.replace("│", " ").split())


def test_a_wrong_column_is_a_data_error(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", simulate(100))
    with pytest.raises(DataError, match="label column 'Y' is missing"):
        run(train, train, "--label", "Y")
