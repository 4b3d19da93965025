"""Forgetting: payloads and rows older than a day, in steps that hold no lock for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Table, delete, select

from llm_router.ledger.results import Purged
from llm_router.ledger.tables import attempts, payloads, requests

if TYPE_CHECKING:
    from llm_router.ledger.database import Database

_STEP = 2_000


def purge(
    database: Database, *, payloads_days: int | None, rows_days: int | None, now: float
) -> Purged:
    """Delete payloads and rows older than so many whole UTC days; None deletes nothing."""
    limits = [days for days in (payloads_days, rows_days) if days is not None]
    if not limits:
        return Purged()
    purged = Purged(
        payloads=_delete(database, payloads, _day(now, min(limits))),
        attempts=0 if rows_days is None else _delete(database, attempts, _day(now, rows_days)),
        requests=0 if rows_days is None else _delete(database, requests, _day(now, rows_days)),
    )
    database.checkpoint()
    return purged


def _day(now: float, days: int) -> str:
    return (datetime.fromtimestamp(now, UTC) - timedelta(days=days)).date().isoformat()


def _delete(database: Database, table: Table, before: str) -> int:
    some = select(table.c.id).where(table.c.day < before).limit(_STEP)
    total = 0
    while True:
        with database.writing() as connection:
            count = connection.execute(delete(table).where(table.c.id.in_(some))).rowcount
        total += count
        if count < _STEP:
            return total
