"""Column types that keep figures exact: money without floats, times in UTC."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, Numeric, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from llm_router.usage import format_usd

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

# The default context would round a sum to 28 digits.
_EXACT = Context(prec=min(MAX_PREC, 10_000), Emax=MAX_EMAX, Emin=MIN_EMIN)


class Usd(TypeDecorator[Decimal]):
    """An amount in USD: NUMERIC, and in SQLite, which has only floats, decimal text."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        amount = Decimal(value)
        if not amount.is_finite():
            raise ValueError("not an amount")
        return format_usd(amount) if dialect.name == "sqlite" else amount

    def process_result_value(self, value: Any, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class UtcTime(TypeDecorator[datetime]):
    """A moment; takes seconds since the epoch or an aware datetime, gives a datetime in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: float | datetime | None, _dialect: Dialect) -> Any:
        return datetime.fromtimestamp(value, UTC) if isinstance(value, float | int) else value

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # SQLite has no time zones: what was stored is UTC.
        moment: datetime = value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class JsonText(TypeDecorator[Any]):
    """JSON data; takes it as ASCII text: PostgreSQL's own JSON types refuse U+0000, which models
    do write.
    """

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, _dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class usd_sum(FunctionElement[Decimal]):  # noqa: N801 - an SQL function, in SQL's spelling
    """The exact sum of a `Usd` column; NULL when no amount is known."""

    type = Usd()
    inherit_cache = True
    name = "usd_sum"


@compiles(usd_sum)
def _sum(element: usd_sum, compiler: SQLCompiler, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


@compiles(usd_sum, "sqlite")
def _sum_sqlite(element: usd_sum, compiler: SQLCompiler, **options: Any) -> str:
    # Joined by SQLite and added once a group: an aggregate in Python would run once a row.
    return f"llm_usd_sum(group_concat({compiler.process(element.clauses, **options)}, ' '))"


def exact_sum(amounts: str | None) -> str | None:
    """The SQLite function `llm_usd_sum`: add decimal texts without rounding."""
    if amounts is None:
        return None
    with localcontext(_EXACT):
        counted = Counter(amounts.split()).items()
        return format_usd(sum((Decimal(text) * count for text, count in counted), Decimal(0)))


class _Pair(TypeDecorator[tuple[int, int]]):
    """Two whole numbers: an array, and in SQLite, which has none, text."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, _dialect: Dialect) -> tuple[int, int] | None:
        if value is None:
            return None
        low, high = value.split() if isinstance(value, str) else value
        return int(low), int(high)


class percentiles(FunctionElement[tuple[int, int]]):  # noqa: N801 - an SQL function
    """The median and the 95th percentile of a column, by nearest rank; NULL without a value."""

    type = _Pair()
    inherit_cache = True
    name = "percentiles"


@compiles(percentiles)
def _percentiles(element: percentiles, compiler: SQLCompiler, **options: Any) -> str:
    order = compiler.process(element.clauses, **options)
    return f"percentile_disc(ARRAY[0.5, 0.95]::float8[]) WITHIN GROUP (ORDER BY {order})"


@compiles(percentiles, "sqlite")
def _percentiles_sqlite(element: percentiles, compiler: SQLCompiler, **options: Any) -> str:
    values = compiler.process(element.clauses, **options)
    return f"llm_percentiles(group_concat(CAST({values} AS INTEGER), ' '))"


def nearest_ranks(values: str | None) -> str | None:
    """The SQLite function `llm_percentiles`: two of the numbers in a text."""
    if values is None:
        return None
    counted = Counter(values.split())
    total, seen = counted.total(), 0
    found: list[int] = []
    for value, count in sorted((int(text), count) for text, count in counted.items()):
        seen += count
        while len(found) < 2 and seen * 100 >= total * (50, 95)[len(found)]:
            found.append(value)
    return f"{found[0]} {found[1]}"


SQLITE_FUNCTIONS = {"llm_usd_sum": exact_sum, "llm_percentiles": nearest_ranks}
"""What a SQLite connection is given before it reports; each takes one text."""
