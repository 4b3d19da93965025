"""Completing costs afterwards: cut and cancelled answers are billed, but did not say how much.

The provider knows it some seconds later, by response id. What is found is added to the attempt,
and the request's totals are summed anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import func, select, update

from llm_router.errors import AuthenticationError, PermissionDeniedError, ProviderError
from llm_router.ledger.results import Reconciled
from llm_router.ledger.rows import bill
from llm_router.ledger.tables import attempts, requests
from llm_router.usage import Cost, CostSource, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from sqlalchemy import Connection, RowMapping

    from llm_router.answers.records import Generation
    from llm_router.ledger.database import Database

    Fetch = Callable[[str], Awaitable[Generation | None]]

_WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further round for those that are not there yet."""


async def reconcile(
    database: Database,
    fetch: Fetch,
    *,
    providers: Collection[str],
    limit: int,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Reconciled:
    """Look up the newest *limit* attempts of unknown cost and complete them.

    *fetch* returns None for what is not there yet; those are asked for again, four times at most.
    An AuthenticationError or PermissionDeniedError ends it: no further look-up would go better.
    """
    waiting = await asyncio.to_thread(_unknown, database, providers, limit)
    completed = failed = 0
    for wait in (0.0, *_WAITS):
        if not waiting:
            break
        await sleep(wait)
        later: list[tuple[str, str]] = []
        for attempt_id, response_id in waiting:
            try:
                found = await fetch(response_id)
            except (AuthenticationError, PermissionDeniedError):
                raise
            except ProviderError:
                failed += 1
                continue
            if found is None:
                later.append((attempt_id, response_id))
            else:
                await asyncio.to_thread(_complete, database, attempt_id, found, clock())
                completed += 1
        waiting = later
    return Reconciled(completed=completed, missing=len(waiting), failed=failed)


def _unknown(database: Database, providers: Collection[str], limit: int) -> list[tuple[str, str]]:
    query = (
        select(attempts.c.id, attempts.c.response_id)
        .where(
            attempts.c.cost_total.is_(None),
            attempts.c.response_id.is_not(None),
            attempts.c.provider.in_(providers),
            attempts.c.reconciled_at.is_(None),
        )
        .order_by(attempts.c.id.desc())
        .limit(limit)
    )
    with database.reading() as connection:
        return [(row.id, row.response_id) for row in connection.execute(query)]


def _complete(database: Database, attempt_id: str, found: Generation, now: float) -> None:
    names = {
        "served_model": found.model,
        "upstream_provider": found.upstream_provider,
        "native_finish_reason": found.native_finish_reason,
    }
    values = {**names, **bill(found.usage, found.cost), "reconciled_at": now}
    kept = ("cost_computed", *names)
    known = {name: value for name, value in values.items() if value is not None}
    for name in known.keys() & set(kept):
        known[name] = func.coalesce(attempts.c[name], known[name])
    row = attempts.c.id == attempt_id
    with database.writing() as connection:
        connection.execute(update(attempts).where(row).values(known))
        request_id = connection.execute(select(attempts.c.request_id).where(row)).scalar_one()
        _sum_up(connection, request_id)


def _sum_up(connection: Connection, request_id: str) -> None:
    query = select(attempts).where(
        attempts.c.request_id == request_id, attempts.c.cost_source.is_not(None)
    )
    rows = connection.execute(query).mappings().all()
    totals = bill(Usage.sum(map(_usage, rows)), Cost.sum(map(_cost, rows)))
    connection.execute(update(requests).where(requests.c.id == request_id).values(totals))


def _usage(row: RowMapping) -> Usage:
    return Usage(**{name: row[name] for name in Usage.__dataclass_fields__})


def _cost(row: RowMapping) -> Cost:
    amounts: dict[str, Any] = {
        name: row[f"cost_{name}"] for name in ("total", "reported", "upstream", "computed")
    }
    source = cast("CostSource", row["cost_source"])
    return Cost(source=source, is_byok=row["is_byok"], **amounts)
