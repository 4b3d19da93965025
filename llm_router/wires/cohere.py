"""Cohere's wire, `/v2/chat`: bytes in, Completions and events out.

The deltas of a stream are collected into the body that an unstreamed answer would have had. Facts:
https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/chat-stream

The plan that a model makes before it calls tools is neither text nor reasoning. Cohere wants it
back as `tool_plan` of the assistant message: it is the one entry of `Completion.reasoning_details`,

    {"type": "tool_plan", "format": "cohere", "tool_plan": "I will …"}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Citation, Completion, FinishReason
from llm_router.answers.stream_events import CitationDelta, ReasoningDelta, TextDelta
from llm_router.usage import Usage
from llm_router.wires import parts
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    text_or_none,
)
from llm_router.wires.parts import reported
from llm_router.wires.reading import Reader, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.answers.stream_events import StreamEvent

FORMAT = "cohere"
_FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
# The answer failed, whatever came of it; the second is a word of the table of errors.
_FAILED = {"ERROR": "server_error", "TIMEOUT": "timeout"}


@dataclass(frozen=True)
class CohereWire(Wire):
    """The wire of `/v2/chat`."""

    kind: str = "cohere_chat"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong by a 200 body, or by an event of a stream."""
        finish = text_or_none(answer.get("finish_reason")) or ""
        error = reported(answer)
        if error is None and isinstance(answer.get("message"), str):
            error = answer
        if error is None and finish in _FAILED:
            error = f"The answer ended in an error ({finish})"
        named = isinstance(error, str)
        return ({"message": error, "type": _FAILED.get(finish)} if named else error), None

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        if not isinstance(answer.get("message"), dict):
            raise UnreadableError("has no message")
        return _build(answer, whole=True)

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return usage_of(object_or_empty(answer.get("usage")))


def usage_of(report: Mapping[str, Any]) -> Usage:
    """Read `usage`: what the model read and wrote or, where that is missing, what is billed."""
    tokens, billed = (object_or_empty(report.get(name)) for name in ("tokens", "billed_units"))
    found = [count(tokens.get(name)) for name in ("input_tokens", "output_tokens")]
    charged = [count(billed.get(name)) for name in ("input_tokens", "output_tokens")]
    read, written = (b if a is None else a for a, b in zip(found, charged, strict=True))
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cache_read_tokens=count(report.get("cached_tokens")),
        reasoning_tokens=count(tokens.get("reasoning_tokens")),
    )


def _build(answer: Mapping[str, Any], *, whole: bool) -> Completion:
    """Read every field of an answer."""
    message = object_or_empty(answer.get("message"))
    native = text_or_none(answer.get("finish_reason"))
    finish = _FINISH.get(native or "", "unknown")
    notes = objects(message.get("citations"))
    plan = text_or_none(message.get("tool_plan"))
    return Completion(
        text=parts.text_of(message.get("content")),
        reasoning=parts.reasoning_of(message),
        reasoning_details=(_detail(plan),) if plan else (),
        tool_calls=parts.tool_calls_of(message, complete=whole and finish != "length"),
        citations=tuple(citation for note in notes for citation in _citations(note)),
        annotations=tuple(map(plain_json, notes)),
        finish_reason=finish,
        native_finish_reason=native,
        response_id=text_or_none(answer.get("id")),
        usage=usage_of(object_or_empty(answer.get("usage"))),
    )


def _detail(plan: str) -> dict[str, str]:
    return {"type": "tool_plan", "format": FORMAT, "tool_plan": plan}


def _citations(note: Mapping[str, Any]) -> Iterator[Citation]:
    """Return the sources of a citation that have an address: documents may, results of tools too.

    Without one (a document of the caller's own) a source stands in `annotations` alone.
    """
    for source in objects(note.get("sources")):
        cited = object_or_empty(source.get("document") or source.get("tool_output"))
        if url := text_or_none(cited.get("url")):
            yield Citation(
                url=url,
                title=text_or_none(cited.get("title")),
                content=text_or_none(cited.get("text")) or text_or_none(cited.get("snippet")),
                start_index=count(note.get("start")),
                end_index=count(note.get("end")),
            )


class _Reader(Reader):
    """The reader of this wire."""

    def __init__(self, wire: CohereWire, headers: Mapping[str, str]) -> None:
        super().__init__(wire, headers)
        self._text, self._thinking, self._plan = (parts.TextParts() for _ in range(3))
        self._calls = parts.ToolCallParts()
        self._notes: list[dict[str, Any]] = []

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        message: dict[str, Any] = {
            "content": self._text.whole(),
            "reasoning": self._thinking.whole() or None,
            "tool_plan": self._plan.whole(),
            "tool_calls": self._calls.message(),
            "citations": self._notes,
        }
        whole = self.error is None and self._finished
        return _build(self._answer | {"message": message}, whole=whole)

    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        if self.error is not None:
            return
        delta = object_or_empty(event.get("delta"))
        message = object_or_empty(delta.get("message"))
        match event.get("type"):
            case "content-start" | "content-delta":
                self._take_content(object_or_empty(message.get("content")), events)
            case "tool-plan-delta":
                self._take_plan(message.get("tool_plan"), events)
            case "tool-call-start" | "tool-call-delta":
                self._take_call(event.get("index"), message.get("tool_calls"), events)
            case "citation-start":
                self._take_citation(mend_all(message.get("citations")), events)
            case "message-start":
                self._take_names({"id": event.get("id")})
            case "message-end":
                self._take_names(delta)
                self.error = self._error_in(delta)
                self._end(events)
            case _:
                self.error = self._error_in(event)

    def _take_names(self, said: dict[str, Any]) -> None:
        names = ("id", "finish_reason", "usage")
        self._answer |= {n: mend_all(said[n]) for n in names if said.get(n) is not None}

    def _take_content(self, content: dict[str, Any], events: list[StreamEvent]) -> None:
        text, thinking = content.get("text"), content.get("thinking")
        if isinstance(thinking, str) and (shown := self._thinking.add(thinking)):
            events.append(ReasoningDelta(shown))
        if isinstance(text, str) and (shown := self._text.add(text)):
            events.append(TextDelta(shown))

    def _take_plan(self, plan: Any, events: list[StreamEvent]) -> None:
        if isinstance(plan, str) and (shown := self._plan.add(plan)):
            events.append(ReasoningDelta("", (_detail(shown),)))

    def _take_call(self, index: Any, call: Any, events: list[StreamEvent]) -> None:
        """Take a piece of a call; what a server sends as a list has one in it."""
        for piece in objects(call if isinstance(call, list) else [call]):
            events.append(self._calls.add({**piece, "index": index}))

    def _take_citation(self, note: Any, events: list[StreamEvent]) -> None:
        for one in objects(note if isinstance(note, list) else [note]):
            self._notes.append(one)
            events.extend(map(CitationDelta, _citations(one)))
