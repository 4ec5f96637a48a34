"""Odoo as the conformance suite sees it: a fake server or a real one, which an administrator looks into."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from conformance import Row, Traits
from odoo_installed import LEAD
from odoo_server import QUIET, RealOdoo
from write_log import Run

from pipeline.adapters.odoo_client import OdooClient
from pipeline.adapters.odoo_follow_ups import OdooFollowUps
from pipeline.adapters.odoo_history import OdooHistory
from pipeline.adapters.odoo_own import HISTORY
from pipeline.adapters.odoo_target import OdooTarget
from pipeline.adapters.target import TargetTable, Value


def run_behind(server: RealOdoo) -> Run:
    """Run statements in the database of a real Odoo."""
    return lambda statement: (
        server.query(statement) if statement.startswith("SELECT") else server.execute(statement) or []
    )


class OdooSubject:
    """Leads of an Odoo; those of the test are told from others by their ids.

    Parameters
    ----------
    connect : callable
        Opens a client for `admin` or `nightly`.
    fields : tuple of str
        A number, a short and a long text of a lead.
    count : callable or None
        How often each (id, field) got another value by now, whoever changed it.
    has_own : bool
        Whether there is a history of scores.

    """

    table = TargetTable(LEAD, "id")
    absent = "2147483000"
    traits = Traits(refused=(0.5, "nul \0", "x"), has_null_numbers=False, archives=True, adds_records=False, many=50)

    def __init__(
        self,
        connect: Callable[[str], OdooClient],
        fields: tuple[str, str, str],
        count: Callable[[], Mapping[tuple[str, str], int]] | None = None,
        has_own: bool = False,
    ) -> None:
        self._has_own = has_own
        self.fields = fields
        self._connect = connect
        self._admin = connect("admin")
        self._count = count
        self._ids: list[int] = []
        self._before: Counter[tuple[str, str]] = Counter()

    def close(self) -> None:
        """Take away what the test has made."""
        self._call("unlink", ids=self._here())
        if self._has_own:
            rows = self._admin.call(HISTORY, "search", domain=[["x_run_id", "in", ["r1", "r11", "r2"]]])
            self._admin.call(HISTORY, "unlink", ids=rows)
        self._admin.close()

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._admin.call(LEAD, method, context=QUIET, **arguments)

    def _here(self) -> list[int]:
        found: list[int] = self._call("search", domain=[["id", "in", self._ids]])
        return found

    @contextmanager
    def open(self) -> Iterator[OdooTarget]:
        with closing(self._connect("nightly")) as client:
            yield OdooTarget(client)

    @contextmanager
    def open_history(self) -> Iterator[OdooHistory]:
        with closing(self._connect("nightly")) as client:
            yield OdooHistory(client, {"conversion": self.table})

    @contextmanager
    def open_follow_ups(self) -> Iterator[OdooFollowUps]:
        with closing(self._connect("nightly")) as client:
            yield OdooFollowUps(client)

    def make(self, rows: Sequence[Row]) -> list[str]:
        values = [
            {
                "name": "conformance",
                **self._owner(),
                **{name: _shown(value) for name, value in zip(self.fields, row, strict=True)},
            }
            for row in rows
        ]
        made = self._call("create", vals_list=values)
        self._ids += made
        self._before = self._counted()
        return [str(one) for one in made]

    def _owner(self) -> dict[str, int]:
        """The salesperson of a lead, who gets its tasks."""
        return (
            {"user_id": self._admin.call("res.users", "search", domain=[["login", "=", "nightly"]])[0]}
            if self._has_own
            else {}
        )

    def edit(self, record_id: str, name: str, value: Value) -> None:
        counted = self._counted()
        self._call("write", ids=[int(record_id)], vals={name: _shown(value)})
        self._before += self._counted() - counted

    def delete(self, record_id: str) -> None:
        self._call("unlink", ids=[int(record_id)])

    def archive(self, record_id: str) -> None:
        self._call("write", ids=[int(record_id)], vals={"active": False})

    def read(self, record_id: str) -> Any:
        rows = self._call("search_read", domain=[["id", "=", int(record_id)]], fields=list(self.fields))
        return tuple(None if rows[0][name] is False else rows[0][name] for name in self.fields) if rows else None

    def count(self) -> int:
        return len(self._here())

    def writes(self) -> Counter[tuple[str, str]] | None:
        return None if self._count is None else self._counted() - self._before

    def _counted(self) -> Counter[tuple[str, str]]:
        """Changes of the leads of this test."""
        counted = self._count() if self._count else {}
        return Counter({key: times for key, times in counted.items() if key[0] in set(map(str, self._ids))})

    def close_task(self, task_id: str) -> None:
        self._admin.call("mail.activity", "action_done", ids=[int(task_id)])


def _shown(value: Value) -> Value:
    """A value as JSON has it for Odoo."""
    return False if value is None else value
