"""What a target's entities are, in this config and in those of past runs: deals or customers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from features.targets import Target
from pipeline.config import Config

ENTITIES = frozenset({"customers", "deals"})


@dataclass(frozen=True)
class TargetTables:
    """Entity tables by target and by table of the CRM that scores were written to.

    A name that a later config gave to another kind of target has both; a name that no config has, too.
    """

    of_targets: Mapping[str, frozenset[str]]
    of_crm_tables: Mapping[str, frozenset[str]]

    def of_target(self, name: str) -> frozenset[str]:
        """Entity tables of a target."""
        return self.of_targets.get(name, ENTITIES)

    def of_crm_table(self, name: str) -> frozenset[str]:
        """Entity tables whose ids are the keys of a table of the CRM."""
        return self.of_crm_tables.get(name, ENTITIES)


def collect_target_tables(config: Config, config_texts: Iterable[str]) -> TargetTables:
    """Read the current config and those of past runs (JSON; another text says nothing)."""
    targets: dict[str, set[str]] = {}
    written: dict[str, set[str]] = {}
    for document in [config.model_dump(mode="json"), *map(_read, config_texts)]:
        kinds = {name: str(section["kind"]) for name, section in (document.get("targets") or {}).items()}
        mappings = (document.get("write_back") or {}).get("tables") or {}
        for name, kind in kinds.items():
            table = Target(name, kind, 1).table  # type: ignore[arg-type]
            targets.setdefault(name, set()).add(table)
            if name in mappings:
                written.setdefault(mappings[name]["target"], set()).add(table)
    return TargetTables(*({name: frozenset(some) for name, some in found.items()} for found in (targets, written)))


def _read(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
