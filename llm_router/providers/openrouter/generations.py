"""What OpenRouter says afterwards of one answer: `/generation`."""

from __future__ import annotations

from typing import Any

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


def read_generation(body: bytes) -> Generation:
    """Read the body of `/generation`; InvalidResponseError when it is none."""
    data = _data(body)
    identity = text_or_none(data.get("id"))
    if identity is None:
        raise InvalidResponseError("The record of the generation has no id.")
    prompt = count(data.get("native_tokens_prompt"))
    output = count(data.get("native_tokens_completion"))
    byok = data.get("is_byok")
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
            is_byok=byok if isinstance(byok, bool) else None,
            upstream=money(data.get("upstream_inference_cost")),
        ),
        native_finish_reason=text_or_none(data.get("native_finish_reason")),
    )


def _data(body: bytes) -> dict[str, Any]:
    try:
        data = object_or_empty(read_json(body)).get("data")
    except UnreadableError as error:
        raise InvalidResponseError(f"The answer {error}.") from error
    if not isinstance(data, dict):
        raise InvalidResponseError("The answer has no data in it.")
    return data
