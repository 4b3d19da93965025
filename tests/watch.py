"""Whether the event loop stands still: the longest gap between two beats of a heart on it.

A busy machine keeps the process from running, and that is no fault of the process: time that its
threads spent waiting for a processor (Linux counts it) is no part of a gap, unless the loop's own
thread was at work. What is left are the loop's own work, blocking calls, and waits for the
interpreter's lock while another thread of the process holds it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.pace import slowness

_BEAT_S = 0.002
_TASKS = Path("/proc/self/task")


class Watcher:
    """`async with Watcher() as watcher: ...`; afterwards `watcher.worst_ms`."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._slowness = 1.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._slowness = slowness()
        self._loop = asyncio.get_running_loop()
        self._last = self._now()
        self._beat()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * _BEAT_S)  # one beat more: what came last is counted too
        if self._timer is not None:
            self._timer.cancel()
        self.worst_ms /= max(self._slowness, slowness())

    def _beat(self) -> None:
        now = self._now()
        wall, worked, waited = (
            after - before for after, before in zip(now, self._last, strict=True)
        )
        still = worked + max(0.0, wall - worked - max(0.0, waited))
        self.worst_ms = max(self.worst_ms, 1000 * still)
        self._last = self._from_now()
        self._timer = self._loop.call_later(_BEAT_S, self._beat)

    def _now(self) -> tuple[float, float, float]:
        """Return seconds: of the clock, of the loop's work, of waiting for a processor."""
        return time.perf_counter(), time.thread_time(), _waited()

    def _from_now(self) -> tuple[float, float, float]:
        """As `_now`, the clocks last: to read the wait is work of the watcher's, and each file of
        it lets another thread have the interpreter. That is no part of the gap that begins."""
        waited = _waited()
        return time.perf_counter(), time.thread_time(), waited


def _waited() -> float:
    """Return the seconds for which the threads of this process were ready and did not run."""
    total = 0
    with suppress(FileNotFoundError):
        for task in _TASKS.iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended at this moment
                total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9
