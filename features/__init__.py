"""From canonical CRM tables to feature and label frames that cannot see the future."""

from typing import Any

_HOMES = {
    "build_features": "features.build",
    "build_labels": "features.labels",
    "build_scoring_spine": "features.spine",
    "build_spine": "features.spine",
    "load_tables": "features.tables",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public function on first use: the engine takes a second to load, and many commands need none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'features' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
