"""OpenAI's wire and its dialects, OpenRouter's first: bytes in, Completions and events out.

The deltas of a stream are collected into the body that an unstreamed answer would have had, and
the same functions read that: a stream and a text mean the same by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Completion
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
from llm_router.errors import EmptyResponseError
from llm_router.usage import Cost, Usage
from llm_router.wires import parts
from llm_router.wires.errors import context, header
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    sole_object,
    text_or_none,
)
from llm_router.wires.parts import reported
from llm_router.wires.reading import Reader, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping


_NO_USAGE, _NO_COST = Usage(), Cost()
_NAMES = ("id", "model", "provider", "created", "service_tier")


@dataclass(frozen=True)
class OpenAIWire(Wire):
    """The wire of chat completions.

    *kind* is LiteLLM's name of the provider: dialects are known by their shape, and by this only
    where a shape means different things. *clock* gives seconds since the epoch.
    """

    kind: str = "openai"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong, by the top of a 200 body or an event, or by a choice."""
        error = reported(answer)
        if error is None:
            choices = map(_choice_error, objects(answer.get("choices")))
            error = next((error for error in choices if error is not None), None)
        return error, None

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise UnreadableError("has no choices")
        if not choices:
            known = context(headers, answer)
            raise EmptyResponseError("The answer has no choices", **known, status_code=200)
        if not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
            raise UnreadableError("has a choice without a message")
        return _build(answer, choices[0], headers)

    def finish_word(self, answer: Mapping[str, Any]) -> Any:
        """Return why the first choice ended."""
        return sole_object(answer.get("choices")).get("finish_reason")

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return parts.usage_of(object_or_empty(answer.get("usage")))

    def context(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what is known of the call, for an error."""
        return context(headers, answer)


def _choice_error(choice: dict[str, Any]) -> Any:
    """Return a choice's error; one that finished with "error" and no object gets a sentence."""
    error = reported(choice)
    if error is not None or choice.get("finish_reason") != "error":
        return error
    native = text_or_none(choice.get("native_finish_reason"))
    return {"message": f"The answer ended in an error{f' ({native})' if native else ''}"}


def _build(
    answer: Mapping[str, Any],
    choice: dict[str, Any],
    headers: Mapping[str, str],
    *,
    whole: bool = True,
) -> Completion:
    """Read every field of an answer; UnreadableError where a part is of the wrong kind.

    Calls of an answer that is not *whole*, or was cut by its length, are not complete.
    """
    message = object_or_empty(choice.get("message"))
    native = text_or_none(choice.get("native_finish_reason"))
    finish = parts.finish_reason(choice.get("finish_reason"), native)
    annotations = [plain_json(note) for note in objects(message.get("annotations"))]
    usage = answer.get("usage")
    report = usage if isinstance(usage, dict) else None
    return Completion(
        text=parts.text_of(message.get("content")),
        reasoning=parts.reasoning_of(message),
        reasoning_details=tuple(
            plain_json(detail) for detail in objects(message.get("reasoning_details"))
        ),
        refusal=text_or_none(message.get("refusal")),
        tool_calls=parts.tool_calls_of(message, complete=whole and finish != "length"),
        citations=parts.citations_of(annotations, answer),
        annotations=tuple(annotations),
        images=parts.images_of(message),
        audio=parts.audio_of(message),
        logprobs=parts.logprobs_of(choice),
        finish_reason=finish,
        native_finish_reason=native,
        model=text_or_none(answer.get("model")),
        upstream_provider=text_or_none(answer.get("provider"))
        or header(headers, "X-Provider-Name"),
        response_id=text_or_none(answer.get("id")) or header(headers, "X-Generation-Id"),
        service_tier=text_or_none(answer.get("service_tier")),
        created=count(answer.get("created")),
        usage=parts.usage_of(report) if report else _NO_USAGE,
        cost=parts.cost_of(report) if report else _NO_COST,
    )


class _Reader(Reader):
    """The reader of this wire."""

    done_ends = True

    def __init__(self, wire: OpenAIWire, headers: Mapping[str, str]) -> None:
        super().__init__(wire, headers)
        self._choice: dict[str, Any] = {}
        self._choice_index: Any = None
        self._text, self._reasoning = parts.TextParts(), parts.TextParts()
        self._refusal, self._audio = parts.TextParts(), parts.AudioParts()
        self._calls, self._details = parts.ToolCallParts(), parts.ReasoningDetailParts()
        self._notes, self._sources = parts.AnnotationParts(), parts.SourceParts()
        self._logprobs = parts.LogprobParts()
        self._images: list[dict[str, Any]] = []

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
        answer = self._answer | {"citations": self._sources.message()}
        whole = self.error is None and self._finished
        return _build(answer, choice, self._headers, whole=whole)

    def _event(self, chunk: dict[str, Any], events: list[StreamEvent]) -> None:
        if "model" not in self._answer or "service_tier" in chunk:
            self._take_names(chunk)
        if self.error is None:
            failed = "error" in chunk or "base_resp" in chunk or chunk.get("object") == "error"
            for choice in objects(chunk.get("choices")):
                self._take_choice(choice, events)
                failed = failed or "error" in choice or choice.get("finish_reason") == "error"
            if "citations" in chunk or "search_results" in chunk:
                new = self._sources.add(chunk, known=self._notes.urls)
                events.extend(map(CitationDelta, new))
            if failed:
                self.error = self._error_in(chunk)
        if "usage" in chunk:
            self._take_usage(chunk["usage"])
        elif "x_groq" in chunk:
            self._take_usage(object_or_empty(chunk["x_groq"]).get("usage"))

    def _take_names(self, chunk: dict[str, Any]) -> None:
        if chunk.get("id") == "" == chunk.get("model"):
            return  # Azure's first chunk, about the prompt, names nothing yet.
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
            self._take_delta(delta, events)
        elif delta is not None:
            raise UnreadableError("holds a delta that is not an object")
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self._logprobs.add(logprobs)
        finish, native = choice.get("finish_reason"), choice.get("native_finish_reason")
        if finish or native:
            self._take_finish(finish, native, object_or_empty(delta))
            self._take_usage(choice.get("usage"))  # Moonshot's place for it.

    def _take_delta(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        content = delta.get("content")
        # role and content are all that a plain text delta has.
        plain = len(delta) == 2 and "role" in delta and type(content) is str
        if not plain:
            self._take_reasoning(delta, events)
        if content and (shown := self._text.add(parts.text_of(content))):
            events.append(TextDelta(shown))
        if not plain:
            self._take_rest(delta, events)

    def _take_reasoning(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        details = [plain_json(detail) for detail in objects(delta.get("reasoning_details"))]
        reasoning = parts.reasoning_of(delta)
        if reasoning or details:
            for detail in details:
                self._details.add(detail)
            shown = self._reasoning.add(reasoning) if reasoning else ""
            events.append(ReasoningDelta(shown, tuple(map(mend_all, details))))

    def _take_rest(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        refusal = text_or_none(delta.get("refusal"))
        if refusal and (shown := self._refusal.add(refusal)):
            events.append(RefusalDelta(shown))
        events.extend(map(self._calls.add, parts.calls_in(delta)))
        if annotations := delta.get("annotations"):
            events.extend(map(CitationDelta, self._notes.add(annotations)))
        for place in ("content", "images"):
            if type(found := delta.get(place)) is list:
                self._take_images(found, events)
        if isinstance(audio := delta.get("audio"), dict):
            data, said = self._audio.add(audio)
            if data or said:
                events.append(AudioDelta(data, said))

    def _take_images(self, found: list[Any], events: list[StreamEvent]) -> None:
        for part in mend_all(objects(found)):
            if images := parts.images_of({"images": [part]}):
                self._images.append(part)
                events.append(ImageDelta(images[0]))

    def _take_finish(self, finish: Any, native: Any, delta: dict[str, Any]) -> None:
        if finish and finish != "error":
            self._choice["finish_reason"] = finish
            # Gemini says "tool_calls" beside each call of several, with no native reason yet:
            # such a stream may still be cut before its end.
            self._finished = bool(native or not delta.get("tool_calls"))
        if native:
            self._choice["native_finish_reason"] = mend_all(native)

    def _take_usage(self, report: Any) -> None:
        if not isinstance(report, dict):
            return
        self._answer["usage"] = report
        self._finished = self._finished or "finish_reason" in self._choice
        if self.error is not None:
            self.error.add(usage=parts.usage_of(report), cost=parts.cost_of(report))

    def _tell_end(self, events: list[StreamEvent]) -> None:
        """Tell the finish and the bill, once each: they may come with every chunk."""
        if self.error is not None:
            return
        finish, native = self._choice.get("finish_reason"), self._choice.get("native_finish_reason")
        if finish is not None:
            events.append(Finish(parts.finish_reason(finish, native), text_or_none(native)))
        if (report := self._answer.get("usage")) is not None:
            events.append(UsageReport(parts.usage_of(report), parts.cost_of(report)))

    def _finish_word(self) -> Any:
        return self._choice.get("finish_reason")
