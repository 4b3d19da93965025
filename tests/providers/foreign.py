"""What the tests of wires of their own share: a model of each, and answers as each writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from llm_router.config.model import ProviderConfig
from llm_router.providers.foreign import ForeignBuilder
from llm_router.providers.importing import load_here
from llm_router.providers.registry import FOREIGN
from llm_router.providers.requests import Prepared
from tests.providers.scripted import ask
from tests.wires.frames import frame

KEY = "test-key-0123456789"
BASE = "http://127.0.0.1:9"
CLAUDE_AT_BEDROCK = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": CLAUDE_AT_BEDROCK,
    "cohere": "command-a-03-2025",
    "cohere_chat": "command-a-03-2025",
    "gemini": "gemini-2.5-flash",
    "ollama_chat": "llama3.2",
    "vertex_ai": "gemini-2.5-flash",
}
KINDS = sorted(FOREIGN)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
SCHEMA_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "place", "strict": True, "schema": SCHEMA},
}


def builder(kind: str, base_url: str | None = BASE, **row: Any) -> ForeignBuilder:
    key = row.pop("api_key", KEY)
    secret = SecretStr(key) if key else None
    config = ProviderConfig(litellm=kind, base_url=base_url, api_key=secret, **row)
    return FOREIGN[kind][1](load_here(), config, "row")


def built(kind: str, model: str | None = None, **options: Any) -> Prepared:
    return builder(kind).build(ask(model or MODELS[kind], **options))


def sse(*events: Mapping[str, Any], named: bool = False) -> str:
    """Return server-sent events, named by their type where the wire names them."""
    names = [f"event: {event['type']}\n" if named else "" for event in events]
    return "".join(
        f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True)
    )


def whole(kind: str) -> dict[str, Any]:
    """Return an answer that says `hi`, of 10 tokens in and 2 out."""
    answers: dict[str, dict[str, Any]] = {
        "anthropic": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-served",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 2},
        },
        "bedrock": {
            "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12},
        },
        "cohere": {
            "id": "c-1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
            "usage": {"tokens": {"input_tokens": 10, "output_tokens": 2}},
        },
        "gemini": gemini({"text": "hi"}),
        "ollama_chat": {
            "model": "llama3.2",
            "created_at": "2026-11-24T10:00:00Z",
            "message": {"role": "assistant", "content": "hi"},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 10,
            "eval_count": 2,
        },
    }
    return answers[FAMILIES.get(kind, kind)]


FAMILIES = {"cohere_chat": "cohere", "vertex_ai": "gemini"}


def gemini(*parts: Mapping[str, Any], finish: str | None = "STOP") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    return {"candidates": [candidate], "usageMetadata": usage, "responseId": "r-1"}


def streamed(kind: str) -> list[bytes]:
    """Return the same answer as a stream, in two pieces; the second says that it is whole."""
    family = FAMILIES.get(kind, kind)
    if family == "bedrock":
        usage = {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12}
        return [
            frame("messageStart", {"role": "assistant"})
            + frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}}),
            frame("contentBlockStop", {"contentBlockIndex": 0})
            + frame("messageStop", {"stopReason": "end_turn"})
            + frame("metadata", {"usage": usage}),
        ]
    return [piece.encode() for piece in _TEXTS[family]]


_TEXTS = {
    "anthropic": [
        sse(
            {"type": "message_start", "message": whole("anthropic") | {"content": []}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "hi"},
            },
            named=True,
        ).replace('"stop_reason": "end_turn"', '"stop_reason": null'),
        sse(
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
            named=True,
        ),
    ],
    "cohere": [
        sse(
            {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}},
            {
                "type": "content-start",
                "index": 0,
                "delta": {"message": {"content": {"type": "text", "text": ""}}},
            },
            {
                "type": "content-delta",
                "index": 0,
                "delta": {"message": {"content": {"text": "hi"}}},
            },
        ),
        sse(
            {"type": "content-end", "index": 0},
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"tokens": {"input_tokens": 10, "output_tokens": 2}},
                },
            },
        ),
    ],
    "gemini": [sse(gemini({"text": "hi"}, finish=None)), sse(gemini({"text": ""}))],
    "ollama_chat": [
        json.dumps({"model": "m", "message": {"content": "hi"}, "done": False}) + "\n",
        json.dumps(whole("ollama_chat") | {"message": {"content": ""}}) + "\n",
    ],
}
