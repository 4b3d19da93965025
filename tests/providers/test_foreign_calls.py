"""Calls to providers with wires of their own, over real sockets."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from pydantic import BaseModel

from llm_router import Router
from llm_router.answers.completion import Completion
from llm_router.config.model import PriceConfig
from llm_router.errors import (
    ConfigurationError,
    InvalidRequestError,
    ProviderConnectionError,
    RateLimitError,
    UnsupportedFeatureError,
)
from llm_router.options.messages import normalise_messages
from llm_router.options.tools import tool_result
from llm_router.providers.base import Chat
from llm_router.providers.bedrock import SigV4
from tests.providers.foreign import (
    CLAUDE_AT_BEDROCK,
    FAMILIES,
    KEY,
    KINDS,
    MODELS,
    TOOL,
    gemini,
    sse,
    streamed,
    whole,
)
from tests.providers.scripted import Handler, Wire, ask, provider, wire
from tests.wires.frames import frame

TYPES = {"bedrock": "application/vnd.amazon.eventstream", "ollama_chat": "application/x-ndjson"}


def base(server: Wire) -> str:
    return server.url.removesuffix("/v1")


def sending(kind: str, pieces: list[bytes]) -> Handler:
    async def reply(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": TYPES.get(kind, "text/event-stream")}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return reply


async def read(row: Chat, kind: str, **options: Any) -> Completion:
    stream = await row.stream(ask(MODELS[kind], stream=True, **options))
    async for _ in stream:
        pass
    return stream.snapshot()


# --- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_is_read_from_the_wires_own_bytes(kind: str) -> None:
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.json(whole(kind))
        reply = await row.complete(ask(MODELS[kind]))
    assert (reply.text, reply.finish_reason) == ("hi", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 2)
    assert (reply.cost.total, reply.cost.source) == (None, "unknown")
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_is_whole_only_when_the_wire_says_so(kind: str) -> None:
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.replies.append(sending(kind, streamed(kind)))
        reply = await read(row, kind)
        assert (reply.text, reply.finish_reason) == ("hi", "stop")
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 2)
        server.replies[:] = [sending(kind, streamed(kind)[:1])]
        with pytest.raises(ProviderConnectionError):
            await read(row, kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_prices_of_the_row_are_the_cost_where_the_wire_says_none(kind: str) -> None:
    prices = {MODELS[kind]: PriceConfig(input=Decimal(3), output=Decimal(15))}
    async with wire() as server, provider(base(server), kind, api_key=KEY, prices=prices) as row:
        server.json(whole(kind))
        reply = await row.complete(ask(MODELS[kind]))
        server.replies[:] = [sending(kind, streamed(kind))]
        assert (await read(row, kind)).cost == reply.cost
    assert (reply.cost.total, reply.cost.source) == (Decimal("0.00006"), "local")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_is_the_providers_own(kind: str) -> None:
    bodies = {
        "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}},
        "bedrock": {"message": "Slow"},
        "cohere": {"message": "Slow"},
        "gemini": {"error": {"code": 429, "message": "Slow", "status": "RESOURCE_EXHAUSTED"}},
        "ollama_chat": {"error": "Slow"},
    }
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.json(bodies[FAMILIES.get(kind, kind)], 429, {"Retry-After": "7"})
        for call in (row.complete, row.stream):
            with pytest.raises(RateLimitError, match="Slow") as caught:
                await call(ask(MODELS[kind]))
            assert caught.value.retry_after == 7 and caught.value.status_code == 429


@pytest.mark.parametrize("kind", KINDS)
async def test_the_preview_is_what_is_sent_with_secrets_masked(kind: str) -> None:
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.json(whole(kind))
        request = ask(MODELS[kind], params={"max_tokens": 9}, extra_body={"own": 1})
        await row.complete(request)
        shown = row.preview(request)
    assert shown.body == server.bodies[0] and KEY not in repr(shown)
    assert shown.url.endswith(server.requests[0].path_qs)
    assert KEY in str(server.requests[0].headers)


@pytest.mark.parametrize("kind", ["gemini", "ollama_chat"])
async def test_a_call_without_an_id_gets_one_by_which_its_result_can_refer_to_it(kind: str) -> None:
    city = {"city": "Ulm"}
    bodies = {
        "gemini": gemini(*[{"functionCall": {"name": "weather", "args": city}}] * 2),
        "ollama_chat": whole("ollama_chat")
        | {"message": {"tool_calls": [{"function": {"name": "weather", "arguments": city}}] * 2}},
    }
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.json(bodies[kind])
        reply = await row.complete(ask(MODELS[kind], params={"tools": [TOOL]}))
        ids = [call.id for call in reply.tool_calls]
        assert len(set(ids)) == 2 and None not in ids
        results = [tool_result(call, f"sunny {call.id}") for call in reply.tool_calls]
        messages = normalise_messages([{"role": "user", "content": "Hello"}, reply, *results])
        await row.complete(ask(MODELS[kind], messages=messages, params={"tools": [TOOL]}))
    sent = json.dumps(server.bodies[1])
    assert sent.count('"Ulm"') == 2 and all(f"sunny {one}" in sent for one in ids)


_IMPORTED_LATER = """
import asyncio, sys
from pydantic import SecretStr
from llm_router.config.model import ProviderConfig
from llm_router.providers.registry import build_provider
from tests.providers.foreign import KEY, MODELS, TOOL
from tests.providers.scripted import ask

async def main():
    for kind in MODELS:
        row = ProviderConfig(litellm=kind, base_url="http://127.0.0.1:9", api_key=SecretStr(KEY))
        provider = build_provider(kind, row)
        await provider.open()
        before = set(sys.modules)
        provider.preview(ask(MODELS[kind], params={"tools": [TOOL], "max_tokens": 5}))
        print(*(set(sys.modules) - before))

asyncio.run(main())
"""


def test_nothing_is_imported_on_the_event_loop_once_a_provider_is_open() -> None:
    command = [sys.executable, "-c", _IMPORTED_LATER]
    root = pathlib.Path(__file__).parents[2]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert shown.stdout.split() == []


# --- thinking -------------------------------------------------------------------------------

SIGNATURE, HIDDEN = "c2lnbmVkIGJ5IG1l", "aGlkZGVu"
QUESTION = {"role": "user", "content": "What is the weather in Ulm?"}


def thinking_answer(kind: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return an answer that thought, then called a tool; and the same as a stream."""
    call = {"id": "call-1", "name": "weather", "input": {"city": "Ulm"}}
    if kind == "anthropic":
        blocks: list[dict[str, Any]] = [
            {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": HIDDEN},
            {"type": "tool_use", **call},
        ]
        starts = [
            {"type": "content_block_start", "index": n, "content_block": block}
            for n, block in enumerate(blocks)
        ]
        body = whole(kind) | {"content": blocks, "stop_reason": "tool_use"}
        events = sse(
            {"type": "message_start", "message": body | {"content": [], "stop_reason": None}},
            *starts,
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}},
            {"type": "message_stop"},
            named=True,
        )  # fmt: skip
        return body, [events.encode()]
    if kind == "bedrock":
        signed = {"reasoningText": {"text": "Hm", "signature": SIGNATURE}}
        use = {"toolUse": {"toolUseId": "call-1", "name": "weather", "input": {"city": "Ulm"}}}
        content = [
            {"reasoningContent": signed},
            {"reasoningContent": {"redactedContent": HIDDEN}},
            use,
        ]
        body = whole(kind) | {"output": {"message": {"content": content}}, "stopReason": "tool_use"}
        deltas = [
            (0, {"reasoningContent": {"text": "Hm"}}),
            (0, {"reasoningContent": {"signature": SIGNATURE}}),
            (1, {"reasoningContent": {"redactedContent": HIDDEN}}),
            (2, {"toolUse": {"input": '{"city": "Ulm"}'}}),
        ]
        start = {"toolUse": {"toolUseId": "call-1", "name": "weather"}}
        frames = [
            frame("messageStart", {"role": "assistant"}),
            frame("contentBlockStart", {"contentBlockIndex": 2, "start": start}),
            *(frame("contentBlockDelta", {"contentBlockIndex": n, "delta": d}) for n, d in deltas),
            frame("messageStop", {"stopReason": "tool_use"}),
        ]
        return body, frames
    parts: list[dict[str, Any]] = [
        {"text": "Hm", "thought": True},
        {"text": "Let me see.", "thoughtSignature": HIDDEN},
        {
            "functionCall": {"name": "weather", "args": {"city": "Ulm"}},
            "thoughtSignature": SIGNATURE,
        },
        {"functionCall": {"name": "weather", "args": {"city": "Ulm"}}},
    ]
    return gemini(*parts), [
        sse(*(gemini(part, finish=None) for part in parts[:3])).encode(),
        sse(gemini(parts[3])).encode(),
    ]


def model_turn(kind: str, body: dict[str, Any]) -> Any:
    """Return the parts of the model's turn in a request."""
    if kind == "gemini":
        return next(c["parts"] for c in body["contents"] if c["role"] == "model")
    return next(m["content"] for m in body["messages"] if m["role"] == "assistant")


def is_what_was_given(kind: str, body: dict[str, Any]) -> bool:
    """Judge a turn as the provider does: signatures are there, unchanged, in their places."""
    turn = model_turn(kind, body)
    if kind == "anthropic":
        given = thinking_answer(kind)[0]["content"]
        return turn[:2] == given[:2] and bool(turn[2]["type"] == "tool_use")
    if kind == "bedrock":
        given = thinking_answer(kind)[0]["output"]["message"]["content"]
        return turn[:2] == given[:2] and bool("toolUse" in turn[2])
    text, first, second = turn
    return bool(
        text == {"text": "Let me see.", "thoughtSignature": HIDDEN}
        and first.get("thoughtSignature") == SIGNATURE
        and first["function_call"]["args"] == second["function_call"]["args"] == {"city": "Ulm"}
        and "thoughtSignature" not in second
    )


def strict(kind: str, first: Handler) -> Handler:
    """Answer the first request by *first*; refuse a later one whose turn is not what was given."""

    async def reply(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        turns = [m["role"] for m in body.get("messages") or body["contents"]]
        if len(turns) == 1:
            return await first(request)
        if not is_what_was_given(kind, body):
            return web.json_response({"message": "thinking must not be changed"}, status=400)
        return web.json_response(whole(kind))

    return reply


@pytest.mark.parametrize("by_stream", [False, True])
@pytest.mark.parametrize("kind", ["anthropic", "bedrock", "gemini"])
async def test_a_tool_loop_with_thinking_goes_on_where_the_provider_checks_signatures(
    kind: str, by_stream: bool
) -> None:
    body, pieces = thinking_answer(kind)

    async def at_once(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    asked: dict[str, Any] = {"tools": [TOOL], "reasoning": 2000}
    async with wire() as server, provider(base(server), kind, api_key=KEY) as row:
        server.replies.append(strict(kind, sending(kind, pieces) if by_stream else at_once))
        options: dict[str, Any] = {"messages": [QUESTION], "params": asked}
        if by_stream:
            reply = await read(row, kind, **options)
        else:
            reply = await row.complete(ask(MODELS[kind], **options))
        assert reply.reasoning == "Hm" and reply.finish_reason == "tool_calls"
        results = [tool_result(call, "sunny") for call in reply.tool_calls]
        messages = normalise_messages([QUESTION, reply, *results])
        after = await row.complete(ask(MODELS[kind], messages=messages, params=asked))
        assert after.text == "hi"
        for damage in (lambda details: details[:-1], changed):
            turn = reply.as_message()
            turn["reasoning_details"] = damage(turn["reasoning_details"])
            with pytest.raises(InvalidRequestError, match="must not be changed"):
                again = normalise_messages([QUESTION, turn, *results])
                await row.complete(ask(MODELS[kind], messages=again, params=asked))


def changed(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [d | {"signature": "b3RoZXI="} if "signature" in d else d for d in details]


# --- signed requests ------------------------------------------------------------------------


async def test_bedrock_is_asked_by_a_signature_over_the_bytes_when_there_is_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token")
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/claude ü"
    async with wire() as server, provider(base(server), "bedrock", region="us-east-1") as row:
        server.json(whole("bedrock"))
        for model in (CLAUDE_AT_BEDROCK, arn):
            await row.complete(ask(model, extra_body={"own": "ü"}))
        shown = row.preview(ask(arn))
    for request in server.requests:
        assert await is_signed(request)
    assert "us-east-1/bedrock/aws4_request" in server.requests[0].headers["Authorization"]
    assert server.requests[1].raw_path.endswith("profile%2Fclaude%20%C3%BC/converse")
    assert set(SigV4.names) <= shown.headers.keys()
    assert "AKIDEXAMPLE" not in repr(shown) and "session-token" not in repr(shown)


async def is_signed(request: web.Request) -> bool:
    """Judge a signature as the provider does, over what came through the socket."""
    url = f"http://{request.headers['Host']}{request.raw_path}"
    copy = AWSRequest("POST", url, data=await request.read())
    copy.context["timestamp"] = request.headers["X-Amz-Date"]
    copy.headers["X-Amz-Date"] = request.headers["X-Amz-Date"]
    copy.headers["X-Amz-Security-Token"] = request.headers["X-Amz-Security-Token"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG"), "bedrock", "us-east-1")
    text = signer.string_to_sign(copy, signer.canonical_request(copy))
    given = request.headers["Authorization"].rpartition("Signature=")[2]
    return bool(signer.signature(text, copy) == given)


async def test_credentials_that_cannot_be_renewed_are_a_configuration_error() -> None:
    from botocore.exceptions import CredentialRetrievalError  # type: ignore[import-untyped]

    class Role:
        def refresh_needed(self) -> bool:
            return True

        @property
        def access_key(self) -> str:
            raise CredentialRetrievalError(provider="role", error_msg="expired")

        get_frozen_credentials = token = secret_key = access_key

    with pytest.raises(ConfigurationError, match="expired"):
        await SigV4("us-east-1", Role())("http://127.0.0.1/", b"{}")


# --- schemas --------------------------------------------------------------------------------


class Place(BaseModel):
    city: str


def told(kind: str, text: str) -> dict[str, Any]:
    """Return an answer that is *text*, or a call of the tool `Place` with it."""
    answer: dict[str, Any] = json.loads(json.dumps(whole(kind)).replace('"hi"', json.dumps(text)))
    if kind == "anthropic":
        call = {"type": "tool_use", "id": "c", "name": "Place", "input": json.loads(text)}
        answer |= {"content": [call], "stop_reason": "tool_use"}
    if kind == "bedrock":
        use = {"toolUse": {"toolUseId": "c", "name": "Place", "input": json.loads(text)}}
        answer |= {"output": {"message": {"content": [use]}}, "stopReason": "tool_use"}
    return answer


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("anthropic", "tool"),
        ("bedrock", "tool"),
        ("cohere_chat", "json_schema"),
        ("gemini", "json_schema"),
        ("ollama_chat", "json_schema"),
        ("vertex_ai", "json_schema"),
    ],
)
async def test_a_schema_is_asked_for_in_the_mode_that_the_wire_has(kind: str, mode: str) -> None:
    async with wire() as server:
        server.json(told(kind, '{"city": "Ulm"}'))
        row = {"litellm": kind, "base_url": base(server), "api_key": KEY}
        aliases = {"x": {"model": f"row/{MODELS[kind]}"}}
        async with Router.from_dict({"providers": {"row": row}, "aliases": aliases}) as router:
            reply = await router.parse("x", "Where?", schema=Place)
    assert (reply.parsed, reply.mode_used) == (Place(city="Ulm"), mode)
    sent = json.dumps(server.bodies[0])
    assert "json_tool_call" not in sent and "city" in sent


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
async def test_claude_is_asked_in_words_when_it_refuses_a_forced_tool(kind: str) -> None:
    told_in_words = json.dumps(whole(kind)).replace('"hi"', json.dumps('{"city": "Ulm"}'))
    async with wire() as server:
        server.json({"message": "Thinking may not be enabled when tool_choice forces use."}, 400)
        server.json(told_in_words)
        row = {"litellm": kind, "base_url": base(server), "api_key": KEY}
        aliases = {"x": {"model": f"row/{MODELS[kind]}"}}
        async with Router.from_dict({"providers": {"row": row}, "aliases": aliases}) as router:
            reply = await router.parse("x", "Where?", schema=Place, reasoning=2000)
    assert (reply.parsed, reply.mode_used) == (Place(city="Ulm"), "prompt")


async def test_an_option_that_a_wire_has_not_goes_to_the_next_deployment() -> None:
    async with wire() as server:
        server.json(whole("cohere"))
        rows = {
            kind: {"litellm": kind, "base_url": base(server), "api_key": KEY}
            for kind in ("anthropic", "cohere_chat")
        }
        aliases = {"x": {"model": "anthropic/claude-sonnet-4-5", "fallbacks": ["cohere_chat/c"]}}
        async with Router.from_dict({"providers": rows, "aliases": aliases}) as router:
            reply = await router.complete("x", "Hello", seed=3)
            assert reply.text == "hi" and reply.requested_model == "cohere_chat/c"
            with pytest.raises(UnsupportedFeatureError, match="anthropic takes no seed"):
                await router.complete("anthropic/claude-sonnet-4-5", "Hello", seed=3)
    assert len(server.requests) == 1
