"""What OpenRouter says afterwards: `/generation` of one answer, `/key` of the key in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.records import Generation
from llm_router.errors import InvalidResponseError
from llm_router.usage import Cost, Usage
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    money,
    object_or_empty,
    read_json,
    text_or_none,
)

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What a key may still spend, in USD; None where there is no limit."""

    label: str | None = None
    limit: Decimal | None = None
    limit_remaining: Decimal | None = None
    usage: Decimal | None = None
    is_free_tier: bool | None = None


def read_generation(body: bytes) -> Generation:
    """Read the body of `/generation`; InvalidResponseError when it is none."""
    data = _data(body)
    identity = text_or_none(data.get("id"))
    if identity is None:
        raise InvalidResponseError("The record of the generation has no id.")
    prompt = count(data.get("native_tokens_prompt"))
    output = count(data.get("native_tokens_completion"))
    return Generation(
        response_id=identity,
        model=text_or_none(data.get("model")),
        upstream_provider=text_or_none(data.get("provider_name")),
        usage=Usage(
            input_tokens=prompt,
            output_tokens=output,
            total_tokens=None if prompt is None or output is None else prompt + output,
            cache_read_tokens=count(data.get("native_tokens_cached")),
            reasoning_tokens=count(data.get("native_tokens_reasoning")),
        ),
        cost=Cost.from_report(
            money(data.get("total_cost")),
            is_byok=_flag(data.get("is_byok")),
            upstream=money(data.get("upstream_inference_cost")),
        ),
        native_finish_reason=text_or_none(data.get("native_finish_reason")),
    )


def read_key_info(body: bytes) -> KeyInfo:
    """Read the body of `/key`; InvalidResponseError when it is none."""
    data = _data(body)
    return KeyInfo(
        label=text_or_none(data.get("label")),
        limit=money(data.get("limit")),
        limit_remaining=money(data.get("limit_remaining")),
        usage=money(data.get("usage")),
        is_free_tier=_flag(data.get("is_free_tier")),
    )


def _data(body: bytes) -> dict[str, Any]:
    try:
        data = object_or_empty(read_json(body)).get("data")
    except UnreadableError as error:
        raise InvalidResponseError(f"The answer {error}.") from error
    if not isinstance(data, dict):
        raise InvalidResponseError("The answer has no data in it.")
    return data


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
