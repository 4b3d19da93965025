"""An event loop whose time is virtual: waiting costs nothing, and an hour is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from llm_router.routing.clock import Clock

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for nothing to happen, lets that much time pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing is scheduled: the code under test waits for ever")
        if not ready and timeout:
            # One nanosecond more, so that rounding never leaves a timer just short of due.
            self.now += timeout + 1e-9
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is what the timers have waited for so far."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def virtual_clock(random: float = 0.5) -> Clock:
    """Return a Clock on the running virtual loop."""
    loop = asyncio.get_running_loop()
    return Clock(
        monotonic=loop.time,
        wall=lambda: 1_800_000_000 + loop.time(),
        sleep=asyncio.sleep,
        random=lambda: random,
    )
