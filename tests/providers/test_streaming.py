"""Streams over real sockets: what comes, what is waited for, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import time
import warnings
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web

from llm_router.answers.stream_events import Finish, TextDelta, UsageReport
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from llm_router.providers.stream import HttpStream
from tests.providers.loopback import ANSWER, END, asking, chunk, provider_at, serving

Write = Callable[[bytes], Awaitable[None]]
ERROR = b'data: {"error":{"code":502,"message":"Upstream broke"}}\n\n'
COMMENT = b": OPENROUTER PROCESSING\n\n"


def streaming(play: Callable[[Write], Awaitable[None]]) -> Any:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=404)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await play(response.write)
        return response

    return handle


def in_one_go(data: bytes) -> Any:
    async def play(write: Write) -> None:
        await write(data)

    return streaming(play)


async def test_stream_gives_events_and_the_whole_completion() -> None:
    body = COMMENT + chunk("Hel") + COMMENT + chunk("lo") + END
    async with serving(in_one_go(body)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        events = [event async for event in stream]
        reply = stream.snapshot()
        await stream.aclose()
        await stream.aclose()
        assert [event async for event in stream] == []
    assert events[:2] == [TextDelta("Hel"), TextDelta("lo")]
    assert [type(event) for event in events[2:]] == [Finish, UsageReport]
    assert (reply.text, reply.finish_reason, reply.upstream_provider) == ("Hello", "stop", "Azure")
    assert reply.cost.total == Decimal("0.000125")
    assert server.posts[0]["stream"] is True


async def test_connection_serves_one_stream_after_the_other() -> None:
    async with serving(in_one_go(chunk("a") + END)) as server, provider_at(server.url) as provider:
        for _ in range(5):
            stream = await provider.stream(asking(stream=True))
            assert len([event async for event in stream]) == 3
        await provider.catalog.aclose()
        assert server.connections == 1


async def test_stream_that_stays_open_after_done_ends_all_the_same() -> None:
    async def play(write: Write) -> None:
        await write(chunk("a") + END)
        await asyncio.Event().wait()

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        assert len([event async for event in stream]) == 3
        await provider.catalog.aclose()
        assert await server.empties()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", InvalidResponseError),
        (b"<html>busy</html>", InvalidResponseError),
        (json.dumps(ANSWER).encode(), InvalidResponseError),
        (b'{"error":{"code":503,"message":"Overloaded"}}', ProviderUnavailableError),
        (COMMENT, ProviderConnectionError),
        (chunk("Hi"), ProviderConnectionError),
        (chunk() + b"data: [DONE]\n\n", EmptyResponseError),
    ],
    ids=["empty", "html", "json", "error as json", "comments only", "cut", "nothing said"],
)
async def test_body_that_is_no_whole_stream_is_the_error_that_it_is(
    body: bytes, kind: type[Exception]
) -> None:
    async with serving(in_one_go(body)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        with pytest.raises(kind):
            async for _ in stream:
                pass
        assert [event async for event in stream] == []


async def test_what_came_before_a_cut_is_given_and_kept() -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(chunk("Hel"))
        await response.write(chunk("lo"))
        assert request.transport
        request.transport.close()
        return response

    async with serving(cut) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        await asyncio.sleep(0.05)  # the cut is known before anything is read
        events = [await anext(stream), await anext(stream)]
        with pytest.raises(ProviderConnectionError) as caught:
            await anext(stream)
    assert events == [TextDelta("Hel"), TextDelta("lo")]
    assert stream.snapshot().text == "Hello"
    assert isinstance(caught.value.__cause__, ProviderConnectionError)
    assert caught.value.response_id == "gen-1"


async def test_cut_after_the_end_of_the_answer_changes_nothing() -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(chunk("Hi") + END.removesuffix(b"data: [DONE]\n\n"))
        assert request.transport
        request.transport.close()
        return response

    async with serving(cut) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        assert len([event async for event in stream]) == 3
    assert stream.snapshot().cost.total == Decimal("0.000125")


@pytest.mark.parametrize("apart", [False, True], ids=["in one packet", "in two packets"])
async def test_bill_after_an_error_event_is_kept(apart: bool) -> None:
    async def play(write: Write) -> None:
        await write(chunk("Hi") + ERROR)
        if apart:
            await asyncio.sleep(0.02)
        await write(END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        assert await anext(stream) == TextDelta("Hi")
        with pytest.raises(ProviderUnavailableError, match="Upstream broke") as caught:
            await anext(stream)
    assert caught.value.cost is not None
    assert caught.value.cost.total == Decimal("0.000125")
    assert caught.value.status_code == 502


async def test_error_is_raised_soon_when_the_bill_never_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_router.providers.stream._BILL_SECONDS", 0.05)

    async def play(write: Write) -> None:
        await write(ERROR)
        await asyncio.Event().wait()

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        with pytest.raises(ProviderUnavailableError):
            await anext(stream)
        await provider.catalog.aclose()
        assert await server.empties()


async def test_comments_are_no_progress() -> None:
    async def play(write: Write) -> None:
        await write(chunk("Hi"))
        while True:
            await write(COMMENT)
            await asyncio.sleep(0.01)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        assert await anext(stream) == TextDelta("Hi")
        stream.idle_timeout = 0.1
        began = time.monotonic()
        with pytest.raises(ProviderTimeoutError, match=r"0\.1 s.*idle_timeout") as caught:
            await anext(stream)
        await provider.catalog.aclose()
        assert await server.empties()
    assert 0.09 < time.monotonic() - began < 1
    assert caught.value.response_id == "gen-1"


async def test_data_without_content_is_progress() -> None:
    async def play(write: Write) -> None:
        await write(chunk("Hi"))
        for _ in range(10):
            await write(chunk())
            await asyncio.sleep(0.03)
        await write(END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        assert await anext(stream) == TextDelta("Hi")
        stream.idle_timeout = 0.15
        assert len([event async for event in stream]) == 2


async def test_time_that_the_consumer_takes_is_not_idle() -> None:
    first = asyncio.Event()

    async def play(write: Write) -> None:
        await write(chunk("a"))
        await first.wait()
        await asyncio.sleep(0.02)
        await write(chunk("b") + END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        stream.idle_timeout = 0.06
        await anext(stream)
        await asyncio.sleep(0.15)
        first.set()
        assert [type(event) async for event in stream] == [TextDelta, Finish, UsageReport]


async def test_cancelled_wait_leaves_the_stream_readable() -> None:
    go = asyncio.Event()

    async def play(write: Write) -> None:
        await write(chunk("a"))
        await go.wait()
        await write(chunk("b") + END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        await anext(stream)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(stream)
        go.set()
        assert await anext(stream) == TextDelta("b")
        await stream.aclose()


async def test_cancelled_wait_loses_no_event_when_a_thread_was_reading_it() -> None:
    large = chunk("x" * 3_000_000) + chunk("b") + END
    async with serving(in_one_go(large)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        reading = asyncio.ensure_future(anext(stream))
        while not stream._reading:
            await asyncio.sleep(0)
        assert stream.snapshot().text == ""
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        events = [event async for event in stream]
        assert [type(event) for event in events] == [TextDelta, TextDelta, Finish, UsageReport]
        assert len(stream.snapshot().text) == 3_000_001


async def test_200_streams_left_at_random_points_leave_nothing_behind() -> None:
    dice = random.Random(7)

    async def play(write: Write) -> None:
        for number in range(20):
            await write(chunk(f"{number} "))
            await asyncio.sleep(dice.random() * 0.004)
        await asyncio.Event().wait()  # a body that ended would leave a free connection

    async def one(number: int) -> None:
        stream = await provider.stream(asking(stream=True))
        stream.idle_timeout = 5
        wanted = dice.randrange(20)
        async for _ in stream:
            wanted -= 1
            if wanted <= 0:
                break
        if number % 3:
            await stream.aclose()  # the others are forgotten

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        tasks = [asyncio.create_task(one(number)) for number in range(200)]
        for task in tasks:
            if dice.random() < 0.5:
                asyncio.get_running_loop().call_later(dice.random() * 0.3, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        await provider.catalog.aclose()
        del tasks, task
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gc.collect()
            assert await server.empties()
        ours = [t for t in asyncio.all_tasks() if "providers" in repr(t.get_coro())]
        assert not ours


async def test_forgotten_stream_closes_its_connection() -> None:
    async def play(write: Write) -> None:
        await write(chunk("a"))
        await asyncio.Event().wait()

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        asyncio.get_running_loop().set_debug(True)
        stream: HttpStream | None = await provider.stream(asking(stream=True))
        assert stream is not None
        stream.idle_timeout = 60
        await anext(stream)
        await provider.catalog.aclose()
        del stream
        gc.collect()
        assert await server.empties()


async def test_stream_collected_in_another_thread_closes_its_connection_at_once() -> None:
    """A finaliser may run anywhere: it only posts to the loop, as asyncio's debug mode checks."""

    async def play(write: Write) -> None:
        await write(chunk("a"))
        await asyncio.Event().wait()

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        asyncio.get_running_loop().set_debug(True)
        held = [await provider.stream(asking(stream=True))]
        held[0].idle_timeout = 60
        await anext(held[0])
        await provider.catalog.aclose()
        await asyncio.to_thread(held.clear)
        assert await server.empties()


def test_stream_that_outlives_its_loop_is_finalised_without_a_word() -> None:
    stream = HttpStream.__new__(HttpStream)
    stream._loop = asyncio.new_event_loop()
    stream._response = Mock(closed=False)
    stream._loop.close()
    stream.__del__()


@pytest.mark.parametrize("waiting", [False, True])
async def test_provider_closed_under_a_stream_is_a_connection_error(waiting: bool) -> None:
    async def play(write: Write) -> None:
        await write(chunk("a"))
        await asyncio.Event().wait()

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        await anext(stream)
        reading = asyncio.ensure_future(anext(stream))
        if waiting:
            await asyncio.sleep(0.02)
        await provider.aclose()
        with pytest.raises(ProviderConnectionError):
            await reading


async def test_idle_timeout_can_be_taken_back() -> None:
    go = asyncio.Event()

    async def play(write: Write) -> None:
        await write(chunk("a"))
        await go.wait()
        await write(chunk("b") + END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        stream = await provider.stream(asking(stream=True))
        stream.idle_timeout = 0.05
        await anext(stream)
        stream.idle_timeout = None
        asyncio.get_running_loop().call_later(0.1, go.set)
        assert await anext(stream) == TextDelta("b")
        await stream.aclose()


async def test_slow_reader_slows_the_sender_down_and_memory_stays() -> None:
    piece = chunk("x" * 64 * 1024)
    sent = 0

    async def play(write: Write) -> None:
        nonlocal sent
        for _ in range(400):
            await write(piece)
            sent += len(piece)
        await write(END)

    async with serving(streaming(play)) as server, provider_at(server.url) as provider:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stream = await provider.stream(asking(stream=True))
        await anext(stream)
        for _ in range(20):
            await asyncio.sleep(0.01)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        await stream.aclose()
    assert sent < 14 * 2**20, "the rest waits with the sender (sockets hold some MiB)"
    assert grown < 30 * 1024
