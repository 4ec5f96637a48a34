"""What a candidate is: something that is fitted on rows under a setting, and compared out of fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.encoding import CodedRows

Floats = NDArray[np.float64]
Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """A fitted candidate as a bundle stores it: a document, and texts it names as files."""

    document: Mapping[str, Any]
    texts: Mapping[str, str] = field(default_factory=dict)


class Candidate(Protocol):
    """One idea of how to predict."""

    @property
    def name(self) -> str:
        """What it is called in figures and settings."""
        ...

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return the settings worth trying on rows like these; none where it does not apply."""
        ...

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit on train under every setting; return predictions, settings x rows of valid."""
        ...

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on rows under one setting."""
        ...
