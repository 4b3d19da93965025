"""The parts of an answer, each read from its JSON: pure, and the same for a text and a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Audio, Citation, Image, ToolCall
from llm_router.usage import Cost, Usage
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    money,
    object_or_empty,
    objects,
    plain_json,
    read_arguments,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_router.answers.completion import FinishReason

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# Lower case; upstreams write MAX_TOKENS, max_output_tokens, …
_NATIVE_LENGTH = frozenset(
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
_TEXT_PARTS = frozenset({"text", "output_text", None})


def finish_reason(finish: Any, native: Any) -> FinishReason:
    """Return the finish reason that two wire fields mean.

    Truncated tool calls are labelled `tool_calls` on the wire: the native reason tells.
    """
    if isinstance(native, str) and native.lower() in _NATIVE_LENGTH and finish != "content_filter":
        return "length"
    return _FINISH.get(finish, "unknown") if isinstance(finish, str) else "unknown"


def usage_of(report: dict[str, Any]) -> Usage:
    """Read the wire's `usage`; what it does not say, or says absurdly, is None."""
    get = report.get
    into = object_or_empty(get("prompt_tokens_details"))
    out = object_or_empty(get("completion_tokens_details"))
    return Usage(
        input_tokens=count(get("prompt_tokens")),
        output_tokens=count(get("completion_tokens")),
        total_tokens=count(get("total_tokens")),
        cache_read_tokens=count(into.get("cached_tokens")),
        cache_write_tokens=count(into.get("cache_write_tokens")),
        reasoning_tokens=count(out.get("reasoning_tokens")),
    )


def cost_of(report: dict[str, Any]) -> Cost:
    """Read what the wire's `usage` says was charged."""
    byok = report.get("is_byok")
    return Cost.from_report(
        money(report.get("cost")),
        is_byok=byok if isinstance(byok, bool) else None,
        upstream=money(object_or_empty(report.get("cost_details")).get("upstream_inference_cost")),
    )


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
    """Return the message's own reasoning, whichever of its two names it has."""
    own = text_or_none(message.get("reasoning"))
    return text_or_none(message.get("reasoning_content")) if own is None else own


def raw_arguments_of(function: dict[str, Any]) -> str:
    """Return a call's arguments as text; an object (out of specification) is written as JSON."""
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return json.dumps(plain_json(arguments), ensure_ascii=False)
    return text_or_none(arguments) or ""


def tool_calls_of(message: dict[str, Any], *, complete: bool) -> tuple[ToolCall, ...]:
    """Read the tool calls; *complete* says whether the answer ended of its own accord."""
    calls = message.get("tool_calls")
    if calls is None:
        return ()
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise UnreadableError("has tool calls that are not a list of objects")
    return tuple(_tool_call(call, complete) for call in calls)


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


def citations_of(annotations: Iterable[dict[str, Any]], sources: Any) -> tuple[Citation, ...]:
    """Read url citations, then *sources* (Perplexity's top-level list) not yet among them."""
    found = [citation for note in annotations if (citation := citation_of(note))]
    known = {citation.url for citation in found}
    for source in sources if isinstance(sources, list) else ():
        url = source.get("url") if isinstance(source, dict) else source
        if isinstance(url, str) and url and url not in known:
            known.add(url)
            title = text_or_none(source.get("title")) if isinstance(source, dict) else None
            found.append(Citation(url=url, title=title))
    return tuple(found)


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
