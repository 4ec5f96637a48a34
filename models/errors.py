"""What goes wrong with saved models."""


class BundleError(Exception):
    """A saved model that cannot be used; the text says what, where, got and remedy."""


class ScorecardError(Exception):
    """A scorecard file that cannot be used; the text says what, where, got and remedy."""
