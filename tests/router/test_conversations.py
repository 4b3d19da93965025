"""Whole conversations over real sockets: a tool loop, a cached second turn, a document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest

from llm_router.answers.completion import Completion
from llm_router.options.parts import FilePart
from llm_router.options.tools import arguments_for, tool_result
from llm_router.router import Router
from llm_router.testing.sandbox import Sandbox

CLAUDE = "openrouter/anthropic/claude-sonnet-4.5"
GPT = "openrouter/openai/gpt-4o-mini"
PDF = b"%PDF-1.4 minimal"
PARSED = {"type": "file", "file": {"hash": "a1e0", "name": "bill.pdf", "content": []}}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def router(sandbox: Sandbox) -> AsyncIterator[Router]:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    async with Router.from_dict({"version": 1, "providers": {"openrouter": row}}) as router:
        yield router


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, Any]:
    """Get the current weather of a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"city": city, "degrees": 21, "unit": unit}


async def answer(router: Router, question: str, max_turns: int = 4) -> tuple[Completion, list[Any]]:
    """The loop of the README: let the model call tools, so many turns at most."""
    tools = {"get_weather": get_weather}
    messages: list[Any] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        reply = await router.complete(CLAUDE, messages, tools=[*tools.values()])
        messages.append(reply)
        if not reply.tool_calls:
            return reply, messages
        for call in reply.tool_calls:
            try:
                function = tools[call.name]
                value: Any = function(**arguments_for(call, function))
            except (KeyError, ValueError) as error:  # the model reads it and tries again
                value = error
            messages.append(tool_result(call, value))
    raise RuntimeError(f"no answer within {max_turns} turns")


async def test_a_tool_is_called_and_its_result_answered(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Rome"}}])
    reply, _ = await answer(router, "How warm is Rome?")
    assert reply.text.startswith('The tool answered: {"city":"Rome","degrees":21')
    first, second = (request.body for request in sandbox.chat_requests)
    assert first["tools"] == second["tools"]
    asked, called, result = second["messages"]
    assert called["tool_calls"][0]["id"] == result["tool_call_id"]
    assert asked == first["messages"][0]


async def test_the_model_is_told_when_its_call_fails(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Atlantis"}}])
    sandbox.reply(tool_calls=[{"name": "get_weather", "arguments": {"town": "Rome"}}])
    sandbox.reply(tool_calls=[{"name": "get_whether", "arguments": {}}])
    _, messages = await answer(router, "How warm is it?")
    results = [m["content"] for m in messages if isinstance(m, dict) and m["role"] == "tool"]
    assert results[0] == "ValueError: no such city"
    assert "city\n  Field required" in results[1]
    assert results[2] == "KeyError: 'get_whether'"


async def test_the_loop_ends_when_the_model_never_stops_calling(
    router: Router, sandbox: Sandbox
) -> None:
    for _ in range(3):
        sandbox.reply(tool_calls=[{"name": "get_weather", "arguments": {"city": "Rome"}}])
    with pytest.raises(RuntimeError, match="within 3 turns"):
        await answer(router, "How warm is Rome?", max_turns=3)


async def test_a_cut_call_is_never_executed(router: Router) -> None:
    reply = await router.complete(
        CLAUDE, "get weather", tools=[get_weather], tool_choice=get_weather, max_tokens=2
    )
    assert reply.finish_reason == "length"
    with pytest.raises(ValueError, match="cut by the token limit"):
        arguments_for(reply.tool_calls[0], get_weather)


async def test_a_streamed_call_is_answered_like_a_whole_one(
    router: Router, sandbox: Sandbox
) -> None:
    question = {"role": "user", "content": "Use get weather."}
    async with router.stream(CLAUDE, [question], tools=[get_weather], reasoning="low") as stream:
        async for _ in stream:
            pass
    reply = stream.completion
    results = [tool_result(call, "sunny") for call in reply.tool_calls]
    assert results
    await router.complete(CLAUDE, [question, reply, *results], tools=[get_weather])
    sent = sandbox.chat_requests[-1].body["messages"][1]
    assert sent == reply.as_message()
    assert sent["reasoning_details"] == list(reply.reasoning_details) != []


async def test_the_second_turn_is_read_from_the_cache(router: Router, sandbox: Sandbox) -> None:
    system = "The rules of the house. " * 1000
    messages: list[Any] = [{"role": "user", "content": "May I?"}]
    usages = []
    for _ in range(3):
        reply = await router.complete(CLAUDE, messages, system=system, cache="auto")
        usages.append(reply.usage)
        messages += [reply, {"role": "user", "content": "And now? " * 500}]
    first, second, third = usages
    assert first.cache_write_tokens
    assert not first.cache_read_tokens
    assert second.cache_read_tokens == first.cache_write_tokens
    # The turns are cached as well: the third call reads what the second one wrote.
    assert third.cache_read_tokens == (second.cache_read_tokens or 0) + (
        second.cache_write_tokens or 0
    )


@pytest.mark.parametrize("model", ["openrouter/qwen/qwen-plus", CLAUDE])
async def test_breakpoints_reach_the_wire_also_where_litellm_strips_them(
    router: Router, sandbox: Sandbox, model: str
) -> None:
    await router.complete(model, "Hi", system="Be brief.", tools=[get_weather], cache={"ttl": "1h"})
    body = sandbox.chat_requests[-1].body
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert body["messages"][0]["content"][0]["cache_control"] == mark
    assert body["tools"][0]["cache_control"] == mark


async def test_a_parsed_document_goes_back_with_its_annotation(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text="A bill.", annotations=[PARSED])
    document = FilePart(PDF, filename="bill.pdf")
    question = {"role": "user", "content": ["What is this?", document]}
    reply = await router.complete(GPT, [question])
    await router.complete(GPT, [question, reply, {"role": "user", "content": "How much?"}])
    asked, answered, _ = sandbox.chat_requests[-1].body["messages"]
    assert asked["content"][1] == document.to_wire()
    assert answered == {"role": "assistant", "content": "A bill.", "annotations": [PARSED]}


async def test_a_contradiction_is_refused_before_anything_is_sent(
    router: Router, sandbox: Sandbox
) -> None:
    with pytest.raises(ValueError, match="must be smaller"):
        await router.complete(CLAUDE, "Hi", reasoning=2000, max_tokens=2000)
    with pytest.raises(TypeError, match="not a pydantic model"):
        await router.complete(CLAUDE, "Hi", tools=[int])
    assert not sandbox.chat_requests


async def test_a_mark_of_a_whole_message_moves_to_its_last_block_when_it_is_sent() -> None:
    mark, own = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": own}]
    given: list[Any] = [
        {"role": "system", "content": "Be brief.", "cache_control": mark},
        {"role": "user", "content": blocks, "cache_control": mark},
    ]
    row = {"model": "openrouter/openai/gpt-4o-mini"}
    with Sandbox() as sandbox:
        provider = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
        config = {"providers": {"openrouter": provider}, "aliases": {"fast": row}}
        async with Router.from_dict(config) as router:
            await router.complete("fast", given)
        sent = sandbox.chat_requests[0].body["messages"]
    text = {"type": "text", "text": "Be brief.", "cache_control": mark}
    assert sent == [{"role": "system", "content": [text]}, {"role": "user", "content": blocks}]
    assert given[1]["content"] is blocks and given[0]["cache_control"] == mark
