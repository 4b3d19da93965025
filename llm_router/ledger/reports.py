"""Reading: requests, one request whole, and sums by what one likes. Aggregation is SQL's."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from llm_router.errors import LedgerError
from llm_router.ledger.columns import Usd, percentiles, usd_sum
from llm_router.ledger.results import (
    AttemptRow,
    PayloadRow,
    ReportRow,
    RequestDetail,
    RequestRow,
    read,
)
from llm_router.ledger.tables import attempts, configs, payloads, requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, FromClause, Row

_ON_ATTEMPTS = {
    "day": attempts.c.day,
    "alias": attempts.c.alias,
    "upstream": attempts.c.upstream_provider,
    "provider": attempts.c.provider,
    "deployment": attempts.c.deployment,
    "model": attempts.c.served_model,
    "status": attempts.c.status,
    "error": attempts.c.error,
}
_ON_REQUESTS = {
    "user": requests.c.user,
    "operation": requests.c.operation,
    "requested": requests.c.requested,
    "config": requests.c.config_fingerprint,
}
GROUPS = (*_ON_ATTEMPTS, *_ON_REQUESTS, "tag:<name>")


def logs(
    connection: Connection, *, failed: bool = False, alias: str | None = None, limit: int = 50
) -> list[RequestRow]:
    """Return the newest requests first."""
    query = select(requests).order_by(requests.c.id.desc()).limit(limit)
    if failed:
        query = query.where(requests.c.status == "failed")
    if alias is not None:
        query = query.where(requests.c.alias == alias)
    return [read(RequestRow, row) for row in connection.execute(query).mappings()]


def show(connection: Connection, id: str) -> RequestDetail:
    """Return a call by its id, an attempt's id or the provider's response id, or how one begins.

    Raises LedgerError when there is none, and when several begin so.
    """
    request = _found(connection, id)
    text = select(configs.c.text).where(configs.c.fingerprint == request.config_fingerprint)
    return RequestDetail(
        request=request,
        attempts=_attempts_of(connection, request.id),
        payloads=_payloads_of(connection, request.id),
        config=connection.execute(text).scalar(),
    )


def _found(connection: Connection, id: str) -> RequestRow:
    for match in (_is, _begins):
        of_attempt = select(attempts.c.request_id).where(
            or_(match(attempts.c.id, id), match(attempts.c.response_id, id))
        )
        query = select(requests).where(or_(match(requests.c.id, id), requests.c.id.in_(of_attempt)))
        rows = connection.execute(query.order_by(requests.c.id.desc()).limit(3)).mappings().all()
        if len(rows) == 1:
            return read(RequestRow, rows[0])
        if rows:
            some = ", ".join(row["id"] for row in rows)
            raise LedgerError(f"several requests begin with {id!r}: {some}, …")
    raise LedgerError(f"no request {id!r} in the ledger")


def _is(column: ColumnElement[str], id: str) -> ColumnElement[bool]:
    return column == id


def _begins(column: ColumnElement[str], id: str) -> ColumnElement[bool]:
    return column.startswith(id, autoescape=True)


def report(
    connection: Connection,
    *,
    by: Sequence[str] = ("alias",),
    since: date | None = None,
    until: date | None = None,
) -> list[ReportRow]:
    """Sum up attempts by *by*, names of `GROUPS`; see `ReportRow` for what is summed.

    A date is a whole UTC day, a datetime a moment; *until* is left out. Raises LedgerError for an
    unknown group.
    """
    query = _sums(by, [_group(name) for name in by], since)
    for limit in _limits(attempts, since, until):
        query = query.where(limit)
    return [_report_row(by, row) for row in connection.execute(query)]


def spent(connection: Connection, since: datetime, scope: str, who: str) -> Decimal:
    """Return the USD of all attempts since a moment that are *who*'s in *scope*."""
    bill = func.coalesce(attempts.c.cost_total, attempts.c.cost_computed, type_=Usd())
    query = select(usd_sum(bill)).select_from(attempts)
    query = query.where(attempts.c.day >= _day(since.date()), attempts.c.started_at >= since)
    if scope != "all":
        column = _group("requested" if scope == "alias" else scope)
        query = query.join(requests, requests.c.id == attempts.c.request_id)
        query = query.where(func.coalesce(column, "") == who)
    return connection.execute(query).scalar() or Decimal(0)


def _report_row(by: Sequence[str], row: Row[Any]) -> ReportRow:
    values = dict(row._mapping)
    for name in ("latency", "first_token"):
        pair = values.pop(name) or (None, None)
        values |= dict(zip((f"{name}_p50_ms", f"{name}_p95_ms"), pair, strict=True))
    return read(ReportRow, {**values, "group": dict(zip(by, row, strict=False))})


def _sums(by: Sequence[str], groups: list[ColumnElement[Any]], since: date | None) -> Select[Any]:
    labelled = [column.label(f"group_{place}") for place, column in enumerate(groups)]
    unpriced = attempts.c.cost_computed.is_(None) & or_(
        attempts.c.cost_total.is_not(None), attempts.c.input_tokens.is_not(None)
    )
    computed = usd_sum(attempts.c.cost_computed)
    query = select(
        *labelled,
        func.count().filter(_first_of_its_call(by, since)).label("requests"),
        func.count().label("attempts"),
        func.count().filter(attempts.c.status == "failed").label("failed"),
        func.count().filter(attempts.c.status == "cancelled").label("cancelled"),
        *(_whole_sum(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens")),
        _cached_share().label("cached_share"),
        usd_sum(attempts.c.cost_total).label("cost"),
        case((func.count().filter(unpriced) == 0, computed), else_=None).label("computed"),
        (func.count() - func.count(attempts.c.cost_total)).label("without_cost"),
        _times(attempts.c.latency_ms).label("latency"),
        _times(attempts.c.time_to_first_token_ms).label("first_token"),
    ).select_from(attempts)
    if any(_is_of_request(name) for name in by):
        query = query.outerjoin(requests, requests.c.id == attempts.c.request_id)
    # By position: PostgreSQL takes the same expression with another parameter for another one.
    places: list[ColumnElement[Any]] = [
        literal_column(str(place)) for place in range(1, len(groups) + 1)
    ]
    return query.group_by(*places).order_by(*places)


def _first_of_its_call(by: Sequence[str], since: date | None) -> ColumnElement[bool]:
    """Say whether an attempt is the first of its call in its group: counting these counts calls.

    Only a retry has to look for another one, so that nothing is counted apart.
    """
    earlier = attempts.alias("earlier")
    same = [
        earlier.c[column.name].is_not_distinct_from(column)
        for name in by
        if (column := _ON_ATTEMPTS.get(name)) is not None
    ]
    before = select(earlier.c.id).where(
        earlier.c.request_id == attempts.c.request_id,
        earlier.c.number < attempts.c.number,
        *same,
        *_limits(earlier, since, None),
    )
    return or_(attempts.c.number == 1, ~before.correlate(attempts).exists())


def _limits(
    table: FromClause, since: date | None, until: date | None
) -> Iterator[ColumnElement[bool]]:
    """Yield what keeps to the days; where a moment is meant, to that as well."""
    if since is not None:
        yield table.c.day >= _day(since)
        if isinstance(since, datetime):
            yield table.c.started_at >= since.astimezone(UTC)
    if isinstance(until, datetime):
        yield table.c.started_at < until.astimezone(UTC)
    elif until is not None:
        yield table.c.day < _day(until)


def _times(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return percentiles(case((attempts.c.status == "succeeded", column)))


def _whole_sum(name: str) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT to NUMERIC, which would come back as Decimal.
    column = attempts.c[name]
    return cast(func.sum(column), column.type).label(name)


def _cached_share() -> ColumnElement[Any]:
    read, given = attempts.c.cache_read_tokens, attempts.c.input_tokens
    of_all = func.nullif(func.sum(given).filter(read.is_not(None)), 0)
    return cast(func.sum(read).filter(given.is_not(None)), Float) / cast(of_all, Float)


def _is_of_request(name: str) -> bool:
    return name in _ON_REQUESTS or name.startswith("tag:")


def _group(name: str) -> ColumnElement[Any]:
    if name.startswith("tag:"):
        tag: ColumnElement[Any] = requests.c.tags[name.removeprefix("tag:")].as_string()
        return tag
    column = _ON_ATTEMPTS.get(name, _ON_REQUESTS.get(name))
    if column is None:
        raise LedgerError(f"cannot report by {name!r}: choose from {', '.join(GROUPS)}")
    return column


def _day(moment: date) -> str:
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC).date()
    return moment.isoformat()


def _attempts_of(connection: Connection, request_id: str) -> tuple[AttemptRow, ...]:
    query = select(attempts).where(attempts.c.request_id == request_id).order_by(attempts.c.number)
    return tuple(read(AttemptRow, row) for row in connection.execute(query).mappings())


def _payloads_of(connection: Connection, request_id: str) -> tuple[PayloadRow, ...]:
    query = select(payloads).where(payloads.c.request_id == request_id).order_by(payloads.c.id)
    return tuple(read(PayloadRow, row) for row in connection.execute(query).mappings())
