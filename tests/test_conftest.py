"""What the other tests rely on."""

from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest


@pytest.mark.parametrize(("setting", "outcome"), [("1", "failed"), ("", "skipped"), (None, "skipped")])
def test_a_skip_is_a_failure_on_a_machine_that_must_run_everything(monkeypatch, setting, outcome):
    if setting is None:
        monkeypatch.delenv("LEADSIEVE_NO_SKIP", raising=False)
    else:
        monkeypatch.setenv("LEADSIEVE_NO_SKIP", setting)
    report = SimpleNamespace(skipped=True, outcome="skipped", longrepr=("test_x.py", 3, "Skipped: no data"))
    hook = conftest.pytest_runtest_makereport(None, None)
    next(hook)
    with pytest.raises(StopIteration, match=r"^$"):
        hook.send(SimpleNamespace(get_result=lambda: report))
    assert report.outcome == outcome
    assert "no data" in str(report.longrepr)


def test_a_text_table_has_nulls_comments_and_moments():
    rows = conftest.read_rows(
        "orders",
        """
        order_id  occurred_at  amount
        O1        2024-01-01   -          # no amount
        O-2       2024-01-02   3
        """,
    )
    assert rows["order_id"].to_pylist()[0] == "O1"
    assert str(rows["occurred_at"].type) == "timestamp[us]"
    assert rows["amount"].to_pylist() == [None, "3"]


def test_the_longest_files_come_first():
    names = ("test_ages", "test_explain", "test_laws", "test_zones", "test_spark")
    items = [SimpleNamespace(path=Path(f"{name}.py")) for name in names]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path.stem for item in items] == ["test_spark", "test_laws", "test_explain", "test_ages", "test_zones"]


@pytest.mark.parametrize(
    ("name", "is_traced", "expected"),
    [
        ("test_laws", True, ["pause", "run", "resume"]),
        ("test_ages", True, ["run"]),
        ("test_laws", False, ["run"]),  # without --cov there is nothing to pause
    ],
)
def test_a_long_file_runs_untraced_with_its_fixtures(name, is_traced, expected):
    happened = []
    steps = {step: lambda step=step: happened.append(step) for step in ("pause", "resume")}
    plugins = {"_cov": SimpleNamespace(cov_controller=SimpleNamespace(**steps))} if is_traced else {}
    config = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=plugins.get))
    hook = conftest.pytest_runtest_protocol(SimpleNamespace(path=Path(f"{name}.py"), config=config))
    next(hook)
    happened.append("run")
    with pytest.raises(StopIteration, match=r"^$"):
        next(hook)
    assert happened == expected


def test_every_file_that_is_said_to_be_long_is_there():
    assert len(set(conftest.LONGEST)) == len(conftest.LONGEST)
    missing = [name for name in conftest.LONGEST if not (Path(__file__).parent / f"{name}.py").is_file()]
    assert missing == []
