"""Reading: requests, one request whole, and sums by what one likes. Aggregation is SQL's."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, cast, func, literal_column, or_, select

from llm_router.errors import LedgerError
from llm_router.ledger.columns import Usd, usd_sum
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
    from collections.abc import Sequence

    from sqlalchemy import Connection

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
    """Return a call by its id, an attempt's id or the provider's response id.

    Raises LedgerError when there is none.
    """
    of_attempt = select(attempts.c.request_id).where(
        or_(attempts.c.id == id, attempts.c.response_id == id)
    )
    query = select(requests).where(or_(requests.c.id == id, requests.c.id.in_(of_attempt)))
    found = connection.execute(query.limit(1)).mappings().first()
    if found is None:
        raise LedgerError(f"no request {id!r} in the ledger")
    request = read(RequestRow, found)
    text = select(configs.c.text).where(configs.c.fingerprint == request.config_fingerprint)
    return RequestDetail(
        request=request,
        attempts=_attempts_of(connection, request.id),
        payloads=_payloads_of(connection, request.id),
        config=connection.execute(text).scalar(),
    )


def report(
    connection: Connection,
    *,
    by: Sequence[str] = ("alias",),
    since: date | None = None,
    until: date | None = None,
) -> list[ReportRow]:
    """Sum up attempts by *by*, names of `GROUPS`, in whole UTC days, *until* left out.

    Raises LedgerError for an unknown group.
    """
    query = _sums([_group(name) for name in by], joined=any(_is_of_request(name) for name in by))
    if since is not None:
        query = query.where(attempts.c.day >= _day(since))
    if until is not None:
        query = query.where(attempts.c.day < _day(until))
    return [
        read(ReportRow, {**row._mapping, "group": dict(zip(by, row, strict=False))})
        for row in connection.execute(query)
    ]


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


def _sums(groups: list[ColumnElement[Any]], *, joined: bool) -> Select[Any]:
    labelled = [column.label(f"group_{place}") for place, column in enumerate(groups)]
    query = select(
        *labelled,
        func.count().filter(attempts.c.number == 1).label("requests"),
        func.count().label("attempts"),
        func.count().filter(attempts.c.status == "failed").label("failed"),
        *(_whole_sum(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens")),
        usd_sum(attempts.c.cost_total).label("cost"),
        usd_sum(attempts.c.cost_computed).label("computed"),
        (func.count() - func.count(attempts.c.cost_total)).label("without_cost"),
    ).select_from(attempts)
    if joined:
        query = query.outerjoin(requests, requests.c.id == attempts.c.request_id)
    # By position: PostgreSQL takes the same expression with another parameter for another one.
    places: list[ColumnElement[Any]] = [
        literal_column(str(place)) for place in range(1, len(groups) + 1)
    ]
    return query.group_by(*places).order_by(*places)


def _whole_sum(name: str) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT to NUMERIC, which would come back as Decimal.
    column = attempts.c[name]
    return cast(func.sum(column), column.type).label(name)


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
