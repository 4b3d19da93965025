"""What the sandbox answers, counts and bills, seen from a plain HTTP client."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator

from llm_router import testing
from llm_router.testing import CATALOG, ChatRequest, Reply, Sandbox, pytest_plugin
from llm_router.testing.billing import dumps

sandbox = pytest_plugin.llm_sandbox
loopback_only = pytest_plugin.loopback_only

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Client:
    """A client without any cleverness: what it returns is what the wire carried."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def raw(self, prompt: str = "Why is the sky blue?", **body: Any) -> tuple[int, bytes]:
        message = {"role": "user", "content": prompt}
        body = {"model": "openai/gpt-4o-mini", "messages": [message], **body}
        url = f"{self.sandbox.base_url}/chat/completions"
        async with self.session.post(url, json=body) as response:
            return response.status, await response.read()

    async def chat(self, prompt: str = "Why is the sky blue?", **body: Any) -> dict[str, Any]:
        _, raw = await self.raw(prompt, **body)
        parsed: dict[str, Any] = json.loads(raw, parse_float=Decimal)
        return parsed

    async def stream(self, prompt: str = "Why is the sky blue?", **body: Any) -> list[Any]:
        _, raw = await self.raw(prompt, stream=True, **body)
        return events(raw)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        url = f"{self.sandbox.base_url}{path}"
        async with self.session.get(url, headers=headers) as response:
            return response.status, json.loads(await response.read(), parse_float=Decimal)


def events(raw: bytes) -> list[Any]:
    lines = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line, parse_float=Decimal) for line in lines]


def text_of(chunks: list[Any], key: str = "content") -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c["choices"]]
    return "".join(delta.get(key) or "" for delta in deltas)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    key = {"Authorization": f"Bearer {sandbox.api_key}"}
    async with aiohttp.ClientSession(headers=key) as session:
        yield Client(sandbox, session)


async def test_an_answer_is_deterministic_and_exactly_billed(client: Client) -> None:
    first, second = await client.chat(), await client.chat()

    message = first["choices"][0]["message"]
    assert message["content"] == "This is the sandbox's answer to: Why is the sky blue?"
    assert message == second["choices"][0]["message"]
    usage = first["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (9, 14)
    assert usage["cost"] == 9 * Decimal("0.00000015") + 14 * Decimal("0.0000006")
    bill = client.sandbox.bills[first["id"]]
    assert bill.cost == bill.total == usage["cost"]
    assert client.sandbox.total_billed == 2 * usage["cost"]
    assert first["provider"] == "OpenAI"


async def test_a_json_answer_begins_with_keep_alive_whitespace(client: Client) -> None:
    _, raw = await client.raw()
    client.sandbox.reply(text="bare", padding=0)
    _, bare = await client.raw()

    assert raw.startswith(b"\n  ")
    assert bare.startswith(b"{")


async def test_whitespace_drips_under_a_committed_200_while_the_answer_is_late(
    client: Client,
) -> None:
    client.sandbox.reply(text="late", delay=0.12)

    _, raw = await client.raw()

    assert raw.count(b"\n         \n") >= 3
    assert json.loads(raw)["choices"][0]["message"]["content"] == "late"


async def test_a_stream_has_comments_roles_a_repeated_finish_and_usage(client: Client) -> None:
    status, raw = await client.raw(stream=True, model="anthropic/claude-haiku-4.5")

    assert status == 200 and raw.startswith(b": OPENROUTER PROCESSING\n\n")
    chunks = events(raw)
    assert chunks.pop() == "[DONE]"
    assert text_of(chunks) == "This is the sandbox's answer to: Why is the sky blue?"
    choices = [chunk["choices"][0] for chunk in chunks]
    assert {choice["delta"]["role"] for choice in choices} == {"assistant"}
    assert [choice["finish_reason"] for choice in choices[-2:]] == ["stop", "stop"]
    assert choices[-1]["native_finish_reason"] == "end_turn"
    assert chunks[-1]["model"] == "anthropic/claude-4.5-haiku-20251001"
    assert client.sandbox.bills[chunks[0]["id"]].cost == chunks[-1]["usage"]["cost"]


@pytest.mark.parametrize("form", ["null", "empty", "absent"])
async def test_the_usage_chunk_has_the_older_forms_too(client: Client, form: Any) -> None:
    client.sandbox.reply(text="a b", usage_chunk=form)

    *_, last, done = await client.stream()

    assert done == "[DONE]"
    if form == "absent":
        assert "usage" not in last
    else:
        reasons = [choice["finish_reason"] for choice in last["choices"]]
        assert reasons == ([] if form == "empty" else [None])
    assert len(client.sandbox.bills) == 1


async def test_the_number_of_chunks_can_be_set(client: Client) -> None:
    client.sandbox.reply(chunks=100)
    client.sandbox.reply(text="abc", chunks=3, comments=3)
    client.sandbox.reply(text="xy z", chunks=["x", "y z"])

    streams = [await client.stream() for _ in range(3)]

    contents = [[text_of([c]) for c in s[:-1] if text_of([c])] for s in streams]
    assert len(contents[0]) == 100
    assert contents[1:] == [["a", "b", "c"], ["x", "y z"]]
    with Sandbox(chunks=7) as other:
        client.sandbox = other
        assert len(await client.stream()) == 7 + 3


async def test_every_scripted_field_reaches_the_wire(client: Client) -> None:
    reply = Reply(
        text="Paris",
        reasoning="thought",
        reasoning_details=[{"type": "reasoning.encrypted", "data": "x", "index": 0}],
        annotations=[{"type": "url_citation"}],
        images=[{"type": "image_url"}],
        logprobs={"content": []},
        finish_reason="length",
        native_finish_reason="max_output_tokens",
        provider="Amazon Bedrock",
        fields={"service_tier": "flex", "model": "other/name"},
        omit=["system_fingerprint", "usage.cost", "nowhere.at.all"],
        headers={"cf-ray": "1"},
    )
    client.sandbox.reply(reply, times=2)

    body = await client.chat()
    chunks = await client.stream()

    choice = body["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (
        "length",
        "max_output_tokens",
    )
    message = choice["message"]
    assert (message["content"], message["reasoning"]) == ("Paris", "thought")
    assert message["annotations"] and message["images"]
    assert choice["logprobs"] == {"content": []}
    assert (body["provider"], body["model"], body["service_tier"]) == (
        "Amazon Bedrock",
        "other/name",
        "flex",
    )
    assert "system_fingerprint" not in body and "cost" not in body["usage"]
    assert text_of(chunks, "reasoning") == "thought"
    details = [c["choices"][0]["delta"].get("reasoning_details") for c in chunks[:-1]]
    assert [{"type": "reasoning.encrypted", "data": "x", "index": 0}] in details
    assert any(c["choices"][0]["delta"].get("annotations") for c in chunks[:-1])
    assert any(c["choices"][0].get("logprobs") for c in chunks[:-1])


async def test_a_refusal_has_null_content(client: Client) -> None:
    client.sandbox.reply(refusal="I cannot help with that.", times=2)

    message = (await client.chat())["choices"][0]["message"]
    chunks = await client.stream()

    assert (message["content"], message["refusal"]) == (None, "I cannot help with that.")
    assert text_of(chunks, "refusal") == "I cannot help with that."


async def test_scripted_tool_calls_keep_their_shape(client: Client) -> None:
    calls = [
        {"name": "a", "arguments": {"x": 1}, "id": "call_1"},
        {"name": "b", "arguments": "{cut"},
        {"name": "c"},
        {"id": "call_4", "function": {"name": "d", "arguments": "{}"}},
    ]
    client.sandbox.reply(tool_calls=calls, message={"content": None}, times=2)

    choice = (await client.chat())["choices"][0]
    chunks = await client.stream()

    sent = choice["message"]["tool_calls"]
    assert [call["function"].get("arguments") for call in sent] == ['{"x": 1}', "{cut", None, "{}"]
    assert [call["index"] for call in sent] == [0, 1, 2, 3]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    deltas = [c["choices"][0]["delta"].get("tool_calls", [{}])[0] for c in chunks[:-1]]
    of_first = [d["function"]["arguments"] for d in deltas if d and d["index"] == 0]
    assert of_first[0] == "" and "".join(of_first) == '{"x": 1}'


async def test_a_raw_body_is_sent_as_it_is_and_not_billed(client: Client) -> None:
    client.sandbox.reply(raw_body="{", status=418)
    client.sandbox.reply(raw_body=[b"data: ", b"[DONE]\n\n"], chunk_delay=0.01)

    assert await client.raw() == (418, b"{")
    assert await client.raw(stream=True) == (200, b"data: [DONE]\n\n")
    assert client.sandbox.total_billed == 0


async def test_byok_charges_the_fee_and_names_the_upstreams_bill(client: Client) -> None:
    client.sandbox.reply(byok=True)

    usage = (await client.chat())["usage"]

    assert usage["cost"] == 0 and usage["is_byok"] is True
    upstream = usage["cost_details"]["upstream_inference_cost"]
    (bill,) = client.sandbox.bills.values()
    assert bill.upstream_cost == upstream == client.sandbox.total_billed > 0


async def test_given_token_counts_are_billed_and_a_given_cost_is_the_bill(client: Client) -> None:
    client.sandbox.reply(
        text="x",
        usage={"prompt_tokens": 1000, "completion_tokens": 7, "prompt_tokens_details": None},
    )
    client.sandbox.reply(text="x", usage={"cost": 0.0076509169000000005, "total_tokens": 1})
    client.sandbox.reply(
        text="x", usage={"cost": None, "completion_tokens_details": {"reasoning_tokens": 9}}
    )

    counted, given, silent = [(await client.chat())["usage"] for _ in range(3)]

    assert counted["cost"] == Decimal("0.00015") + 7 * Decimal("0.0000006")
    assert counted["prompt_tokens_details"] is None and counted["total_tokens"] == 1007
    bills = list(client.sandbox.bills.values())
    assert bills[1].cost == given["cost"] == Decimal("0.0076509169000000005")
    assert silent["cost"] is None and bills[2].cost > 0
    assert silent["completion_tokens_details"]["reasoning_tokens"] == bills[2].tokens.reasoning == 9


async def test_a_schema_gets_a_valid_instance(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 3}},
        "required": ["n"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    body = await client.chat(response_format=form)
    prompted = await client.chat(f"Fill {json.dumps(schema)}")
    as_object = await client.chat(
        f"Fill {json.dumps(schema)}", response_format={"type": "json_object"}
    )
    plain = await client.chat(response_format={"type": "json_object"})

    texts = [b["choices"][0]["message"]["content"] for b in (body, as_object)]
    for text in texts:
        Draft202012Validator(schema).validate(json.loads(text))
    assert prompted["choices"][0]["message"]["content"].endswith('```json\n{"n":3}\n```')
    assert "answer" in json.loads(plain["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("prompt", "body", "called"),
    [
        ("hi", {"tool_choice": "required"}, True),
        ("hi", {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}}, True),
        ("call get weather", {"parallel_tool_calls": False}, True),
        ("hi", {}, False),
        ("call get_weather", {"tool_choice": "none"}, False),
    ],
)
async def test_a_tool_is_called_when_it_is_required_or_named_by_the_prompt(
    client: Client, prompt: str, body: dict[str, Any], called: bool
) -> None:
    choice = (await client.chat(prompt, tools=[WEATHER], **body))["choices"][0]

    assert ("tool_calls" in choice["message"]) is called
    if called:
        arguments = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
        assert arguments == {"city": "text"} and choice["finish_reason"] == "tool_calls"


async def test_after_a_tool_message_it_answers_with_text(client: Client) -> None:
    first = await client.chat("hi", tools=[WEATHER], tool_choice="required")
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "get_weather"}]},
        first["choices"][0]["message"],
        {"role": "tool", "tool_call_id": "1", "content": "12 degrees"},
    ]

    body = await client.chat(messages=messages, tools=[WEATHER])

    assert body["choices"][0]["message"]["content"] == "The tool answered: 12 degrees"


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("openai/gpt-5.5", ["reasoning.summary", "reasoning.encrypted"]),
        ("anthropic/claude-haiku-4.5", ["reasoning.text"]),
        ("google/gemini-2.5-flash", ["reasoning.text"]),
        ("deepseek/deepseek-r1", ["reasoning.text"]),
    ],
)
async def test_reasoning_comes_when_it_is_asked_for(
    client: Client, model: str, kinds: list[str]
) -> None:
    message = (await client.chat(model=model, reasoning={"effort": "low"}))["choices"][0]["message"]
    chunks = await client.stream(model=model, reasoning_effort="low")

    assert [detail["type"] for detail in message["reasoning_details"]] == kinds
    assert text_of(chunks, "reasoning") == message["reasoning"]


async def test_excluded_reasoning_is_counted_and_not_shown(client: Client) -> None:
    body = await client.chat(model="openai/gpt-5.5", reasoning={"effort": "low", "exclude": True})
    none = await client.chat(model="openai/gpt-5.5", reasoning={"effort": "none"})

    assert body["choices"][0]["message"]["reasoning"] is None
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    assert none["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_max_tokens_cuts_the_text(client: Client) -> None:
    body = await client.chat(max_tokens=3)
    roomy = await client.chat(max_tokens=300)

    choice = body["choices"][0]
    assert choice["message"]["content"] == "This is the "
    assert choice["finish_reason"] == "length" and body["usage"]["completion_tokens"] == 3
    assert roomy["choices"][0]["finish_reason"] == "stop"


async def test_a_tool_call_cut_by_max_tokens_is_still_labelled_tool_calls(client: Client) -> None:
    body = await client.chat(tools=[WEATHER], tool_choice="required", max_tokens=2)

    choice = body["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":'
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (
        "tool_calls",
        "max_output_tokens",
    )


async def test_an_explicit_breakpoint_is_written_then_read_at_its_price(client: Client) -> None:
    part = {"type": "text", "text": "x" * 8000, "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": "system", "content": [part]},
        {"role": "user", "content": "short"},
    ]
    model = "anthropic/claude-sonnet-4.5"

    first = (await client.chat(messages=messages, model=model))["usage"]
    second = (await client.chat(messages=messages, model=model))["usage"]
    unmarked = (await client.chat("x" * 8000, model=model))["usage"]
    part["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    part["text"] = "y" * 8000
    hour = (await client.chat(messages=messages, model=model))["usage"]

    def split(usage: dict[str, Any]) -> tuple[int, int]:
        details = usage["prompt_tokens_details"]
        return details["cached_tokens"], details["cache_write_tokens"]

    assert (split(first), split(second), split(unmarked)) == ((0, 2000), (2000, 0), (0, 0))
    fresh = first["prompt_tokens"] - 2000
    tail = first["completion_tokens"] * Decimal("0.000015") + fresh * Decimal("0.000003")
    assert first["cost"] == 2000 * Decimal("0.00000375") + tail
    assert second["cost"] == 2000 * Decimal("0.0000003") + tail
    assert hour["cost"] == 2000 * Decimal("0.000006") + tail


async def test_automatic_caching_reads_a_repeated_long_prefix(client: Client) -> None:
    start = {"role": "system", "content": "x" * 8000}
    turns = [[start, {"role": "user", "content": f"question {n}"}] for n in range(2)]

    usages = [(await client.chat(messages=turn))["usage"] for turn in turns]
    top_level = [
        (await client.chat("z" * 8000, model="qwen/qwen-plus", cache_control={"type": "ephemeral"}))
        for _ in range(2)
    ]

    assert [u["prompt_tokens_details"]["cached_tokens"] for u in usages] == [0, 2000]
    read = [b["usage"]["prompt_tokens_details"]["cached_tokens"] for b in top_level]
    assert read == [0, 2000]


async def test_the_generation_is_found_after_its_lag(client: Client) -> None:
    body = await client.chat()
    path = f"/generation?id={body['id']}"

    early = await client.get(path)
    status, late = await client.get(path)
    unknown, _ = await client.get("/generation?id=gen-nothing")

    assert early == (404, {"error": {"message": f"Generation {body['id']} not found", "code": 404}})
    assert status == 200 and late["data"]["total_cost"] == body["usage"]["cost"]
    assert unknown == 404


async def test_the_lag_can_be_in_seconds(client: Client) -> None:
    with Sandbox(generation_lookups=0, generation_seconds=0.05) as slow:
        client.sandbox = slow
        path = f"/generation?id={(await client.chat())['id']}"
        early, _ = await client.get(path)
        await asyncio.sleep(0.06)
        late, _ = await client.get(path)

    assert (early, late) == (404, 200)


async def test_models_are_public_and_the_key_is_not(client: Client) -> None:
    status, models = await client.get("/models", Authorization="Bearer wrong")
    _, key = await client.get("/key")

    by_id = {model["id"]: model for model in models["data"]}
    texts = {model.id for model in CATALOG if model.output == "text"}
    assert status == 200 and by_id.keys() == texts and len(texts) == models["total_count"]
    assert "openai/text-embedding-3-small" not in by_id  # only what writes text, unless asked for
    assert by_id["openrouter/auto"]["pricing"]["prompt"] == "-1"
    assert by_id["openai/gpt-4o-mini"]["pricing"]["completion"] == "0.0000006"
    assert "tools" not in by_id["minimax/minimax-01"]["supported_parameters"]
    assert key["data"]["usage"] == 0 and key["data"]["limit"] is None


@pytest.mark.parametrize(
    ("header", "message"),
    [("Bearer sk-or-v1-wrong", "User not found."), (None, "Missing Authentication header")],
)
async def test_a_wrong_or_missing_key_is_401(
    sandbox: Sandbox, header: str | None, message: str
) -> None:
    headers = {"Authorization": header} if header else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        client = Client(sandbox, session)
        status, raw = await client.raw()

    assert (status, json.loads(raw)["error"]) == (401, {"message": message, "code": 401})
    assert sandbox.requests[0].headers.get("Authorization") == ("Bearer ***" if header else None)
    assert "wrong" not in repr(sandbox.requests)


@pytest.mark.parametrize(
    ("model", "served", "free"),
    [
        ("openai/gpt-4o-mini:nitro", "openai/gpt-4o-mini", False),
        ("openai/gpt-4o-mini:free:online", "openai/gpt-4o-mini", True),
        ("qwen/qwen3-8b:free", "qwen/qwen3-8b-04-28", True),
        ("anthropic/claude-4.5-haiku-20251001", "anthropic/claude-4.5-haiku-20251001", False),
        ("openrouter/auto", "openai/gpt-4o-mini", False),
        ("@preset/mine", "openai/gpt-4o-mini", False),
        ("openai/gpt-5.5@preset/mine", "openai/gpt-5.5-20260423", False),
        (None, "openai/gpt-4o-mini", False),
    ],
)
async def test_variants_aliases_and_presets_resolve(
    client: Client, model: str | None, served: str, free: bool
) -> None:
    body = await client.chat(model=model)

    assert body["model"] == served
    assert (body["usage"]["cost"] == 0) is free


@pytest.mark.parametrize("model", ["no/such", "openai/gpt-4o-mini:wrong", "demo/no-such-fault"])
async def test_an_unknown_model_is_400(client: Client, model: str) -> None:
    status, raw = await client.raw(models=["openai/gpt-5.5", model])

    assert status == 400
    assert json.loads(raw)["error"]["message"] == f"{model} is not a valid model ID"


async def test_the_next_of_models_answers_when_the_first_refuses(client: Client) -> None:
    client.sandbox.fail("http_503", match="gpt-4o-mini")

    body = await client.chat(models=["anthropic/claude-haiku-4.5"])

    assert body["model"] == "anthropic/claude-4.5-haiku-20251001"
    (bill,) = client.sandbox.bills.values()
    assert bill.requested_model == "anthropic/claude-haiku-4.5"


@pytest.mark.parametrize(
    ("preference", "provider"),
    [
        ({"order": ["azure"]}, "Azure"),
        ({"only": ["azure", "none"]}, "Azure"),
        ({"ignore": ["openai"]}, "Azure"),
        ({"order": ["unknown"]}, "OpenAI"),
    ],
)
async def test_the_upstream_follows_the_providers_asked_for(
    client: Client, preference: dict[str, Any], provider: str
) -> None:
    assert (await client.chat(provider=preference))["provider"] == provider


async def test_an_unknown_upstream_can_be_scripted(client: Client) -> None:
    client.sandbox.reply(text="x", provider="Novita")

    assert (await client.chat())["provider"] == "Novita"


SCHEMA_FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "minimax/minimax-01", "tools": [WEATHER]}, 404, "support tool use"),
        (
            {
                "model": "mistralai/mistral-7b-instruct",
                "tools": [WEATHER],
                "tool_choice": "required",
            },
            404,
            "'tool_choice'",
        ),
        (
            {
                "model": "qwen/qwen-plus",
                "response_format": SCHEMA_FORM,
                "provider": {"require_parameters": True},
            },
            404,
            "requested parameters",
        ),
        (
            {"model": "mistralai/mistral-7b-instruct", "response_format": SCHEMA_FORM},
            400,
            "response_format is not supported",
        ),
        ({"provider": {"only": ["xai"]}}, 404, "No allowed providers"),
        ({"messages": [{"role": "user", "content": "x" * 600_000}]}, 400, "maximum context length"),
        ({"messages": []}, 400, "Input required"),
    ],
)
async def test_what_the_catalogue_cannot_serve_is_refused(
    client: Client, body: dict[str, Any], status: int, words: str
) -> None:
    got, raw = await client.raw(**body)

    assert got == status and words in raw.decode()
    assert client.sandbox.total_billed == 0


async def test_a_schema_that_no_instance_is_found_for_asks_for_a_script(client: Client) -> None:
    schema = {"type": "string", "pattern": "^(?!a)a$"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    status, raw = await client.raw(response_format=form)

    assert status == 400 and b"script a reply" in raw


async def test_a_schema_is_ignored_by_a_model_without_support(client: Client) -> None:
    body = await client.chat(model="deepseek/deepseek-r1", response_format=SCHEMA_FORM)

    assert body["choices"][0]["message"]["content"].startswith("This is")


async def test_media_and_tool_calls_count_as_tokens(client: Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "four"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]

    usage = (await client.chat(messages=messages))["usage"]

    assert usage["prompt_tokens"] == -(-(4 + len(dumps([call]))) // 4) + 2 * 4 + 256


async def test_a_path_or_body_it_does_not_know_is_an_error_in_json(client: Client) -> None:
    assert (await client.get("/activity"))[0] == 404
    url = f"{client.sandbox.base_url}/chat/completions"
    async with client.session.post(url, data=b"{") as response:
        assert response.status == 400
    root = client.sandbox.base_url.removesuffix("/api/v1")
    async with client.session.get(f"{root}/models") as response:
        assert response.status == 404 and "error" in await response.json()


async def test_scripts_are_used_in_order_and_by_match(client: Client) -> None:
    sandbox = client.sandbox
    sandbox.reply(text="for claude", match="CLAUDE")
    sandbox.reply(text="for long prompts", match=lambda request: len(request.prompt) > 50, times=2)
    sandbox.on("mini", Reply(text="always"))
    sandbox.on(None, lambda request: Reply(text="hi") if request.prompt == "hello" else None)
    assert sandbox.unused == 3

    async def text(prompt: str, **body: Any) -> Any:
        return (await client.chat(prompt, **body))["choices"][0]["message"]["content"]

    assert await text("x") == "always"
    assert await text("hello") == "hi"
    assert await text("y" * 60) == "for long prompts"
    assert await text("z", model="anthropic/claude-haiku-4.5") == "for claude"
    assert sandbox.unused == 1
    sandbox.reset()
    assert sandbox.unused == 0 and sandbox.requests == []
    assert (await text("x")).startswith("This is")


def test_a_reply_is_given_once() -> None:
    with pytest.raises(TypeError, match="not both"):
        Sandbox().reply(Reply(text="a"), chunks=2)


async def test_requests_are_kept_as_they_came(client: Client) -> None:
    await client.chat("hello", temperature=0.5)
    await client.get("/models")

    chat, models = client.sandbox.requests
    assert client.sandbox.chat_requests == [chat]
    assert (chat.method, chat.path, chat.status) == ("POST", "/api/v1/chat/completions", 200)
    assert chat.body["temperature"] == 0.5 and chat.headers["Authorization"] == "Bearer ***"
    assert not chat.disconnected and models.body is None


@pytest.mark.parametrize(
    ("model", "whole"), [("openai/gpt-4o-mini", False), ("google/gemini-2.5-flash", True)]
)
async def test_a_left_stream_is_billed_as_its_upstream_bills(
    client: Client, model: str, whole: bool
) -> None:
    client.sandbox.on(None, Reply(text="word " * 40, chunk_delay=0.02))
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    url = f"{client.sandbox.base_url}/chat/completions"
    async with client.session.post(url, json=body) as response:
        await response.content.readuntil(b"word")
    await asyncio.to_thread(client.sandbox.wait_idle)

    assert client.sandbox.requests[0].disconnected
    (bill,) = client.sandbox.bills.values()
    assert bill.cancelled
    assert (bill.tokens.completion == 50) is whole
    assert bill.tokens.completion >= 1 and bill.cost > 0


async def test_leaving_a_call_without_stream_is_billed_whole(client: Client) -> None:
    client.sandbox.reply(text="word " * 40, delay=5)
    call = asyncio.create_task(client.raw())
    while not client.sandbox.in_flight:
        await asyncio.sleep(0.005)
    with pytest.raises(TimeoutError, match="still in flight"):
        client.sandbox.wait_idle(timeout=0)
    await asyncio.sleep(0.05)  # so that the 200 and some whitespace are on their way
    call.cancel()
    await asyncio.wait([call])
    await asyncio.to_thread(client.sandbox.wait_idle)

    (bill,) = client.sandbox.bills.values()
    assert bill.cancelled and bill.tokens.completion == 50


def test_it_serves_sync_code_and_its_port_can_be_chosen() -> None:
    with Sandbox() as first:
        port = first.port
        assert first.env == {
            "OPENROUTER_API_KEY": first.api_key,
            "OPENROUTER_BASE_URL": f"http://127.0.0.1:{port}/api/v1",
        }
        with pytest.raises(OSError), Sandbox(port=port):
            pass
        with pytest.raises(RuntimeError, match="runs already"):
            first.start()
    with Sandbox(port=port) as second:
        connection = http.client.HTTPConnection("127.0.0.1", second.port)
        connection.request("GET", "/api/v1/models")
        assert connection.getresponse().status == 200
        connection.close()
    second.close()
    assert Sandbox().in_flight == 0


async def test_it_can_be_entered_from_async_code() -> None:
    async with Sandbox() as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")


async def test_closing_is_quick_with_a_stalled_client() -> None:
    async with aiohttp.ClientSession() as session:
        with Sandbox() as sandbox:
            session.headers["Authorization"] = f"Bearer {sandbox.api_key}"
            sandbox.fail("stalled_stream", times=3)
            client = Client(sandbox, session)
            calls = [asyncio.create_task(client.raw(stream=True)) for _ in range(3)]
            while sandbox.in_flight < 3:
                await asyncio.sleep(0.005)
            started = time.monotonic()
            await asyncio.to_thread(sandbox.close)
            took = time.monotonic() - started
        await asyncio.gather(*calls, return_exceptions=True)

    assert took < 1


def test_the_plugin_imports_next_to_nothing() -> None:
    code = (
        "import sys, llm_router.testing.pytest_plugin;"
        "print([m for m in ('aiohttp', 'litellm', 'jsonschema', 'sqlalchemy') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert output.stdout.strip() == "[]"


def test_it_is_a_leaf_that_imports_no_other_room() -> None:
    """What the tests of users stand on is not what they test."""
    for path in Path(testing.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        ours = {module for module in modules if module.startswith("llm_router")}
        assert all(module.startswith("llm_router.testing") for module in ours), path.name


def test_the_guard_fails_a_test_that_leaves_loopback(loopback_only: None, sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port)):
        pass
    with socket.socket() as outside, pytest.raises(pytest.fail.Exception, match="beyond loopback"):
        outside.connect(("192.0.2.1", 80))


def test_decimals_keep_their_digits_in_json() -> None:
    assert dumps({"a": Decimal("1E-9"), "b": [Decimal("0.10")], "c": Decimal(3)}) == (
        '{"a":0.000000001,"b":[0.1],"c":3}'
    )
    with pytest.raises(TypeError, match="set is not JSON"):
        dumps({1, 2})


def test_a_request_without_a_user_message_has_no_prompt() -> None:
    assert ChatRequest({"messages": [{"role": "system", "content": "x"}]}).prompt == ""


def test_no_socket_is_left_when_clients_connect_at_the_moment_of_closing() -> None:
    for _ in range(15):
        sandbox = Sandbox().start()
        clients: list[socket.socket] = []

        def connect(port: int = sandbox.port, clients: list[socket.socket] = clients) -> None:
            with contextlib.suppress(OSError):
                clients.extend(socket.create_connection(("127.0.0.1", port)) for _ in range(30))

        thread = threading.Thread(target=connect)
        thread.start()
        sandbox.close()
        thread.join()
        for client in clients:
            client.close()
    gc.collect()  # an unclosed socket says so here, and a warning is an error


def test_nothing_is_logged_when_clients_leave_before_their_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Sandbox() as sandbox:
        for number in range(60):
            sandbox.reply(text="x" * 200, delay=0.02 * (number % 2))
            asked = {"role": "user", "content": "Hi"}
            body = dumps(
                {"model": "openai/gpt-4o-mini", "messages": [asked], "stream": bool(number % 3)}
            )
            head = (
                "POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {sandbox.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            client = socket.create_connection(("127.0.0.1", sandbox.port))
            client.sendall(f"{head}{body}".encode())
            time.sleep(0.001 * (number % 5))
            # A reset instead of a goodbye: nobody is there when the answer is written.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        sandbox.wait_idle()
    assert caplog.records == []
