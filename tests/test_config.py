"""The config is complete and strict, and says in one sentence what is wrong with it."""

from datetime import datetime
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_config, read_environment
from pipeline.errors import ConfigError

CONFIGS = Path(__file__).parent.parent / "configs"
GOOD = """
name: shop
source:
  adapter: files
  folder: data
  data_end: 2024-07-01
tables:
  customers:
    select: SELECT * FROM 'customers.csv'
    static: [region]
    tracked: [owner_id]
    history_since: {owner_id: 2023-01-01}
  attribute_changes:
    select: SELECT * FROM 'changes.csv'
targets:
  churn:
    kind: churn
    by: orders
    horizons_days: [90]
    spine: {grid: month}
"""


def load(tmp_path, text=GOOD, *replacements):
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def refuse(tmp_path, match, *replacements):
    with pytest.raises(ConfigError, match=match) as caught:
        load(tmp_path, GOOD, *replacements)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_that_we_ship_loads(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.folder == Path(".leadsieve") / path.stem


def test_what_is_not_said_has_a_default(tmp_path):
    config = load(tmp_path)
    assert (config.time_zone, config.currency, config.seed, config.stages) == ("UTC", "EUR", 0, ())
    assert (config.source.orphan_share, config.tables["customers"].late_rows) == (0.05, "stop")
    assert config.write_back is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("horizons_days", "horizon_day", "unknown key 'horizon_day' in targets.churn. Did you mean 'horizons_days'?"),
        ("name: shop", "name: shop\ncurency: EUR", "unknown key 'curency'. Did you mean 'currency'?"),
        ("grid: month", "grd: month", "unknown key 'grd' in targets.churn.spine. Did you mean 'grid'?"),
        (
            "    select: SELECT * FROM 'ch",
            "    selct: SELECT * FROM 'ch",
            "unknown key 'selct' in tables.attribute_changes",
        ),
        ("folder: data", "foldr: data", "unknown key 'foldr' in source. Did you mean 'folder'?"),
        (
            "name: shop",
            "name: shop\nwrite_back: {colour: red}",
            "unknown key 'colour' in write_back. Known keys: adapter, ",
        ),
        (
            "name: shop",
            "name: shop\nmlflow: {experimant: x}",
            "unknown key 'experimant' in mlflow. Did you mean 'experim",
        ),
    ],
)
def test_a_misspelt_key_names_the_nearest_one(tmp_path, old, new, expected):
    assert expected in refuse(tmp_path, "shop.yaml: unknown key", (old, new))


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ("name: shop", "key 'name' is missing. Add it."),
        ("  adapter: files\n", "key 'adapter' is missing in source. Add it."),
        (
            "    select: SELECT * FROM 'changes.csv'",
            "is missing in tables.attribute_changes|attribute_changes' is None",
        ),
        ("    kind: churn\n", "key 'kind' is missing in targets.churn. Add it."),
    ],
)
def test_a_missing_key_is_named_with_its_place(tmp_path, old, expected):
    refuse(tmp_path, expected, (old, ""))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[90]", "ninety", "key 'targets.churn.horizons_days' is 'ninety'"),
        ("[90]", "[]", r"key 'targets.churn.horizons_days' is \[\]"),
        ("month", "decade", "key 'targets.churn.spine.grid' is 'decade': Input should be 'month' or 'week'"),
        ("data_end: 2024-07-01", "data_end: soon", "key 'source.data_end' is 'soon'"),
        ("name: shop", "name: My Shop", "key 'name' is 'My Shop'"),
        ("name: shop", "name: shop\ncurrency: 'E''U'", "key 'currency' is"),
        ("name: shop", "name: shop\nseed: x", "key 'seed' is 'x'"),
        ("name: shop", "name: shop\ntime_zone: Berlin", r"'Berlin' is not a time zone, .* \(in time_zone\)"),
        ("name: shop", "name: shop\ntime_zone: localtime", "'localtime' is not a time zone"),
    ],
)
def test_a_mistyped_value_is_shown_with_its_place(tmp_path, old, new, expected):
    refuse(tmp_path, expected, (old, new))


def test_an_unknown_table_names_the_nearest_one(tmp_path):
    expected = "unknown table 'custommers' in tables. Did you mean 'customers'"
    refuse(tmp_path, expected, ("  customers:", "  custommers:"))


def test_a_config_without_entities_is_refused(tmp_path):
    text = "    static: [region]\n    tracked: [owner_id]\n    history_since: {owner_id: 2023-01-01}\n"
    refuse(tmp_path, "tables needs 'customers' or 'deals'", (text, ""), ("  customers:", "  orders:"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "attribute_changes",
            "orders",
            "tables.customers.tracked needs tables.attribute_changes, the CRM's field history",
        ),
        (
            "static: [region]",
            "static: [owner_id]",
            "column 'owner_id' is static, tracked or remembered twice. Choose one",
        ),
        ("tracked: [owner_id]", "tracked: [customer_id]", "'customer_id' joins tables, so it cannot be tracked"),
        (
            "static: [region]",
            "static: [created_at]",
            "column 'created_at' is static, tracked or remembered, but it is the key, the time",
        ),
        ("{owner_id: 2023", "{region: 2023", "history_since names 'region', which is not tracked"),
        (
            "changes.csv'",
            "changes.csv'\n    static: [field]",
            "tables.attribute_changes has static, tracked or remembered, which only",
        ),
    ],
)
def test_what_is_said_about_history_must_fit_together(tmp_path, old, new, expected):
    refuse(tmp_path, expected, (old, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  folder: data\n", "", "adapter 'files' needs folder or folder_env"),
        ("  data_end: 2024-07-01\n", "", "adapter 'files' needs data_end"),
        ("adapter: files", "adapter: sql", "adapter 'sql' needs sqlite or url_env"),
        ("    by: orders\n", "", "kind 'churn' needs by: orders"),
        ("{grid: month}", "{start: 2024-01-01}", "spine needs grid, ages_days, or both"),
    ],
)
def test_keys_that_need_each_other_are_named(tmp_path, old, new, expected):
    refuse(tmp_path, expected, (old, new))


def test_a_secret_where_the_name_of_a_variable_belongs_is_not_shown(tmp_path):
    url = "postgresql://job:s3cret@crm.example/sales"
    said = refuse(tmp_path, r"something else \(not shown.*\(in source.url_env\)", ("folder: data", f"url_env: {url}"))
    assert "s3cret" not in said


def test_a_key_for_a_secret_itself_does_not_exist(tmp_path):
    said = refuse(tmp_path, "unknown key 'url' in source", ("folder: data", "url: postgresql://job:s3cret@crm.example"))
    assert "s3cret" not in said


def test_an_unset_variable_is_named_with_what_it_is_for(monkeypatch):
    monkeypatch.setenv("SHOP_URL", "")
    with pytest.raises(ConfigError, match=r"Environment variable SHOP_URL is not set. Set it to the URL of the CRM."):
        read_environment("SHOP_URL", "the URL of the CRM")


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    twice = "  customers:\n    select: SELECT 1\n  customers:"
    refuse(tmp_path, r"not valid YAML: key 'customers' occurs twice in .*line \d+", ("  customers:", twice))


def test_data_end_is_kept_in_utc(tmp_path):
    config = load(tmp_path, GOOD, ("data_end: 2024-07-01", "data_end: 2024-07-01T12:00:00+02:00"))
    assert config.source.data_end == datetime(2024, 7, 1, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"name: [", "not valid YAML: "),
        (b"- name", "expected a mapping of keys to values, got list"),
        (b"", "expected a mapping of keys to values, got NoneType"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, expected):
    path = tmp_path / "shop.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=expected):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read \(No such file or directory\)"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_config_does_not_change_after_loading(tmp_path):
    config = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"
    assert yaml.safe_load(GOOD)["name"] == config.name
