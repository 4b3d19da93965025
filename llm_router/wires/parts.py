"""The parts of an answer: each read from JSON, and what the deltas of a stream add up to.

Whatever a stream brings is collected into the very JSON that an unstreamed message would have,
and read by the same functions. Collecting takes a time that grows with what comes, no faster.
"""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Audio, Citation, Image, ToolCall
from llm_router.answers.stream_events import ToolCallDelta
from llm_router.usage import Cost, Usage
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    json_text,
    mend,
    mend_all,
    money,
    object_or_empty,
    objects,
    plain_json,
    read_arguments,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_router.answers.completion import FinishReason

# Lower case; upstreams write MAX_TOKENS, max_output_tokens, …
_LENGTH = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "max_length",
        "model_length",
        "model_context_window_exceeded",
    }
)
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
    **dict.fromkeys(_LENGTH, "length"),
}
_TEXT_PARTS = ("text", "output_text", None)  # A tuple: anything may be looked for in it.
_JOINED = ("text", "summary", "data")
_MOST_TICKS = 10**19
# Cache reads at DeepSeek, Moonshot and Mistral.
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")


def reported(answer: dict[str, Any]) -> Any:
    """Return what a body says went wrong under any status; None when it says nothing.

    That is `error`, an object or a text (with its code beside it: xAI); the whole body (Mistral,
    vLLM); or `base_resp` (MiniMax).
    """
    error = answer.get("error")
    if error is not None and error is not False:
        return error
    if answer.get("object") == "error":
        return answer
    base = object_or_empty(answer.get("base_resp"))
    return base | {"message": base.get("status_msg")} if base.get("status_code") else None


def finish_reason(finish: Any, native: Any) -> FinishReason:
    """Return the finish reason that two wire fields mean.

    Truncated tool calls are labelled `tool_calls` on the wire: the native reason tells.
    """
    if isinstance(native, str) and native.lower() in _LENGTH and finish != "content_filter":
        return "length"
    return _FINISH.get(finish, "unknown") if isinstance(finish, str) else "unknown"


def usage_of(report: dict[str, Any]) -> Usage:
    """Read the wire's `usage`; what it does not say, or says absurdly, is None.

    Where the total is the sum of prompt, completion and reasoning (xAI), reasoning is beside the
    completion, and is put into it here.
    """
    into = object_or_empty(report.get("prompt_tokens_details"))
    out = object_or_empty(report.get("completion_tokens_details"))
    prompt, output = count(report.get("prompt_tokens")), count(report.get("completion_tokens"))
    total, reasoning = count(report.get("total_tokens")), count(out.get("reasoning_tokens"))
    if reasoning and prompt is not None and output is not None:
        output += reasoning if total == prompt + output + reasoning else 0
    cached = count(into.get("cached_tokens"))
    for place in _CACHED if cached is None else ():
        cached = count(report.get(place)) if cached is None else cached
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        total_tokens=total,
        cache_read_tokens=cached,
        cache_write_tokens=count(into.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
    )


def cost_of(report: dict[str, Any]) -> Cost:
    """Read what the wire's `usage` says was charged."""
    byok = report.get("is_byok")
    return Cost.from_report(
        _charged(report),
        is_byok=byok if isinstance(byok, bool) else None,
        upstream=money(object_or_empty(report.get("cost_details")).get("upstream_inference_cost")),
    )


def _charged(report: dict[str, Any]) -> Decimal | None:
    """Return `cost` (OpenRouter), its `total_cost` (Perplexity), or xAI's ticks of 1e-10 USD."""
    cost, ticks = report.get("cost"), report.get("cost_in_usd_ticks")
    if cost is None and type(ticks) is int and 0 <= ticks < _MOST_TICKS:
        return Decimal(f"{ticks}e-10")
    return money(cost.get("total_cost") if isinstance(cost, dict) else cost)


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise UnreadableError("has content that is neither text nor a list of parts")
    return "".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
        return text_or_none(part.get("text")) or ""
    return ""


def reasoning_of(message: dict[str, Any]) -> str | None:
    """Return the message's own reasoning: under one of two names, or as parts of its content."""
    for name in ("reasoning", "reasoning_content"):
        if isinstance(own := message.get(name), str):
            return own
    content = message.get("content")
    if not isinstance(content, list):
        return None
    thinking = [part for part in objects(content) if part.get("type") == "thinking"]
    return "".join(text_of(part.get("thinking")) for part in thinking) if thinking else None


def raw_arguments_of(function: dict[str, Any]) -> str:
    """Return a call's arguments as text; an object is written as JSON."""
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return json_text(arguments)
    return text_or_none(arguments) or ""


def tool_calls_of(message: dict[str, Any], *, complete: bool) -> tuple[ToolCall, ...]:
    """Read the tool calls; *complete* says whether the answer ended of its own accord."""
    return tuple(_tool_call(call, complete) for call in calls_in(message))


def calls_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `tool_calls` of a message or a delta; UnreadableError when they are no objects."""
    calls = message.get("tool_calls")
    if calls is None:
        return []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise UnreadableError("has tool calls that are not a list of objects")
    return calls


def _tool_call(call: dict[str, Any], complete: bool) -> ToolCall:
    function = object_or_empty(call.get("function"))
    raw = raw_arguments_of(function)
    return ToolCall(
        id=text_or_none(call.get("id")),
        name=text_or_none(function.get("name")) or "",
        arguments=read_arguments(raw),
        raw_arguments=raw,
        complete=complete,
    )


def citations_of(
    annotations: Iterable[dict[str, Any]], answer: Mapping[str, Any]
) -> tuple[Citation, ...]:
    """Read url citations, then the sources of *answer* that are not yet among them."""
    found = [citation for note in annotations if (citation := citation_of(note))]
    known = {citation.url for citation in found}
    return (*found, *(source for source in sources_of(answer) if source.url not in known))


def sources_of(answer: Mapping[str, Any]) -> list[Citation]:
    """Read Perplexity's `citations` (addresses) and `search_results`, each address once."""
    if not answer.keys() & {"citations", "search_results"}:
        return []
    results = objects(answer.get("search_results"))
    listed = answer.get("citations")
    cited = [
        {"url": one} if isinstance(one, str) else one
        for one in (listed if isinstance(listed, list) else ())
    ]
    found: dict[str, dict[str, Any]] = {}
    for source in (*objects(cited), *results):
        url = source.get("url")
        if isinstance(url, str) and url and (url not in found or source.get("title")):
            found[url] = source
    return [
        Citation(
            url=url,
            title=text_or_none(source.get("title")),
            content=text_or_none(source.get("snippet")),
        )
        for url, source in found.items()
    ]


def citation_of(annotation: dict[str, Any]) -> Citation | None:
    """Return the source that an annotation cites; None for another kind (a parsed file)."""
    cited = annotation.get("url_citation")
    url = cited.get("url") if isinstance(cited, dict) else None
    if not isinstance(cited, dict) or not isinstance(url, str):
        return None
    return Citation(
        url=url,
        title=text_or_none(cited.get("title")),
        content=text_or_none(cited.get("content")),
        start_index=count(cited.get("start_index")),
        end_index=count(cited.get("end_index")),
    )


def images_of(message: dict[str, Any]) -> tuple[Image, ...]:
    """Read generated images, beside the content or inside a list of parts."""
    parts = [*objects(message.get("images")), *objects(message.get("content"))]
    return tuple(image for part in parts if (image := _image(part)))


def _image(part: dict[str, Any]) -> Image | None:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return Image(url=url) if isinstance(url, str) and url else None


def audio_of(message: dict[str, Any]) -> Audio | None:
    """Read generated speech."""
    audio = message.get("audio")
    if not isinstance(audio, dict) or not audio:
        return None
    return Audio(
        id=text_or_none(audio.get("id")),
        data=text_or_none(audio.get("data")),
        transcript=text_or_none(audio.get("transcript")),
        expires_at=count(audio.get("expires_at")),
    )


def logprobs_of(choice: dict[str, Any]) -> dict[str, Any] | None:
    """Return the log probabilities as sent, as floats."""
    logprobs = choice.get("logprobs")
    return dict(plain_json(logprobs)) if isinstance(logprobs, dict) else None


# --- what deltas add up to ------------------------------------------------------------------


class TextParts:
    """Text that comes in pieces. Half of a surrogate pair waits for its other half."""

    __slots__ = ("_half", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._half = ""

    def add(self, text: str) -> str:
        """Take *text*; return what can be shown now."""
        self.pieces.append(text)
        # ASCII, the common case, is sound without a look.
        if not self._half and (text.isascii() or _sound(text)):
            return text
        return self._shown(text)

    def whole(self) -> str:
        """Return all that came."""
        return mend("".join(self.pieces))

    def _shown(self, text: str) -> str:
        text = self._half + text
        half = bool(text) and "\ud800" <= text[-1] <= "\udbff"
        self._half = text[-1] if half else ""
        return mend(text[:-1] if half else text)


def _sound(text: str) -> bool:
    try:
        text.encode()  # A lone surrogate cannot be encoded.
    except UnicodeEncodeError:
        return False
    return True


class _Call:
    __slots__ = ("arguments", "id", "name", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self.id: str | None = None
        self.name: str | None = None
        self.arguments = TextParts()


class ToolCallParts:
    """Tool calls by index. Gemini gives several calls the same index: a new id is a new call."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._latest: dict[int, _Call] = {}
        self._by_id: dict[tuple[int | None, str], _Call] = {}

    def add(self, delta: dict[str, Any]) -> ToolCallDelta:
        """Take one entry of `delta.tool_calls`; return the event that it is."""
        function = object_or_empty(delta.get("function"))
        index, call_id = count(delta.get("index")), text_or_none(delta.get("id"))
        name = text_or_none(function.get("name"))
        call = self._known(index, call_id, name) or self._new(index)
        if call_id and not call.id:
            self._by_id[index, call_id] = self._by_id[None, call_id] = call
        call.id = call.id or (call_id and mend(call_id))
        call.name = call.name or (name and mend(name))
        shown = call.arguments.add(raw_arguments_of(function))
        return ToolCallDelta(call.place, shown, call.id, call.name)

    def message(self) -> list[dict[str, Any]]:
        """Return `message.tool_calls` as an unstreamed answer has them."""
        return [
            {"id": c.id, "function": {"name": c.name, "arguments": c.arguments.whole()}}
            for c in self._calls
        ]

    def _known(self, index: int | None, call_id: str | None, name: str | None) -> _Call | None:
        """Return the call that goes on."""
        if index is not None:
            latest = self._latest.get(index)
            if latest is None or not (call_id and latest.id and name):
                return latest
            return self._by_id.get((index, call_id))
        # Without an index: the call with this id, or the last one when nothing is new.
        if call_id:
            return self._by_id.get((None, call_id))
        return self._calls[-1] if self._calls and not name else None

    def _new(self, index: int | None) -> _Call:
        call = _Call(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._latest[index] = call
        return call


class _Detail:
    __slots__ = ("fields", "pieces")

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.pieces: dict[str, list[str]] = {}

    def takes(self, fragment: dict[str, Any]) -> bool:
        """Say whether *fragment*, of the same type and index, continues this detail."""
        mine, new = self.fields.get("id"), fragment.get("id")
        return any(name in fragment or name in self.pieces for name in _JOINED) and (
            new is None or mine is None or mine == new
        )

    def add(self, fragment: dict[str, Any]) -> None:
        for name, value in fragment.items():
            if name in _JOINED and isinstance(value, str):
                self.pieces.setdefault(name, []).append(value)
            elif value is not None or name not in self.fields:
                self.fields[mend(name)] = mend_all(value)

    def whole(self) -> dict[str, Any]:
        return self.fields | {name: mend("".join(parts)) for name, parts in self.pieces.items()}


def _key(fragment: dict[str, Any], *names: str) -> Any:
    """Return the values of some fields as a key; anything may stand in them."""
    values = tuple(map(fragment.get, names))
    try:
        hash(values)
    except TypeError:
        return repr(values)
    return values


class ReasoningDetailParts:
    """`reasoning_details`: fragments of one index and type are one detail, its text joined."""

    def __init__(self) -> None:
        self._details: list[_Detail] = []
        self._latest: dict[Any, _Detail] = {}

    def add(self, fragment: dict[str, Any]) -> None:
        """Take one fragment."""
        kind = _key(fragment, "type", "index")
        own = kind if fragment.get("id") is None else _key(fragment, "type", "index", "id")
        found = (self._latest.get(key) for key in (kind, own))
        detail = next((d for d in found if d is not None and d.takes(fragment)), None)
        # Without an index only the detail before it can be continued.
        if detail is None or (fragment.get("index") is None and detail is not self._details[-1]):
            detail = _Detail()
            self._details.append(detail)
            self._latest[kind] = detail
        self._latest[own] = detail
        detail.add(fragment)

    def message(self) -> list[dict[str, Any]]:
        """Return the details as an unstreamed answer has them."""
        return [detail.whole() for detail in self._details]


class AudioParts:
    """Audio out: base64 pieces, each maybe padded on its own, and a transcript in pieces."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.data: list[str] = []
        self.transcript = TextParts()

    def add(self, audio: dict[str, Any]) -> tuple[str | None, str | None]:
        """Take one `delta.audio`; return its data and its transcript."""
        for name in ("id", "expires_at"):
            if audio.get(name) is not None:
                self.fields[name] = mend_all(audio[name])
        data, said = text_or_none(audio.get("data")), text_or_none(audio.get("transcript"))
        if data:
            self.data.append(mend(data))
        return data or None, self.transcript.add(said) if said else None

    def message(self) -> dict[str, Any] | None:
        """Return `message.audio` as an unstreamed answer has it."""
        fields = dict(self.fields)
        if self.data:
            fields["data"] = join_base64(self.data)
        if self.transcript.pieces:
            fields["transcript"] = self.transcript.whole()
        return fields or None


def join_base64(pieces: list[str]) -> str:
    """Join pieces of base64, each maybe padded on its own."""
    if not any(piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)


class LogprobParts:
    """Log probabilities: the lists of all chunks, one after the other."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any] | None] = {}

    def add(self, logprobs: dict[str, Any]) -> None:
        for name, value in plain_json(mend_all(logprobs)).items():
            known = self.lists.get(name)
            if not isinstance(value, list):
                self.lists.setdefault(name, None)
            elif known is None:
                self.lists[name] = list(value)
            else:
                known.extend(value)


class AnnotationParts:
    """Annotations; an upstream that repeats its whole list with every chunk is heard once."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.urls: set[str] = set()

    def add(self, value: Any) -> list[Citation]:
        """Take one `delta.annotations`; return what is newly cited."""
        notes = [plain_json(mend_all(note)) for note in objects(value)]
        known = len(self.notes)
        new = notes[known:] if notes[:known] == self.notes else notes
        self.notes.extend(new)
        citations = [citation for note in new if (citation := citation_of(note))]
        self.urls.update(citation.url for citation in citations)
        return citations


class SourceParts:
    """Perplexity's sources, which it repeats with every chunk: each address is told once."""

    def __init__(self) -> None:
        self._found: dict[str, Citation] = {}

    def add(self, chunk: dict[str, Any], known: set[str]) -> list[Citation]:
        """Take one chunk; return the sources that are new and not *known* as cited."""
        lists = {name: mend_all(chunk.get(name)) for name in ("citations", "search_results")}
        sources = sources_of(lists)
        new = [s for s in sources if s.url not in self._found and s.url not in known]
        for source in sources:
            if source.title or source.url not in self._found:
                self._found[source.url] = source
        return new

    def message(self) -> list[dict[str, Any]]:
        """Return `citations` as an unstreamed answer has them."""
        found = self._found.values()
        return [{"url": c.url, "title": c.title, "snippet": c.content} for c in found]
