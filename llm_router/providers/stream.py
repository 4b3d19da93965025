"""A stream's bytes, pulled from the connection as the consumer asks for events.

Nothing is read ahead of the consumer: aiohttp stops reading from the socket when its buffer is
full (512 KiB), so a slow consumer slows the sender down instead of filling the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from typing import TYPE_CHECKING, NoReturn, Self

from llm_router.answers.stream_events import UsageReport
from llm_router.errors import ProviderError, ProviderTimeoutError
from llm_router.providers.http import connection_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.wires.reading import Reader

# After an error the bill may still come, after [DONE] the end of the body (which lets the
# connection be used again): both are there at once or not at all.
_BILL_SECONDS = 1.0
_END_SECONDS = 0.2
_DRAIN_BYTES = 64 * 1024


class EventStream:
    """What every ProviderStream does with the events that its `_fill` brings.

    *reader* knows the wire, *priced* adds prices.
    """

    def __init__(self, reader: Reader, priced: Callable[[Completion], Completion]) -> None:
        self.idle_timeout: float | None = None
        self._reader = reader
        self._priced = priced
        self._events: deque[StreamEvent] = deque()
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        """Return the next event.

        Raises the ProviderError that the stream reports, ProviderConnectionError when it is cut,
        ProviderTimeoutError when no data event comes within `idle_timeout` of waiting.
        """
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            await self._fill()
        return self._events.popleft()

    async def _fill(self) -> None:
        """Read until there is an event to give, or the end, or raise what went wrong."""
        raise NotImplementedError

    def _give(self, events: list[StreamEvent]) -> None:
        for event in events:
            if isinstance(event, UsageReport):
                event = UsageReport(event.usage, self.snapshot().cost)
            self._events.append(event)

    def _idle_error(self) -> ProviderTimeoutError:
        return ProviderTimeoutError(
            f"No data event came for {self.idle_timeout:g} s",
            hint="Raise idle_timeout if the model may pause for so long.",
        )

    def snapshot(self) -> Completion:
        """Return what has come so far, the whole answer after the end."""
        return self._priced(self._reader.snapshot())


class HttpStream(EventStream):
    """The ProviderStream over one HTTP answer."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        reader: Reader,
        priced: Callable[[Completion], Completion],
    ) -> None:
        super().__init__(reader, priced)
        self._response = response
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self._broken: ProviderError | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._give_up_at: float | None = None
        """When to stop waiting for a data event; None while nobody waits."""
        self._idled = False

    async def _fill(self) -> None:
        try:
            await self._read()
        finally:
            self._give_up_at = None

    async def _read(self) -> None:
        reader = self._reader
        self._progress()
        while not self._events:
            if reader.error is not None:
                await self._drain(_BILL_SECONDS)
                self._fail(reader.error)
            if reader.ended:
                await self._drain(_END_SECONDS)
                return self._end()
            data = await self._next_bytes()
            if not data:
                return self._end()
            before = reader.data_events
            self._give(reader.feed(data))
            if reader.data_events != before:
                self._progress()
        return None

    async def _next_bytes(self) -> bytes:
        """Return what has come, waiting for it if need be; nothing at the end or at a cut."""
        import aiohttp

        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            self._broken = self._told(connection_error(error, str(self._response.url)))
        if self._idled:
            self._broken = None
            self._fail(self._told(self._idle_error()))
        # aiohttp raises before it hands out what came ahead of the cut, and has no public way to
        # it: a contract test looks whether the buffer is still where it was.
        rest, self._content._buffer = b"".join(self._content._buffer), deque()
        return rest

    def _end(self) -> None:
        """End well if the answer is whole, although the connection may have been cut after it."""
        try:
            self._give(self._reader.close())
        except ProviderError as error:
            self._fail(error)
        self._over = True
        self._leave()

    def _fail(self, error: ProviderError) -> NoReturn:
        self._over = True
        self._leave()
        raise error from self._broken

    async def _drain(self, seconds: float) -> None:
        """Let the reader see what still comes, within narrow bounds."""
        import aiohttp

        size = 0
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(seconds):
                while size < _DRAIN_BYTES and (data := await self._content.readany()):
                    size += len(data)
                    self._reader.feed(data)

    def _told(self, error: ProviderError) -> ProviderError:
        """Write into *error* whose answer broke, as far as the stream said it."""
        seen = self._reader.snapshot()
        error.fill(upstream_provider=seen.upstream_provider, response_id=seen.response_id)
        return error

    def _progress(self) -> None:
        """Begin the wait for the next data event anew."""
        if self.idle_timeout is None:
            return
        self._give_up_at = self._loop.time() + self.idle_timeout
        if self._watchdog is None:
            self._watch_until(self._give_up_at)

    def _watch_until(self, moment: float) -> None:
        # One timer that looks now and then, instead of one per event. It holds no strong
        # reference, so that a forgotten stream is collected, and closed with it.
        self._watchdog = self._loop.call_at(moment, _look, weakref.ref(self))

    def _look_at_clock(self) -> None:
        if self.idle_timeout is None:
            self._watchdog = None
        elif self._give_up_at is None:
            self._watch_until(self._loop.time() + self.idle_timeout)
        elif self._loop.time() < self._give_up_at:
            self._watch_until(self._give_up_at)
        else:
            self._idled = True
            self._response.close()  # wakes the reader up with an error

    def _stop_watching(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _leave(self) -> None:
        """Give the connection back if the body is at its end, else close it."""
        self._stop_watching()
        if not self._content.at_eof() or self._content.exception() is not None:
            self._response.close()

    async def aclose(self) -> None:
        """Close the connection, unless the body is at its end. Idempotent."""
        self._over = True
        self._events.clear()
        self._leave()

    def __del__(self) -> None:
        # The garbage collector runs in any thread, inside any lock: only the loop may act.
        if not self._response.closed:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and closed all it held
                self._loop.call_soon_threadsafe(self._response.close)


def _look(reference: weakref.ref[HttpStream]) -> None:
    stream = reference()
    if stream is not None:
        stream._look_at_clock()
