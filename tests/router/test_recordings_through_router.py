"""Recorded traffic served byte for byte to the Router; what is right comes from `test_recordings`.

Streams arrive in packets of any size, those of a fixed seed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from llm_router.answers.completion import Completion
from llm_router.errors import EmptyResponseError, ProviderError, StreamInterruptedError
from llm_router.router import Router
from llm_router.sync import SyncRouter
from tests import recordings
from tests.providers.loopback import KEY, serving
from tests.wires.test_recordings import (
    RECORDINGS,
    STREAMS,
    TEXTS,
    body_of,
    check_error,
    facts,
    meaning,
    read_facts,
    told_error,
    unstreamed,
)

pytestmark = [*recordings.needed, pytest.mark.asyncio(loop_scope="module")]

LONGEST = (7, 900)


async def play(request: web.BaseRequest) -> web.StreamResponse:
    """Serve the recording that the model's name says, as `NAME@LONGEST` in packets."""
    if request.method != "POST":
        return web.Response(status=404)
    name, _, longest = str(request.headers["X-Recording"]).partition("@")
    meta = RECORDINGS[name]
    response = web.StreamResponse(status=meta["status"], headers=meta["headers"])
    await response.prepare(request)
    raw, dice = body_of(name), random.Random(name)
    at = 0
    while at < len(raw):
        size = dice.randint(1, int(longest)) if longest else len(raw)
        await response.write(raw[at : at + size])
        at += size
        await asyncio.sleep(0)  # so that packets are not joined on their way
    return response


def configuration(url: str, name: str, **row: Any) -> dict[str, Any]:
    openrouter = {"api_key": KEY, "base_url": url, "headers": {"X-Recording": name}, **row}
    return {
        "version": 1,
        "defaults": {"max_attempts": 1},
        "providers": {"openrouter": openrouter},
        "aliases": {"recorded": {"model": "openrouter/openai/gpt-4o-mini"}},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    async with serving(play) as server:
        yield server.url


async def completed(url: str, name: str, **row: Any) -> Completion | ProviderError:
    async with Router.from_dict(configuration(url, name, **row)) as router:
        try:
            return await router.complete("recorded", "Hello")
        except ProviderError as error:
            return error


async def streamed(url: str, name: str, **row: Any) -> Completion | ProviderError:
    async with Router.from_dict(configuration(url, name, **row)) as router:
        try:
            async with router.stream("recorded", "Hello") as stream:
                texts = [text async for text in stream.text_stream]
            assert "".join(texts) == stream.completion.text
        except ProviderError as error:
            return error
        return stream.completion


def check(found: Completion | ProviderError, body: dict[str, Any]) -> None:
    """Compare with what the raw JSON says, and with what the call adds to it."""
    if told_error(body):
        check_failure(found, body)
        return
    choice = body["choices"][0]
    if not (choice["message"]["content"] or choice.get("finish_reason")):
        assert type(found) is EmptyResponseError
        return
    assert isinstance(found, Completion)
    assert read_facts(found) == facts(body)
    assert (found.alias, found.provider) == ("recorded", "openrouter")
    (attempt,) = found.attempts
    assert attempt.status == "succeeded"
    assert (attempt.usage, attempt.cost) == (found.usage, found.cost)
    assert (attempt.response_id, attempt.upstream_provider) == (body["id"], body["provider"])
    assert json.dumps(found.to_dict())
    check_turn(found, choice["message"])


def check_turn(found: Completion, message: dict[str, Any]) -> None:
    """The turn that goes back has all that came."""
    turn = found.as_message()
    assert (turn.get("content") or "") == (message["content"] or "")
    assert len(turn.get("reasoning_details") or []) == len(message.get("reasoning_details") or [])
    assert [call["id"] for call in turn.get("tool_calls") or []] == [
        call["id"] for call in message.get("tool_calls") or []
    ]


def check_failure(found: Completion | ProviderError, body: dict[str, Any]) -> None:
    assert isinstance(found, ProviderError)
    if isinstance(found, StreamInterruptedError):
        # After the first content: one class, with the cause chained and what came kept.
        assert isinstance(found.__cause__, ProviderError)
        said = body["choices"][0]["message"]
        assert found.partial is not None
        assert (found.partial.text, found.partial.reasoning) == (
            said["content"] or "",
            said["reasoning"],
        )
        error = told_error(body) or {}
        assert type(found.__cause__) is meaning(error)
        assert (found.status_code, found.message) == (error["code"], error["message"])
        assert (found.upstream_provider, found.response_id) == (body["provider"], body["id"])
        assert found.usage is not None and found.cost is not None
        assert found.usage.output_tokens == body["usage"]["completion_tokens"]
        assert found.cost.reported == body["usage"].get("cost")
        assert "user_" not in str(found) + repr(found.raw)
    else:
        check_error(found, body)
    error = told_error(body) or {}
    limits = ((error.get("metadata") or {}).get("headers") or {}).get("X-RateLimit-Reset")
    assert (found.retry_after is None) is (limits is None)
    (attempt,) = found.attempts or ()
    assert (attempt.status, attempt.status_code) == ("failed", error["code"])
    assert attempt.error is found
    assert found.alias == "recorded"


@pytest.mark.parametrize("name", TEXTS)
async def test_every_recorded_answer_is_whole_and_true_at_the_router(url: str, name: str) -> None:
    body = json.loads(body_of(name), parse_float=Decimal)
    check(await completed(url, name), body)
    check(await completed(url, f"{name}@300"), body)


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", STREAMS)
async def test_every_recorded_stream_is_whole_and_true_at_the_router(
    url: str, name: str, longest: int
) -> None:
    found = await streamed(url, f"{name}@{longest}")
    check(found, unstreamed(body_of(name)))


@pytest.mark.parametrize("name", [*TEXTS[:1], *TEXTS[len(TEXTS) // 2 :: 6], *STREAMS[::4]])
async def test_code_without_a_loop_gets_the_same(url: str, name: str) -> None:
    is_stream = name.endswith(".sse")

    def ask() -> Completion | ProviderError:
        with SyncRouter.from_dict(configuration(url, name)) as router:
            try:
                if not is_stream:
                    return router.complete("recorded", "Hello")
                with router.stream("recorded", "Hello") as stream:
                    for _ in stream:
                        pass
                return stream.completion
            except ProviderError as error:
                return error

    found = await asyncio.to_thread(ask)
    raw = body_of(name)
    body = unstreamed(raw) if is_stream else json.loads(raw, parse_float=Decimal)
    check(found, body)
