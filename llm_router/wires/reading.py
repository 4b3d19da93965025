"""What a wire is, the way one family of providers writes answers, streams and errors, all JSON;
and what reading has in common on every one: bodies that are no answer, streams and their end.

A wire is pure: bytes in, objects out, no I/O. It knows neither names nor secrets of the call:
alias, deployment and request id are put into its Completions and errors by the attempt, which
also masks the known secrets.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from llm_router.answers.stream_events import Finish, UsageReport
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires.errors import context, error_from_object, read_error
from llm_router.wires.json_values import (
    UnreadableError,
    has_surrogates,
    mend_all,
    read_json,
    sole_object,
)
from llm_router.wires.parts import reported
from llm_router.wires.sse import SSEDecoder
from llm_router.wires.text import page_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent

_HEAD_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Wire(ABC):
    """Reads what one family of providers sends. *headers* are looked up whatever their case.

    *kind* is LiteLLM's name of the provider. *clock* gives seconds since the epoch.
    """

    kind: str
    clock: Callable[[], float] = time.time
    id_name: ClassVar[str] = "id"
    """Where an answer names itself."""
    finish_name: ClassVar[str] = "finish_reason"
    """Where it says why it ended."""

    @abstractmethod
    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""

    @abstractmethod
    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""

    @abstractmethod
    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer, or what is known of it, says of its tokens."""

    def finish_word(self, answer: Mapping[str, Any]) -> Any:
        """Return why the wire says that an answer ended; None while it does not."""
        return answer.get(self.finish_name)

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong by a 200 body or an event, and the status that it stands for."""
        return reported(answer), None

    def whole(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return what the object in the body of a 200 says, or raise the error that it is.

        UnreadableError for an object that is no answer.
        """
        error = self.error_in(answer, headers)
        if error is not None:
            raise error
        completion = self.build(answer, headers)
        if _is_empty(completion, self.finish_word(answer)):
            raise _nothing_said(self.context(answer, headers))
        return completion

    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Completion:
        """Return the whole answer that *body* is, or raise the ProviderError that it is."""
        if status != 200:
            raise self.read_error(status, headers, body)
        try:
            answer = read_json(body)
            if has_surrogates(body):
                answer = mend_all(answer)
            if not isinstance(answer, dict):
                raise UnreadableError("is not a JSON object")
            return self.whole(answer, headers)
        except UnreadableError as problem:
            raise _unreadable(body, str(problem), headers) from problem

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with a status other than 200 is; never raises."""
        return read_error(status, headers, body, kind=self.kind, now=self.clock())

    def error_in(
        self,
        answer: dict[str, Any],
        headers: Mapping[str, str],
        before: Mapping[str, Any] | None = None,
    ) -> ProviderError | None:
        """Return the error inside a 200 body or a stream's event, None when there is none.

        *before* is what the stream said of the answer until then.
        """
        error, status = self.failure(answer)
        if error is None:
            return None
        return error_from_object(
            error,
            status=status,
            headers=headers,
            body=answer,
            known=self.context({**(before or {}), **answer}, headers),
            kind=self.kind,
            now=self.clock(),
        )

    def context(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what is known of the call, for an error."""
        names = {"id": answer.get(self.id_name), "request_id": answer.get("request_id")}
        known, usage = context(headers, names), self.usage(answer)
        return known | {"usage": usage, "cost": Cost()} if usage != Usage() else known


def _is_empty(completion: Completion, finish: Any) -> bool:
    """Say whether this is a wire's "no content generated": nothing said, nothing finished."""
    return not finish and not (
        completion.text
        or completion.tool_calls
        or completion.reasoning
        or completion.refusal
        or completion.images
        or completion.audio
        or completion.usage.output_tokens
    )


def _nothing_said(known: Mapping[str, Any]) -> EmptyResponseError:
    """Return the error of an empty answer; *known* are its attributes."""
    message = "The answer is empty: no content was generated"
    return EmptyResponseError(message, **known, status_code=200)


def _unreadable(body: bytes, problem: str, headers: Mapping[str, str]) -> ProviderError:
    """Return the error of a 200 body that is no answer: nothing, blanks, a page, broken JSON.

    Blanks are what a cut connection leaves of a keep-alive padding.
    """
    known = context(headers) | {"status_code": 200}
    text = body.strip()
    if body and not text:
        return ProviderConnectionError("The connection broke before the answer came", **known)
    if not text:
        return InvalidResponseError("The answer is empty: not one byte came", **known)
    if text[:1] == b"<":
        title = page_sentence(text)
        shown = f" ({title})" if title else ""
        return InvalidResponseError(f"The answer is a web page{shown}, not JSON", **known)
    return InvalidResponseError(f"The answer {problem}", **known)


class Decoder(Protocol):
    """Takes bytes that may be cut anywhere apart into events, each JSON."""

    seen: bool
    """The bytes are of this kind at all."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Return the events that *data* completes; UnreadableError where it cannot go on."""
        ...

    def flush(self) -> bytes | None:
        """Return an event that the end of input left without its mark."""
        ...


class Reader(ABC):
    """Reads one stream. `feed` never raises; `close` says at the end of input how it went.

    Attributes:
        error: What an error event said. Reading goes on: the bill may follow it.
        ended: The wire's own mark of the end was seen; what follows it is ignored.
        data_events: How many events with data came. Comments are no progress.

    A wire says what one event of it means. It sets `_finished` at its own mark of a whole answer,
    and calls `_end` where nothing may follow.
    """

    done_ends: ClassVar[bool] = False
    """`[DONE]` makes the answer whole; elsewhere it is passed over, for proxies add it."""
    decoder: ClassVar[type[Decoder]] = SSEDecoder

    def __init__(self, wire: Wire, headers: Mapping[str, str]) -> None:
        self.error: ProviderError | None = None
        self.ended = False
        self.data_events = 0
        self._wire, self._headers = wire, headers
        self._decoder = self.decoder()
        # What was said of the answer as a whole, under the wire's own names.
        self._answer: dict[str, Any] = {}
        # What came before the first event: another kind of body, to be named at the end.
        self._head = bytearray()
        self._finished = False

    @abstractmethod
    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""

    @abstractmethod
    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        """Read one event; UnreadableError when it is of the wrong kind."""

    def _error_in(self, event: dict[str, Any]) -> ProviderError | None:
        """Return the error that an event, or a body in place of a stream, holds."""
        return self._wire.error_in(event, self._headers, self._answer)

    def _finish_word(self) -> Any:
        return self._wire.finish_word(self._answer)

    def _context(self) -> dict[str, Any]:
        return self._wire.context(self._answer, self._headers)

    def only(self, answer: dict[str, Any]) -> Completion:
        """Return the answer that this one event is, for wires that write answers like events."""
        self._finished = True
        self._event(answer, [])
        if self.error is not None:
            raise self.error
        return self.snapshot()

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that *data* completes."""
        events: list[StreamEvent] = []
        if self.ended:
            return events
        if not self._decoder.seen and len(self._head) < _HEAD_LIMIT:
            self._head += data
        try:
            for payload in self._decoder.feed(data):
                self._take(payload, events)
        except UnreadableError as problem:
            self._break_off(str(problem))
        return events

    def close(self) -> list[StreamEvent]:
        """Say that the input ended; return the last events, or raise what the stream's end means.

        Raises `error` if one came, ProviderConnectionError for a cut stream, EmptyResponseError
        for one without an answer, InvalidResponseError for what is no stream.
        """
        events: list[StreamEvent] = []
        if not self.ended:
            if (payload := self._decoder.flush()) is not None:
                self._take(payload, events, last=True)
            if not self.ended:
                self._tell_end(events)
        if self.error is not None:
            raise self.error
        if not self.data_events:
            raise self._not_a_stream()
        if not self._finished:
            raise ProviderConnectionError(
                "The stream was cut: it ended without a finish reason", **self._context()
            )
        if _is_empty(self.snapshot(), self._finish_word()):
            raise _nothing_said(self._context())
        return events

    def _take(self, payload: bytes, events: list[StreamEvent], *, last: bool = False) -> None:
        """Read one event's data; *last* is the one that the end of input may have cut."""
        if self.ended or not (payload := payload.strip()):
            return
        if payload == b"[DONE]":
            self.data_events += 1
            if self.done_ends:
                self._end(events)
            return
        try:
            event = read_json(payload)
            if not isinstance(event, dict):
                raise UnreadableError("holds an event that is not a JSON object")
            self.data_events += 1
            self._event(event, events)
        except UnreadableError as problem:
            if b"\n" in payload:
                # A proxy that drops blank lines leaves several events in one.
                for line in payload.split(b"\n"):
                    self._take(line, events, last=last)
            elif not last:
                self.data_events += 1
                self._fail(str(problem))

    def _end(self, events: list[StreamEvent]) -> None:
        """Note that the answer is whole and that nothing may follow."""
        self.ended = self._finished = True
        self._tell_end(events)

    def _tell_end(self, events: list[StreamEvent]) -> None:
        """Tell the finish and the bill, once each."""
        if self.error is not None:
            return
        said = self.snapshot()
        if self._finish_word() is not None:
            events.append(Finish(said.finish_reason, said.native_finish_reason))
        if said.usage != Usage():
            events.append(UsageReport(said.usage, said.cost))

    def _break_off(self, problem: str) -> None:
        """Note that nothing more can be read, which matters only before the end."""
        if not self.ended:
            self._fail(problem)
            self.ended = True

    def _fail(self, problem: str) -> None:
        if self.error is None:
            known = self._context() | {"status_code": 200}
            self.error = InvalidResponseError(f"The stream {problem}", **known)

    def _not_a_stream(self) -> ProviderError:
        """Return the error of a body without one data event."""
        if self._decoder.seen:
            return ProviderConnectionError(
                "The stream was cut before its first event", **self._context()
            )
        body = bytes(self._head)
        try:
            found = self._error_in(sole_object(read_json(body)))
        except UnreadableError as problem:
            return _unreadable(body, str(problem), self._headers)
        return found or _unreadable(body, "is not the stream that was asked for", self._headers)
