"""Google's wire, `generateContent`, of the Gemini API and of Vertex AI: bytes in, answers out.

Each event of a stream has the form of a whole answer, so that one reader reads both. Facts:
https://ai.google.dev/api/generate-content and https://ai.google.dev/gemini-api/docs/thought-signatures

What must go back unchanged is in `Completion.reasoning_details`, in the wire's order. A signature
has one more field, which says what part of the answer it belongs to:

    {"type": "signature", "format": "gemini", "signature": "…", "tool_call": 0}
    {"type": "signature", "format": "gemini", "signature": "…", "text": [0, 12]}
    {"type": "signature", "format": "gemini", "signature": "…", "reasoning": [0, 120]}
    {"type": "signature", "format": "gemini", "signature": "…", "image": 0}

`tool_call` and `image` are places in `Completion.tool_calls` and `.images`; `text` and `reasoning`
are the first character of the part and the one after its last. It goes back as `thoughtSignature`
of that very part; a part without characters, [12, 12], goes back as an empty text. Speech does not
go back (`audio`). Parts that are none of these (`executableCode`, `codeExecutionResult`, …) go back
whole, signature and all:

    {"type": "part", "format": "gemini", "part": {"executableCode": {…}}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Citation, Completion, FinishReason, Image
from llm_router.answers.stream_events import (
    AudioDelta,
    CitationDelta,
    ImageDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from llm_router.errors import EmptyResponseError
from llm_router.usage import Usage
from llm_router.wires import parts
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    mend_all,
    moment,
    object_or_empty,
    objects,
    plain_json,
    sole_object,
    text_or_none,
)
from llm_router.wires.parts import reported
from llm_router.wires.reading import Reader, Wire
from llm_router.wires.sse import SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.answers.stream_events import StreamEvent
    from llm_router.errors import ProviderError

FORMAT = "gemini"
# "STOP" with calls is tool_calls.
_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_NAMES = ("responseId", "modelVersion", "createTime")
_KEYS = frozenset({*_NAMES, "candidates", "promptFeedback", "usageMetadata", "error"})
# What a candidate says of sources. Their places in the text are bytes: they stay in `annotations`.
_SOURCES = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


@dataclass(frozen=True)
class GeminiWire(Wire):
    """The wire of `generateContent` and `streamGenerateContent?alt=sse`."""

    kind: str = "gemini"
    id_name = "responseId"
    finish_name = "finishReason"

    def reader(self, headers: Mapping[str, str]) -> Reader:
        """Return the reader of a stream that began with *headers*."""
        return _Reader(self, headers)

    def error_in(
        self,
        answer: dict[str, Any],
        headers: Mapping[str, str],
        before: Mapping[str, Any] | None = None,
    ) -> ProviderError | None:
        """Return the error inside a 200 body or a stream's event, None when there is none."""
        error = super().error_in(answer, headers, before)
        if error is not None and reported(answer) is None:
            error.fill(status_code=200)  # an answer as it should be: it says what was blocked
        return error

    def failure(self, answer: dict[str, Any]) -> tuple[Any, int | None]:
        """Return what went wrong: an error, or a prompt that was blocked."""
        error = reported(answer)
        return (_blocked(answer) if error is None else error), None

    def finish_word(self, answer: Mapping[str, Any]) -> Any:
        """Return why the first candidate ended."""
        return sole_object(answer.get("candidates")).get(self.finish_name)

    def usage(self, answer: Mapping[str, Any]) -> Usage:
        """Return what an answer says of its tokens."""
        return usage_of(object_or_empty(answer.get("usageMetadata")))

    def build(self, answer: dict[str, Any], headers: Mapping[str, str]) -> Completion:
        """Return the answer that an object is; UnreadableError for one that is none."""
        if answer.keys().isdisjoint(_KEYS):
            raise UnreadableError("has no candidates")
        found = _Reader(self, headers).only(answer)
        if not objects(answer.get("candidates")):
            known = self.context(answer, headers)
            raise EmptyResponseError("The answer has no candidates", **known, status_code=200)
        return found


def usage_of(report: Mapping[str, Any]) -> Usage:
    """Read `usageMetadata`, where tool results and thoughts are beside prompt and candidates."""
    return Usage(
        input_tokens=_sum(report, "promptTokenCount", "toolUsePromptTokenCount"),
        output_tokens=_sum(report, "candidatesTokenCount", "thoughtsTokenCount"),
        total_tokens=count(report.get("totalTokenCount")),
        cache_read_tokens=count(report.get("cachedContentTokenCount")),
        reasoning_tokens=count(report.get("thoughtsTokenCount")),
    )


def _sum(report: Mapping[str, Any], *names: str) -> int | None:
    known = [number for name in names if (number := count(report.get(name))) is not None]
    return sum(known) if known else None


class _Decoder(SSEDecoder):
    """Server-sent events which may break off with an error that is bare JSON, without `data:`."""

    def __init__(self) -> None:
        super().__init__()
        self._bare = False

    def _take(self, line: bytes, events: list[bytes]) -> None:
        self._bare = bool(line) and self.seen and (self._bare or line.startswith(b"{"))
        super()._take(b"data:" + line if self._bare else line, events)


class _Reader(Reader):
    """The reader of this wire."""

    decoder = _Decoder

    def __init__(self, wire: GeminiWire, headers: Mapping[str, str]) -> None:
        super().__init__(wire, headers)
        self._usage: dict[str, Any] = {}
        self._answer["usageMetadata"] = self._usage
        self._finish: str | None = None
        self._candidate_index: Any = None
        self._text, self._reasoning = _Passage(), _Passage()
        self._calls: list[dict[str, Any]] = []
        self._images: list[Image] = []
        self._audio = parts.AudioParts()
        self._details: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._cited: dict[str, Citation] = {}
        self._logprobs = parts.LogprobParts()

    def snapshot(self) -> Completion:
        """Return what came so far, the whole answer after the end."""
        names, finish = self._answer, _FINISH.get(self._finish or "", "unknown")
        whole = self.error is None and self._finished and finish != "length"
        return Completion(
            text=self._text.whole(),
            reasoning=self._reasoning.whole() or None,
            reasoning_details=tuple(self._details),
            tool_calls=parts.tool_calls_of({"tool_calls": self._calls}, complete=whole),
            citations=tuple(self._cited.values()),
            annotations=tuple(self._notes),
            images=tuple(self._images),
            audio=parts.audio_of({"audio": self._audio.message()}),
            logprobs=self._logprobs.lists or None,
            finish_reason="tool_calls" if finish == "stop" and self._calls else finish,
            native_finish_reason=self._finish,
            model=names.get("modelVersion"),
            response_id=names.get("responseId"),
            service_tier=mend_all(text_or_none(self._usage.get("serviceTier"))),
            created=moment(names.get("createTime")),
            usage=usage_of(self._usage),
        )

    def _event(self, event: dict[str, Any], events: list[StreamEvent]) -> None:
        for name in _NAMES:
            if isinstance(said := event.get(name), str):
                self._answer[name] = mend_all(said)
        report = object_or_empty(event.get("usageMetadata"))
        self._usage |= {name: said for name, said in report.items() if said is not None}
        if self.error is None:
            self.error = self._error_in(event)
        for candidate in objects(event.get("candidates")) if self.error is None else ():
            index = candidate.get("index", 0)
            if self._candidate_index is None:
                self._candidate_index = index
            if index == self._candidate_index:
                self._take_candidate(candidate, events)

    def _take_candidate(self, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        content = object_or_empty(candidate.get("content")).get("parts")
        if content is not None and not isinstance(content, list):
            raise UnreadableError("has content whose parts are not a list")
        for part in objects(content):
            self._take_part(part, events)
        for name in _SOURCES:
            if said := object_or_empty(candidate.get(name)):
                self._take_sources({"type": name, **plain_json(mend_all(said))}, events)
        if logprobs := object_or_empty(candidate.get("logprobsResult")):
            self._logprobs.add(logprobs)
        if finish := text_or_none(candidate.get("finishReason")):
            self._finish, self._finished = mend_all(finish), True

    def _take_part(self, part: dict[str, Any], events: list[StreamEvent]) -> None:
        """Read one part: what it shows, and what of it goes back."""
        place = self._place(part, events)
        signature = text_or_none(part.get("thoughtSignature"))
        if place is None and part:
            self._keep({"type": "part", "part": plain_json(mend_all(part))}, events)
        elif place and signature:
            self._keep({"type": "signature", "signature": mend_all(signature), **place}, events)

    def _place(self, part: dict[str, Any], events: list[StreamEvent]) -> dict[str, Any] | None:
        """Take what a part shows; return where that stands in the answer, None for nowhere."""
        thought = part.get("thought") is True
        if isinstance(text := part.get("text"), str):
            return self._take_text(text, events, thought=thought)
        if isinstance(call := part.get("functionCall"), dict):
            return {"tool_call": self._take_call(call, events)}
        media, data = _inline(part)
        if thought or not data:  # Drafts of an image are thoughts.
            return None
        if media.startswith("image/"):
            image = Image(url=f"data:{media};base64,{data}")
            self._images.append(image)
            events.append(ImageDelta(image))
            return {"image": len(self._images) - 1}
        if media.startswith("audio/"):
            events.append(AudioDelta(self._audio.add({"data": data})[0]))
            return {"audio": 0}
        return None

    def _keep(self, detail: dict[str, Any], events: list[StreamEvent]) -> None:
        """Keep what goes back."""
        detail |= {"format": FORMAT}
        self._details.append(detail)
        events.append(ReasoningDelta("", (detail,)))

    def _take_text(
        self, text: str, events: list[StreamEvent], *, thought: bool
    ) -> dict[str, list[int]]:
        """Take the text of a part; return where it stands."""
        passage = self._reasoning if thought else self._text
        start, shown = passage.length, passage.add(text)
        if shown:
            events.append(ReasoningDelta(shown) if thought else TextDelta(shown))
        return {"reasoning" if thought else "text": [start, passage.length]}

    def _take_call(self, call: dict[str, Any], events: list[StreamEvent]) -> int:
        """Take a call, which is whole; return its place."""
        call = mend_all(call)
        function = {"name": call.get("name"), "arguments": call.get("args")}
        self._calls.append({"id": call.get("id"), "function": function})
        place, raw = len(self._calls) - 1, parts.raw_arguments_of(function)
        names = text_or_none(call.get("id")), text_or_none(call.get("name"))
        events.append(ToolCallDelta(place, raw, *names))
        return place

    def _take_sources(self, note: dict[str, Any], events: list[StreamEvent]) -> None:
        """Take what was said of sources; a stream may say it again, or more of it."""
        if note not in self._notes[-len(_SOURCES) :]:
            self._notes.append(note)
        for citation in _citations(note):
            if citation.url not in self._cited:
                self._cited[citation.url] = citation
                events.append(CitationDelta(citation))

    def _finish_word(self) -> Any:
        return self._finish


def _blocked(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return `promptFeedback` as an error object, where it says why the prompt was blocked."""
    feedback = object_or_empty(answer.get("promptFeedback"))
    reason = text_or_none(feedback.get("blockReason"))
    if not reason or objects(answer.get("candidates")):
        return None
    told = text_or_none(feedback.get("blockReasonMessage"))
    ratings = [r for r in objects(feedback.get("safetyRatings")) if r.get("blocked") is True]
    return {
        "message": told or f"The prompt was blocked: {reason}",
        "code": reason,
        "metadata": {"reasons": [r.get("category") for r in ratings] or [reason], "raw": feedback},
    }


class _Passage(parts.TextParts):
    """Text in pieces, and how many characters of it came."""

    __slots__ = ("length",)

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def add(self, text: str) -> str:
        """Take *text*; return what can be shown now."""
        shown = super().add(text)
        self.length += len(shown)
        return shown


def _inline(part: dict[str, Any]) -> tuple[str, str]:
    """Return media type and base64 data of a part; "" for what is not there."""
    inline = mend_all(object_or_empty(part.get("inlineData")))
    return text_or_none(inline.get("mimeType")) or "", text_or_none(inline.get("data")) or ""


def _citations(note: dict[str, Any]) -> Iterator[Citation]:
    """Read the sources that a candidate names, with an address each."""
    chunks = objects(note.get("groundingChunks"))
    named = [object_or_empty(c.get(kind)) for c in chunks for kind in ("web", "retrievedContext")]
    # The Gemini API's name for it, then Vertex AI's.
    cited = [*objects(note.get("citationSources")), *objects(note.get("citations"))]
    read = [{"uri": page.get("retrievedUrl")} for page in objects(note.get("urlMetadata"))]
    for source in (*named, *cited, *read):
        if url := text_or_none(source.get("uri")):
            title, content = text_or_none(source.get("title")), text_or_none(source.get("text"))
            yield Citation(url=url, title=title, content=content)
