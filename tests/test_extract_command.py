"""`leadsieve extract`, as a person and as a job see it."""

import json

import typer
from typer.testing import CliRunner

from pipeline.commands.extract import extract as extract_command


def run(*arguments):
    app = typer.Typer()
    app.command()(extract_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_config(tmp_path, select="SELECT * FROM read_csv('customers.csv')"):
    (tmp_path / "customers.csv").write_text("customer_id,created_at\n13085.0,2024-01-01 10:00:00\n7,2024-01-02\n")
    path = tmp_path / "shop.yaml"
    path.write_text(
        f"name: shop\nstate: {tmp_path / 'state'}\n"
        f"source: {{adapter: files, folder: {tmp_path}, data_end: 2024-07-01}}\n"
        f'tables: {{customers: {{select: "{select}"}}}}\ntargets: {{}}\n'
    )
    return path


def test_the_command_says_what_was_kept_and_whether_it_is_new(tmp_path):
    path = write_config(tmp_path)
    first, second = run("--config", path), run("--config", path)
    assert "customers  2          2          4" in first.stdout
    assert "New tables in" in first.stdout
    assert "Nothing new in" in second.stdout


def test_the_command_prints_one_json_document(tmp_path):
    document = json.loads(run("--config", write_config(tmp_path), "--json").stdout)
    assert (document["changed"], document["data_end"]) == (True, "2024-07-01T00:00:00")
    assert document["tables"][0]["columns"]["created_at"] == "time"


def test_a_dry_run_shows_columns_and_problems_and_ends_in_the_exit_code_of_a_data_error(tmp_path):
    path = write_config(
        tmp_path, "SELECT *, 'x' AS region FROM read_csv('customers.csv') UNION ALL SELECT 7, now(), 'y'"
    )
    result = run("--config", path, "--dry-run")
    assert result.exit_code == 3
    assert "customers: kept customer_id (text), created_at (time)" in result.stdout
    assert "customers: left out region: no history declared" in result.stdout
    assert "customers: not delivered, and not needed: name, domain" in result.stdout
    assert "Problem: Table 'customers': 2 of 3 rows repeat a customer_id (7)" in result.stdout
    assert not (tmp_path / "state").exists()


def test_a_dry_run_of_a_select_that_fails_ends_in_the_exit_code_of_a_config_error(tmp_path):
    result = run("--config", write_config(tmp_path, "SELECT nothing"), "--dry-run")
    assert result.exit_code == 2
    assert "Problem: tables.customers.select fails" in result.stdout
