"""The HTTP client under LiteLLM: ours to close, one request a call, and a witness of the wire.

Import this module only after LiteLLM: it needs httpx at once.
LiteLLM repeats a request whose connection broke, and makes up a finish reason and usage for a cut
stream. So a broken connection gets a class that LiteLLM does not repeat, and an `Exchange` keeps
what the wire really said.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from llm_router.errors import InvalidResponseError
from llm_router.providers.http import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

NO_KEY = "llm-router-no-key"
"""Given to LiteLLM where the row has no key, so that it takes none from the environment."""
_ADDED_BY_LITELLM = {
    "http-referer": "https://litellm.ai",
    "x-title": "liteLLM",
    "openai-organization": None,
    "openai-project": None,
}

current_exchange: ContextVar[Exchange | None] = ContextVar("llm_router_exchange", default=None)


class ConnectionBrokenError(httpx.TransportError):
    """No connection, or one that broke: a class that LiteLLM does not answer with a repeat."""


class AbandonedError(httpx.TransportError):
    """The call was cancelled while LiteLLM prepared it in a thread: nothing is sent."""


@dataclass(slots=True)
class Exchange:
    """What the wire said during one call. Empty when LiteLLM used a client of its own."""

    requests: int = 0
    host: str = ""
    """Where the last one went, `host:port`."""
    response: httpx.Response | None = None
    failure: httpx.TransportError | None = None
    received: list[bytes] = field(default_factory=list)
    """Bytes of the body that nobody has taken yet."""
    abandoned: bool = False

    def take(self) -> bytes:
        """Return the bytes that came since the last time."""
        data = b"".join(self.received)
        self.received.clear()
        return data

    @property
    def status(self) -> int | None:
        return None if self.response is None else self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.response is None else self.response.headers


class WireClient(httpx.AsyncClient):
    """An httpx client with the environment's proxies, no redirects and no pool limit."""

    def __init__(self, wanted_headers: Iterable[str] = ()) -> None:
        super().__init__(
            timeout=None,  # the Router bounds every attempt
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            event_hooks={"response": [_witness]},
        )
        self._wanted = {name.lower() for name in wanted_headers}

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        exchange = current_exchange.get() or Exchange()
        if exchange.abandoned:
            raise AbandonedError("cancelled before it was sent", request=request)
        exchange.requests += 1
        exchange.host = request.url.netloc.decode()
        self._clean(request)
        try:
            # A redirect would carry key and prompt to a host that nobody configured.
            return await super().send(request, **options | {"follow_redirects": False})
        except (httpx.NetworkError, httpx.ProtocolError) as error:
            exchange.failure = ConnectionBrokenError(str(error), request=request)
            raise exchange.failure from error

    def _clean(self, request: httpx.Request) -> None:
        """Remove what LiteLLM adds on its own: a stand-in key, its name, the environment's ids."""
        request.headers["Accept-Encoding"] = "identity"  # the witness reads bytes as they come
        for name, value in list(request.headers.items()):
            known = _ADDED_BY_LITELLM.get(name, "")
            added = name not in self._wanted and (known is None or known == value)
            if NO_KEY in value or (value and added):
                del request.headers[name]


async def _witness(response: httpx.Response) -> None:
    exchange = current_exchange.get()
    stream = response.stream
    if exchange is not None and isinstance(stream, httpx.AsyncByteStream):
        exchange.response = response
        response.stream = _WitnessedStream(stream, exchange)


class _WitnessedStream(httpx.AsyncByteStream):
    """The bytes of a body on their way to LiteLLM, noted and bounded."""

    def __init__(self, stream: httpx.AsyncByteStream, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        untaken = 0
        try:
            async for part in self._stream:
                untaken = untaken + len(part) if self._exchange.received else len(part)
                if untaken > MAX_BODY_BYTES:
                    limit = f"{MAX_BODY_BYTES >> 20} MiB"
                    raise InvalidResponseError(f"The body is larger than {limit}.")
                self._exchange.received.append(part)
                yield part
        except httpx.TransportError as error:
            self._exchange.failure = error
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()
