"""One resource per event loop: HTTP sessions belong to the loop that opened them."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

R = TypeVar("R")
CLOSING_SECONDS = 2.0
"""How long `aclose` waits for a loop of another thread; it may be busy for longer, or ending."""


class PerLoop(Generic[R]):
    """Gives each running loop its own resource, and closes it with `aclose()` or with its loop.

    An asynchronous generator holds the resource: `asyncio.run` finishes the generators of its
    loop before it closes it (`loop.shutdown_asyncgens`), so that a script which runs several
    loops one after the other, and never closes its Router, still leaks no connection.
    """

    def __init__(self, make: Callable[[], R], close: Callable[[R], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._held: dict[asyncio.AbstractEventLoop, tuple[R, AsyncGenerator[R, None]]] = {}

    async def get(self) -> R:
        """Return the resource of the running loop, made now if this is the first time."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            keeper = self._keep(loop)
            # The generator runs to its first yield without suspending: no one gets in between.
            held = self._held[loop] = (await anext(keeper), keeper)
        return held[0]

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[R, None]:
        resource = self._make()
        try:
            yield resource
        finally:
            self._held.pop(loop, None)
            await self._close(resource)

    async def aclose(self) -> None:
        """Close the resource of this loop, and those of loops that run in other threads.

        A loop that stands still cannot be asked, and one that is busy is not waited for beyond
        `CLOSING_SECONDS`: its resource is closed when it gets to it, or shuts down.
        """
        here = asyncio.get_running_loop()
        for loop, (_, keeper) in list(self._held.items()):
            self._held.pop(loop, None)
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                await _close_in(loop, keeper)


async def _close_in(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[R, None]) -> None:
    closed: Future[None] = Future()

    async def close() -> None:
        await keeper.aclose()

    def begin() -> None:
        loop.create_task(close()).add_done_callback(lambda _: closed.set_result(None))

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError:  # it ended at this moment, and closed what it held
        return
    await asyncio.wait([asyncio.wrap_future(closed)], timeout=CLOSING_SECONDS)
