"""CompletionStream: an answer while it comes, and the whole of it after the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from llm_router.answers.stream_events import Finish, TextDelta, UsageReport
from llm_router.errors import ProviderError, StreamInterruptedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.providers.base import ProviderStream
    from llm_router.routing.call import Call, RunningAttempt

_NOT_CONTENT = (UsageReport, Finish)


@dataclass(slots=True)
class Begun:
    """A stream up to its first content event (or its end, when it has none)."""

    stream: ProviderStream
    events: AsyncIterator[StreamEvent]
    first: list[StreamEvent]
    ended: bool


async def begin(stream: ProviderStream, attempt: RunningAttempt) -> Begun:
    """Read *stream* until its first content: up to there an error may still be retried."""
    events = aiter(stream)
    first: list[StreamEvent] = []
    try:
        async for event in events:
            first.append(event)
            if not isinstance(event, _NOT_CONTENT):
                attempt.first_token()
                return Begun(stream, events, first, ended=False)
    except BaseException:
        # Whatever ended it (an error, a timeout, a cancellation), nobody will read on.
        await stream.aclose()
        raise
    return Begun(stream, events, first, ended=True)


@dataclass(slots=True)
class Running:
    """What a stream needs once an attempt has brought its first content."""

    call: Call
    attempt: RunningAttempt
    begun: Begun
    settle: Callable[[], Awaitable[None]]
    """Awaited at the end: returns when the records are as durable as was asked for."""


class CompletionStream:
    """Use as `async with router.stream(…) as stream`, then iterate once.

    `async for event in stream` gives the typed events of `llm_router.answers.stream_events`;
    `async for text in stream.text_stream` only the text. After the end `completion` is the whole
    answer. An error before the first content is raised by `async with` as its own class; after it
    always as StreamInterruptedError, with what came in `.partial`. Leaving early closes the
    connection and records the attempt as cancelled.
    """

    def __init__(self, start: Callable[[], Awaitable[Running]]) -> None:
        self._start = start
        self._running: Running | None = None
        self._waiting: deque[StreamEvent] = deque()
        self._completion: Completion | None = None

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("entered already: a stream is one call; ask router.stream again")
        self._running = running = await self._start()
        self._waiting.extend(running.begun.first)
        running.begun.stream.idle_timeout = running.call.limits.idle_timeout
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        self._entered()
        return self

    async def __anext__(self) -> StreamEvent:
        if self._waiting:
            return self._waiting.popleft()
        running = self._entered()
        if running.call.finished:
            raise StopAsyncIteration
        try:
            if not running.begun.ended:
                return await anext(running.begun.events)
        except StopAsyncIteration:
            pass
        except ProviderError as error:
            interrupted = _interrupted(running, error)
            await running.settle()
            raise interrupted from error
        self._completion = _succeed(running)
        await running.begun.stream.aclose()
        await running.settle()
        raise StopAsyncIteration

    def _entered(self) -> Running:
        if self._running is None:
            raise RuntimeError("enter the stream first: async with router.stream(…) as stream")
        return self._running

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text alone, piece by piece."""
        return _texts(aiter(self))

    @property
    def completion(self) -> Completion:
        """The whole answer; RuntimeError before the end (see `snapshot`)."""
        if self._completion is None:
            raise RuntimeError("the stream has not ended: iterate it to its end first")
        return self._completion

    def snapshot(self) -> Completion:
        """Return what has come so far."""
        return self._completion or _summed(self._entered())

    async def collect(self) -> Completion:
        """Read to the end and return the whole answer."""
        async for _ in self:
            pass
        return self.completion

    async def aclose(self) -> None:
        """Close the connection; an answer that has not ended is recorded as cancelled."""
        running = self._running
        if running is None:
            return
        self._waiting.clear()
        try:
            await running.begun.stream.aclose()
        finally:
            _cancel(running)
        await running.settle()

    def __del__(self) -> None:
        # Nobody will read on: the record is completed, the connection goes with its object.
        if self._running is not None:
            _cancel(self._running)


async def _texts(events: AsyncIterator[StreamEvent]) -> AsyncIterator[str]:
    async for event in events:
        if type(event) is TextDelta:
            yield event.text


def _succeed(running: Running) -> Completion:
    completion = running.begun.stream.snapshot()
    running.attempt.succeed(completion)
    whole = _summed(running)
    running.call.finish("succeeded", completion=whole)
    return whole


def _cancel(running: Running) -> None:
    """End attempt and call as cancelled; nothing happens when they have ended."""
    if running.call.finished:
        return
    running.attempt.cancel(running.begun.stream.snapshot())
    running.call.finish("cancelled")


def _interrupted(running: Running, cause: ProviderError) -> StreamInterruptedError:
    """Return the one class of errors after the first content, with the facts of its cause."""
    partial = running.begun.stream.snapshot()
    error = StreamInterruptedError(
        cause.message,
        upstream_message=cause.upstream_message,
        status_code=cause.status_code,
        code=cause.code,
        retry_after=cause.retry_after,
        upstream_provider=cause.upstream_provider or partial.upstream_provider,
        response_id=cause.response_id or partial.response_id,
        raw=cause.raw,
        usage=cause.usage,
        cost=cause.cost,
        hint="What came before is in `.partial`; it is not a whole answer.",
    )
    error.__cause__ = cause
    running.attempt.fail(error, partial)
    error.add(partial=_summed(running))
    running.call.describe(error)
    running.call.finish("failed", error=error)
    return error


def _summed(running: Running) -> Completion:
    snapshot = running.begun.stream.snapshot()
    return running.call.summed(snapshot, time_to_first_token_ms=running.attempt.first_token_ms)
