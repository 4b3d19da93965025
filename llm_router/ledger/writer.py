"""The writer: a queue that costs a call next to nothing, and one thread that empties it."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.ledger.rows import Record, RowBuilder
    from llm_router.ledger.store import Store

MOST_WAITING = 20_000
"""Records that wait in memory while the database is slow; more go to the spool."""
_BATCH = 4_000
_EXIT_SECONDS = 10.0


class Writer:
    """Writes records in batches. Takes them from any thread and any event loop."""

    def __init__(
        self, builder: RowBuilder, store: Store, interval: float, after_fork: Callable[[], None]
    ) -> None:
        self._builder = builder
        self._store = store
        self._interval = interval
        self._after_fork = after_fork
        self._queue: deque[Record | Callable[[], None]] = deque()
        self._starting = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._relieving = False
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def put(self, record: Record) -> None:
        """Queue a record: no lock, no I/O. This is all that a call waits for."""
        self._queue.append(record)
        if not self._wake.is_set() or self._thread is None or not self._thread.is_alive():
            self._rouse()
        waiting = len(self._queue)
        if waiting >= _BATCH:
            self._hurry.set()
            if waiting >= MOST_WAITING and not self._relieving:
                self._relieve()

    def call_when_written(self, done: Callable[[], None]) -> None:
        """Call *done* (in the writer's thread) when all that was queued before is durable."""
        self._queue.append(done)
        self._hurry.set()
        self._rouse()

    def idle(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self._thread is None and not self._queue

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was queued is durable; return whether it is."""
        if self.idle():
            return True
        written = threading.Event()
        self.call_when_written(written.set)
        return written.wait(timeout)

    def close(self, timeout: float = _EXIT_SECONDS) -> bool:
        """Write what is queued and end the thread; return whether all is durable."""
        if self._queue:
            self._rouse()
        thread = self._thread
        if thread is None or not thread.is_alive():
            return not self._queue
        self._closing = True
        self._hurry.set()
        self._wake.set()
        thread.join(timeout)
        if thread.is_alive():
            return False
        atexit.unregister(self.close)
        self._thread = None
        if self._queue:  # put while the thread ended
            self._write()
        return True

    def _rouse(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                self._reset()
                self._after_fork()
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                # A daemon, or a Router that was never closed would keep the interpreter alive;
                # the exit handler gives it the time to finish.
                self._thread = threading.Thread(target=self._run, name="llm_router.ledger")
                self._thread.daemon = True
                # No more threads (at the end of the interpreter): the queue stays for `close`.
                with suppress(RuntimeError):
                    self._thread.start()
                atexit.register(self.close)
        self._wake.set()

    def _run(self) -> None:
        while not (self._closing and not self._queue):
            if self._wake.wait(self._store.retry_in()) and not self._closing:
                self._hurry.wait(self._interval)
            self._hurry.clear()
            self._wake.clear()
            self._write()
        self._store.finish()

    def _write(self) -> None:
        records, waiting = self._drain()
        try:
            self._store.save(self._builder.build(records), now=self._closing)
        finally:
            for done in waiting:
                done()

    def _drain(self) -> tuple[list[Record], list[Callable[[], None]]]:
        records: list[Record] = []
        waiting: list[Callable[[], None]] = []
        for _ in range(len(self._queue)):
            try:
                item = self._queue.popleft()
            except IndexError:  # the relief took the rest
                break
            if callable(item):
                waiting.append(item)
            else:
                records.append(item)
        return records, waiting

    def _relieve(self) -> None:
        self._relieving = True
        threading.Thread(target=self._spool_queue, name="llm_router.ledger.relief").start()

    def _spool_queue(self) -> None:
        """Bring what waits to the spool, while the writer is held up by the database."""
        try:
            records, waiting = self._drain()
            self._store.set_aside(self._builder.build(records))
            for done in waiting:
                done()
        finally:
            self._relieving = False
        self._wake.set()
