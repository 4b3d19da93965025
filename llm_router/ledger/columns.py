"""Column types that keep figures exact: money without floats, times in UTC."""

from __future__ import annotations

import json
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
        return format_usd(sum(map(Decimal, amounts.split()), Decimal(0)))
