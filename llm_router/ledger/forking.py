"""A process may fork at any moment, and its children may end in their own way.

A child has the memory of its parent and none of its threads: what one of those held, it waits for
for ever. So a fork waits for imports, and for the database driver: SQLite has locks of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_FORK_SECONDS = 1.0
"""How long a fork waits for threads that are in the driver."""

importing = threading.RLock()
"""Held while modules are imported. A fork waits for it: a child would wait for ever for a module
that a thread of its parent was importing."""


class ForkGate:
    """Lets any number of threads in, and holds them back while the process forks."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of nobody inside: a child has none of the threads."""
        self._changed = threading.Condition()
        self._inside = 0

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Wait, for a bounded time, until nobody is inside, and let nobody in."""
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._inside, _FORK_SECONDS)

    def open(self) -> None:
        self._changed.release()


class Forks(Protocol):
    """What has to know of a fork."""

    gate: ForkGate

    def forked(self) -> None:
        """Go on in the child."""
        ...


_forks: weakref.WeakSet[Forks] = weakref.WeakSet()
_closed: list[ForkGate] = []
"""Those that wait for the fork under way, which is one at a time: `importing` is held."""


def tell_of_forks(one: Forks) -> None:
    """See to it that *one* is told, for as long as it is there."""
    _forks.add(one)


def at_the_end_of_a_child(finish: Callable[[], object]) -> None:
    """Call *finish* when a child of `multiprocessing` ends: such a one leaves without `atexit`."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util and process and process.parent_process() is not None:
        util.Finalize(None, finish, exitpriority=0)


def _before_fork() -> None:
    importing.acquire()
    for one in list(_forks):
        one.gate.close()
        _closed.append(one.gate)


def _after_fork() -> None:
    while _closed:
        _closed.pop().open()
    importing.release()


def _forked() -> None:
    _closed.clear()
    importing.release()
    for one in list(_forks):
        one.gate.begin_anew()
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forked)
