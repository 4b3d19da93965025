"""What the sandbox counts and charges, exactly: every figure is Decimal from price to wire.

Tokens follow one simple rule, so that a test can foresee them:

- a prompt is 1 token per 4 characters (rounded up) of all texts, tool calls, tool definitions and
  response formats in it, plus 4 tokens a message, plus 256 for each image, file, audio or video;
- an answer is 1 token per 4 characters (rounded up) of its text, reasoning, refusal and tool calls.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.testing.catalog import price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_router.testing.catalog import SandboxModel

BYOK_FEE = Decimal(0)
_MEDIA_TOKENS = 256
_MESSAGE_TOKENS = 4
_LONG_TTL_FACTOR = Decimal("1.6")  # A write for 1 h costs 2 x input where one for 5 min costs 1.25.
_MARK = "\ue000decimal:"
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def dumps(value: Any) -> str:
    """Return compact JSON in which every Decimal keeps its exact digits."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_mark_decimal)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _mark_decimal(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{plain(value)}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def plain(amount: Decimal) -> str:
    """Return *amount* without exponent and without trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tokens_of(characters: int) -> int:
    return -(-characters // 4)


def count_prompt(body: Mapping[str, Any]) -> int:
    """Count the prompt tokens of a chat request by the rule of this module."""
    characters = 0
    extra = 0
    for message in body.get("messages") or ():
        extra += _MESSAGE_TOKENS
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif isinstance(content, list):
            characters += sum(len(part.get("text") or "") for part in content)
            extra += _MEDIA_TOKENS * sum(part.get("type") != "text" for part in content)
        if message.get("tool_calls"):
            characters += len(dumps(message["tool_calls"]))
    for key in ("tools", "response_format"):
        if body.get(key):
            characters += len(dumps(body[key]))
    return tokens_of(characters) + extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts of one answer; cached and written ones are inside `prompt`."""

    prompt: int
    completion: int
    reasoning: int = 0
    cached: int = 0
    written: int = 0
    written_for_hour: bool = False


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
    streamed: bool = False
    cancelled: bool = False
    """Whether the client left before the end."""
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    recorded_at: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> Decimal:
        """All that was spent: OpenRouter's charge and, under BYOK, the upstream's."""
        return self.cost + self.upstream_cost

    def to_wire(self) -> dict[str, Any]:
        """Return the `data` of `GET /generation`."""
        tokens = self.tokens
        return {
            "id": self.generation_id,
            "upstream_id": f"chatcmpl-{self.generation_id[-12:]}",
            "model": self.model,
            "provider_name": self.provider,
            "total_cost": self.cost,
            "usage": self.cost,
            "upstream_inference_cost": self.upstream_cost,
            "cache_discount": None,
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
            "api_type": "completions",
            "provider_responses": None,
        }


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of some tokens, by part."""

    prompt: Decimal
    completion: Decimal

    @property
    def total(self) -> Decimal:
        return self.prompt + self.completion


def charge(model: SandboxModel, tokens: Tokens) -> Charge:
    """Price *tokens* at the catalogue's prices."""
    full = price(model.prompt)
    read = full if model.cache_read is None else price(model.cache_read)
    write = full if model.cache_write is None else price(model.cache_write)
    if tokens.written_for_hour:
        write *= _LONG_TTL_FACTOR
    fresh = max(tokens.prompt - tokens.cached - tokens.written, 0)
    prompt = fresh * full + tokens.cached * read + tokens.written * write
    return Charge(prompt=prompt, completion=tokens.completion * price(model.completion))


def usage_of(tokens: Tokens, charged: Charge, *, is_byok: bool) -> dict[str, Any]:
    """Return the wire's `usage` object. Under BYOK the cost is the fee alone."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "cost": BYOK_FEE if is_byok else charged.total,
        "is_byok": is_byok,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "cost_details": {
            "upstream_inference_cost": charged.total,
            "upstream_inference_prompt_cost": charged.prompt,
            "upstream_inference_completions_cost": charged.completion,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "image_tokens": 0,
            "audio_tokens": 0,
        },
    }


class Accounts:
    """The books: every bill by generation id."""

    def __init__(self) -> None:
        self.bills: dict[str, Bill] = {}
        self._lookups: dict[str, int] = {}

    def record(self, bill: Bill) -> None:
        self.bills[bill.generation_id] = bill

    def look_up(self, generation_id: str, *, lookups: int, seconds: float) -> Bill | None:
        """Return the bill once it was asked for *lookups* times and is *seconds* old."""
        bill = self.bills.get(generation_id)
        if bill is None:
            return None
        seen = self._lookups[generation_id] = self._lookups.get(generation_id, 0) + 1
        late = time.monotonic() - bill.recorded_at >= seconds
        return bill if late and seen > lookups else None


class PromptCache:
    """Remembers prompt prefixes per model: the first request writes, the next identical one reads.

    Models with automatic caching remember the prefix up to every message; models with explicit
    caching only the prefixes that end at a `cache_control` breakpoint.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()

    def use(self, model: SandboxModel, body: Mapping[str, Any], tokens: int) -> tuple[int, int]:
        """Return the tokens (read, written) for this prompt, and remember it."""
        if model.caching == "none" or tokens < model.cache_minimum:
            return 0, 0
        prefixes = list(_prefixes(body))
        marks = [index for index, prefix in enumerate(prefixes) if prefix.marked]
        explicit = bool(marks) or model.caching == "explicit"
        if explicit and not marks:
            return 0, 0
        last = marks[-1] if explicit else len(prefixes) - 1
        large = [p for p in prefixes[: last + 1] if p.tokens >= model.cache_minimum]
        read = max((p.tokens for p in large if (model.id, p.digest) in self._seen), default=0)
        kept = [p for p in large if p.marked or not explicit]
        self._seen.update((model.id, prefix.digest) for prefix in kept)
        if model.cache_write is None or not explicit:
            return min(read, tokens), 0  # Automatic caching writes without a charge.
        written = max((p.tokens for p in kept), default=0) - read
        return min(read, tokens), max(min(written, tokens - read), 0)


@dataclass(frozen=True, slots=True)
class _Prefix:
    digest: bytes
    tokens: int
    marked: bool


def _prefixes(body: Mapping[str, Any]) -> Iterator[_Prefix]:
    """Yield the growing prefixes of a prompt; breakpoints themselves are not part of them."""
    digest = hashlib.sha256()
    total = 0
    segments = [*(body.get("tools") or ())]
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str) and not message.get("tool_calls"):
            content = [{"type": "text", "text": content}]  # upstreams take the two as the same
        segments += content if isinstance(content, list) else [message]
    for index, segment in enumerate(segments):
        text = dumps({key: value for key, value in segment.items() if key != "cache_control"})
        digest.update(text.encode(errors="surrogatepass"))
        total += tokens_of(len(segment.get("text") or segment.get("content") or text))
        at_end = index == len(segments) - 1 and bool(body.get("cache_control"))
        yield _Prefix(digest.digest(), total, "cache_control" in segment or at_end)


def asks_for_hour(body: Mapping[str, Any]) -> bool:
    """Return whether a breakpoint asks for one hour of cache."""
    return any(mark.get("ttl") == "1h" for mark in _breakpoints(body))


def _breakpoints(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    holders: list[Mapping[str, Any]] = [body, *(body.get("tools") or ())]
    for message in body.get("messages") or ():
        content: str | Sequence[Mapping[str, Any]] | None = message.get("content")
        if isinstance(content, list):
            holders += content
    for holder in holders:
        if holder.get("cache_control"):
            yield holder["cache_control"]
