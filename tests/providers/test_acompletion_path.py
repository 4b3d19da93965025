"""`path: acompletion`: OpenRouter's bodies through LiteLLM's own call, at the Router."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from llm_router.answers.completion import Completion, ToolCall
from llm_router.errors import (
    EmptyResponseError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    StreamInterruptedError,
)
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests import recordings
from tests.providers.loopback import serving
from tests.router.setup import EAGER, configuration
from tests.router.test_recordings_through_router import check, completed, play, streamed
from tests.wires.test_recordings import STREAMS, TEXTS, body_of, unstreamed

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD = {
    "id": "gen-7",
    "object": "chat.completion",
    "created": 1_770_000_000,
    "model": "openai/gpt-4o-mini",
    "provider": "Azure",
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "cost": 3.9e-06}


@pytest.fixture(scope="module")
def world() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(world: Sandbox) -> Iterator[Sandbox]:
    yield world
    world.reset()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(world: Sandbox) -> AsyncIterator[Router]:
    data = configuration(world, defaults={"max_attempts": 1})
    data["providers"]["openrouter"]["path"] = "acompletion"
    async with Router.from_dict(data, clock=EAGER) as router:
        yield router


def body(
    message: dict[str, Any],
    finish: str | None = "stop",
    native: str | None = "stop",
    usage: dict[str, Any] | None = None,
    **choice: Any,
) -> bytes:
    said = {"role": "assistant", "content": None, "refusal": None} | message
    one = {"index": 0, "finish_reason": finish, "native_finish_reason": native, "message": said}
    whole = HEAD | {"choices": [one | choice], "usage": USAGE | (usage or {})}
    return b"\n         \n" + json.dumps(whole).encode()


async def answered(router: Router, sandbox: Sandbox, raw: bytes) -> Completion:
    sandbox.reply(raw_body=raw)
    return await router.complete("fast", "Hello")


# --- ten bodies -----------------------------------------------------------------------------


async def test_a_text_is_whole(router: Router, sandbox: Sandbox) -> None:
    reply = await answered(router, sandbox, body({"content": "pong"}))
    assert (reply.text, reply.finish_reason, reply.native_finish_reason) == ("pong", "stop", "stop")
    assert (reply.response_id, reply.model) == ("gen-7", "openai/gpt-4o-mini")
    assert (reply.provider, reply.upstream_provider) == ("openrouter", "Azure")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (9, 4)
    assert (reply.cost.total, reply.cost.source) == (Decimal("0.0000039"), "provider")
    sent = sandbox.chat_requests[0].body
    assert (sent["model"], sent["temperature"]) == ("openai/gpt-4o-mini", 0.2)


async def test_reasoning_comes_with_its_details(router: Router, sandbox: Sandbox) -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "sig", "index": 0, "id": None},
        {"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1", "index": 1},
    ]
    raw = body({"content": "ok", "reasoning": "Hm.", "reasoning_details": details})
    reply = await answered(router, sandbox, raw)
    assert (reply.reasoning, list(reply.reasoning_details)) == ("Hm.", details)
    assert reply.as_message()["reasoning_details"] == details


async def test_tool_calls_keep_what_is_missing_or_cut(router: Router, sandbox: Sandbox) -> None:
    functions = [{"name": "now"}, {"name": "weather", "arguments": '{"city": "Os'}]
    calls = [
        {"id": f"c{n}", "index": n, "type": "function", "function": function}
        for n, function in enumerate(functions)
    ]
    raw = body({"content": "", "tool_calls": calls}, "tool_calls", "max_output_tokens")
    reply = await answered(router, sandbox, raw)
    assert reply.finish_reason == "length"
    assert reply.tool_calls == (
        ToolCall(id="c0", name="now", raw_arguments="", arguments={}, complete=False),
        ToolCall(
            id="c1", name="weather", raw_arguments='{"city": "Os', arguments=None, complete=False
        ),
    )


async def test_under_byok_the_upstreams_bill_is_added(router: Router, sandbox: Sandbox) -> None:
    paid = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0003253}}
    reply = await answered(router, sandbox, body({"content": "ok"}, usage=paid))
    cost = reply.cost
    assert (cost.reported, cost.upstream) == (Decimal(0), Decimal("0.0003253"))
    assert (cost.total, cost.is_byok) == (Decimal("0.0003253"), True)


async def test_a_refusal_is_kept(router: Router, sandbox: Sandbox) -> None:
    reply = await answered(router, sandbox, body({"refusal": "I cannot."}))
    assert (reply.refusal, reply.text, reply.finish_reason) == ("I cannot.", "", "stop")


async def test_cached_tokens_and_an_absent_cost_are_as_told(
    router: Router, sandbox: Sandbox
) -> None:
    usage = {
        "cost": None,
        "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    reply = await answered(router, sandbox, body({"content": "ok"}, usage=usage))
    assert (reply.usage.cache_read_tokens, reply.usage.cache_write_tokens) == (6, 2)
    assert (reply.usage.reasoning_tokens, reply.usage.output_tokens) == (7, 4)
    assert (reply.cost.total, reply.cost.source) == (None, "unknown")


async def test_a_failed_choice_is_an_error(router: Router, sandbox: Sandbox) -> None:
    error = {"code": 502, "message": "Upstream error", "metadata": {"provider_name": "Azure"}}
    sandbox.reply(raw_body=body({"content": "so far"}, None, None, error=error))
    with pytest.raises(ProviderUnavailableError, match="Upstream error") as caught:
        await router.complete("fast", "Hello")
    assert (caught.value.status_code, caught.value.upstream_provider) == (502, "Azure")
    assert caught.value.usage is not None


async def test_a_blank_answer_is_an_error(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(raw_body=body({"content": ""}, None, None, {"completion_tokens": 0}))
    with pytest.raises(EmptyResponseError):
        await router.complete("fast", "Hello")


async def test_an_error_in_a_200_has_its_own_status(router: Router, sandbox: Sandbox) -> None:
    error = {"code": 503, "message": "Overloaded", "metadata": {"provider_name": "DeepInfra"}}
    sandbox.reply(raw_body=json.dumps({"error": error, "user_id": "user_2abcdefghijklmnopqr"}))
    with pytest.raises(ProviderUnavailableError, match="Overloaded") as caught:
        await router.complete("fast", "Hello")
    assert (caught.value.status_code, caught.value.upstream_provider) == (503, "DeepInfra")
    assert "user_2" not in str(caught.value) + repr(caught.value.raw)


async def test_a_429_says_how_long_to_wait(router: Router, sandbox: Sandbox) -> None:
    error = {"code": 429, "message": "Provider returned error", "metadata": {"raw": "Slow down"}}
    raw = json.dumps({"error": error})
    sandbox.reply(raw_body=raw, status=429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimitError, match="Slow down") as caught:
        await router.complete("fast", "Hello")
    assert (caught.value.status_code, caught.value.retry_after) == (429, 7.0)
    assert len(caught.value.attempts or ()) == len(sandbox.chat_requests) == 1


async def test_an_answer_that_litellm_cannot_build_is_still_the_answer(
    router: Router, sandbox: Sandbox
) -> None:
    note = {"type": "file", "file": {"hash": "h", "name": "a.pdf", "content": []}}
    reply = await answered(router, sandbox, body({"content": "read", "annotations": [note]}))
    assert (reply.text, list(reply.annotations)) == ("read", [note])
    assert reply.cost.total == Decimal("0.0000039")


async def test_an_answer_that_a_callback_of_the_host_rejects_is_not_passed_on(
    router: Router, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm

    def reject(input: str) -> dict[str, Any]:
        return {"decision": "pong" not in input, "message": "not that word"}

    monkeypatch.setattr(litellm, "post_call_rules", [reject])
    sandbox.reply(raw_body=body({"content": "pong"}))
    with pytest.raises(ProviderError, match="not that word"):
        await router.complete("fast", "Hello")


# --- two streams ----------------------------------------------------------------------------


def event(delta: dict[str, Any], finish: str | None = None, **top: Any) -> bytes:
    said = {"role": "assistant", "content": ""} | delta
    choice = {"index": 0, "delta": said, "finish_reason": finish, "native_finish_reason": finish}
    chunk = HEAD | {"object": "chat.completion.chunk", "choices": [choice]} | top
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def test_a_stream_keeps_its_upstream_and_its_bill(router: Router, sandbox: Sandbox) -> None:
    paid = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}
    pieces = [b": OPENROUTER PROCESSING\n\n", event({"reasoning": "Hm."}), event({"content": "é"})]
    pieces += [event({"content": "!"}), event({"refusal": "No."}), event({}, "stop")]
    pieces += [event({}, "stop", usage=USAGE | paid), b"data: [DONE]\n\n"]
    sandbox.reply(raw_body=pieces)
    async with router.stream("fast", "Hello") as stream:
        texts = [text async for text in stream.text_stream]
    reply = stream.completion
    assert (texts, reply.reasoning, reply.refusal) == (["é", "!"], "Hm.", "No.")
    assert (reply.finish_reason, reply.upstream_provider) == ("stop", "Azure")
    assert (reply.usage.output_tokens, reply.cost.total) == (4, Decimal("0.25"))


async def test_a_stream_that_breaks_off_is_interrupted(router: Router, sandbox: Sandbox) -> None:
    error = {"code": 502, "message": "The engine died"}
    sandbox.reply(raw_body=[event({"content": "so far"}), event({}, "error", error=error)])
    with pytest.raises(StreamInterruptedError, match="The engine died") as caught:
        async with router.stream("fast", "Hello") as stream:
            await stream.collect()
    assert caught.value.status_code == 502
    assert caught.value.partial is not None
    assert caught.value.partial.text == "so far"


# --- recordings -----------------------------------------------------------------------------

# Known losses of this way, named in `llm_router.providers.litellm.provider`.
BILL_AFTER_AN_ERROR = {"sse_err_with_choice_finish_stop_502.sse"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=recordings.needed) for n in TEXTS + STREAMS]
)
async def test_recorded_traffic_is_read_as_on_the_native_way(name: str) -> None:
    raw, is_stream = body_of(name), name.endswith(".sse")
    ask = streamed if is_stream else completed
    async with serving(play) as server:
        found = await ask(server.url, f"{name}@900", path="acompletion")
    if name in BILL_AFTER_AN_ERROR:
        assert isinstance(found, StreamInterruptedError)
        assert (found.status_code, found.usage) == (502, None)
        return
    check(found, unstreamed(raw) if is_stream else json.loads(raw, parse_float=Decimal))
