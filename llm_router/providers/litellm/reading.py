"""LiteLLM's objects back in the shape of the wire, so that one reader serves every provider.

Where the wire is OpenAI's, the raw body is read and LiteLLM's object is not looked at: it maps an
unknown finish reason to "stop", unknown cost to 0.0, and loses the upstream's name. Elsewhere the
object is all there is, and these losses stand: a null finish reason reads as "stop", a native one
is kept only where LiteLLM keeps it, and its `response_cost` (from its own price map) is not used.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.answers.models import Prices

if TYPE_CHECKING:
    from llm_router.answers.completion import Completion
    from llm_router.config.model import PriceConfig

_MILLION = Decimal(1_000_000)


def wire_body(response: Any) -> bytes:
    """Return a ModelResponse as the body of a chat completion."""
    body = response.model_dump(mode="json")
    for choice in body.get("choices") or ():
        _unpack(choice)
        _unpack(choice.get("message") or {})
    return _with_upstream(body, response)


def wire_event(chunk: Any, *, with_usage: bool) -> bytes:
    """Return a chunk as one server-sent event; its usage only when a provider counted it."""
    body = chunk.model_dump(mode="json", exclude_none=True)
    for choice in body.get("choices") or ():
        _unpack(choice)
        _unpack(choice.get("delta") or {})
    if not with_usage:
        body.pop("usage", None)
    return b"data: " + _with_upstream(body, chunk) + b"\n\n"


def _unpack(part: dict[str, Any]) -> None:
    """Put back what LiteLLM moved aside as specific to a provider."""
    for name, value in (part.pop("provider_specific_fields", None) or {}).items():
        if part.get(name) is None:
            part[name] = value


def _with_upstream(body: dict[str, Any], source: Any) -> bytes:
    hidden = getattr(source, "_hidden_params", None) or {}
    if body.get("provider") is None and hidden.get("upstream_provider"):
        body["provider"] = hidden["upstream_provider"]
    return json.dumps(body, default=str).encode()


def priced(completion: Completion, prices: PriceConfig | None) -> Completion:
    """Return *completion* with what the row's prices make of its tokens.

    They become the total only where the provider reported no cost.
    """
    computed = None if prices is None else token_prices(prices).cost_of(completion.usage)
    if computed is None:
        return completion
    cost = replace(completion.cost, computed=computed)
    if cost.reported is None and cost.total is None:
        cost = replace(cost, total=computed, source="local")
    return replace(completion, cost=cost)


def token_prices(row: PriceConfig) -> Prices:
    """Return a row's prices, which are USD per million tokens, as USD per token."""
    read, write = row.cache_read, row.cache_write
    return Prices(
        input=row.input / _MILLION,
        output=row.output / _MILLION,
        cache_read=None if read is None else read / _MILLION,
        cache_write=None if write is None else write / _MILLION,
    )
