"""Ollama's wire, `/api/chat`: bytes in, Completions and events out.

A stream is JSON line by line (NDJSON, no server-sent events), each line in the form of a whole
answer, so that one reader reads both; `done` ends it. Facts:
https://github.com/ollama/ollama/blob/main/docs/api.md

Nothing has to go back unchanged: `Completion.reasoning_details` is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Completion, FinishReason
from llm_router.answers.stream_events import ReasoningDelta, TextDelta
from llm_router.usage import Usage
from llm_router.wires import parts
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    mend_all,
    moment,
    text_or_none,
)
from llm_router.wires.reading import Reader, Wire
from llm_router.wires.sse import MAX_EVENT_BYTES, EventTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.answers.stream_events import StreamEvent

# "stop" with calls is tool_calls.
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_NAMES = ("model", "created_at", "done_reason", "prompt_eval_count", "eval_count")


@dataclass(frozen=True)
class OllamaWire(Wire):
    """The wire of `/api/chat`."""

    kind: str = "ollama_chat"
    finish_name = "done_reason"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        if not isinstance(answer.get("message"), dict):
            raise UnreadableError("has no message")
        return _Reader(self, headers).only(answer)

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return Usage(
            input_tokens=count(answer.get("prompt_eval_count")),
            output_tokens=count(answer.get("eval_count")),
        )


class LineDecoder:
    """Yields the lines of NDJSON. `seen` turns true with a first line that begins an object."""

    def __init__(self) -> None:
        self.seen = False
        self._other_body = False
        self._line: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that *data* completes; EventTooLongError if one is huge."""
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            head = b"".join((*self._line, head))
            self._line, self._size = [], 0
            yield from filter(self._is_object, head.split(b"\n"))
        if tail:
            self._line.append(tail)
            self._size += len(tail)
            if self._size > MAX_EVENT_BYTES:
                raise EventTooLongError(f"holds a line of more than {MAX_EVENT_BYTES} bytes")

    def flush(self) -> bytes | None:
        """Return the line that the end of input left without its newline."""
        line = b"".join(self._line)
        self._line = []
        return line if self._is_object(line) else None

    def _is_object(self, line: bytes) -> bool:
        """Say whether a line is to be read: none of a body that begins as something else is."""
        if not self.seen and (line := line.strip()):
            self.seen = not self._other_body and line.startswith(b"{")
            self._other_body = not self.seen
        return self.seen


class _Reader(Reader):
    """The reader of this wire."""

    decoder = LineDecoder

    def __init__(self, wire: OllamaWire, headers: Mapping[str, str]) -> None:
        super().__init__(wire, headers)
        self._text, self._reasoning = parts.TextParts(), parts.TextParts()
        self._calls = parts.ToolCallParts()
        self._logprobs = parts.LogprobParts()

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        native = text_or_none(self._finish_word())
        finish = _FINISH.get(native or "", "unknown")
        whole = self.error is None and self._finished and finish != "length"
        calls = parts.tool_calls_of({"tool_calls": self._calls.message()}, complete=whole)
        return Completion(
            text=self._text.whole(),
            reasoning=self._reasoning.whole() or None,
            tool_calls=calls,
            logprobs=self._logprobs.lists or None,
            finish_reason="tool_calls" if finish == "stop" and calls else finish,
            native_finish_reason=native,
            model=text_or_none(self._answer.get("model")),
            created=moment(self._answer.get("created_at")),
            usage=self._wire.usage(self._answer),
        )

    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        if self.error is not None:
            return
        self.error = self._error_in(event)
        self._answer |= {n: mend_all(event[n]) for n in _NAMES if event.get(n) is not None}
        message = event.get("message")
        if message is not None and not isinstance(message, dict):
            raise UnreadableError("has a message that is not an object")
        self._take_message(message or {}, events)
        if logprobs := event.get("logprobs"):
            self._logprobs.add({"content": logprobs})
        if event.get("done") is True:
            self._end(events)

    def _take_message(self, message: dict[str, Any], events: list[StreamEvent]) -> None:
        thinking, content = message.get("thinking"), message.get("content")
        if isinstance(thinking, str) and (shown := self._reasoning.add(thinking)):
            events.append(ReasoningDelta(shown))
        if isinstance(content, str) and (shown := self._text.add(content)):
            events.append(TextDelta(shown))
        for call in mend_all(parts.calls_in(message)):
            # Each comes whole; an index beside its name would join it to another.
            events.append(self._calls.add({"id": call.get("id"), "function": call.get("function")}))
