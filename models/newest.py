"""Candidates that learn from the newest rows only, beside those that learn from all.

Where the world has moved, old rows mislead; where it has not, they are missed. A blend of models of
different memory is a hedge: on rows in time order it was never far behind the better of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.candidate import Candidate, Floats, Member, Setting
from models.encoding import CodedRows

MIN_ROWS, MIN_OF_EACH_CLASS = 200, 20


def newest_rows(rows: CodedRows, share: float) -> CodedRows | None:
    """Return the newest share of rows; rows of one time stay together. None if they are too few to learn from."""
    if rows.order is None or not len(rows):
        return None
    first = np.quantile(rows.order, 1.0 - share, method="lower")
    kept = rows.take(np.flatnonzero(rows.order >= first))
    positives = float(kept.label.sum())
    enough = len(kept) >= MIN_ROWS and min(positives, len(kept) - positives) >= MIN_OF_EACH_CLASS
    return kept if enough and len(kept) < len(rows) else None


SHAPE = ("encoding", "leaves", "random_cuts", "ramps")
"""Parts of a setting that are taken over from the model of all rows: fewer rows decide only how much is shrunk."""


@dataclass(frozen=True)
class Newest:
    """A candidate that sees the newest share of the rows it is given; all of them where that is too few.

    `like` is the setting of the candidate on all rows, whose shape is kept.
    """

    candidate: Candidate
    share: float
    memory: str
    like: Setting = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the candidate and of its memory, such as `logistic_newest_half`."""
        return f"{self.candidate.name}_{self.memory}"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return those of the candidate that have the shape wanted; none where the newest rows are too few."""
        kept = newest_rows(rows, self.share)
        found = [] if kept is None else self.candidate.settings(kept)
        shape = {key: value for key, value in self.like.items() if key in SHAPE}
        return [setting for setting in found if shape.items() <= setting.items()]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit on the newest rows of train."""
        return self.candidate.log_odds(newest_rows(train, self.share) or train, valid, settings)

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on the newest rows; files bear the name of the memory."""
        member = self.candidate.fit(newest_rows(rows, self.share) or rows, setting)
        names = {name: f"{self.memory}-{name}" for name in member.texts}
        document = {key: names.get(value, value) if key == "file" else value for key, value in member.document.items()}
        return Member(document, {names[name]: text for name, text in member.texts.items()})
