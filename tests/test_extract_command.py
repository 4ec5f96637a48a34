"""`leadsieve extract`, as a person and as a job see it."""

import json

import typer
from typer.testing import CliRunner

from features.errors import DataError
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


def write_shop(tmp_path, customers):
    """Write a shop with so many customers, each in one line, and return the path of its config."""
    path = write_config(tmp_path)
    lines = [f"{i},2024-01-01 10:00:00" for i in range(customers)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer_id,created_at", *lines, ""]))
    return path


def test_a_shrunk_table_ends_in_the_exit_code_of_a_data_error_until_a_person_accepts_it(tmp_path):
    assert run("--config", write_shop(tmp_path, 4)).exit_code == 0
    path = write_shop(tmp_path, 2)
    refused = run("--config", path)
    assert isinstance(refused.exception, DataError)
    assert "--accept-shrink" in str(refused.exception)
    dry = run("--config", path, "--dry-run")
    assert (dry.exit_code, "Problem: Table 'customers': 2 rows, where" in dry.stdout) == (3, True)
    assert "New tables in" in run("--config", path, "--accept-shrink").stdout


def test_a_column_that_is_gone_needs_accept_schema(tmp_path):
    path = write_shop(tmp_path, 4)
    text = path.read_text().replace("customers: {", "customers: {static: [region], ")
    path.write_text(text)
    rows = (tmp_path / "customers.csv").read_text().splitlines()
    (tmp_path / "customers.csv").write_text("\n".join([rows[0] + ",region", *(row + ",north" for row in rows[1:])]))
    assert run("--config", path).exit_code == 0
    (tmp_path / "customers.csv").write_text("\n".join(rows))
    refused = run("--config", path)
    assert isinstance(refused.exception, DataError)
    assert "column 'region' was delivered as VARCHAR" in str(refused.exception)
    accepted = run("--config", path, "--accept-schema")
    assert "customers: region is no longer delivered and was given up: remove it from the config" in accepted.stdout


def test_starting_over_accepts_an_earlier_end_of_the_data(tmp_path):
    path = write_shop(tmp_path, 4)
    assert run("--config", path).exit_code == 0
    path.write_text(path.read_text().replace("2024-07-01", "2024-06-01"))
    refused = run("--config", path)
    assert "The data ends at 2024-06-01 00:00:00, before 2024-07-01 00:00:00" in str(refused.exception)
    assert "New tables in" in run("--config", path, "--start-over").stdout


def test_the_command_says_how_many_rows_were_held_back_where_and_why(tmp_path):
    path = write_shop(tmp_path, 200)
    with (tmp_path / "customers.csv").open("a") as file:
        file.write("x,\n")
    result = run("--config", path)
    place = tmp_path / "state" / "shop" / "quarantine" / "customers.csv"
    assert f"customers: 1 row held back in {place}: no created_at (1)" in result.stdout
    assert place.read_text() == "reason,customer_id,created_at\nno created_at,x,\n"
    document = json.loads(run("--config", path, "--json").stdout)
    assert document["tables"][0]["quarantined"] == {"no created_at": 1}
