"""Completing costs afterwards: cut and cancelled answers are billed, but did not say how much.

The provider knows it some seconds later, by response id. What is found is added to the attempt,
and the request's totals are summed anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from llm_router.errors import AuthenticationError, PermissionDeniedError, ProviderError
from llm_router.ledger.results import AttemptRow, Reconciled, bill, read
from llm_router.ledger.tables import attempts, requests
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from sqlalchemy import Connection

    from llm_router.answers.records import Generation
    from llm_router.ledger.database import Database
    from llm_router.ledger.rows import Row

    Fetch = Callable[[str], Awaitable[Generation | None]]

_WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further round for those that are not there yet."""
_KEPT = ("served_model", "upstream_provider", "native_finish_reason", "cost_computed")
"""Where the answer itself had them, they stay."""


async def reconcile(
    database: Database,
    fetch: Fetch,
    *,
    providers: Collection[str],
    limit: int,
    row: Callable[[Generation], Row],
    sleep: Callable[[float], Awaitable[None]],
) -> Reconciled:
    """Look up the newest *limit* attempts of unknown cost and complete them.

    *fetch* returns None for what is not there yet; those are asked for again, four times at most.
    *row* makes columns of what is found.
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
                await asyncio.to_thread(_complete, database, attempt_id, row(found))
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


def _complete(database: Database, attempt_id: str, found: Row) -> None:
    kept = {n: func.coalesce(attempts.c[n], found[n]) for n in _KEPT if n in found}
    row = attempts.c.id == attempt_id
    with database.writing() as connection:
        connection.execute(update(attempts).where(row).values(found | kept))
        request_id = connection.execute(select(attempts.c.request_id).where(row)).scalar_one()
        _sum_up(connection, request_id)


def _sum_up(connection: Connection, request_id: str) -> None:
    billed = attempts.c.cost_source.is_not(None)
    query = select(attempts).where(attempts.c.request_id == request_id, billed)
    rows = [read(AttemptRow, row) for row in connection.execute(query).mappings()]
    totals = bill(Usage.sum(row.usage for row in rows), Cost.sum(row.cost for row in rows))
    connection.execute(update(requests).where(requests.c.id == request_id).values(totals))
