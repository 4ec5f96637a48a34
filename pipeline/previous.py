"""The extract before this one: what it stored, and what it noted for the next."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.tables import MANIFEST, CrmTables, StoredTable, load_tables
from pipeline.config import Config

TICK = timedelta(microseconds=1)


def fingerprint(config: Config, table: str) -> str:
    """Hash of everything in a config that decides which rows a table has and how they are dated."""
    mapping = config.tables[table].model_dump(mode="json", exclude={"modified_at", "late_rows", "sensitive"})
    text = json.dumps([config.time_zone, mapping], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Notes:
    """What an extract notes in the manifest for the next one.

    Parameters
    ----------
    began : datetime
        End of the data of the first extract of the deployment (UTC).
    mappings : mapping of table to str
        Fingerprint of each table's part of the config, also of tables without rows.
    remembered_since : mapping of table to mapping of column to datetime
        Moment before which a remembered column is unknown (UTC).
    swept : mapping of table to datetime
        When all keys of a table that is read incrementally were last compared (UTC).
    unread : mapping of table to int
        Rows of such a table that the source has and we do not keep.

    """

    began: datetime
    mappings: Mapping[str, str] = field(default_factory=dict)
    remembered_since: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    swept: Mapping[str, datetime] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the notes as keys of the manifest."""
        since = {t: {c: at.isoformat() for c, at in columns.items()} for t, columns in self.remembered_since.items()}
        return {
            "began": self.began.isoformat(),
            "mappings": dict(self.mappings),
            "remembered_since": since,
            "swept": {table: at.isoformat() for table, at in self.swept.items()},
            "unread": dict(self.unread),
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Notes":
        """Read the notes of a manifest; one of an extract that noted nothing began with that extract."""
        moment = datetime.fromisoformat
        since = manifest.get("remembered_since", {})
        return cls(
            began=moment(manifest.get("began", manifest["data_end"])),
            mappings=manifest.get("mappings", {}),
            remembered_since={t: {c: moment(at) for c, at in columns.items()} for t, columns in since.items()},
            swept={table: moment(at) for table, at in manifest.get("swept", {}).items()},
            unread=manifest.get("unread", {}),
        )


@dataclass(frozen=True)
class Previous:
    """The tables of the extract before, and its notes."""

    tables: CrmTables
    notes: Notes

    @property
    def data_end(self) -> datetime:
        """Moment at which its data ended (UTC)."""
        return self.tables.data_end

    def stored(self, table: str) -> StoredTable | None:
        """Return a table as it was stored; None if it had no rows."""
        return self.tables.tables.get(table)


def load_previous(folder: Path, data_end: datetime) -> Previous | None:
    """Read what the extract before stored; None if there is nothing to remember.

    The first extract of a deployment may be done again at its own `data_end` until the config is right:
    it then begins anew and remembers nothing of its tries.

    Parameters
    ----------
    folder : Path
        Where extracted tables live.
    data_end : datetime
        That of the extract which is under way (UTC).

    Raises
    ------
    DataError
        If the stored tables are damaged: what they remember cannot be read again from the source.

    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        notes = Notes.of(json.loads(path.read_text(encoding="utf-8")))
        if data_end == notes.began:
            return None
        return Previous(load_tables(folder), notes)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{path} cannot be read ({type(error).__name__}: {error})."
    except DataError as error:
        reason = str(error).removesuffix(" Run `leadsieve extract` again.")
    raise DataError(
        f"{reason} The stored tables remember what the source forgets, so nothing was changed. Restore {folder} from a "
        "backup, or remove it to begin anew without that memory."
    )
