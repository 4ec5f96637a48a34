"""Grades that people gave by hand, in the ledger: who, why and until when. None is changed, only withdrawn."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, DateTime, Engine, String, column, insert, select, table, update

from pipeline.database import answering, writing
from pipeline.ledger_writes import now

OVERRIDES = table(
    "overrides",
    *(column(name, String) for name in ("override_id", "target", "entity_id", "grade", "reason", "author")),
    *(column(name, DateTime) for name in ("made_at", "withdrawn_at")),
    column("expires_on", Date),
)


@dataclass(frozen=True)
class Override:
    """One grade given by hand.

    It holds on days before `expires_on` (always, if that is None) unless it was withdrawn, which a newer one of the
    same entity and target does, too. Times are UTC, days those of the deployment.
    """

    override_id: str
    made_at: datetime
    target: str
    entity_id: str
    grade: str
    reason: str
    author: str
    expires_on: date | None
    withdrawn_at: datetime | None

    def holds(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return self.withdrawn_at is None and (self.expires_on is None or day < self.expires_on)


class OverrideLedger:
    """The overrides of one deployment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, target: str, entity_id: str, grade: str, reason: str, author: str, expires_on: date | None
    ) -> Override:
        """Store an override in place of the one that the entity has, if any."""
        made = Override(uuid.uuid4().hex, now(), target, entity_id, grade, reason, author, expires_on, None)
        with answering(self._engine, "storing an override"), writing(self._engine).begin() as connection:
            connection.execute(_withdrawing(target, entity_id))
            connection.execute(insert(OVERRIDES).values(**asdict(made)))
        return made

    def withdraw(self, target: str, entity_id: str) -> int:
        """Withdraw what an entity has; count it."""
        with answering(self._engine, "withdrawing an override"), writing(self._engine).begin() as connection:
            return connection.execute(_withdrawing(target, entity_id)).rowcount

    def find(self, target: str | None = None, entity_id: str | None = None) -> list[Override]:
        """Return all there ever were, of a target or entity if given, oldest first."""
        query = select(*(OVERRIDES.c[name] for name in Override.__dataclass_fields__))
        query = query if target is None else query.where(OVERRIDES.c.target == target)
        query = query if entity_id is None else query.where(OVERRIDES.c.entity_id == entity_id)
        with answering(self._engine, "reading overrides"), self._engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(query.order_by(OVERRIDES.c.made_at, OVERRIDES.c.override_id)).all()
        return [Override(*row) for row in rows]

    def in_force(self, day: date) -> list[Override]:
        """Return those that hold on a day, by target and entity."""
        found = [one for one in self.find() if one.holds(day)]
        return sorted(found, key=lambda one: (one.target, one.entity_id))


def _withdrawing(target: str, entity_id: str) -> Any:
    mine = (OVERRIDES.c.target == target) & (OVERRIDES.c.entity_id == entity_id) & OVERRIDES.c.withdrawn_at.is_(None)
    return update(OVERRIDES).where(mine).values(withdrawn_at=now())
