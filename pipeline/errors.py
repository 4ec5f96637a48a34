"""What goes wrong around the model, and the exit code each thing ends in."""

from features.errors import DataError
from models.errors import BundleError, ScorecardError


class ConfigError(Exception):
    """A config file or a command that cannot be used; the text says what, where, got and remedy."""


class CrmError(Exception):
    """The CRM (or the database behind it) did not answer as it should; safe to run again."""


class PassingCrmError(CrmError):
    """The CRM did not answer, and may when asked again: a time-out, a lock, a restart, too many requests.

    Parameters
    ----------
    message : str
        What happened, for people.
    wait_s : float or None
        Seconds that the CRM asks to be left alone for.

    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class LockError(Exception):
    """Another run of the same deployment is under way."""


class GateError(Exception):
    """A check or a gate said no: nothing is broken, and nothing was changed."""


EXIT_CODES: dict[type[Exception], int] = {
    GateError: 1,
    ConfigError: 2,
    ScorecardError: 2,
    DataError: 3,
    BundleError: 3,
    CrmError: 4,
    LockError: 5,
}

DEFECT = 70
"""Exit code of an error that is not one of ours: nobody foresaw it, so it has no sentence of its own."""


def exit_code_of(error: BaseException) -> int:
    """Exit code that a command ends in because of an error.

    >>> exit_code_of(PassingCrmError("asked to wait", wait_s=30.0)), exit_code_of(KeyError("gone"))
    (4, 70)
    """
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), DEFECT)
