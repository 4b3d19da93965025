"""What a wire is: the way one family of providers writes answers, streams and errors.

A wire is pure: bytes in, objects out, no I/O. It knows neither names nor secrets of the call:
alias, deployment and request id are put into its Completions and errors by the attempt, which
also masks the known secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.errors import ProviderError


class StreamReader(Protocol):
    """Reads one stream. `feed` never raises; `close` says at the end of input how it went.

    Attributes:
        error: What an error event said. Reading goes on: the bill may follow it.
        ended: The wire's own mark of the end was seen; what follows it is ignored.
        data_events: How many events with data came. Comments are no progress.
    """

    error: ProviderError | None
    ended: bool
    data_events: int

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that *data* completes."""
        ...

    def close(self) -> list[StreamEvent]:
        """Say that the input ended; return the last events, or raise what the stream's end means.

        Raises `error` if one came, ProviderConnectionError for a cut stream, EmptyResponseError
        for one without an answer, InvalidResponseError for what is no stream.
        """
        ...

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        ...


class Wire(Protocol):
    """Reads what one family of providers sends. *headers* are looked up whatever their case."""

    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Completion:
        """Return the whole answer that *body* is, or raise the ProviderError that it is."""
        ...

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with a status other than 200 is; never raises."""
        ...

    def reader(self, headers: Mapping[str, str]) -> StreamReader:
        """Return the reader of a stream that began with *headers*."""
        ...
