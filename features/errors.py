"""What goes wrong with data."""


class DataError(Exception):
    """Tables or frames that cannot be used as they are; the text says what, where, got and remedy."""
