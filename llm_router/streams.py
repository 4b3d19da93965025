"""CompletionStream: an answer while it comes, and the whole of it after the end."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from llm_router.answers.answer import Answer
from llm_router.answers.completion import Completion
from llm_router.answers.stream_events import Finish, TextDelta, UsageReport
from llm_router.errors import LLMRouterError, ProviderError, StreamInterruptedError
from llm_router.routing import loop
from llm_router.routing.loop import Asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from llm_router.answers.stream_events import StreamEvent
    from llm_router.engine import CallScope
    from llm_router.operations.chat import ChatStream
    from llm_router.options.request import Deployment
    from llm_router.providers.base import ProviderStream
    from llm_router.routing.call import RunningAttempt

C = TypeVar("C", bound=Answer)
_NOT_CONTENT = (UsageReport, Finish)


class Begun:
    """A stream up to its first content event (or its end, when it has none), and its attempt."""

    def __init__(self, stream: ProviderStream, attempt: RunningAttempt) -> None:
        self.stream = stream
        self.attempt = attempt
        self.call = attempt.call
        self.first: deque[StreamEvent] = deque()
        self.next = aiter(stream).__anext__

    async def read(self) -> Self:
        """Read until the first content: up to there an error may still be retried."""
        try:
            while not self.first or isinstance(self.first[-1], _NOT_CONTENT):
                self.first.append(await self.next())
            self.attempt.first_token()
        except StopAsyncIteration:
            pass
        except BaseException:
            # Whatever ended it (an error, a timeout, a cancellation), nobody will read on.
            await self.stream.aclose()
            raise
        self.attempt.partial = self.stream.snapshot
        return self

    def named(self, partial: C) -> C:
        """Return what has come as the caller gets it."""
        first_ms = self.attempt.first_token_ms
        return self.attempt.whole(partial, time_to_first_token_ms=first_ms)


class AskingForStream(Asking[Any]):
    """Sends a request and waits for the first content of its stream."""

    async def send(self, attempt: RunningAttempt, request: Any) -> Begun:
        return await Begun(await super().send(attempt, request), attempt).read()


class CompletionStream:
    """Use as `async with router.stream(…) as stream`, then iterate once.

    `async for event in stream` gives the typed events of `llm_router.answers.stream_events`;
    `async for text in stream.text_stream` only the text. After the end `completion` is the whole
    answer. An error before the first content is raised by `async with` as its own class; after it
    always as StreamInterruptedError, with what came in `.partial`. Leaving early closes the
    connection and records the attempt as cancelled.
    """

    def __init__(
        self,
        scope: CallScope,
        operation: ChatStream,
        provider_of: Callable[[Deployment], Any],
    ) -> None:
        self._scope = scope
        self._operation = operation
        self._provider_of = provider_of
        self._begun: Begun | None = None
        self._completion: Completion | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        """Say where the stream stands, and what has come, on one line."""
        if self._completion is not None:
            return f"<{type(self).__name__}, ended: {self._completion!r}>"
        if self._begun is None:
            return f"<{type(self).__name__} of {self._scope.plan.requested!r}, not entered>"
        state = "left" if self._begun.call.ended else "open"
        return f"<{type(self).__name__}, {state}: {self.snapshot()!r}>"

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("entered already: a stream is one call; ask router.stream again")
        self._loop = asyncio.get_running_loop()
        call = await self._scope.__aenter__()
        try:
            step = AskingForStream(self._operation, call, self._provider_of)
            self._begun = await loop.run(call, step)
        except BaseException as error:
            self._scope.end(error)
            await self._scope.settle()
            raise
        self._begun.stream.idle_timeout = call.limits.idle_timeout
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._leave()
        await self._close()

    def __aiter__(self) -> Self:
        self._entered()
        return self

    async def __anext__(self) -> StreamEvent:
        begun = self._begun or self._entered()
        if begun.first:
            return begun.first.popleft()
        if begun.call.ended:
            raise StopAsyncIteration
        try:
            try:
                return await begun.next()
            except StopAsyncIteration:
                whole, first_ms = begun.stream.snapshot(), begun.attempt.first_token_ms
                self._completion = begun.call.succeed(whole, time_to_first_token_ms=first_ms)
        except Exception as error:
            interrupted = _interrupted(begun, error)
            self._scope.end(interrupted)
            await self._scope.settle()
            raise interrupted from error
        self._scope.end()
        await self._close()
        raise StopAsyncIteration

    def _entered(self) -> Begun:
        if self._begun is None:
            raise RuntimeError("enter the stream first: async with router.stream(…) as stream")
        return self._begun

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
        begun = self._entered()
        return self._completion or begun.named(begun.stream.snapshot())

    async def collect(self) -> Completion:
        """Read to the end and return the whole answer."""
        async for _ in self:
            pass
        return self.completion

    async def aclose(self) -> None:
        """Close the connection; an answer that has not ended is recorded as cancelled."""
        self._leave()
        await self._close()

    def _leave(self) -> None:
        self._scope.end()
        if self._begun is not None:
            self._begun.first.clear()

    async def _close(self) -> None:
        try:
            if self._begun is not None:
                await self._begun.stream.aclose()
        finally:
            await self._scope.settle()

    def __del__(self) -> None:
        # Nobody will read on. This may run in any thread, inside any lock: the loop that owns the
        # call ends it, and the connection goes with its object.
        if self._loop is not None and self._begun is not None and not self._begun.call.ended:
            with suppress(RuntimeError):  # the loop is closed: there is nobody to tell
                self._loop.call_soon_threadsafe(self._scope.end)


async def _texts(events: AsyncIterator[StreamEvent]) -> AsyncIterator[str]:
    async for event in events:
        if type(event) is TextDelta:
            yield event.text


def _interrupted(begun: Begun, cause: Exception) -> StreamInterruptedError:
    """End the attempt with the one class of errors after the first content; return it.

    It has the status, code and sentence of its cause, whatever that is.
    """
    attempt = begun.attempt
    partial = attempt.so_far() or Completion()
    names = ("upstream_message", "status_code", "code", "retry_after", "raw", "usage", "cost")
    facts = {name: getattr(cause, name, None) for name in names}
    error = StreamInterruptedError(
        cause.message if isinstance(cause, LLMRouterError) else f"{type(cause).__name__}: {cause}",
        **facts,
        upstream_provider=getattr(cause, "upstream_provider", None) or partial.upstream_provider,
        response_id=getattr(cause, "response_id", None) or partial.response_id,
        hint="What came before is in `.partial`; it is not a whole answer.",
    )
    error.__cause__ = cause
    if isinstance(cause, ProviderError):
        cause.mask(attempt.call.secrets_of(attempt.deployment))
    attempt.fail(error, partial)
    error.add(partial=begun.named(partial))
    return error
