"""Bedrock's wire, `/model/ID/converse` and `…/converse-stream`: bytes to Completions and events.

What an answer says and what of it goes back (`Completion.reasoning_details`) is described in
`blocks`: Converse's `reasoningContent` is `thinking` there, `redactedContent` `redacted_thinking`
and `toolUse` `tool_use`. Nothing in a body names the answer or its model; the id is the request's,
from its header. The stream comes in frames (`frames`): `messageStart`,
`contentBlockStart|Delta|Stop`, `messageStop` (why it stopped), `metadata` (the usage), or an
exception. Shapes are those of botocore's model of `bedrock-runtime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.usage import Usage
from llm_router.wires.blocks import BlockReader, completion_of
from llm_router.wires.errors import header
from llm_router.wires.frames import FrameDecoder
from llm_router.wires.json_values import (
    UnreadableError,
    count,
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

NAME = "converse"
# The statuses that the exceptions of a stream have where they come as an answer.
_STATUSES = {
    "accessDeniedException": 403,
    "internalServerException": 500,
    "modelErrorException": 424,
    "modelNotReadyException": 429,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "resourceNotFoundException": 404,
    "serviceQuotaExceededException": 400,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}


@dataclass(frozen=True)
class ConverseWire(Wire):
    """The wire of Bedrock's Converse."""

    kind: str = "bedrock"
    finish_name = "stopReason"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong by a 200 body or an event, and the status that it stands for."""
        error = reported(answer)
        if error is not None:
            return error, None
        for name, said in answer.items():
            if name.endswith("Exception"):
                said = object_or_empty(said)
                own = count(said.get("originalStatusCode")) or 0
                status = own if 400 <= own < 600 else _STATUSES.get(name)
                raw = {"raw": said.get("originalMessage")}
                return {"message": said.get("message"), "code": name, "metadata": raw}, status
        told = "output" not in answer and isinstance(answer.get("message"), str)
        return (answer if told else None), None

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        message = object_or_empty(answer.get("output")).get("message")
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise UnreadableError("has no output message")
        blocks = [_block(block) for block in objects(message["content"])]
        return _build(blocks, answer, headers, whole=True)

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return usage_of(object_or_empty(answer.get("usage")))


def _build(
    blocks: list[dict[str, Any]],
    answer: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    whole: bool,
) -> Completion:
    """Read every field of an answer."""
    return completion_of(
        blocks,
        text_or_none(answer.get("stopReason")),
        NAME,
        whole=whole,
        response_id=header(headers, "x-amzn-RequestId"),
        service_tier=text_or_none(object_or_empty(answer.get("serviceTier")).get("type")),
        usage=usage_of(object_or_empty(answer.get("usage"))),
    )


def usage_of(report: Mapping[str, Any]) -> Usage:
    """Read `usage`, which counts what is read from and written to the cache beside the input."""
    read = count(report.get("cacheReadInputTokens"))
    written = count(report.get("cacheWriteInputTokens"))
    fresh = count(report.get("inputTokens"))
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=count(report.get("outputTokens")),
        total_tokens=count(report.get("totalTokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _block(block: dict[str, Any]) -> dict[str, Any]:
    """Return a whole block in the words of `blocks`."""
    match block:
        case {"text": text}:
            return {"type": "text", "text": text}
        case {"toolUse": dict(use)}:
            return _call(use) | {"input": use.get("input")}
        case {"reasoningContent": {"reasoningText": dict(said)}}:
            names = {"text": "thinking", "signature": "signature"}
            renamed = {new: said[old] for old, new in names.items() if old in said}
            return {"type": "thinking"} | renamed
        case {"reasoningContent": {"redactedContent": data}}:
            return {"type": "redacted_thinking", "data": data}
        case {"citationsContent": dict(cited)}:
            texts = (text_or_none(part.get("text")) for part in objects(cited.get("content")))
            text = "".join(filter(None, texts))
            return {"type": "text", "text": text, "citations": cited.get("citations")}
        case {"image": dict(image)}:
            data = object_or_empty(image.get("source")).get("bytes")
            return {"type": "image", "format": image.get("format"), "data": data}
    return {}


def _call(use: dict[str, Any]) -> dict[str, Any]:
    """Return the head of a call; one with a type of its own is not for the caller."""
    kind = text_or_none(use.get("type")) or "tool_use"
    return {"type": kind, "id": use.get("toolUseId"), "name": use.get("name")}


class _Reader(BlockReader):
    """The reader of this wire."""

    format = NAME
    decoder = FrameDecoder

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        whole = self.error is None and self._finished
        return _build(self._blocks(), self._answer, self._headers, whole=whole)

    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        if self.error is not None:
            return
        match event:
            case {"contentBlockDelta": {"delta": dict(delta), **rest}}:
                self._take_delta(count(rest.get("contentBlockIndex")), delta, events)
            case {"contentBlockStart": {"start": dict(start), **rest}}:
                self._take_start(count(rest.get("contentBlockIndex")), start, events)
            case {"contentBlockStop": dict(stop)}:
                self._stop(count(stop.get("contentBlockIndex")), events)
            case {"messageStop": dict(stop)}:
                self._answer["stopReason"] = mend_all(stop.get("stopReason"))
                self._finished = True
            case {"metadata": dict(metadata)}:
                self._take_metadata(metadata, events)
            case _:
                self.error = self._error_in(event)

    def _take_start(
        self, index: int | None, start: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        match start:
            case {"toolUse": dict(use)}:
                self._start(index, _call(use), events)
            case {"image": dict(image)}:
                self._start(index, {"type": "image", "format": image.get("format")}, events)
            case _:
                self._start(index, {"type": next(iter(start), None)}, events)

    def _take_delta(
        self, index: int | None, delta: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        match delta:
            case {"text": text}:
                self._add(index, "text", "text", text, events)
            case {"toolUse": {"input": text}}:
                self._add(index, "tool_use", "input", text, events)
            case {"reasoningContent": {"text": text}}:
                self._add(index, "thinking", "thinking", text, events)
            case {"reasoningContent": {"signature": text}}:
                self._add(index, "thinking", "signature", text, events)
            case {"reasoningContent": {"redactedContent": data}}:
                self._add(index, "redacted_thinking", "data", data, events)
            case {"citation": note}:
                self._cite(index, note, events)
            case {"image": {"source": {"bytes": data}}}:
                self._add(index, "image", "data", data, events)

    def _take_metadata(self, metadata: dict[str, Any], events: list[StreamEvent]) -> None:
        """Take the last event."""
        for name in ("usage", "serviceTier"):
            if isinstance(said := metadata.get(name), dict):
                self._answer[name] = mend_all(said)
        if self._finished:
            self._end(events)
