"""CompletionStream and ParsedStream: an answer while it comes, and the whole after the end."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from llm_router.answers.answer import Answer
from llm_router.answers.completion import Completion
from llm_router.answers.stream_events import Finish, TextDelta, ToolCallDelta, UsageReport
from llm_router.errors import (
    LLMRouterError,
    ProviderError,
    StreamInterruptedError,
    StructuredOutputError,
)
from llm_router.operations.structured.growing import Growing
from llm_router.operations.structured.reasking import (
    AskingForSchema,
    off_the_loop,
    parse_stream,
)
from llm_router.operations.structured.schema import WRAP_KEY
from llm_router.routing import loop
from llm_router.routing.loop import Asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from llm_router.answers.completion import ParsedCompletion
    from llm_router.answers.partial import Partial
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.engine import CallScope
    from llm_router.operations.chat import ChatStream
    from llm_router.operations.structured.parsing import Parse
    from llm_router.operations.structured.schema import Schema
    from llm_router.options.request import Deployment
    from llm_router.providers.base import ProviderStream
    from llm_router.routing.call import Call, RunningAttempt

C = TypeVar("C", bound=Answer)
R = TypeVar("R", bound=Completion)
T = TypeVar("T")
E = TypeVar("E")
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


class AnswerStream(Generic[R]):
    """A call whose answer comes piece by piece: enter it, then iterate once.

    An error before the first content is raised by `async with` as its own class; after it always
    as StreamInterruptedError, with what came in `.partial`. Leaving early closes the connection
    and records the attempt as cancelled.
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
        self._completion: R | None = None
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
            self._begun = await loop.run(call, self._asking(call))
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

    def _asking(self, call: Call) -> AskingForStream:
        return AskingForStream(self._operation, call, self._provider_of)

    def __aiter__(self) -> Self:
        self._entered()
        return self

    async def _next_event(self) -> StreamEvent:
        begun = self._begun or self._entered()
        if begun.first:
            return begun.first.popleft()
        if begun.call.ended:
            raise StopAsyncIteration
        try:
            try:
                return await begun.next()
            except StopAsyncIteration:
                first_ms = begun.attempt.first_token_ms
                whole = await self._judged(begun, begun.stream.snapshot())
                self._completion = begun.call.succeed(whole, time_to_first_token_ms=first_ms)
        except StructuredOutputError as error:
            self._scope.end(error)
            await self._close()
            raise
        except Exception as error:
            interrupted = _interrupted(begun, error)
            self._scope.end(interrupted)
            await self._scope.settle()
            raise interrupted from error
        self._scope.end()
        await self._close()
        raise StopAsyncIteration

    async def _judged(self, begun: Begun, whole: Completion) -> R:
        """Return the whole answer as what was asked for; StructuredOutputError if it is none."""
        raise NotImplementedError

    def _entered(self) -> Begun:
        if self._begun is None:
            raise RuntimeError("enter the stream first: async with router.stream(…) as stream")
        return self._begun

    @property
    def completion(self) -> R:
        """The whole answer; RuntimeError before the end (see `snapshot`)."""
        if self._completion is None:
            raise RuntimeError("the stream has not ended: iterate it to its end first")
        return self._completion

    def snapshot(self) -> Completion:
        """Return what has come so far."""
        begun = self._entered()
        return self._completion or begun.named(begun.stream.snapshot())

    async def collect(self) -> R:
        """Read to the end and return the whole answer."""
        with suppress(StopAsyncIteration):
            while True:
                await self._next_event()
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


class CompletionStream(AnswerStream[Completion]):
    """Use as `async with router.stream(…) as stream`, then iterate once.

    `async for event in stream` gives the typed events of `llm_router.answers.stream_events`;
    `async for text in stream.text_stream` only the text. After the end `completion` is the whole
    answer. Errors are those of `AnswerStream`.
    """

    async def __anext__(self) -> StreamEvent:
        return await self._next_event()

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text alone, piece by piece."""
        return _texts(aiter(self))

    async def _judged(self, begun: Begun, whole: Completion) -> Completion:
        return whole


class _AskingForObject(AskingForSchema, AskingForStream):
    """Asks for an object of a schema, and waits for the first content of its stream."""


class ParsedStream(AnswerStream["ParsedCompletion[T]"], Generic[T]):
    """Use as `async with router.stream_parse(…, schema=T) as stream`, then iterate once.

    `async for partial in stream` gives what is complete of the object, a Partial each time there
    is more; `async for item in stream.items` the finished elements of a list, validated. JSON that
    stands in the middle of prose or reasoning shows nothing before the end. After the end
    `completion` is the ParsedCompletion and `parsed` its object; an answer that is none is a
    SchemaValidationError, TruncatedOutputError or RefusalError there, and is not asked for again.
    All else is as of `AnswerStream`.
    """

    def __init__(
        self,
        scope: CallScope,
        operation: ChatStream,
        provider_of: Callable[[Deployment], Any],
        parse: Parse[T],
        schema_of_items: Callable[[], Schema[Any]],
        *,
        grow_strings: bool,
    ) -> None:
        super().__init__(scope, operation, provider_of)
        self._parse = parse
        self._schema_of_items = schema_of_items
        self._growing = Growing(parse.schema, grow_strings=grow_strings)
        self._called: int | None = None
        """Which of the tool calls is the answer."""
        self._given = 0
        """How many items were."""
        self._fits = True

    def _asking(self, call: Call) -> AskingForStream:
        self._step = _AskingForObject(self._operation, call, self._provider_of, self._parse)
        return self._step

    async def __anext__(self) -> Partial[T]:
        while True:
            partial = self._growing.feed(self._text_of(await self._next_event()))
            if partial is not None:
                return partial

    def _text_of(self, event: StreamEvent) -> str:
        """Return what *event* adds to the JSON of the answer."""
        if self._entered().call.mode_used != "tool":
            return event.text if type(event) is TextDelta else ""
        if type(event) is not ToolCallDelta:
            return ""
        if self._called is None and event.name == self._parse.schema.name:
            self._called = event.index
        return event.arguments if event.index == self._called else ""

    @property
    def items(self: ParsedStream[list[E]]) -> AsyncIterator[E]:
        """The elements of a list, each validated as soon as it is complete.

        One that does not fit ends them until the end says what is wrong. TypeError when the
        schema is not that of a list (`schema=list[Item]`).
        """
        return self._items(self._schema_of_items())

    async def _items(self, schema: Schema[E]) -> AsyncIterator[E]:
        async for _ in self:
            while self._fits and (text := self._growing.take_element()) is not None:
                try:
                    item = await off_the_loop(len(text), self._item, schema, text)
                except Exception:  # the end, which judges the whole, raises what is wrong
                    self._fits = False
                else:
                    self._given += 1
                    yield item
        whole: Any = self.parsed
        while self._given < len(whole):  # what only the end could read
            self._given += 1
            yield whole[self._given - 1]

    def _item(self, schema: Schema[E], text: str) -> E:
        text = f'{{"{WRAP_KEY}":{text}}}' if schema.wrapped else text
        strict = self._parse.is_strict(self._entered().attempt.deployment)
        return schema.validate_strict(text) if strict else schema.validate(text)

    @property
    def parsed(self) -> T:
        """The object; RuntimeError before the end."""
        return self.completion.parsed

    async def _judged(self, begun: Begun, whole: Completion) -> ParsedCompletion[T]:
        return await parse_stream(self._step, begun.attempt, whole)


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
