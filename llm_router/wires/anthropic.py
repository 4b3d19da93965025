"""Anthropic's wire, `/v1/messages`: bytes in, Completions and events out.

What an answer says and what of it goes back (`Completion.reasoning_details`) is described in
`blocks`; here is the message around the blocks, and the stream that brings it: `message_start`
(names, usage so far), `content_block_start|delta|stop`, `message_delta` (why it stopped, and the
final usage), `message_stop`. It may break off with an `error` event in place of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.stream_events import RefusalDelta
from llm_router.usage import Usage
from llm_router.wires.blocks import BlockReader, completion_of
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    mend,
    mend_all,
    object_or_empty,
    objects,
    text_or_none,
)
from llm_router.wires.parts import reported
from llm_router.wires.reading import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.completion import Completion
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.wires.reading import Reader

NAME = "anthropic"
# What an error inside a 200 means: https://docs.claude.com/en/api/errors has one for each type.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# Where the text of a delta is, and the kind of block it is for.
_DELTAS = {
    "text_delta": ("text", "text", "text"),
    "thinking_delta": ("thinking", "thinking", "thinking"),
    "signature_delta": ("signature", "thinking", "signature"),
    "input_json_delta": ("partial_json", "tool_use", "input"),
}


@dataclass(frozen=True)
class AnthropicWire(Wire):
    """The wire of messages."""

    kind: str = "anthropic"
    finish_name = "stop_reason"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong by a 200 body or an event, and the status that it stands for."""
        error = reported(answer)
        if error is None and answer.get("type") == "error":
            error = answer
        kind = text_or_none(object_or_empty(error).get("type"))
        return error, _STATUSES.get(kind or "")

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        if not isinstance(answer.get("content"), list):
            raise UnreadableError("has no content")
        return _build(answer, whole=True)

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return usage_of(object_or_empty(answer.get("usage")))


def _build(answer: Mapping[str, Any], *, whole: bool) -> Completion:
    """Read every field of a message."""
    report = object_or_empty(answer.get("usage"))
    return completion_of(
        objects(answer.get("content")),
        text_or_none(answer.get("stop_reason")),
        NAME,
        whole=whole,
        refusal=_refusal(answer.get("stop_details")),
        model=text_or_none(answer.get("model")),
        response_id=text_or_none(answer.get("id")),
        service_tier=text_or_none(report.get("service_tier")),
        usage=usage_of(report),
    )


def _refusal(details: Any) -> str | None:
    """Return the sentence that explains a refusal."""
    details = object_or_empty(details)
    return text_or_none(details.get("explanation")) if details.get("type") == "refusal" else None


def usage_of(report: Mapping[str, Any]) -> Usage:
    """Read `usage`, which counts what is read from and written to the cache beside the input."""
    read = count(report.get("cache_read_input_tokens"))
    written = count(report.get("cache_creation_input_tokens"))
    fresh = count(report.get("input_tokens"))
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=count(report.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(
            object_or_empty(report.get("output_tokens_details")).get("thinking_tokens")
        ),
    )


class _Reader(BlockReader):
    """The reader of this wire."""

    format = NAME

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        answer = self._answer | {"content": self._blocks()}
        return _build(answer, whole=self.error is None and self._finished)

    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        if self.error is not None:
            return
        index = count(event.get("index"))
        match event.get("type"):
            case "content_block_delta":
                self._take_delta(index, object_or_empty(event.get("delta")), events)
            case "content_block_start":
                self._start(index, object_or_empty(event.get("content_block")), events)
            case "content_block_stop":
                self._stop(index, events)
            case "message_start":
                message = object_or_empty(event.get("message"))
                self._take_names(message, "id", "model")
                self._take_usage(message.get("usage"))
            case "message_delta":
                self._take_stop(object_or_empty(event.get("delta")), events)
                self._take_usage(event.get("usage"))
            case "message_stop":
                self._end(events)
            case "ping":
                self.data_events -= 1  # Sent while nothing happens: no progress.
            case _:
                self.error = self._error_in(event)

    def _take_delta(
        self, index: int | None, delta: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        kind = delta.get("type")
        if kind == "citations_delta":
            self._cite(index, delta.get("citation"), events)
        elif isinstance(kind, str) and kind in _DELTAS:
            place, block, field = _DELTAS[kind]
            self._add(index, block, field, delta.get(place), events)

    def _take_names(self, message: dict[str, Any], *names: str) -> None:
        said = {name: mend_all(message[name]) for name in names if message.get(name) is not None}
        self._answer |= said

    def _take_stop(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        self._take_names(delta, "stop_reason", "stop_details")
        self._finished = bool(self._finish_word())
        if said := _refusal(delta.get("stop_details")):
            events.append(RefusalDelta(mend(said)))

    def _take_usage(self, report: Any) -> None:
        """Take the figures of a report; what is said later counts."""
        known = {name: said for name, said in object_or_empty(report).items() if said is not None}
        self._answer["usage"] = self._answer.get("usage", {}) | mend_all(known)
