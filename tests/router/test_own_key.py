"""A key per call: sent where it belongs, shared with nobody, and found nowhere afterwards."""

from __future__ import annotations

import asyncio
import json
import pathlib
import pickle
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from llm_router.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    LLMRouterError,
    MissingCredentialsError,
    RateLimitError,
)
from llm_router.providers.openrouter.catalog import cache_folder
from llm_router.router import Router
from llm_router.sync import SyncRouter
from llm_router.testing import Sandbox
from tests.providers.loopback import ANSWER, Server, serving
from tests.router.setup import CLAUDE, EAGER, GPT, WRONG_KEY

OURS = "sk-or-v1-ours-0123456789abcdef"
TENANTS = "Zebra~4711.tenant+one/key="
OTHERS = "Okapi~0815.tenant+two/key="
ALIASES = {"fast": {"model": GPT, "fallbacks": [CLAUDE, "other/model"], "concurrency": 50}}


class Reply(BaseModel):
    """What the server says in JSON."""

    word: str


def sent(server: Server) -> list[str]:
    return [headers["Authorization"] for method, _, headers in server.received if method == "POST"]


async def quoting(request: web.BaseRequest) -> web.StreamResponse:
    """Refuse, quoting the key in every way a provider might."""
    key = request.headers["Authorization"].removeprefix("Bearer ")
    said = f"key {key} is not known"
    raw = json.dumps({"error": {"message": said}, "key": key})
    metadata = {"raw": raw, "provider_name": "OpenAI", "seen": {key: [key]}}
    error = {"code": 401, "message": said, "metadata": metadata}
    return web.json_response({"error": error, "user_id": key}, status=401)


@asynccontextmanager
async def routed(server: Server, **sections: Any) -> AsyncIterator[Router]:
    rows = {
        "openrouter": {"api_key": OURS, "base_url": server.url},
        "other": {"litellm": "openai", "api_key": OURS, "base_url": server.url},
    }
    data = {"providers": rows, "aliases": ALIASES, **sections}
    async with Router.from_dict(data, clock=EAGER) as router:
        yield router


async def test_the_calls_key_is_sent_and_the_next_call_has_the_rows_again() -> None:
    async with serving() as server, routed(server) as router:
        await router.complete("fast", "Hi", api_key=TENANTS)
        await asyncio.gather(
            router.complete("fast", "Hi"),
            router.complete("fast", "Hi", api_key=OTHERS),
            router.complete("other/model", "Hi", api_key=TENANTS),
        )
        keys = sent(server)
    assert keys[0] == f"Bearer {TENANTS}"
    assert sorted(keys[1:]) == sorted(f"Bearer {key}" for key in (OURS, OTHERS, TENANTS))


async def test_a_tenants_money_and_pace_are_not_the_services() -> None:
    """Neither a spent budget nor the rate of the row's key stands in the way of another key."""
    budgets = [{"name": "all", "usd": "0.000001", "unpriced": "refuse"}]
    async with serving() as server, routed(server, budgets=budgets) as router:
        with pytest.raises(BudgetExceededError):
            await router.complete(GPT, "Hi")
        assert router.explain(GPT, "Hi").candidates[0].refused is not None
        assert router.explain(GPT, "Hi", api_key=TENANTS).candidates[0].refused is None
        assert (await router.complete(GPT, "Hi", api_key=TENANTS)).text
        (standing,) = await router.budgets()
        assert standing.spent == standing.reserved == 0


async def test_every_operation_sends_it(sandbox: Sandbox) -> None:
    rows = {"openrouter": {"api_key": WRONG_KEY, "base_url": sandbox.base_url}}
    aliases = {"fast": {"model": GPT}, "e": {"model": "openrouter/openai/text-embedding-3-small"}}
    async with Router.from_dict({"providers": rows, "aliases": aliases}) as router:
        own: Any = {"api_key": sandbox.api_key}
        await router.complete("fast", "Hi", **own)
        await router.embed("e", "Hi", **own)
        await router.parse("fast", "Hi", schema=Reply, **own)
        async with router.stream("fast", "Hi", **own) as stream:
            await stream.collect()
        with pytest.raises(AuthenticationError):
            await router.complete("fast", "Hi")


async def test_it_serves_where_the_row_has_no_key(sandbox: Sandbox) -> None:
    rows = {"openrouter": {"base_url": sandbox.base_url}}
    async with Router.from_dict({"providers": rows}) as router:
        reply = await router.complete(GPT, "Hi", api_key=sandbox.api_key)
        assert reply.text
        assert router.explain(GPT, "Hi", api_key=sandbox.api_key).candidates[0].request
        with pytest.raises(MissingCredentialsError):
            await router.complete(GPT, "Hi")


async def test_litellms_own_call_gets_it_too(sandbox: Sandbox) -> None:
    row = {"path": "acompletion", "api_key": WRONG_KEY, "base_url": sandbox.base_url}
    async with Router.from_dict({"providers": {"openrouter": row}}) as router:
        reply = await router.complete(GPT, "Hi", api_key=sandbox.api_key)
        assert reply.text
        with pytest.raises(AuthenticationError):
            await router.complete(GPT, "Hi")


async def test_fallbacks_at_another_provider_never_see_it() -> None:
    async def busy(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"error": {"code": 503, "message": "busy"}}, status=503)

    async with serving(busy) as server, routed(server) as router:
        with pytest.raises(LLMRouterError):
            await router.complete("fast", "Hi", api_key=TENANTS)
        shown = router.explain("fast", "Hi", api_key=TENANTS)
        paths = {body["model"] for body in server.posts}
    assert paths == {GPT.removeprefix("openrouter/"), CLAUDE.removeprefix("openrouter/")}
    skips = {candidate.deployment: candidate.skip for candidate in shown.candidates}
    assert skips == {
        GPT: None,
        CLAUDE: None,
        "other/model": "the call's api_key is for provider 'openrouter' alone.",
    }


async def test_the_rests_of_one_key_are_not_those_of_another() -> None:
    limited = True

    async def limits(request: web.BaseRequest) -> web.StreamResponse:
        if limited and request.headers["Authorization"] == f"Bearer {TENANTS}":
            error = {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}
            return web.json_response({"error": error}, status=429, headers={"Retry-After": "0"})
        return web.json_response(ANSWER)

    async with serving(limits) as server, routed(server) as router:
        for _ in range(4):
            with pytest.raises(RateLimitError):
                await router.complete(GPT, "Hi", api_key=TENANTS, max_attempts=2)
        assert {health.state for health in router.health().values()} == {"ready"}
        assert router.health()[GPT].consecutive_failures == 0
        limited = False
        await router.complete(GPT, "Hi", api_key=TENANTS)


async def test_calls_with_a_key_take_no_slot_of_the_row() -> None:
    inside, most = 0, 0

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal inside, most
        if request.method == "GET":
            return web.Response(status=404)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.2)
        inside -= 1
        return web.json_response(ANSWER)

    async with serving(slow) as server:
        row = {"api_key": OURS, "base_url": server.url, "concurrency": 1}
        async with Router.from_dict({"providers": {"openrouter": row}}) as router:
            calls = [router.complete(GPT, "Hi", api_key=f"{TENANTS}{n}") for n in range(3)]
            await asyncio.gather(*calls, router.complete(GPT, "Hi"))
    assert most == 4


@pytest.mark.parametrize("bad", ["", "  ", 7, b"Zebra~4711.tenant"])
async def test_a_key_that_is_none_is_refused_without_being_shown(bad: Any) -> None:
    async with serving() as server, routed(server) as router:
        with pytest.raises((TypeError, ValueError), match="api_key must be a text") as caught:
            await router.complete("fast", "Hi", api_key=bad)
        assert "Zebra" not in str(caught.value)
        assert server.posts == []


async def test_a_key_is_not_sent_in_clear_nor_beside_the_rows_own() -> None:
    rows: dict[str, Any] = {
        "clear": {"litellm": "openai", "base_url": "http://models.example/v1"},
        "own": {
            "litellm": "openai",
            "base_url": "http://127.0.0.1:1/v1",
            "headers": {"authorization": "Bearer of-the-row"},
        },
        "openrouter": {"api_key": OURS, "base_url": "http://127.0.0.1:1/v1"},
    }
    async with Router.from_dict({"providers": rows}) as router:
        with pytest.raises(ConfigurationError, match="in clear"):
            await router.complete("clear/m", "Hi", api_key=TENANTS)
        with pytest.raises(ConfigurationError, match="sends its own 'authorization'"):
            await router.complete("own/m", "Hi", api_key=TENANTS)
        with pytest.raises(ConfigurationError, match="line break") as caught:
            await router.complete(GPT, "Hi", api_key=f"{TENANTS}\nX-Other: 1")
    assert TENANTS not in f"{caught.value!r} {caught.value}"


def shown_with_locals(error: BaseException) -> str:
    """Return the traceback with the locals of our own frames, as rich or structlog show them."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in trace.stack if "/llm_router/" in frame.filename]
    assert ours
    return "\n".join(f"{frame.name} {frame.locals}" for frame in ours)


async def failing_call(router: Router, ask: str) -> LLMRouterError:
    with pytest.raises(AuthenticationError) as caught:
        if ask == "stream":
            async with router.stream(GPT, "Hi", api_key=TENANTS):
                pass
        elif ask == "embed":
            await router.embed(GPT, "Hi", api_key=TENANTS)
        elif ask == "parse":
            await router.parse(GPT, "Hi", schema=Reply, api_key=TENANTS)
        else:
            await router.complete(GPT, "Hi", api_key=TENANTS)
    return caught.value


async def test_the_key_is_found_nowhere(
    tmp_path: pathlib.Path, log: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Rows, spool, events, errors, answers, explanations, pickles, tracebacks, the cache."""
    book = {"url": f"sqlite:///{tmp_path}/calls.db", "store": "full", "durability": "strict"}
    found: list[Any] = []
    async with serving(quoting) as server, routed(server, ledger=book) as router:
        for ask in ("complete", "stream", "embed", "parse"):
            error = await failing_call(router, ask)
            found += [str(error), repr(error), error.attempts, vars(error), error.hint]
            found.append(pickle.dumps(error))
        explained = router.explain("fast", "Hi", api_key=TENANTS)
        found += [explained, explained.to_dict(), router, router.config.text, router.health()]
        found.append(vars(router._engine))
        assert sent(server) == [f"Bearer {TENANTS}"] * 4, "it was sent, and only there"
    async with serving() as server, routed(server, ledger=book) as router:
        reply = await router.complete("fast", "Hi", api_key=TENANTS)
        found += [reply, reply.to_dict(), pickle.dumps(reply), await router.report()]
    found += written_below(tmp_path) + written_below(cache_folder())
    found += [log, *capfd.readouterr()]
    assert log, "the application listens"
    part = TENANTS[:11]
    assert [text[:500] for text in map(text_of, found) if part in text] == []


def written_below(folder: pathlib.Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


def text_of(thing: Any) -> str:
    return thing.decode("latin-1") if isinstance(thing, bytes) else f"{thing!r} {thing}"


@pytest.mark.parametrize("ask", ["complete", "stream", "embed", "parse"])
async def test_no_local_of_our_frames_shows_it_in_a_traceback(ask: str) -> None:
    """But for the bytes of an answer that quotes it."""

    async def refusing(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"error": {"code": 401, "message": "Unknown key"}}, status=401)

    async with serving(refusing) as server, routed(server) as router:
        assert TENANTS not in shown_with_locals(await failing_call(router, ask))


def test_the_synchronous_router_shows_it_as_little(sandbox: Sandbox) -> None:
    rows = {"openrouter": {"api_key": sandbox.api_key, "base_url": sandbox.base_url}}
    router = SyncRouter.from_dict({"providers": rows})
    try:
        with pytest.raises(AuthenticationError) as caught:
            router.complete(GPT, "Hi", api_key=TENANTS)
        assert TENANTS not in shown_with_locals(caught.value)
    finally:
        router.close()
