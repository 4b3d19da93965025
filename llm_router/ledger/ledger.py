"""Ledger: the observer that keeps every request and attempt, and what reads them back.

ledger = Ledger(config.ledger)                  # its own SQLite or PostgreSQL
ledger = Ledger(LedgerConfig(), engine=engine)  # the application's own engine
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llm_router.config.model import DatabaseUrl, LedgerConfig
from llm_router.errors import ConfigurationError, LedgerError
from llm_router.ledger.forking import importing
from llm_router.ledger.outage import HINTS, RefusedError, UnavailableError, reason_of_error
from llm_router.ledger.results import ConfigRow
from llm_router.ledger.rows import RowBuilder
from llm_router.ledger.spool import Spool
from llm_router.ledger.store import Store
from llm_router.ledger.writer import Writer
from llm_router.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
    from datetime import date

    from sqlalchemy import Connection, Engine

    from llm_router.answers.records import (
        AttemptFinished,
        Generation,
        RequestFinished,
        RequestStarted,
    )
    from llm_router.ledger.database import Database
    from llm_router.ledger.migrate import SchemaStatus
    from llm_router.ledger.results import Purged, Reconciled, ReportRow, RequestDetail, RequestRow
    from llm_router.ledger.rows import Row

T = TypeVar("T")
_LATER = tuple(f"llm_router.ledger.{name}" for name in ("reports", "reconcile", "retention"))
"""Imported with the driver, off the event loop."""
_PATIENCE = 30.0
"""Seconds that a strict call or a reader waits for the writer before it goes on."""


class Ledger:
    """Records calls; see `LedgerConfig` for what, where and how safely.

    An `Observer`, for any number of threads and event loops. It needs no `open()`: the first
    record opens it, in a thread. With an *engine* of the application the tables are the
    application's business (`upgrade()`, or `tables.metadata` in its own migrations).
    """

    def __init__(
        self,
        config: LedgerConfig | None = None,
        *,
        engine: Engine | None = None,
        secrets: Iterable[str] = (),
        redactor: Callable[[Any], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config or LedgerConfig()
        self._engine = engine
        self._clock = clock
        self._database: Database | None = None
        known = tuple(Secret(secret) for secret in secrets if secret)
        self._builder = RowBuilder(store=self.config.store, secrets=known, redactor=redactor)
        path = spool_path(self.config, engine)
        self._store = Store(self._connect_to_write, Spool(path) if path else None, self._forget)
        interval = self.config.flush_interval
        self._writer = Writer(self._builder, self._store, interval, self._forked)
        self._policy = self._builder.policy

    def __repr__(self) -> str:
        url = self.config.url if self._engine is None else str(self._engine.url)
        return f"<Ledger {DatabaseUrl(url).shown()}, store={self.config.store}>"

    def request_started(self, record: RequestStarted) -> None:
        if self._policy(record) != "none":
            self._writer.put(record)

    def attempt_finished(self, record: AttemptFinished) -> None:
        if self._policy(record.request) != "none":
            self._writer.put(record)

    def request_finished(self, record: RequestFinished) -> None:
        if self._policy(record.request) != "none":
            self._writer.put(record)

    def remember_config(self, fingerprint: str, text: str) -> None:
        """Keep a configuration's text, so that `show` can say what an alias meant."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        self._writer.put(ConfigRow(fingerprint=fingerprint, first_seen_at=now, text=text))

    async def open(self) -> None:
        """Import the driver and look at the tables, in a thread; a SQLite file is made ready.

        Raises ConfigurationError for a set-up that can never work. A database that is away (which
        is known after 5 s), or whose tables are old, is an event; records wait in the spool.
        """
        await asyncio.to_thread(self._connect)
        await self.flush(wake=True)

    async def flush(self, *, wake: bool = False) -> None:
        """Wait until all that was recorded is in the database, or in the spool."""
        if self._writer.idle() and not wake:
            return
        loop, written = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(written.set)

        self._writer.call_when_written(tell)
        with suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), _PATIENCE)

    async def settle(self, request_id: str) -> None:
        """Under `durability: strict` wait until this call's rows are committed (or spooled).

        Batched, it returns at once. The Router awaits it before a call returns or raises; the
        call's `deadline` does not end it. What it can cost: 2 s while another program locks a
        SQLite file, 5 s to find that PostgreSQL is away, 10 s for a statement; then the rows are
        in the spool, and while the database stays away the next calls wait for the spool alone.
        """
        if self.config.durability == "strict":
            await self.flush()

    async def aclose(self) -> None:
        """Write what is queued, end the thread, close the connections. Idempotent."""
        try:
            await asyncio.to_thread(self.close)
        except RuntimeError:  # the program ends: its pools of threads take nothing more
            self.close()

    def close(self) -> None:
        """Do as `aclose`, without a loop."""
        if self._writer.close() and self._database is not None:
            self._database.close()

    def logs(
        self, *, failed: bool = False, alias: str | None = None, limit: int = 50
    ) -> list[RequestRow]:
        """Return the newest requests first. Raises LedgerError, as all that reads here."""
        from llm_router.ledger import reports

        return self._read(lambda c: reports.logs(c, failed=failed, alias=alias, limit=limit))

    def show(self, id: str) -> RequestDetail:
        """Return one call whole: by its id, an attempt's or the provider's, or how one begins."""
        from llm_router.ledger import reports

        return self._read(lambda c: reports.show(c, id))

    def report(
        self,
        *,
        by: Sequence[str] = ("alias",),
        since: date | None = None,
        until: date | None = None,
    ) -> list[ReportRow]:
        """Sum up attempts by `alias`, `day`, `upstream`, `tag:feature`, … (`reports.GROUPS`).

        *since* and *until* (left out) are whole UTC days where they are dates, else moments.
        """
        from llm_router.ledger import reports

        return self._read(lambda c: reports.report(c, by=by, since=since, until=until))

    async def spent(self, since: float, scope: str, who: str | None) -> Decimal:
        """Return what was billed since a moment (seconds since the epoch), USD.

        To everybody with *scope* "all", else to the alias, user or tag's value *who*; "" stands
        for those who name none. Raises LedgerError.
        """
        from llm_router.ledger import reports

        start = datetime.fromtimestamp(since, UTC)

        def ask() -> Decimal:
            try:
                self._existing()
            except LedgerError:
                return Decimal(0)  # nothing was ever recorded
            return self._read(lambda c: reports.spent(c, start, scope, who or ""))

        return await asyncio.to_thread(ask)

    def purge(self, *, payloads_days: int | None = None, rows_days: int | None = None) -> Purged:
        """Delete what is older, in whole UTC days; without arguments by `retention`."""
        database = self._existing()
        return self._command(lambda: self._forget(database, payloads_days, rows_days))

    def status(self) -> SchemaStatus:
        """Return which version of the tables the database has."""
        return self._command(self._existing().status)

    def upgrade(self) -> SchemaStatus:
        """Bring the tables to this release's version."""
        database = self._connect()
        self._command(database.upgrade)
        return self._command(database.status)

    def sql(self, start: str | None = None) -> str:
        """Return the SQL of an upgrade from version *start* (from nothing) to this release's."""
        from llm_router.ledger import migrate

        return migrate.sql(self._connect().engine.dialect.name, start)

    async def reconcile(
        self,
        fetch: Callable[[str], Awaitable[Generation | None]],
        *,
        providers: Collection[str] = ("openrouter",),
        limit: int = 100,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Reconciled:
        """Complete attempts of unknown cost by what *fetch* finds; see `reconcile.reconcile`."""
        await self.flush()
        database = await asyncio.to_thread(self._existing)
        from llm_router.ledger.reconcile import reconcile

        def row(found: Generation) -> Row:
            return self._builder.completed(found, self._clock())

        try:
            return await reconcile(
                database, fetch, providers=providers, limit=limit, row=row, sleep=sleep
            )
        except (UnavailableError, RefusedError) as error:
            failure = _ledger_error(error)
        raise failure  # as in _command

    def _connect(self) -> Database:
        with importing:
            if self._database is None:
                from llm_router.ledger.database import Database

                for module in _LATER:
                    importlib.import_module(module)
                self._database = (
                    Database(self._engine, owned=False)
                    if self._engine is not None
                    else Database.from_config(self.config)
                )
            return self._database

    def _connect_to_write(self) -> Database:
        try:
            return self._connect()
        except ConfigurationError as error:
            raise UnavailableError("configuration", str(error)) from error

    def _existing(self) -> Database:
        """Return the database; LedgerError for a SQLite file that nobody has written yet."""
        from llm_router.ledger.database import sqlite_path

        database = self._connect()
        path = sqlite_path(database.engine.url)
        if path is not None and not path.exists():
            raise LedgerError(f"nothing is recorded yet: {path} does not exist")
        return database

    def _read(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with database.reading() as connection:
                return question(connection)

        self._writer.flush(_PATIENCE)
        database = self._existing()
        return self._command(ask)

    def _command(self, act: Callable[[], T]) -> T:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._store.gate:
                return act()
        except (SQLAlchemyError, UnavailableError, RefusedError) as error:
            failure = _ledger_error(error)
        # Not inside `except`: the frames of the driver hold the password in clear.
        raise failure

    def _forget(
        self, database: Database, payloads_days: int | None = None, rows_days: int | None = None
    ) -> Purged:
        from llm_router.ledger.retention import purge

        if payloads_days is None and rows_days is None:
            retention = self.config.retention
            payloads_days, rows_days = retention.payloads_days, retention.rows_days
        now = self._clock()
        return purge(database, payloads_days=payloads_days, rows_days=rows_days, now=now)

    def _forked(self) -> None:
        self._store.forked()
        if self._database is not None:
            self._database.forget_connections()


def spool_path(config: LedgerConfig, engine: Engine | None = None) -> Path | None:
    """Return where rows wait while the database is away; every process finds the same file."""
    if config.spool:
        return Path(config.spool)
    url = engine.url.render_as_string(hide_password=True) if engine is not None else config.url
    if url.startswith("sqlite"):
        name = url.partition("///")[2].partition("?")[0].removeprefix("file:")
        return Path(f"{name}-spool.jsonl") if name and name != ":memory:" else None
    folder = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    # Without user and password: a rotated password must not hide the spool.
    place = hashlib.sha256(url.rpartition("@")[2].encode()).hexdigest()[:12]
    return folder / "llm_router" / f"{place}-spool.jsonl"


def _ledger_error(error: Exception) -> LedgerError:
    reason = error.reason if isinstance(error, UnavailableError) else reason_of_error(error)
    said = getattr(error, "orig", None) or error
    return LedgerError(f"the ledger's database says: {said}", hint=HINTS.get(reason or ""))
