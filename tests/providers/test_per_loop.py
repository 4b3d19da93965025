"""One resource a loop, and who closes it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from llm_router.providers import http
from llm_router.providers.http import PerLoop


class Connection:
    def __init__(self) -> None:
        self.closed_by: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        self.closed_by = asyncio.get_running_loop()

    def is_open(self) -> bool:
        return self.closed_by is None


async def test_each_loop_keeps_its_own_when_several_ask() -> None:
    held = PerLoop(Connection, Connection.close)
    first = await held.get()
    assert await held.get() is first
    other = await asyncio.to_thread(asyncio.run, held.get())
    assert other is not first
    assert not other.is_open(), "asyncio.run closed it with its loop"
    assert first.is_open()
    await held.aclose()
    await held.aclose()
    assert first.closed_by is asyncio.get_running_loop()
    assert await held.get() is not first


async def test_a_loop_in_another_thread_closes_its_own_when_everything_is_closed() -> None:
    held = PerLoop(Connection, Connection.close)
    there = asyncio.new_event_loop()
    thread = threading.Thread(target=there.run_forever)
    thread.start()
    try:
        theirs = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.get(), there))
        mine = await held.get()
        await held.aclose()
        assert (mine.closed_by, theirs.closed_by) == (asyncio.get_running_loop(), there)
    finally:
        there.call_soon_threadsafe(there.stop)
        thread.join()
        there.close()


def test_a_loop_that_stands_still_closes_its_own_when_it_shuts_down() -> None:
    held = PerLoop(Connection, Connection.close)
    still = asyncio.new_event_loop()
    theirs = still.run_until_complete(held.get())
    asyncio.run(held.aclose())
    assert theirs.is_open()
    still.run_until_complete(still.shutdown_asyncgens())
    assert theirs.closed_by is still
    still.close()


async def test_closing_does_not_wait_for_a_busy_loop_when_it_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "CLOSING_SECONDS", 0.1)
    held = PerLoop(Connection, Connection.close)
    there = asyncio.new_event_loop()
    thread = threading.Thread(target=there.run_forever)
    thread.start()
    theirs = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.get(), there))
    busy = threading.Event()
    there.call_soon_threadsafe(busy.wait, 5)
    began = time.monotonic()
    await held.aclose()
    assert time.monotonic() - began < 1
    assert theirs.is_open()
    busy.set()
    async with asyncio.timeout(5):
        while theirs.is_open():  # until the loop gets to it
            await asyncio.sleep(0.01)
    there.call_soon_threadsafe(there.stop)
    await asyncio.to_thread(thread.join)
    there.close()


async def test_closing_beside_loops_that_end_raises_nothing() -> None:
    """Forty times, since it is a race: `is_running` may be true a moment too long."""
    for _ in range(40):
        held = PerLoop(Connection, Connection.close)
        ready = threading.Event()

        async def one(held: PerLoop[Connection] = held, ready: threading.Event = ready) -> None:
            await held.get()
            ready.set()
            await asyncio.sleep(0.002)

        thread = threading.Thread(target=asyncio.run, args=(one(),))
        thread.start()
        await asyncio.to_thread(ready.wait)
        await held.aclose()
        await asyncio.to_thread(thread.join)
