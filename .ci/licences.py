"""Check that everything locked in .ci/lock.txt has a licence that we accept; list them by licence."""

import re
import sys
from collections import defaultdict
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

LOCK = Path(__file__).with_name("lock.txt")

ACCEPTED = {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "MPL-2.0"}

# Accepted for these distributions only: the licence as they state it, and why it is no burden.
ACCEPTED_FOR = {
    "aiohappyeyeballs": ("PSF-2.0", "Python's own licence: permissive, like BSD"),
    "matplotlib": ("PSF-2.0", "a copy of Python's own licence: permissive, like BSD"),
    "numpy": ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", "Zlib and CC0 for parts: permissive, no notice"),
    "pexpect": ("ISC", "MIT in fewer words"),
    "pillow": ("MIT-CMU", "the HPND licence: permissive, like MIT"),
    "ptyprocess": ("ISC", "MIT in fewer words"),
    "shellingham": ("ISC", "MIT in fewer words"),
    "typing-extensions": ("PSF-2.0", "Python's own licence: permissive, like BSD"),
}

# Distributions whose metadata names no licence; read in the licence file they ship.
READ_IN_FILE = {"huey": "MIT", "skops": "MIT"}

# How licences are written in older metadata, where there is no SPDX expression.
SPELLINGS = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def read_lock(path: Path) -> list[Requirement]:
    """Requirements of a lock file, hashes left out."""
    lines = (line.rstrip("\\ \n") for line in path.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if re.match(r"[a-z0-9]", line)]


def stated_licence(name: str, found: PackageMetadata) -> str:
    """Licence as a distribution states it: SPDX expression, else classifier, else the one-line field."""
    if expression := found.get("License-Expression"):
        return expression
    last = [text.split(" :: ")[-1] for text in found.get_all("Classifier") or [] if text.startswith("License :: ")]
    for text in [*last, (found.get("License") or "").strip()]:
        licence = SPELLINGS.get(text, text)
        if licence in ACCEPTED or text in SPELLINGS:
            return licence
    return READ_IN_FILE.get(name, "none stated")


def is_accepted(name: str, licence: str) -> bool:
    """Whether one side of an OR, and all sides of an AND, are licences that we accept."""
    if ACCEPTED_FOR.get(name, ("",))[0] == licence:
        return True
    return any(all(part in ACCEPTED for part in side.split(" AND ")) for side in licence.split(" OR "))


def main() -> int:
    """Print the distributions of each licence; 1 if one is not accepted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for requirement in read_lock(LOCK):
        if requirement.marker and not requirement.marker.evaluate():
            groups["not for this machine"].append(requirement.name)
            continue
        try:
            licence = stated_licence(requirement.name, metadata(requirement.name))
        except PackageNotFoundError:
            licence = "not installed"
        refused = "" if is_accepted(requirement.name, licence) else "REFUSED: "
        groups[refused + licence].append(requirement.name)
    for licence, names in sorted(groups.items(), key=lambda group: (group[0].startswith("REFUSED"), group[0])):
        print(f"{licence} ({len(names)}): {', '.join(names)}")
    if any(licence.startswith("REFUSED") for licence in groups):
        print(
            "A locked distribution has a licence that is not accepted. Replace it, or read its licence and list it "
            "in .ci/licences.py with the reason.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
