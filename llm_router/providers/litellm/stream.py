"""A stream that LiteLLM reads, as our typed events.

On OpenAI's wire the events are those of the raw bytes, read as OpenRouter's streams are: LiteLLM
makes up a finish reason and usage for a cut stream, and loses refusals, the upstream's name and
the details of the cost. Elsewhere they are LiteLLM's chunks, with these losses: a null finish
reason reads as "stop"; a stream cut without an error may pass for a whole one, except on
Anthropic's and Gemini's wire, where its mark is looked for; usage is left out unless the provider
was seen to send some. `idle_timeout` counts what LiteLLM passes on: it keeps empty chunks back.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from llm_router.answers.stream_events import UsageReport
from llm_router.errors import LLMRouterError, ProviderConnectionError, ProviderTimeoutError
from llm_router.providers.litellm.errors import translate
from llm_router.providers.litellm.reading import wire_event
from llm_router.wires.errors import context
from llm_router.wires.stream_reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.options.request import ProviderRequest
    from llm_router.providers.litellm.connection import Exchange

_FINISH_MARK = re.compile(rb'"(?:stop_reason|finishReason)"\s*:\s*"')
_USAGE_MARK = re.compile(rb'"(?:usage|usageMetadata)"\s*:\s*\{')
_CLOSING_SECONDS = 1.0


class LiteLLMStream:
    """The ProviderStream over LiteLLM's CustomStreamWrapper."""

    def __init__(
        self,
        wrapper: Any,
        exchange: Exchange,
        request: ProviderRequest,
        secrets: Sequence[str],
        *,
        raw: bool,
        marks_its_end: bool,
        finished: Callable[[Completion], Completion],
    ) -> None:
        self.idle_timeout: float | None = None
        self._wrapper, self._exchange, self._request = wrapper, exchange, request
        self._secrets, self._finished = secrets, finished
        self._raw = raw and exchange.response is not None
        self._reader = StreamReader(request, exchange.headers, secrets)
        self._events: deque[StreamEvent] = deque()
        self._over = False
        self._witness = _Witness(exchange, marks_its_end)

    def __aiter__(self) -> LiteLLMStream:
        return self

    async def __anext__(self) -> StreamEvent:
        """Return the next event. Raises the ProviderError that the stream ended in."""
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            await self._fill()
        event = self._events.popleft()
        if type(event) is UsageReport:
            return UsageReport(event.usage, self.snapshot().cost)
        return event

    async def _fill(self) -> None:
        try:
            async with asyncio.timeout(self.idle_timeout) as idle:
                self._feed(await anext(self._wrapper))
        except StopAsyncIteration:
            self._feed(None)
            self._end()
        except Exception as error:  # LiteLLM raises builtin classes too; all are translated
            self._over = True
            await self.aclose()
            raise self._failure(error, idled=idle.expired()) from error

    def _feed(self, chunk: Any) -> None:
        if self._raw:
            data = self._exchange.take()
        else:
            self._witness.look()
            counted = self._witness.usage
            data = wire_event(chunk, with_usage=counted) if chunk is not None else b""
        self._events.extend(self._reader.feed(data))

    def _end(self) -> None:
        self._over = True
        if not self._raw and not self._witness.finish:
            raise ProviderConnectionError(
                "The stream was cut: it ended without a finish reason",
                **context(self._request, self._exchange.headers),
            )
        self._events.extend(self._reader.close())

    def _failure(self, error: Exception, *, idled: bool) -> LLMRouterError:
        """Return what ended the stream: the wire's own word before LiteLLM's."""
        if idled:
            return ProviderTimeoutError(
                f"No data event came for {self.idle_timeout:g} s",
                hint="Raise idle_timeout if the model may pause for so long.",
                **context(self._request, self._exchange.headers),
            )
        if self._raw:
            self._reader.feed(self._exchange.take())
        if self._reader.error is not None:
            return self._reader.error
        if isinstance(error, LLMRouterError):
            return error
        return translate(error, self._request, self._exchange, self._secrets)

    def snapshot(self) -> Completion:
        """Return what has come so far, the whole answer after the end."""
        return self._finished(self._reader.snapshot())

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        self._over = True
        response = self._exchange.response
        if response is not None:
            await response.aclose()
        close = getattr(self._wrapper, "aclose", None)
        if close is not None:
            await close()


class _Witness:
    """What LiteLLM's chunks do not tell: whether a finish and a count were on the wire."""

    def __init__(self, exchange: Exchange, marks_its_end: bool) -> None:
        self._exchange = exchange
        self._seen = exchange.response is not None
        self._tail = b""
        self.finish = not (self._seen and marks_its_end)
        self.usage = False

    def look(self) -> None:
        data = self._tail + self._exchange.take()
        self.finish = self.finish or bool(_FINISH_MARK.search(data))
        self.usage = self.usage or bool(_USAGE_MARK.search(data))
        self._tail = data[-64:]
