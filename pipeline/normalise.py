"""Casts: from whatever a source delivers to the canonical types, as DuckDB expressions.

A cast yields null where a value cannot be read; `check_casts` in `pipeline.validate` finds those.
Empty text and NaN mean "no value" everywhere.
"""

from features.tables import ColumnType
from pipeline.repeated_hours import may_repeat

EXPECTED: dict[ColumnType, str] = {
    "text": "text",
    "time": "a time such as 2024-03-01 09:30:00",
    "date": "a date such as 2024-03-01",
    "money": "an amount such as 1250.50",
    "number": "a number such as 12.5",
    "integer": "a whole number such as 12",
    "flag": "true or false",
}

_MONEY = "DECIMAL(18, 4)"
_OFFSET = r"([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)\s*$"
_FAMILIES = {
    "VARCHAR": "text",
    "UUID": "text",
    "JSON": "text",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMP": "time",
    "TIMESTAMP_S": "time",
    "TIMESTAMP_MS": "time",
    "TIMESTAMP_NS": "time",
    "TIMESTAMP WITH TIME ZONE": "moment",
    "FLOAT": "float",
    "DOUBLE": "float",
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "whole"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "whole"),
}
_SAFE = {("text", "text"), ("whole", "number"), ("float", "number"), ("decimal", "number"), ("bool", "flag")}
_SAFE |= {(family, "text") for family in ("whole", "float", "decimal", "bool", "date", "time", "moment")}


def family(duck_type: str) -> str:
    """Family of a DuckDB type: text, bool, date, time, moment (with zone), whole, float, decimal or other.

    >>> family("DECIMAL(18,4)"), family("DECIMAL(38,0)"), family("INTEGER[]")
    ('decimal', 'whole', 'other')
    """
    if duck_type.startswith("DECIMAL"):
        return "whole" if duck_type.rstrip(")").endswith(",0") else "decimal"
    return "text" if duck_type.startswith("ENUM") else _FAMILIES.get(duck_type, "other")


def kind_of(duck_type: str) -> ColumnType | None:
    """Canonical type of a column of the source's own; None if it cannot be used.

    >>> kind_of("BIGINT"), kind_of("TIMESTAMP WITH TIME ZONE"), kind_of("BLOB")
    ('integer', 'time', None)
    """
    kinds: dict[str, ColumnType] = {
        "text": "text",
        "bool": "flag",
        "date": "date",
        "time": "time",
        "moment": "time",
        "whole": "integer",
        "float": "number",
        "decimal": "money",
    }
    return kinds.get(family(duck_type))


def can_fail(duck_type: str, kind: ColumnType) -> bool:
    """Whether a value of this type may not be readable as the canonical type."""
    return (family(duck_type), kind) not in _SAFE


def delivered(column: str, duck_type: str) -> str:
    """Return an expression that is null where the source delivers no value."""
    if family(duck_type) == "text":
        return f"nullif(trim(CAST({column} AS VARCHAR)), '')"
    return f"CASE WHEN NOT isnan({column}) THEN {column} END" if family(duck_type) == "float" else column


def cast(column: str, duck_type: str, kind: ColumnType, zone: str, is_id: bool = False) -> str | None:
    """Return the expression that reads a column as a canonical type; None if no value could be read.

    Parameters
    ----------
    column : str
        An SQL expression, quoted.
    duck_type : str
        Its DuckDB type.
    kind : ColumnType
        What it becomes.
    zone : str
        Time zone of times without one, and of the days of dates.
    is_id : bool
        Whether it identifies something: 13085.0 becomes '13085' from text, too, and blanks around it go.

    """
    source = family(duck_type)
    if source == "text" and duck_type != "VARCHAR":
        column, duck_type = f"CAST({column} AS VARCHAR)", "VARCHAR"
    if kind == "text":
        return _text(column, source, is_id)
    if kind in ("time", "date"):
        moment = _time(column, source, zone) if kind == "time" else _date(column, source, zone)
        return moment and f"CASE WHEN {_is_finite(column, source)} THEN {moment} END"
    if source in ("date", "time", "moment", "other"):
        return None
    value = delivered(column, duck_type)
    if kind == "flag":
        return _flag(column, value, source)
    if kind == "integer":
        return value if duck_type == "BIGINT" else _integer(value, source)
    if kind == "money" and source == "float":
        return f"TRY_CAST(CAST({value} AS VARCHAR) AS {_MONEY})"  # the shortest decimal, then half away from zero
    number = f"TRY_CAST({value} AS {_MONEY if kind == 'money' else 'DOUBLE'})"
    return number if kind == "money" else f"CASE WHEN isfinite({number}) THEN {number} END"


def day_start(column: str, duck_type: str, zone: str) -> str | None:
    """Return the expression of the first moment (UTC) that a value may stand for: the start of a day.

    Null where the value has a time of day, unless it is one that clocks showed twice. None if always null.
    """
    source = family(duck_type)
    if source == "time" and zone != "UTC":
        return _earlier(f"CAST({column} AS TIMESTAMP)", zone)
    if source == "date":
        return _midnight(f"CAST({column} AS TIMESTAMP)", zone)
    if source == "text":
        local = f"TRY_CAST({column} AS TIMESTAMP)"
        twice = "NULL" if zone == "UTC" else _earlier(local, zone)
        return (
            f"CASE WHEN {_is_day(column)} THEN {_midnight(local, zone)} "
            f"WHEN NOT regexp_matches({column}, '{_OFFSET}') THEN {twice} END"
        )
    return None


def _text(column: str, source: str, is_id: bool) -> str | None:
    if source == "text":
        if not is_id:
            return f"nullif({column}, '')"
        whole = rf"regexp_replace(trim({column}), '^(-?[0-9]+)\.0+$', '\1')"
        return f"CASE WHEN contains({column}, '.0') THEN {whole} ELSE nullif(trim({column}), '') END"
    if source == "float":
        whole = f"CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR)"
        is_whole = f"{column} = trunc({column}) AND abs({column}) < 1e15"
        return f"CASE WHEN isnan({column}) THEN NULL WHEN {is_whole} THEN {whole} ELSE CAST({column} AS VARCHAR) END"
    if source == "decimal":
        return f"rtrim(rtrim(CAST({column} AS VARCHAR), '0'), '.')"
    if source == "moment":
        return f"CAST(timezone('UTC', {column}) AS VARCHAR)"
    return None if source == "other" else f"CAST({column} AS VARCHAR)"


def is_said_twice(moment: str, zone: str, last: str) -> str:
    """Return the condition: clocks showed the same local time before, when it was not later than `last`.

    Parameters
    ----------
    moment, last : str
        SQL expressions, UTC.
    zone : str
        Time zone in which clocks are put back, by an hour or (Lord Howe Island) half an hour.

    """
    return "(" + " OR ".join(
        f"{moment} - INTERVAL {minutes} MINUTE <= {last} AND "
        f"{_local(f'({moment} - INTERVAL {minutes} MINUTE)', zone)} = {_local(f'({moment})', zone)}"
        for minutes in (60, 30)
    ) + ")"  # fmt: skip


def _local(moment: str, zone: str) -> str:
    """Return what clocks show at a UTC moment."""
    return f"timezone('{zone}', timezone('UTC', {moment}))"


def _utc(local: str, zone: str) -> str:
    """Return the UTC moment of a local time; of an hour that happens twice, the later (never known too early)."""
    return local if zone == "UTC" else f"timezone('UTC', timezone('{zone}', {local}))"


def _earlier(local: str, zone: str) -> str:
    """Return the UTC moment at which clocks showed a local time first, null unless they showed it twice."""
    later = _utc(local, zone)
    shifts = " ".join(
        f"WHEN {_local(f'({later} - INTERVAL {minutes} MINUTE)', zone)} = {local} "
        f"THEN {later} - INTERVAL {minutes} MINUTE"
        for minutes in (60, 30)
    )
    return f"CASE WHEN {may_repeat(local, zone)} THEN CASE {shifts} END END"


def _midnight(day: str, zone: str) -> str:
    """Return the first moment of a day: of a midnight that happens twice (Havana, Azores), the earlier."""
    return day if zone == "UTC" else f"coalesce({_earlier(day, zone)}, {_utc(day, zone)})"


def _day_end(day: str, zone: str) -> str:
    """Return the last microsecond of a day."""
    return f"({_midnight(f'(CAST({day} AS TIMESTAMP) + INTERVAL 1 DAY)', zone)} - INTERVAL 1 MICROSECOND)"


def _is_day(column: str) -> str:
    return f"length(trim({column})) <= 10"


def _is_finite(column: str, source: str) -> str:
    """Return the condition that a moment is not infinite, which PostgreSQL and DuckDB both know."""
    return f"NOT contains(lower({column}), 'inf')" if source == "text" else f"isfinite({column})"


def _time(column: str, source: str, zone: str) -> str | None:
    if source == "text":
        day = _day_end(f"TRY_CAST(trim({column}) AS DATE)", zone)
        moment = f"timezone('UTC', TRY_CAST({column} AS TIMESTAMP WITH TIME ZONE))"
        local = _utc(f"TRY_CAST({column} AS TIMESTAMP)", zone)
        return (
            f"CASE WHEN {_is_day(column)} THEN {day} "
            f"WHEN regexp_matches({column}, '{_OFFSET}') THEN {moment} ELSE {local} END"
        )
    if source == "date":
        return _day_end(column, zone)
    if source == "moment":
        return f"timezone('UTC', {column})"
    return _utc(f"CAST({column} AS TIMESTAMP)", zone) if source == "time" else None


def _date(column: str, source: str, zone: str) -> str | None:
    if source == "text":
        return f"TRY_CAST(trim({column}) AS DATE)"
    if source == "moment":
        return f"CAST(timezone('{zone}', {column}) AS DATE)"
    return f"CAST({column} AS DATE)" if source in ("date", "time") else None


def _flag(column: str, value: str, source: str) -> str:
    if source in ("whole", "float", "decimal"):
        return f"CASE {value} WHEN 0 THEN false WHEN 1 THEN true END"
    return column if source == "bool" else f"TRY_CAST({value} AS BOOLEAN)"


def _integer(value: str, source: str) -> str:
    if source in ("whole", "bool"):
        return f"TRY_CAST({value} AS BIGINT)"
    return f"CASE WHEN TRY_CAST({value} AS DOUBLE) = TRY_CAST({value} AS BIGINT) THEN TRY_CAST({value} AS BIGINT) END"
