"""What goes wrong with the requests to a faulty CRM, planned by the number of the request.

Faults of a request, and what whoever sent it must make of them
---------------------------------------------------------------
drop_before     the connection drops before anything is stored. The sender cannot know: it asks again.
drop_after      the connection drops after all is stored. The same to the sender: it asks again, and what is there
                already must not be changed, added or counted a second time.
timeout_after   as drop_after, but the sender gave up waiting.
partial         207: every other record is stored, the rest are busy. Only the rest may be sent again.
error_body      200, and the body says that nothing was done. The status alone is no success.
rate_limit      429 with the seconds to wait in Retry-After; nothing is stored.
unavailable     503; nothing is stored.
stale           a read shows what was there LAG requests ago. A value that is not there yet is no refusal, and one
                that is there no more is no edit of a person.
Edit            a person edits a field just before the request is carried out: after the job's last look. A CRM that
                compares before it writes says conflict; one that does not loses the edit, which is why adapters look
                as late as they can.
Delete          a person deletes a record in the same moment: missing.

Faults of the CRM itself, at every request
------------------------------------------
refused         values that it refuses. An atomic CRM answers 500 for the whole batch, whoever sends it halves it
                until one bad record costs one record; another one refuses the record.
dropped         fields that it takes (200) and does not store: only reading back shows it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LAG = 3
"""Requests by which a stale read is late."""

RETRY_AFTER_SECONDS = 7.0

Kind = Literal[
    "drop_before", "drop_after", "timeout_after", "partial", "error_body", "rate_limit", "unavailable", "stale"
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Edit:
    """A person's edit of one field."""

    table: str
    record_id: str
    field: str
    value: Any


@dataclass(frozen=True)
class Delete:
    """A person deletes a record."""

    table: str
    record_id: str


Fault = Kind | Edit | Delete
Plan = Callable[[int], Fault | None]
"""Number of a request, from 1, to what goes wrong with it."""


def nothing_fails(number: int) -> None:
    """The plan of a CRM that is well."""


def draw_plan(seed: int, share: float, kinds: Sequence[Kind] = KINDS) -> Plan:
    """A plan by which a share of the requests fails, the same for the same seed."""

    def plan(number: int) -> Fault | None:
        chance = random.Random(f"{seed}/{number}")
        return chance.choice(kinds) if chance.random() < share else None

    return plan
