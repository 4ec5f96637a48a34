"""What the other tests rely on."""

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
