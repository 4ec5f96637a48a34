"""Who was forgotten: salted hashes of ids, never the ids.

A later extract still has to know whom to leave out, although the CRM goes on delivering them. The file
`forgotten.json` of the state folder says it: a random salt, and sha256 of salt, table and id. It names
nobody, but whoever has it can try out ids that they know already.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from features.errors import DataError
from pipeline.atomic_files import replace_text

TOMBSTONES = "forgotten.json"
PROTOCOL = 1


@dataclass(frozen=True)
class Tombstones:
    """The hashes of everything that was forgotten.

    Parameters
    ----------
    salt : str
        Random, made with the first one.
    hashes : mapping of table to set of str
        sha256 by canonical table.
    is_finished : bool
        False from the moment an id is added until nothing of it is left in the state folder.

    """

    salt: str
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_finished: bool = True

    def __bool__(self) -> bool:
        return any(self.hashes.values())

    def digest(self, table: str, entity_id: str) -> str:
        """Hash of an id of a table."""
        return hashlib.sha256(f"{self.salt}:{table}:{entity_id}".encode()).hexdigest()

    def digest_sql(self, table: str, expression: str) -> str:
        """SQL of DuckDB that hashes an id as `digest` does."""
        return f"sha256('{self.salt}:{table}:' || {expression})"

    def holds(self, table: str, entity_id: str) -> bool:
        """Whether an id was forgotten."""
        return self.digest(table, entity_id) in self.hashes.get(table, ())

    def among(self, table: str, ids: Iterable[str]) -> set[str]:
        """Those of some ids that were forgotten."""
        return {one for one in ids if self.holds(table, one)}

    def adding(self, ids: Mapping[str, Iterable[str]]) -> "Tombstones":
        """Return these and more, with the removal still to be done."""
        hashes = {name: set(known) for name, known in self.hashes.items()}
        for table, some in ids.items():
            hashes.setdefault(table, set()).update(self.digest(table, one) for one in some)
        return replace(self, hashes={name: frozenset(known) for name, known in hashes.items()}, is_finished=False)


def load_tombstones(folder: Path) -> Tombstones:
    """Read the tombstones of a state folder; none, with a new salt, where there is no file.

    Raises
    ------
    DataError
        If the file cannot be read: then nobody knows whom to leave out.

    """
    path = folder / TOMBSTONES
    if not path.is_file():
        return Tombstones(secrets.token_hex(16))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["protocol"] != PROTOCOL:
            raise ValueError(f"protocol {document['protocol']}, expected {PROTOCOL}")
        hashes = {str(table): frozenset(map(str, known)) for table, known in document["hashes"].items()}
        return Tombstones(str(document["salt"]), hashes, bool(document["is_finished"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} says who was forgotten and cannot be read ({type(error).__name__}: {error}). Restore it from a "
            "backup of the state folder; without it the next extract would bring everybody back."
        ) from None


def save_tombstones(folder: Path, tombstones: Tombstones) -> None:
    """Write the tombstones, synced to disk: a reader sees the old ones or the new ones."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {table: sorted(known) for table, known in sorted(tombstones.hashes.items())}
    document = {
        "protocol": PROTOCOL,
        "salt": tombstones.salt,
        "is_finished": tombstones.is_finished,
        "hashes": hashes,
    }
    replace_text(folder / TOMBSTONES, json.dumps(document, indent=1) + "\n")
