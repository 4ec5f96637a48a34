"""What becomes of each column that a source delivers for one canonical table."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from features.tables import ColumnType, TableSpec
from pipeline.config import TableMapping
from pipeline.normalise import EXPECTED, cast, day_start, kind_of
from pipeline.staging import ROW, quote

KNOWN_AT = "known_at"
FIRST_SEEN, OWN_TIME = "first_seen", "time"
"""What `known_at` of the config may be instead of a column."""
DELETED_AT, MERGED_INTO, MERGED_AT = "deleted_at", "merged_into", "merged_at"
_DAY = "__day"
_WIDER = {("integer", "number"), ("integer", "money"), ("money", "number"), ("date", "time")}
"""Types of a column that become another one when values need it."""
_RESERVED = {
    "known_until": "the name is taken by the end of a version",
    "currency": "checked against the currency of the config",
}
_NO_HISTORY = "no history declared: name it in static, tracked or remembered"
_KEPT_IN_ENTITIES = {"deals": ("customer_id",), "subscriptions": ("customer_id",)}


@dataclass(frozen=True)
class Cast:
    """One column that is read from a delivered one."""

    name: str
    source: str
    duck_type: str
    kind: ColumnType
    expression: str


@dataclass(frozen=True)
class TablePlan:
    """How `typed_<table>` is made of `raw_<table>`.

    Parameters
    ----------
    spec, mapping
        The canonical table and its part of the config.
    zone : str
        Time zone of times without one.
    casts : tuple of Cast
        Columns that are kept, in order; `known_at` and `<time>_known_at` only if delivered.
    columns : mapping of column to type
        All columns of the typed table, the clocks included.
    revealed : mapping of column to time column
        Columns that are filled later than the row occurs.
    ends : mapping of column to type
        Columns of the typed table that say how a row ended, and are not stored as they are: `deleted_at`,
        and of customers `merged_into` and `merged_at`.
    left_out : mapping of column to reason
        Delivered columns that are not stored.
    aside : tuple of Cast
        Columns among them of entities whose history nobody has declared: only the audit sees them.
    mistakes, problems : tuple of str
        One sentence each: columns that the config misnames, and columns that cannot be read. The table
        cannot be made when there are any.

    """

    spec: TableSpec
    mapping: TableMapping
    zone: str
    casts: tuple[Cast, ...]
    columns: Mapping[str, ColumnType]
    revealed: Mapping[str, str]
    ends: Mapping[str, ColumnType]
    left_out: Mapping[str, str]
    aside: tuple[Cast, ...]
    mistakes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the canonical table."""
        return self.spec.name

    @property
    def not_delivered(self) -> tuple[str, ...]:
        """Canonical columns that the source does not deliver and need not."""
        taken = {one.name for one in self.casts} | set(self.left_out) | set(self.spec.required)
        return tuple(column for column in self.spec.columns if column not in taken)

    @property
    def sensitive(self) -> tuple[str, ...]:
        """Stored columns that nobody is shown."""
        return tuple(column for column in self.columns if column in self.mapping.sensitive)

    @property
    def clocks(self) -> dict[str, str]:
        """Time columns that reveal others, each with the column that says when it became known."""
        return {time: f"{time}_{KNOWN_AT}" for time in dict.fromkeys(self.revealed.values())}

    @property
    def attributes(self) -> tuple[str, ...]:
        """Columns of an entity whose values have a history."""
        return (*self.mapping.tracked, *self.mapping.remembered)

    def is_dated(self, clock: str) -> str:
        """Condition over the typed table: the source itself delivered this clock."""
        if clock == KNOWN_AT and self.mapping.known_at == OWN_TIME:
            return "true"
        return quote(f"__dated_{clock}") if clock in {one.name for one in self.casts} else "false"

    def select(self) -> str:
        """Return the SELECT that makes the typed table, `__row` included."""
        by_name = {one.name: one for one in self.casts}
        inner = [ROW, *(f"{one.expression} AS {quote(_inner_name(one.name))}" for one in (*self.casts, *self.aside))]
        time = by_name[self.spec.time]
        day = day_start(quote(time.source), time.duck_type, self.zone)
        inner.append(f"{day or 'CAST(NULL AS TIMESTAMP)'} AS {_DAY}")
        clocks = {KNOWN_AT, *self.clocks.values()}
        outer = [ROW, *(quote(name) for name in (*self.columns, *self.ends) if name not in clocks)]
        outer += [f"{quote(_inner_name(one.name))} AS {quote(one.name)}" for one in self.aside]
        outer += [
            f"{quote(f'__{clock}')} IS NOT NULL AS {quote(f'__dated_{clock}')}"
            for clock in sorted(clocks & set(by_name))
        ]
        outer.append(f"{_known_at(self.spec.time, KNOWN_AT in by_name)} AS {KNOWN_AT}")
        for column, clock in self.clocks.items():
            own = f"coalesce({quote(_inner_name(clock))}, {quote(column)})" if clock in by_name else quote(column)
            outer.append(f"CASE WHEN {quote(column)} IS NOT NULL THEN {own} END AS {quote(clock)}")
        raw = quote(f"raw_{self.name}")
        return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {raw})"  # noqa: S608


def _inner_name(name: str) -> str:
    return f"__{name}" if name.endswith(KNOWN_AT) else name


def _known_at(time: str, is_delivered: bool) -> str:
    """When a row became known: its time by default; never before the end of a day that stands for its time."""
    if not is_delivered:
        return quote(time)
    known = quote(_inner_name(KNOWN_AT))
    return (
        f"CASE WHEN {known} IS NULL THEN {quote(time)} "
        f"WHEN {known} >= {_DAY} THEN greatest({known}, {quote(time)}) ELSE {known} END"
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing if no name is near."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def is_id(spec: TableSpec, column: str) -> bool:
    """Whether a column identifies something, so that 13085.0 and '13085' are the same value."""
    return column in (spec.key, "merged_into") or column in spec.references or column.endswith("_id")


def plan_table(
    spec: TableSpec,
    mapping: TableMapping,
    delivered: Mapping[str, str],
    zone: str,
    stored: Mapping[str, ColumnType] | None = None,
) -> TablePlan:
    """Decide for every delivered column what it becomes.

    Parameters
    ----------
    spec, mapping
        The canonical table and its part of the config.
    delivered : mapping of column to DuckDB type
        What the SELECT yields.
    zone : str
        Time zone of times without one.
    stored : mapping of column to type, optional
        What the extract before stored: a column of the source's own keeps its type while its values fit.

    """
    known = _known_source(mapping, delivered)
    revealed = _revealed(spec, mapping, delivered)
    casts: list[Cast] = []
    left_out: dict[str, str] = {}
    problems = _missing(spec, delivered)
    for source in _in_order(spec, delivered):
        reason = _why_left_out(spec, mapping, source, delivered[source], revealed, known)
        names = [] if reason else [source]
        names += [KNOWN_AT] if source == known and source != KNOWN_AT else []
        for name in names:
            kind = _kind(spec, name, delivered[source], revealed, (stored or {}).get(name))
            expression = cast(quote(source), delivered[source], kind, zone, is_id(spec, name))
            if expression is None:
                problems.append(_wrong_type(spec.name, source, delivered[source], kind))
            else:
                casts.append(Cast(name, source, delivered[source], kind, expression))
        if reason and not names:
            left_out[source] = reason
    clocks = [KNOWN_AT, *(f"{time}_{KNOWN_AT}" for time in dict.fromkeys(revealed.values()))]
    ends = {one.name: one.kind for one in casts if one.name in _ends(spec)}
    columns: dict[str, ColumnType] = {one.name: one.kind for one in casts if one.name not in (*clocks, *ends)}
    columns |= dict.fromkeys(clocks, "time")
    mistakes = tuple(_mistakes(spec, mapping, delivered))
    undeclared = {source: delivered[source] for source, reason in left_out.items() if reason == _NO_HISTORY}
    aside = tuple(_aside(spec, undeclared, zone))
    return TablePlan(
        spec, mapping, zone, tuple(casts), columns, revealed, ends, left_out, aside, mistakes, tuple(problems)
    )


def _aside(spec: TableSpec, undeclared: Mapping[str, str], zone: str) -> Iterator[Cast]:
    """Yield the columns that the audit looks at, with the types that they are delivered in."""
    for source, duck_type in undeclared.items():
        kind: ColumnType | None = "text" if is_id(spec, source) else kind_of(duck_type)
        expression = cast(quote(source), duck_type, kind, zone, is_id(spec, source)) if kind else None
        if kind and expression:
            yield Cast(source, source, duck_type, kind, expression)


def _known_source(mapping: TableMapping, delivered: Mapping[str, str]) -> str | None:
    """Column that says when a row became known; None where our extracts or the row's own time say it."""
    if mapping.known_at in (FIRST_SEEN, OWN_TIME):
        return None
    return mapping.known_at or (KNOWN_AT if KNOWN_AT in delivered else None)


def _revealed(spec: TableSpec, mapping: TableMapping, delivered: Mapping[str, str]) -> dict[str, str]:
    """Return the delivered columns that are filled later, each with its time column; that one reveals itself."""
    pairs = {**spec.revealed, **mapping.revealed}
    pairs |= {time: time for time in mapping.revealed.values()}
    return {column: time for column, time in pairs.items() if column in delivered and time in delivered}


def _ends(spec: TableSpec) -> tuple[str, ...]:
    """Columns that say how a row ended."""
    return (DELETED_AT, MERGED_INTO, MERGED_AT) if spec.name == "customers" else (DELETED_AT,)


def _in_order(spec: TableSpec, delivered: Mapping[str, str]) -> list[str]:
    """Canonical columns in their order, then the source's own in theirs."""
    return [*(c for c in spec.columns if c in delivered), *(c for c in delivered if c not in spec.columns)]


def _why_left_out(
    spec: TableSpec,
    mapping: TableMapping,
    source: str,
    duck_type: str,
    revealed: Mapping[str, str],
    known: str | None,
) -> str | None:
    """Why a delivered column is not stored under its own name; None if it is."""
    time = {**spec.revealed, **mapping.revealed}.get(source)
    clocks = {f"{one}_{KNOWN_AT}" for one in revealed.values()}
    if source == KNOWN_AT:
        return None if known == KNOWN_AT else f"known_at is taken from {known or 'the time of the row'}"
    if source in _RESERVED:
        return _RESERVED[source]
    if source in _ends(spec):
        return None
    if time is not None and source not in revealed:
        return f"nothing says when it was filled: '{time}' is not delivered"
    if source in revealed or source in clocks or source in (spec.key, spec.time):
        return None
    if source == known and source not in spec.columns:
        return "stored as known_at"
    if source == mapping.modified_at and source not in spec.columns:
        return "says which rows are read again"
    if spec.is_entity and source not in (
        *mapping.static,
        *mapping.tracked,
        *mapping.remembered,
        *mapping.sensitive,
        *_KEPT_IN_ENTITIES.get(spec.name, ()),
    ):
        return _NO_HISTORY
    return None if source in spec.columns or kind_of(duck_type) else f"nothing can be done with type {duck_type}"


def _kind(
    spec: TableSpec, name: str, duck_type: str, revealed: Mapping[str, str], stored: ColumnType | None
) -> ColumnType:
    """Canonical type of a column."""
    if name in spec.columns:
        return spec.columns[name]
    if name in (KNOWN_AT, DELETED_AT, MERGED_AT) or name.removesuffix(f"_{KNOWN_AT}") in revealed.values():
        return "time"
    kind = "text" if is_id(spec, name) else kind_of(duck_type) or "text"
    return kind if stored is None or (stored, kind) in _WIDER or cast("v", duck_type, stored, "UTC") is None else stored


def _missing(spec: TableSpec, delivered: Mapping[str, str]) -> list[str]:
    """One sentence per required column that is not delivered."""
    return [
        f"Table '{spec.name}': column '{column}' is missing, the SELECT delivers {', '.join(delivered)}."
        f"{nearest(column, delivered)} Deliver it in tables.{spec.name}.select, for example `... AS {column}`."
        for column in spec.required
        if column not in delivered
    ]


def _mistakes(spec: TableSpec, mapping: TableMapping, delivered: Mapping[str, str]) -> list[str]:
    """One sentence per column that the config names and the SELECT does not deliver."""
    named = {
        "static": mapping.static,
        "tracked": mapping.tracked,
        "remembered": mapping.remembered,
        "sensitive": mapping.sensitive,
        "revealed": (*mapping.revealed, *mapping.revealed.values()),
    }
    for key, column in {"known_at": mapping.known_at, "modified_at": mapping.modified_at}.items():
        if column is not None and (key, column) not in (("known_at", FIRST_SEEN), ("known_at", OWN_TIME)):
            named[key] = (column,)
    mistakes = [
        f"tables.{spec.name}.{key} names column '{column}', the SELECT delivers {', '.join(delivered)}."
        f"{nearest(column, delivered)} Correct the name or deliver the column."
        for key, columns in named.items()
        for column in dict.fromkeys(columns)
        if column not in delivered
    ]
    if mapping.modified_at is not None and spec.key is None:
        mistakes.append(
            f"tables.{spec.name}.modified_at reads only what changed and puts it in its place by key, and rows of "
            f"{spec.name} have none. Remove it there: the table is read in full."
        )
    mistakes += [
        f"tables.{spec.name}: '{column}' says how a row ended and needs no history. Remove it from static, tracked and "
        "remembered."
        for column in _ends(spec)
        if column in (*mapping.static, *mapping.tracked, *mapping.remembered)
    ]
    return mistakes


def _wrong_type(table: str, column: str, duck_type: str, kind: ColumnType) -> str:
    return (
        f"Table '{table}': column '{column}' is delivered as {duck_type}, expected {EXPECTED[kind]}. "
        f"Convert it in tables.{table}.select."
    )
