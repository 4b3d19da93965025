"""What a provider is to the rest of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from decimal import Decimal

    from llm_router.answers.completion import Completion
    from llm_router.answers.models import ModelInfo
    from llm_router.answers.records import Generation
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.options.request import ProviderRequest, RequestPreview
    from llm_router.usage import Usage


class ProviderStream(Protocol):
    """An answer that is coming. Iterate once; close it in every case."""

    idle_timeout: float | None
    """Seconds to wait for the next data event; None waits for ever. The Router sets it after the
    first content event: until then the deadline rules."""

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """Yield events; a ProviderError when the stream fails, the end only when it is whole."""
        ...

    def snapshot(self) -> Completion:
        """Return what has come so far, the whole answer after the end."""
        ...

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        ...


class Provider(Protocol):
    """One configuration row at work: credentials, address, wire. No routing, no retries.

    Built once per row and Router, and reused; safe on several event loops. What it can do beside
    is said by the protocols below: an operation asks with `isinstance` for the one it needs, and
    a provider that is none is an UnsupportedFeatureError.
    """

    name: str
    secrets: tuple[str, ...]
    """What must be masked in whatever comes from it: the key, and values of configured headers."""

    async def open(self, *, keyed: bool = False) -> None:
        """Import what is needed, in a thread, also without a key of the row's where calls bring
        theirs (*keyed*). Idempotent; no request is sent."""
        ...

    def known(self, model: str) -> ModelInfo | None:
        """Return what a catalogue in memory says of *model*; None when nothing does. No I/O."""
        ...

    def cost_of(self, model: str, usage: Usage) -> Decimal | None:
        """Return what *usage* costs by known prices, USD; None where there are none. No I/O."""
        ...

    async def look_up(self, model: str) -> None:
        """Wait, a few seconds at most, until `known` knows what can be known."""
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        ...


@runtime_checkable
class Chat(Provider, Protocol):
    """A provider that answers chat messages.

    Answers and errors carry the provider's facts alone: names of the call, attempts and latency
    are the attempt's to put in, and so is masking `secrets`.
    """

    async def complete(self, request: ProviderRequest) -> Completion:
        """Send one request and read one answer; exactly one HTTP request goes out.

        Raises ProviderError; ConfigurationError or UnsupportedFeatureError before sending.
        """
        ...

    async def stream(self, request: ProviderRequest) -> ProviderStream:
        """Send one request; return when the response has begun. Raises like `complete`."""
        ...

    def preview(self, request: ProviderRequest) -> RequestPreview:
        """Return the exact request that would be sent, secrets masked. Needs `open()`, no I/O."""
        ...


@runtime_checkable
class Catalogued(Provider, Protocol):
    """A provider whose catalogue is kept on disk."""

    def recall(self) -> None:
        """Read it, where none is in memory. Blocks; no network, raises nothing."""
        ...


@runtime_checkable
class GenerationSource(Protocol):
    """A provider that says afterwards what an answer cost."""

    async def fetch_generation(self, response_id: str) -> Generation | None:
        """Return its record of an answer; None while it has none. Raises ProviderError."""
        ...
