"""How the audit writes names, shares and durations for people."""

from collections.abc import Sequence

FRAME = "frame"
"""What the one table of a flat frame is called."""


def full_name(table: str, column: str) -> str:
    """Write a column with its table; of a flat frame alone.

    >>> full_name("deals", "source"), full_name("frame", "Lead Source")
    ('deals.source', 'Lead Source')
    """
    return column if table == FRAME else f"{table}.{column}"


def list_some(names: Sequence[str], most: int = 5) -> str:
    """Name some, and say how many more there are.

    >>> list_some(["a", "b", "c"], 2), list_some(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def count_of(count: int, what: str) -> str:
    """Count things.

    >>> count_of(1, "group"), count_of(1234, "group")
    ('1 group', '1,234 groups')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def show_share(value: float | None) -> str:
    """Write a share in percent; nothing where there is none.

    >>> show_share(0.0104), show_share(1.0), show_share(None)
    ('1.0 %', '100.0 %', '')
    """
    return "" if value is None else f"{value:.1%}".replace("%", " %")


def show_duration(seconds: int | None) -> str:
    """Write a duration in the unit that fits.

    >>> show_duration(0), show_duration(90), show_duration(5400), show_duration(200_000), show_duration(None)
    ('0', '90 s', '1.5 h', '2.3 days', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 3_600:
        return f"{seconds} s" if seconds else "0"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
