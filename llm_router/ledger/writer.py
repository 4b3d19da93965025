"""The writer: a queue that costs a call next to nothing, and one thread that empties it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.ledger.rows import Record, RowBuilder
    from llm_router.ledger.store import Store

MOST_WAITING = 20_000
"""Records that wait in memory while the database is slow; more go to the spool."""
_BATCH = 4_000
_EXIT_SECONDS = 10.0
_FORK_SECONDS = 1.0
"""How long a fork waits for a write under way."""

importing = threading.RLock()
"""Held while modules are imported. A fork waits for it: a child would wait for ever for a module
that a thread of its parent was importing."""
_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
"""Those that a forked process begins anew."""


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
        self._begin_anew()
        _writers.add(self)

    def _begin_anew(self) -> None:
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._asleep = False
        self._starting = threading.Lock()
        self._relief = threading.Lock()
        self._relieving = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def forked(self) -> None:
        """Go on in a child process, which has the queue but none of its parent's threads."""
        self._begin_anew()
        self._after_fork()

    def pause(self) -> None:
        """Let no thread be inside of the database driver: SQLite has locks of its own, and a
        child would wait for ever for one that a thread of its parent held."""
        self._store.at_work.acquire(timeout=_FORK_SECONDS)

    def resume(self) -> None:
        with suppress(RuntimeError):  # the write took longer than a fork waits
            self._store.at_work.release()

    def put(self, record: Record) -> None:
        """Queue a record: no lock to wait for, no I/O. This is all that a call waits for.

        Safe in a finaliser, which may run inside of anything that this thread is doing.
        """
        self._queue.append(record)
        self._rouse()
        waiting = len(self._queue)
        if waiting >= _BATCH and self._bell.empty():
            self._bell.put(None)
        if waiting >= MOST_WAITING and not self._relieving:
            self._relieve()

    def call_when_written(self, done: Callable[[], None]) -> None:
        """Call *done* (in the writer's thread) when all that was queued before is durable."""
        self._queue.append(done)
        self._rouse()
        self._bell.put(None)

    def idle(self) -> bool:
        """Return whether there is nothing to wait for."""
        return not self._queue and not self._is_running()

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
        self._bell.put(None)
        thread.join(timeout)
        if thread.is_alive():
            return False
        atexit.unregister(self.close)
        return self.close(timeout) if self._queue else True  # put while the thread ended

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _rouse(self) -> None:
        """See to it that a thread writes what is queued."""
        if not self._is_running():
            self._start()
        elif self._asleep:
            self._asleep = False
            self._bell.put(None)

    def _start(self) -> None:
        # Who holds it starts the thread right now, perhaps further up this very stack.
        if not self._starting.acquire(blocking=False):
            return
        # No more threads (at the end of the interpreter): the queue stays for `close`.
        with suppress(RuntimeError):
            if not self._is_running():
                self._closing = False
                # A daemon, or a Router that was never closed would keep the interpreter alive;
                # the exit handler gives it the time to finish.
                self._thread = threading.Thread(
                    target=self._run, name="llm_router.ledger", daemon=True
                )
                self._thread.start()
                atexit.register(self.close)
        self._starting.release()

    def _run(self) -> None:
        while not (self._closing and not self._queue):
            self._sleep()
            self._write()
        self._store.finish()

    def _sleep(self) -> None:
        """Wait for something to do, then for more of it, unless someone rings."""
        self._asleep = True
        if not self._queue and not self._closing:
            self._wait(self._store.retry_in())
        self._asleep = False
        if self._queue and not self._closing:
            self._wait(self._interval)
        while not self._bell.empty():  # what was queued before it rang is written now
            self._bell.get()

    def _wait(self, seconds: float | None) -> None:
        with suppress(Empty):
            self._bell.get(timeout=seconds)

    def _write(self) -> None:
        records, waiting = self._drain()
        try:
            self._store.save(self._builder.build(records), now=self._closing)
        finally:
            if waiting:
                with self._relief:  # it may still be busy with what was queued before
                    pass
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
        try:
            threading.Thread(target=self._spool_queue, name="llm_router.ledger.relief").start()
        except RuntimeError:  # no more threads
            self._relieving = False

    def _spool_queue(self) -> None:
        """Bring what waits to the spool, while the writer is held up by the database."""
        waiting: list[Callable[[], None]] = []
        try:
            with self._relief:
                records, waiting = self._drain()
                self._store.set_aside(self._builder.build(records))
        finally:
            self._relieving = False
            for done in waiting:  # after the rows that the writer holds
                self.call_when_written(done)


def _before_fork() -> None:
    importing.acquire()
    for writer in list(_writers):
        writer.pause()


def _after_fork() -> None:
    for writer in list(_writers):
        writer.resume()
    importing.release()


def _forked() -> None:
    importing.release()
    for writer in _writers:
        writer.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forked)
