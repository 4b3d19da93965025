"""A cache that hits: sessions are sent, conversations stay at their upstream, losses are told."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from llm_router.answers.completion import Completion
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers.openrouter.sticking import MOST_SESSIONS, Sticking
from llm_router.router import Router
from llm_router.routing.call import BLOCK, CacheWatch
from llm_router.testing import Sandbox
from llm_router.usage import Usage
from tests.router.cache_share import share
from tests.router.setup import GPT, configuration

TURN = {"role": "user", "content": "And the window?"}


async def test_most_of_the_input_is_cached_when_conversations_stay_at_their_upstream() -> None:
    with Sandbox(balance=True) as sandbox:
        kept = await share(sandbox, "with")
    with Sandbox(balance=True) as sandbox:
        spread = await share(sandbox, "without")
    assert kept >= 0.9 > spread


async def test_a_session_is_sent_with_every_operation(sandbox: Sandbox, router: Router) -> None:
    await router.complete("safe", "Hi", session="talk-7")
    async with router.stream("fast", "Hi", session="talk-7") as stream:
        await stream.collect()
    await router.embed("openrouter/openai/text-embedding-3-small", "Hi", session="talk-7")
    *chats, embedding = [r for r in sandbox.requests if r.method == "POST"]
    assert [chat.body["session_id"] for chat in chats] == ["talk-7"] * 2
    assert "session_id" not in embedding.body
    assert embedding.headers["x-session-id"] == "talk-7"


async def test_the_turns_of_a_conversation_share_a_session_that_says_nothing_of_it(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(aliases={"fast": {"model": GPT, "cache": "auto"}})
    first = await router.complete("fast", "May I paint the door?", system="Be brief.")
    turns: list[Any] = [{"role": "user", "content": "May I paint the door?"}, first, TURN]
    await router.complete("fast", turns, system="Be brief.")
    await router.complete("fast", "May I paint the wall?", system="Be brief.")
    await router.complete("fast", "May I paint the door?", system="Be brief.", user="another")
    await router.complete("fast", "Hi", cache="off")
    await router.complete("fast", "Hi", openrouter={"session_id": "own"})
    ids = [request.body.get("session_id") for request in sandbox.chat_requests]
    assert ids[0] == ids[1] and len(set(ids[:4])) == 3
    assert len(ids[0]) == 32 and int(ids[0], 16)
    assert ids[4:] == [None, "own"]


@pytest.mark.parametrize("bad", ["", "x" * 257, 7])
async def test_a_session_of_another_shape_is_refused(router: Router, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="session must be a text"):
        await router.complete("fast", "Hi", session=bad)


async def test_the_upstream_that_served_from_its_cache_is_asked_first(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(aliases={"fast": {"model": GPT, "stick": "1h"}})
    hit = {"prompt_tokens_details": {"cached_tokens": 1024}}
    sandbox.reply(text="1", provider="Azure")
    sandbox.reply(text="2", provider="Azure", usage=hit)
    for session in ("a", "a", "a", "b"):
        await router.complete("fast", "Hi", session=session)
    ordered: Any = {"provider": {"sort": "price"}}
    sandbox.reply(text="3", provider="Azure", usage=hit)
    await router.complete("fast", "Hi", session="a")
    await router.complete("fast", "Hi", session="a", openrouter=ordered)
    told = [request.body.get("provider") for request in sandbox.chat_requests]
    assert told == [None, None, {"order": ["Azure"]}, None, None, {"sort": "price"}]
    # The third answer came from no cache: the fifth call is free to go where it likes.


def asked(session: str = "s", stick: float | None = 3600.0, **more: Any) -> ProviderRequest:
    deployment = Deployment(provider="openrouter", model="m", **more)
    named = {"session_id": session}
    return ProviderRequest(deployment=deployment, messages=[], openrouter=named, stick=stick)


def answered(read: int | None, upstream: str | None = "Azure") -> Completion:
    return Completion(usage=Usage(cache_read_tokens=read), upstream_provider=upstream)


def test_sticking_ends_with_its_time_and_its_memory_is_bounded() -> None:
    now = [0.0]
    sticking = Sticking(lambda: now[0])
    for number in range(MOST_SESSIONS + 1):
        sticking.learn(asked(f"{number}"), answered(100))
    assert sticking.preferring(asked("0"), {}) == {}
    assert sticking.preferring(asked("1"), {}) == {"provider": {"order": ["Azure"]}}
    now[0] = 3600.0
    assert sticking.preferring(asked("1"), {}) == {}


def test_what_does_not_stick() -> None:
    sticking = Sticking(lambda: 0.0)
    sticking.learn(asked(stick=None), answered(100))
    sticking.learn(asked(api_key="a tenant's"), answered(100))
    sticking.learn(asked(), answered(None))
    sticking.learn(asked(), answered(100, None))
    assert sticking.preferring(asked(), {}) == {}
    sticking.learn(asked(), answered(100))
    pinned = {"provider": {"allow_fallbacks": False}}
    assert sticking.preferring(asked(), pinned) == pinned
    assert sticking.preferring(SimpleNamespace(model="m"), {}) == {}


async def test_a_report_shows_the_cached_share(sandbox: Sandbox, tmp_path: pathlib.Path) -> None:
    book = {"url": f"sqlite:///{tmp_path}/calls.db"}
    async with Router.from_dict(configuration(sandbox, ledger=book)) as router:
        for cached in (300, 100):
            details = {"prompt_tokens_details": {"cached_tokens": cached}}
            sandbox.reply(text="x", usage={"prompt_tokens": 400, **details})
            await router.complete("fast", "Hi")
        sandbox.fail("unauthorized")
        with pytest.raises(Exception, match="401"):
            await router.complete("extract", "Hi")
        shares = {row.group["alias"]: row.cached_share for row in await router.report()}
    assert shares == {"fast": 0.5, "extract": None}


def test_a_cache_that_is_lost_is_told_once(log: list[Any]) -> None:
    watch = CacheWatch()

    def block(cached: int, alias: str | None = "fast") -> None:
        for _ in range(BLOCK):
            watch.note(alias, Usage(input_tokens=100, cache_read_tokens=cached))

    block(90)
    block(50)
    assert log == []
    block(40)
    block(40)
    block(90, "new")
    watch.note("fast", Usage(input_tokens=100))
    told = {"event": "llm_router.cache_lost", "log_level": "warning", "alias": "fast"}
    assert log == [{**told, "before": 0.9, "now": 0.4}]


@pytest.mark.parametrize("configured", [True, False])
async def test_a_router_tells_of_a_lost_cache_wherever_its_events_go(
    sandbox: Sandbox,
    router: Router,
    configured: bool,
    log: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not configured:  # then they are lines of `logging`, which shows warnings and no more
        structlog.reset_defaults()
    for cached in (90, 10):
        usage = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": cached}}
        sandbox.reply(text="Hi", usage=usage, times=BLOCK)
        for _ in range(BLOCK):
            await router.complete("fast", "Hi")
    told = [entry["event"] for entry in log] if configured else caplog.messages
    (lost,) = [event for event in told if event.startswith("llm_router.cache_lost")]
    assert configured or "before=0.9 now=0.1" in lost
