"""Save a fitted model as a bundle: JSON and LightGBM's text, hashes of every file in the manifest."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.errors import BundleError
from models.horizons import FurtherModels
from models.predict import MANIFEST, MODEL, PROTOCOL
from models.recipe import FittedModel

LIBRARIES = ("lightgbm", "numpy", "pandas", "scikit-learn")


def _to_json(document: Any) -> bytes:
    """Same document, same bytes; shortest numbers that read back to the same bits."""
    return (json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n").encode()


def _files_of(model: FittedModel) -> dict[str, bytes]:
    """Files of one model by name."""
    return {MODEL: _to_json(model.model), **{name: text.encode() for name, text in model.texts.items()}}


def save_bundle(
    folder: Path, model: FittedModel, extras: Mapping[str, Any] | None = None, further: FurtherModels | None = None
) -> str:
    """Write a bundle: complete in a folder beside the place, then renamed into it.

    Parameters
    ----------
    folder : Path
        Must not exist, or hold this very bundle.
    model : FittedModel
        What `refit` returned.
    extras : mapping, optional
        Facts for the manifest, such as the config; kept under `extras`. The same facts give the same
        hash, so leave out the time of day.
    further : FurtherModels, optional
        Models of further horizons; their files have names such as `180-model.json`.

    Returns
    -------
    str
        SHA-256 of the manifest, which names the hash of every other file.

    Raises
    ------
    BundleError
        If the folder holds something else.

    """
    files = _files_of(model)
    for days, other in further.models.items() if further else ():
        files |= {f"{days}-{name}": content for name, content in _files_of(other).items()}
    manifest = {
        "protocol": PROTOCOL,
        **model.manifest,
        "fitted_on": dict(model.fitted_on),
        "columns": [{"name": entry["name"], "kind": entry["kind"]} for entry in model.model["columns"]],
        "versions": {library: version(library) for library in LIBRARIES},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "extras": dict(extras or {}),
        **({"horizons": further.to_json()} if further and further.models else {}),
    }
    content = _to_json(manifest)
    sha256 = hashlib.sha256(content).hexdigest()
    if folder.exists():
        there = folder / MANIFEST
        if there.is_file() and there.read_bytes() == content:
            return sha256
        raise BundleError(f"{folder} exists and holds something else. Save the bundle to a folder of its own.")
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, data in {**files, MANIFEST: content}.items():
        (part / name).write_bytes(data)
    part.rename(folder)
    return sha256
