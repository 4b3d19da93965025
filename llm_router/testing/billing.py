"""What the sandbox counts and charges, exactly: every figure is Decimal from price to wire.

Tokens follow one simple rule, so that a test can foresee them:

- a prompt is 1 token per 4 characters (rounded up) of all texts, tool calls, tool definitions and
  response formats in it, plus 4 tokens a message, plus 256 for each image, file, audio or video;
- an answer is 1 token per 4 characters (rounded up) of its text, reasoning, refusal and tool calls;
- each text to embed or to rank is 1 token per 4 characters (rounded up), the query too;
- ranking up to 100 documents is one search unit, an image one unit, a character to speak one, sound
  one second per 16,000 bytes (rounded up), a web search of a chat one.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.testing.catalog import price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.testing.catalog import SandboxModel, Upstream

_MEDIA_TOKENS = 256
_MESSAGE_TOKENS = 4
_LONG_TTL_FACTOR = Decimal("1.6")  # A write for 1 h costs 2 x input where one for 5 min costs 1.25.
_UNTOLD = (
    "app_id", "cache_discount", "external_user", "http_referer", "moderation_latency",
    "native_tokens_completion_images", "num_fetches", "num_input_audio_prompt",
    "num_media_completion", "num_media_prompt", "num_search_results", "preset_id",
    "provider_responses", "request_id", "router", "service_tier", "session_id", "user_agent",
    "web_search_engine", "workspace_id",
)  # fmt: skip
_MARK = "\ue000decimal:"
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def dumps(value: Any) -> str:
    """Return compact JSON in which every Decimal keeps its exact digits, without exponent."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_mark_decimal)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _mark_decimal(value: Any) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is not JSON")
    text = f"{value:f}"
    return _MARK + (text.rstrip("0").rstrip(".") if "." in text else text)


def tokens_of(characters: int) -> int:
    return -(-characters // 4)


def parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a message's content; a plain text is one part."""
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def text_of(part: Mapping[str, Any]) -> str:
    """Return the text of a part; other parts have none."""
    return part["text"] if part.get("type") == "text" else ""


def texts_in(body: Mapping[str, Any]) -> list[str]:
    """Return the texts of a request that is no chat; what is not text as its JSON."""
    if body.get("messages"):
        return []
    ranked = [body["query"], *body["documents"]] if "documents" in body else []
    given = body.get("input") or body.get("prompt") or ranked
    one = isinstance(given, str) or (given and isinstance(given[0], int))
    return [text if isinstance(text, str) else dumps(text) for text in ([given] if one else given)]


def count_prompt(body: Mapping[str, Any]) -> int:
    """Count the prompt tokens of a request by the rule of this module."""
    added = [body[key] for key in ("tools", "response_format") if body.get(key)]
    extra = sum(tokens_of(len(text)) for text in texts_in(body))
    characters = 0
    for message in body.get("messages") or ():
        parts = parts_of(message)
        characters += sum(len(text_of(part)) for part in parts)
        extra += _MESSAGE_TOKENS + _MEDIA_TOKENS * sum(part.get("type") != "text" for part in parts)
        if message.get("tool_calls"):
            added.append(message["tool_calls"])
    return tokens_of(characters + sum(len(dumps(value)) for value in added)) + extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts of one answer; cached and written ones are inside `prompt`."""

    prompt: int
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    written: int = 0
    written_for_hour: bool = False
    units: int = 0
    """What the operation counts beside tokens, as this module says."""

    def charged(self, model: SandboxModel) -> tuple[Decimal, Decimal]:
        """Return what the prompt and the answer cost, in USD, at the catalogue's prices."""
        full = price(model.prompt)
        read = full if model.cache_read is None else price(model.cache_read)
        write = full if model.cache_write is None else price(model.cache_write)
        if self.written_for_hour:
            write *= _LONG_TTL_FACTOR
        fresh = max(self.prompt - self.cached - self.written, 0)
        prompt = fresh * full + self.cached * read + self.written * write
        written = self.completion * price(model.completion)
        return prompt, written + self.units * price(model.unit_price)


def usage_of(tokens: Tokens, model: SandboxModel, *, is_byok: bool) -> dict[str, Any]:
    """Return the wire's `usage` object. Under BYOK the cost is the fee alone, which is 0."""
    prompt, completion = tokens.charged(model)
    cost = Decimal(0) if is_byok else prompt + completion
    if model.output == "rerank":
        return {"total_tokens": tokens.prompt, "search_units": tokens.units, "cost": cost}
    if model.output == "transcription":
        return {"seconds": tokens.units, "cost": cost}
    usage = {
        "prompt_tokens": tokens.prompt,
        "total_tokens": tokens.prompt + tokens.completion,
        "cost": cost,
        "is_byok": is_byok,
        "cost_details": {
            "upstream_inference_cost": prompt + completion,
            "upstream_inference_prompt_cost": prompt,
            "upstream_inference_completions_cost": completion,
        },
    }
    if model.output == "embeddings":
        return usage
    return usage | {
        "completion_tokens": tokens.completion,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "image_tokens": 0,
            "audio_tokens": 0,
        },
        **_searched(tokens, model),
    }


def _searched(tokens: Tokens, model: SandboxModel) -> dict[str, Any]:
    if model.output != "text" or not tokens.units:
        return {}
    counted = ("web_search_requests", "tool_calls_requested", "tool_calls_executed")
    return {"server_tool_use_details": dict.fromkeys(counted, tokens.units)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the sandbox billed for one generation. Money is USD."""

    generation_id: str
    requested_model: str
    model: str
    """The model as answers name it."""
    provider: str
    """Display name of the upstream provider."""
    tokens: Tokens
    cost: Decimal
    """What OpenRouter charged; only its fee under BYOK."""
    upstream_cost: Decimal
    """What the upstream charged the caller's own key; 0 without BYOK."""
    is_byok: bool = False
    cancelled: bool = False
    """Whether the client left before the end."""
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    api_type: str = "completions"
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    recorded_at: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> Decimal:
        """All that was spent: OpenRouter's charge and, under BYOK, the upstream's."""
        return self.cost + self.upstream_cost

    def to_wire(self) -> dict[str, Any]:
        """Return the `data` of `GET /generation`."""
        tokens = self.tokens
        return dict.fromkeys(_UNTOLD) | {
            "id": self.generation_id,
            "created_at": self.created_at,
            "upstream_id": f"chatcmpl-{self.generation_id[-12:]}",
            "model": self.model,
            "provider_name": self.provider,
            "total_cost": self.cost,
            "usage": self.cost,
            "upstream_inference_cost": self.upstream_cost,
            "is_byok": self.is_byok,
            "tokens_prompt": tokens.prompt,
            "tokens_completion": tokens.completion,
            "native_tokens_prompt": tokens.prompt,
            "native_tokens_completion": tokens.completion,
            "native_tokens_reasoning": tokens.reasoning,
            "native_tokens_cached": tokens.cached,
            "finish_reason": self.finish_reason,
            "native_finish_reason": self.native_finish_reason,
            "streamed": True,  # As recorded, also for calls that were not streamed.
            "cancelled": self.cancelled,
            "latency": 5,
            "generation_time": 5,
            "api_type": self.api_type,
            "origin": "",
            "data_region": "global",
        }


class PromptCache:
    """The prompt prefixes that each upstream has seen: the first request writes, the next reads.

    A request with breakpoints is remembered up to each of them; one without them up to each of its
    messages, and only by models that cache by themselves, whose writes are free.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()

    def use(
        self, model: SandboxModel, upstream: Upstream, body: Mapping[str, Any], prompt: int
    ) -> dict[str, Any]:
        """Return the fields of `Tokens` about caching for *prompt* tokens, and remember them."""
        prefixes = list(_prefixes(body))
        marked = [prefix for prefix in prefixes if prefix[2]]
        usable = {"none": [], "explicit": marked, "automatic": marked or prefixes}[model.caching]
        large = {
            (f"{model.id} {upstream.slug}", digest): min(tokens, prompt)
            for digest, tokens, _mark in usable
            if tokens >= model.cache_minimum
        }
        read = max((large[key] for key in large.keys() & self._seen), default=0)
        self._seen |= large.keys()
        writes = bool(marked and model.cache_write)
        return {
            "cached": read,
            "written": max(large.values(), default=0) - read if writes else 0,
            "written_for_hour": any(mark.get("ttl") == "1h" for *_, mark in marked),
        }


def _prefixes(body: Mapping[str, Any]) -> Iterator[tuple[bytes, int, Mapping[str, Any]]]:
    """Yield digest, tokens and breakpoint (if any) of the growing prefixes of a prompt."""
    digest, total = hashlib.sha256(), 0
    segments = [*(body.get("tools") or ())]
    for message in body.get("messages") or ():
        segments += [message] if message.get("tool_calls") else parts_of(message)
    for index, segment in enumerate(segments, 1):
        text = dumps({key: value for key, value in segment.items() if key != "cache_control"})
        digest.update(text.encode(errors="surrogatepass"))
        total += tokens_of(len(text_of(segment) or text))
        at_end = body.get("cache_control") if index == len(segments) else None
        yield digest.digest(), total, segment.get("cache_control") or at_end or {}
