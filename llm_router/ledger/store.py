"""Where rows go: to the database, to the spool while it is away, else memory keeps them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from llm_router import events
from llm_router.ledger.outage import (
    LEDGER_DROPPED,
    LEDGER_RECOVERED,
    LEDGER_REJECTED,
    LEDGER_SPOOL_FAILED,
    LEDGER_UNAVAILABLE,
    RefusedError,
    UnavailableError,
    reason_of_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.ledger.database import Database
    from llm_router.ledger.rows import Rows
    from llm_router.ledger.spool import Spool

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 5.0
_MOST_KEPT = 50_000
_DAY = 86_400.0


class Store:
    """Saves rows and never raises. One caller at a time, but for `set_aside`."""

    def __init__(
        self,
        connect: Callable[[], Database],
        spool: Spool | None,
        upkeep: Callable[[Database], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._spool = spool
        self._upkeep = upkeep
        self._now = monotonic
        self._next_upkeep = 0.0
        self._kept: Rows = []
        self._kept_lock = threading.Lock()
        self.at_work = threading.RLock()
        """Held while rows are written: a fork waits for it."""
        self._reason: str | None = None
        self._spool_reason: str | None = None
        self._wait = _FIRST_WAIT
        self._retry_at = 0.0

    def forked(self) -> None:
        """Forget locks that a thread of the parent process may hold."""
        self._kept_lock = threading.Lock()
        self.at_work = threading.RLock()

    def retry_in(self) -> float | None:
        """Return the seconds until there is something to try again; None when all is written."""
        if not (self._reason or self._kept or (self._spool and self._spool.pending())):
            return None
        return max(self._retry_at - self._now(), 0.01)

    def save(self, rows: Rows, *, now: bool = False) -> None:
        """Write rows, and those that were waiting. While the database rests, put them aside."""
        if self._reason and not now and self._now() < self._retry_at:
            self.set_aside(rows)
            return
        waiting = self._take_kept() + rows
        try:
            database = self._connect()
            with self.at_work:
                database.make_ready()
                self._write(database, waiting)
                waiting = []
                replayed = self._replay(database)
                self._look_after(database)
        except UnavailableError as error:
            self.set_aside(waiting)
            self._rest(error)
        except Exception as error:  # a driver's surprise: nothing may be lost to it
            self.set_aside(waiting)
            self._rest(UnavailableError(type(error).__name__))
        else:
            self._came_back(replayed)

    def finish(self) -> None:
        """Try once more to save what only memory has; say what is lost."""
        if self._kept:
            self.save([], now=True)
            if self._kept:
                reason, lost = self._spool_reason or "no_spool", len(self._kept)
                events.emit(LEDGER_DROPPED, "error", reason=reason, rows=lost)

    def set_aside(self, rows: Rows) -> None:
        """Put rows into the spool, or keep them in memory when that fails too."""
        with self._kept_lock:
            rows, self._kept = self._kept + rows, []
            if not rows:
                return
            reason = "no_spool"
            try:
                if self._spool:
                    self._spool.append(rows)
                    return
            except Exception as error:  # memory keeps them, whatever is wrong with the file
                reason = self._spool_failed(error)
            self._kept = self._newest(rows, reason)

    def _take_kept(self) -> Rows:
        with self._kept_lock:
            rows, self._kept = self._kept, []
            return rows

    def _write(self, database: Database, rows: Rows) -> None:
        """Write rows in one transaction; when some of them are the trouble, all others."""
        if not rows:
            return
        try:
            database.write(rows)
        except RefusedError as error:
            if len(rows) == 1:
                self._reject(rows, str(error))
                return
            middle = len(rows) // 2
            self._write(database, rows[:middle])
            self._write(database, rows[middle:])

    def _reject(self, rows: Rows, reason: str) -> None:
        ((table, row),) = rows
        events.emit(LEDGER_REJECTED, "error", reason=reason, table=table, id=row.get("id"))
        try:
            if self._spool:
                self._spool.reject(rows)
        except Exception as error:  # it may be as unfit for the file as for the database
            events.emit(LEDGER_DROPPED, "error", reason=_reason_of(error), rows=1)

    def _replay(self, database: Database) -> int:
        if self._spool is None:
            return 0
        try:
            return self._spool.replay(lambda rows: self._write(database, rows))
        except OSError as error:
            self._spool_failed(error)
            self._retry_at = self._now() + _LONGEST_WAIT
            return 0

    def _spool_failed(self, error: Exception) -> str:
        reason = _reason_of(error)
        if self._spool_reason != reason:
            events.emit(LEDGER_SPOOL_FAILED, "error", reason=reason)
        self._spool_reason = reason
        return reason

    def _look_after(self, database: Database) -> None:
        if self._now() >= self._next_upkeep:
            with suppress(RefusedError):
                self._upkeep(database)
            self._next_upkeep = self._now() + _DAY

    def _rest(self, error: UnavailableError) -> None:
        if self._reason != error.reason:
            spool = str(self._spool.path) if self._spool else None
            hint = {"hint": error.hint} if error.hint else {}
            events.emit(LEDGER_UNAVAILABLE, "error", reason=error.reason, spool=spool, **hint)
            self._wait = _FIRST_WAIT
        self._reason = error.reason
        self._retry_at = self._now() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def _newest(self, rows: Rows, reason: str) -> Rows:
        """Bound what memory keeps."""
        surplus = len(rows) - _MOST_KEPT
        if surplus <= 0:
            return rows
        events.emit(LEDGER_DROPPED, "error", reason=reason, rows=surplus)
        return rows[surplus:]

    def _came_back(self, replayed: int) -> None:
        if self._reason or replayed:
            events.emit(LEDGER_RECOVERED, reason=self._reason or "spool_found", replayed=replayed)
        self._reason = None
        if not (self._spool and self._spool.pending()):
            self._spool_reason = None
        self._wait = _FIRST_WAIT


def _reason_of(error: Exception) -> str:
    return reason_of_error(error) or type(error).__name__
