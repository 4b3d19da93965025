"""A stream of OpenRouter as typed events and, at any time, the Completion that they add up to.

Pure: bytes in, events out. The deltas are collected into the body that an unstreamed answer
would have had, and `wire` reads that: a stream and a text mean the same by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.answers.stream_events import (
    AudioDelta,
    CitationDelta,
    Finish,
    ImageDelta,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from llm_router.errors import InvalidResponseError, ProviderConnectionError
from llm_router.wires import answer_parts as parts
from llm_router.wires import openai as wire
from llm_router.wires.errors import context
from llm_router.wires.json_values import (
    UnreadableError,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    read_json,
    text_or_none,
)
from llm_router.wires.sse import MAX_EVENT_BYTES, EventTooLongError, SSEDecoder
from llm_router.wires.stream_parts import (
    AnnotationParts,
    AudioParts,
    LogprobParts,
    ReasoningDetailParts,
    TextParts,
    ToolCallParts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.answers.completion import Completion
    from llm_router.errors import ProviderError
    from llm_router.options.request import ProviderRequest

_HEAD_LIMIT = 1024 * 1024
_NAMES = ("id", "model", "provider", "created", "service_tier")


class StreamReader:
    """Reads one stream. `feed` never raises; `close` says at the end of input how it went.

    Attributes:
        error: What an error event said. Reading goes on: the bill may follow it.
        ended: `[DONE]` was seen; what follows it is ignored.
        data_events: How many events with data came. Comments are no progress.
    """

    def __init__(
        self,
        request: ProviderRequest,
        headers: Mapping[str, str],
        secrets: Sequence[str] = (),
    ) -> None:
        self.error: ProviderError | None = None
        self.ended = False
        self.data_events = 0
        self._request, self._headers, self._secrets = request, headers, secrets
        self._sse = SSEDecoder()
        # What came before the first line of SSE: another kind of body, to be named at the end.
        self._head = bytearray()
        self._answer: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._choice_index: Any = None
        self._finished = False
        self._finish_told = False
        self._sources: list[Any] = []
        self._text, self._reasoning, self._refusal = TextParts(), TextParts(), TextParts()
        self._calls, self._details = ToolCallParts(), ReasoningDetailParts()
        self._notes, self._audio, self._logprobs = AnnotationParts(), AudioParts(), LogprobParts()
        self._images: list[dict[str, Any]] = []

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that *data* completes."""
        events: list[StreamEvent] = []
        if self.ended:
            return events
        if not self._sse.seen and len(self._head) < _HEAD_LIMIT:
            self._head += data
        try:
            payloads = self._sse.feed(data)
        except EventTooLongError:
            self._fail(f"holds an event of more than {MAX_EVENT_BYTES} bytes")
            self.ended = True
            return events
        for payload in payloads:
            self._take(payload, events)
        return events

    def close(self) -> list[StreamEvent]:
        """Say that the input ended; return the last events, or raise what the stream's end means.

        Raises `error` if one came, ProviderConnectionError for a cut stream, EmptyResponseError
        for one without an answer, InvalidResponseError for what is no stream.
        """
        events: list[StreamEvent] = []
        if not self.ended and (payload := self._sse.flush()) is not None:
            self._take(payload, events, last=True)
        self._tell_finish(events)
        if self.error is not None:
            raise self.error
        if not self.data_events:
            raise self._not_a_stream()
        if not (self._finished or self.ended):
            raise ProviderConnectionError(
                "The stream was cut: it ended without a finish reason",
                **self._context(),
            )
        if wire.is_empty(self.snapshot(), self._choice.get("finish_reason")):
            raise wire.no_answer(self._answer, self._request, self._headers)
        return events

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        message: dict[str, Any] = {
            "content": self._text.whole(),
            "reasoning": self._reasoning.whole() or None,
            "refusal": self._refusal.whole() or None,
            "reasoning_details": self._details.message(),
            "tool_calls": self._calls.message(),
            "annotations": self._notes.notes,
            "images": self._images,
            "audio": self._audio.message(),
        }
        choice = self._choice | {"message": message, "logprobs": self._logprobs.lists or None}
        answer = self._answer | {"citations": self._sources}
        whole = self.error is None and (self._finished or self.ended)
        return wire.build(answer, choice, self._request, self._headers, whole=whole)

    def _take(self, payload: bytes, events: list[StreamEvent], *, last: bool = False) -> None:
        """Read one event's data; *last* is the one that the end of input may have cut."""
        if self.ended or not (payload := payload.strip()):
            return
        if payload == b"[DONE]":
            self.data_events += 1
            self.ended = True
            self._tell_finish(events)
            return
        try:
            chunk = read_json(payload)
            if not isinstance(chunk, dict):
                raise UnreadableError("holds an event that is not a JSON object")
            self.data_events += 1
            self._chunk(chunk, events)
        except UnreadableError as problem:
            if b"\n" in payload:
                # A proxy that drops blank lines leaves several events in one.
                for line in payload.split(b"\n"):
                    self._take(line, events, last=last)
            elif not last:
                self.data_events += 1
                self._fail(str(problem))

    def _chunk(self, chunk: dict[str, Any], events: list[StreamEvent]) -> None:
        if "model" not in self._answer or "service_tier" in chunk:
            self._take_names(chunk)
        if self.error is None:
            failed = "error" in chunk
            for choice in objects(chunk.get("choices")):
                self._take_choice(choice, events)
                failed = failed or "error" in choice or choice.get("finish_reason") == "error"
            if "citations" in chunk:
                self._take_sources(chunk["citations"], events)
            if failed:
                self._look_for_error(chunk)
        report = chunk.get("usage")
        if isinstance(report, dict):
            self._take_usage(report, events)

    def _take_names(self, chunk: dict[str, Any]) -> None:
        for name in _NAMES:
            value = chunk.get(name)
            if value is not None and name not in self._answer:
                self._answer[name] = mend_all(value)

    def _take_choice(self, choice: dict[str, Any], events: list[StreamEvent]) -> None:
        index = choice.get("index", 0)
        if self._choice_index is None:
            self._choice_index = index
        elif index != self._choice_index:
            return
        delta = choice.get("delta")
        if isinstance(delta, dict):
            content = delta.get("content")
            if content:
                self._take_content(content, events)
            # role and content are all that a plain text delta has.
            if len(delta) > 2 or "content" not in delta or "role" not in delta:
                self._take_delta(delta, events)
        elif delta is not None:
            raise UnreadableError("holds a delta that is not an object")
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self._logprobs.add(logprobs)
        finish, native = choice.get("finish_reason"), choice.get("native_finish_reason")
        if finish is not None or native is not None:
            self._take_finish(finish, native, object_or_empty(delta))

    def _take_content(self, content: Any, events: list[StreamEvent]) -> None:
        text = content if type(content) is str else parts.text_of(content)
        if shown := self._text.add(text):
            events.append(TextDelta(shown))
        if type(content) is list:
            self._take_images(content, events)

    def _take_delta(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        details = [plain_json(detail) for detail in objects(delta.get("reasoning_details"))]
        reasoning = parts.reasoning_of(delta) or ""
        for detail in details:
            self._details.add(detail)
        if reasoning or details:
            shown = self._reasoning.add(reasoning) if reasoning else ""
            events.append(ReasoningDelta(shown, tuple(map(mend_all, details))))
        if (refusal := text_or_none(delta.get("refusal"))) and (
            shown := self._refusal.add(refusal)
        ):
            events.append(RefusalDelta(shown))
        if (calls := delta.get("tool_calls")) is not None:
            if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
                raise UnreadableError("holds tool calls that are not a list of objects")
            events.extend(self._calls.add(call) for call in calls)
        for note in self._notes.add(delta.get("annotations")):
            if citation := parts.citation_of(note):
                events.append(CitationDelta(citation))
        self._take_images(delta.get("images"), events)
        if isinstance(audio := delta.get("audio"), dict):
            data, said = self._audio.add(audio)
            if data or said:
                events.append(AudioDelta(data, said))

    def _take_images(self, value: Any, events: list[StreamEvent]) -> None:
        for part in mend_all(objects(value)):
            if images := parts.images_of({"images": [part]}):
                self._images.append(part)
                events.append(ImageDelta(images[0]))

    def _take_sources(self, value: Any, events: list[StreamEvent]) -> None:
        known = {c.url for c in parts.citations_of(self._notes.notes, self._sources)}
        for citation in parts.citations_of((), mend_all(value)):
            if citation.url not in known:
                self._sources.append({"url": citation.url, "title": citation.title})
                events.append(CitationDelta(citation))

    def _take_finish(self, finish: Any, native: Any, delta: dict[str, Any]) -> None:
        if finish == "error":
            finish = None
        if finish is not None:
            self._choice["finish_reason"] = finish
            # Gemini says "tool_calls" beside each call of several, with no native reason yet:
            # such a stream may still be cut before its end.
            self._finished = bool(native or not delta.get("tool_calls"))
        if native is not None:
            self._choice["native_finish_reason"] = mend_all(native)

    def _take_usage(self, report: dict[str, Any], events: list[StreamEvent]) -> None:
        self._answer["usage"] = report
        self._finished = self._finished or "finish_reason" in self._choice
        usage, cost = parts.usage_of(report), parts.cost_of(report)
        if self.error is not None:
            self.error.add(usage=usage, cost=cost)
            return
        self._tell_finish(events)
        events.append(UsageReport(usage, cost))

    def _tell_finish(self, events: list[StreamEvent]) -> None:
        """Tell the finish once, when no more content can follow."""
        finish, native = self._choice.get("finish_reason"), self._choice.get("native_finish_reason")
        if self._finish_told or self.error is not None or finish is None:
            return
        self._finish_told = True
        events.append(Finish(parts.finish_reason(finish, native), text_or_none(native)))

    def _look_for_error(self, chunk: dict[str, Any]) -> None:
        self.error = wire.error_in(chunk, self._request, self._headers, self._secrets)
        if self.error is not None:
            self.error.fill(**self._context())

    def _fail(self, problem: str) -> None:
        if self.error is None:
            known = self._context() | {"status_code": 200}
            self.error = InvalidResponseError(f"The stream {problem}", **known)

    def _context(self) -> dict[str, Any]:
        return context(self._request, self._headers, self._answer)

    def _not_a_stream(self) -> ProviderError:
        """Return the error of a body without one data event."""
        body = bytes(self._head)
        if self._sse.seen:
            return ProviderConnectionError(
                "The stream was cut before its first event", **self._context()
            )
        problem = "is not the stream that was asked for"
        try:
            answer = mend_all(read_json(body))
            if isinstance(answer, dict):
                found = wire.error_in(answer, self._request, self._headers, self._secrets)
                if found is not None:
                    return found
        except UnreadableError as error:
            problem = str(error)
        return wire.unreadable(body, problem, self._request, self._headers, self._secrets)
