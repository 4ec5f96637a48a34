"""Parts of sentences for people: counts of rows, and values that stay hidden."""

import re

NOT_SHOWN = "not shown: sensitive"


def count_rows(count: int) -> str:
    """Count rows.

    >>> count_rows(1), count_rows(1234)
    ('1 row', '1,234 rows')
    """
    return "1 row" if count == 1 else f"{count:,} rows"


def rows_have(count: int) -> str:
    """Count rows as the subject of a sentence.

    >>> rows_have(1), rows_have(1234)
    ('1 row has', '1,234 rows have')
    """
    return f"{count_rows(count)} {'has' if count == 1 else 'have'}"


def hide_values(text: str, known: str) -> str:
    """Hide what a text has in quotes, unless it is part of a text that is known anyway.

    >>> hide_values('column "age": invalid input for integer: "Max"', "SELECT age FROM people")
    'column "age": invalid input for integer: (not shown: sensitive)'
    """
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda m: m[0] if m[0][1:-1] in known else f"({NOT_SHOWN})", text)
