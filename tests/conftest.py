"""What several test files share: literal worlds, and the public data where it is there."""

import os

os.environ["COLUMNS"] = "160"  # answers are as wide as into a file, wherever the tests run

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from crm_world import crm_folder  # noqa: F401  (a fixture)
from fake_odoo import fake_odoo  # noqa: F401  (a fixture)
from odoo_place import fake_place, place, real_place  # noqa: F401  (fixtures)
from odoo_server import odoo  # noqa: F401  (a fixture)
from postgres_server import postgres, postgres_server  # noqa: F401  (fixtures)
from small_crm import Answer, World, copy_world, make_demo

from features.tables import TABLES, CrmTables, load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.config import Config
from pipeline.extract import ExtractReport, extract

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))

Rows = str | Sequence[Mapping[str, Any]]


LONGEST = (
    "test_spark",
    "test_laws",
    "test_notebooks",
    "test_sensitive",
    "test_run",
    "test_odoo_real_write",
    "test_ended_laws",
    "test_odoo_real_install",
    "test_odoo_real_read",
    "test_bad_input",
    "test_retrain",
    "test_writeback_resume",
    "test_writeback_faults",
    "test_kill_writeback",
    "test_laws_extract",
    "test_real_data",
    "test_explore",
    "test_kill_run",
    "test_training",
    "test_horizon_scores",
    "test_forget_command",
    "test_subscription_churn",
    "test_explain",
    "test_spark_scoring",
    "test_mlflow_model",
    "test_forget",
    "test_writeback_laws",
    "test_kill_extract",
    "test_customer_laws",
    "test_ended_extracts",
    "test_value_training",
    "test_grading",
    "test_layering",
)
"""Files that take longest. Their lines do not count as covered: tracing adds half to the time of what it watches."""


def pytest_configure() -> None:
    """Before anything imports them: tests that several adapters share say what they found."""
    pytest.register_assert_rewrite("conformance", "conformance_write", "conformance_own")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left alone with one in the end.

    Files are dealt out in this order with `--dist loadfile --no-loadscope-reorder`.
    """
    places = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Trace no line of the longest files, nor of what their fixtures make."""
    tracing = item.config.pluginmanager.getplugin("_cov")
    tracer = tracing.cov_controller if tracing and item.path.stem in LONGEST else None
    if tracer is None:
        yield
        return
    tracer.pause()
    yield
    tracer.resume()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests on a real server found, whichever process they ran in."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "said":
                terminalreporter.write_line(text)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With LEADSIEVE_NO_SKIP=1 a skipped test is a failed one: for machines that must run everything."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("LEADSIEVE_NO_SKIP") == "1" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"LEADSIEVE_NO_SKIP=1 and the test was skipped: {reason}"


@pytest.fixture
def public_data() -> Callable[[str], Path]:
    """Folder of the public data; `public_data("online_retail")` skips the test if that data set is not there."""

    def find(name: str) -> Path:
        folder = DATA / name
        if not folder.is_dir():
            pytest.skip(f"the public data set '{name}' is not in {DATA}; set LEADSIEVE_DATA to the folder that has it")
        return DATA

    return find


@pytest.fixture(scope="session")
def demo_answer(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Answer]:
    """A world in which `leadsieve demo` has run, and what it printed; made once for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    return make_demo((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "demo")


@pytest.fixture(scope="session")
def finished(demo_answer: tuple[World, Answer]) -> World:
    """A small CRM, extracted, trained, scored and written back; shared, so nobody changes it."""
    return demo_answer[0]


@pytest.fixture
def world(finished: World, tmp_path: Path) -> World:
    """A copy of `finished` to do anything with."""
    return copy_world(finished, tmp_path / "small")


def read_rows(table: str, rows: Rows) -> pa.Table:
    """Rows as a source delivers them.

    A text has one row per line and its columns two or more blanks apart; `-` is null, what follows
    ` #` is a comment. Text in a column of times is a moment ('2024-01-01' is midnight UTC);
    pass a `datetime.date` for a column of type DATE.
    """
    records = _split(rows) if isinstance(rows, str) else [dict(row) for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: [_moment(table, name, record.get(name)) for record in records] for name in names}
    return pa.table(columns or {name: pa.nulls(0) for name in TABLES[table].required})


def _split(text: str) -> list[dict[str, Any]]:
    lines = [re.sub(r"\s+#.*$", "", line).strip() for line in text.strip().splitlines()]
    header, *body = [re.split(r"\s{2,}", line) for line in lines if line]
    return [{n: None if v == "-" else v for n, v in zip(header, row, strict=True)} for row in body]


def _moment(table: str, name: str, value: Any) -> Any:
    is_time = TABLES[table].columns.get(name) == "time" or name.endswith("_at")
    return datetime.fromisoformat(value) if is_time and isinstance(value, str) else value


def make_config(
    state: Path, tables: Mapping[str, Mapping[str, Any]], *, data_end: str = "2024-07-01", **keys: Any
) -> Config:
    """Return a config whose tables come from memory."""
    source = {"adapter": "files", "folder": str(state), "data_end": data_end, **keys.pop("source", {})}
    mappings = {name: {"select": "in memory", **mapping} for name, mapping in tables.items()}
    return Config.model_validate(
        {"name": "world", "state": str(state), "source": source, "tables": mappings, "targets": {}, **keys}
    )


def extract_world(
    state: Path,
    mappings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    data_end: str = "2024-07-01",
    dry_run: bool = False,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, bool] | None = None,
    **tables: Rows,
) -> ExtractReport:
    """Extract literal tables into `state`/world/tables; as in `make_tables`, with options of `extract`."""
    delivered = {name: read_rows(name, rows) for name, rows in tables.items()}
    own = mappings or {}
    complete = {
        name: {**_all_static(name, rows, own.get(name, {})), **own.get(name, {})} for name, rows in delivered.items()
    }
    made = make_config(state, complete, data_end=data_end, **(config or {}))
    modified = {name: one.modified_at for name, one in made.tables.items() if one.modified_at}
    source = MemorySource(delivered, made.source.data_end, modified)
    return extract(made, source=source, dry_run=dry_run, **(options or {}))


_CLOCKS = {"known_at", "currency", "deleted_at", "merged_into", "merged_at"}


def _all_static(name: str, rows: pa.Table, mapping: Mapping[str, Any]) -> dict[str, Any]:
    spec = TABLES[name]
    taken = {spec.key, spec.time, *spec.revealed, *_CLOCKS, *mapping.get("revealed", {}).values()}
    for key in ("tracked", "remembered", "revealed", "sensitive"):
        taken |= set(mapping.get(key, ()))
    taken |= {mapping.get("known_at"), mapping.get("modified_at")} | ({"customer_id"} - {spec.key})
    columns = [c for c in rows.column_names if c not in taken and not c.endswith("_known_at")]
    return {"static": columns} if spec.is_entity else {}


def make_tables(state: Path, mappings: Mapping[str, Mapping[str, Any]] | None = None, **world: Any) -> CrmTables:
    """Return literal tables after a real extract.

    Parameters
    ----------
    state : Path
        Where they are written.
    mappings : mapping of table to mapping
        Keys of the table's part of the config, such as {"customers": {"tracked": ["owner_id"]}}; columns
        of customers and deals that are named nowhere are static.
    data_end : str, default "2024-07-01"
        UTC.
    config : mapping
        Other keys of the config: time_zone, currency, stages, source.
    **tables
        Rows of canonical tables: a list of dicts or a text table, see `read_rows`.

    """
    extract_world(state, mappings, **world)
    return load_tables(state / "world" / "tables")
