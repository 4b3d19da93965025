"""`stream` from the application to the wire and back, to its end and to its early end."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import pytest

from llm_router.answers.stream_events import Finish, TextDelta, UsageReport
from llm_router.errors import (
    AllDeploymentsFailedError,
    AuthenticationError,
    DeadlineExceededError,
    InvalidRequestError,
    LLMRouterError,
    ProviderConnectionError,
    ProviderTimeoutError,
    StreamInterruptedError,
)
from llm_router.router import Router
from llm_router.testing import Reply, Sandbox
from tests.router.setup import CLAUDE, GPT, WRONG_KEY, until

Build = Callable[..., Router]
SLOW = Reply(text="one two three four five six seven eight", chunks=8, chunk_delay=0.02)
"""A stream that takes its time, so that it can be left on the way."""


async def all_gone(sandbox: Sandbox) -> None:
    """Wait until the server has no request left; TimeoutError when a connection stays open."""
    await asyncio.to_thread(sandbox.wait_idle)
    assert sandbox.in_flight == 0


async def settled_to(tasks: int) -> None:
    """Wait until so many tasks are left, this one included."""
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_events_come_in_order_and_the_completion_is_whole_after_them(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text="a b c", chunks=["a ", "b ", "c"], provider="Azure")
    async with router.stream("fast", "Hi") as stream:
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = stream.completion
        events = [event async for event in stream]
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["a ", "b ", "c"]
    assert {type(e) for e in events} == {TextDelta, Finish, UsageReport}
    reply = stream.completion
    assert (reply.text, reply.finish_reason) == ("a b c", "stop")
    assert (reply.alias, reply.requested_model, reply.upstream_provider) == ("fast", GPT, "Azure")
    assert reply.cost.total == sandbox.total_billed
    (bill,) = sandbox.bills.values()
    assert reply.usage.output_tokens == bill.tokens.completion
    (attempt,) = reply.attempts
    assert attempt.status == "succeeded"
    assert attempt.time_to_first_token_ms == reply.time_to_first_token_ms
    assert 0 < (reply.time_to_first_token_ms or 0) <= (reply.latency_ms or 0)
    assert sandbox.chat_requests[0].body["stream"] is True


async def test_the_text_alone_comes_piece_by_piece(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(text="a b c", chunks=["a ", "b ", "c"], reasoning="Hm.")
    async with router.stream("fast", "Hi") as stream:
        assert [text async for text in stream.text_stream] == ["a ", "b ", "c"]
    assert stream.completion.reasoning == "Hm."
    assert stream.snapshot() == stream.completion


async def test_collect_reads_what_is_left(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(text="a b c", chunks=["a ", "b ", "c"])
    async with router.stream("fast", "Hi") as stream:
        first = await anext(stream)
        assert isinstance(first, TextDelta)
        assert stream.snapshot().text.startswith("a")
        assert (await stream.collect()).text == "a b c"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_stream_must_be_entered_and_only_once(router: Router, sandbox: Sandbox) -> None:
    stream = router.stream("fast", "Hi")
    for use in (lambda: aiter(stream), stream.snapshot, lambda: stream.text_stream):
        with pytest.raises(RuntimeError, match="enter the stream first"):
            use()
    with pytest.raises(RuntimeError, match="enter the stream first"):
        await anext(stream)
    await stream.aclose()
    assert not sandbox.chat_requests
    async with router.stream("fast", "Hi") as stream:
        with pytest.raises(RuntimeError, match="entered already"):
            await stream.__aenter__()
    assert len(sandbox.chat_requests) == 1


async def test_a_misspelt_option_is_found_before_the_stream_begins(router: Router) -> None:
    with pytest.raises(TypeError, match="stream\\(\\) got an unexpected"):
        router.stream("fast", "Hi", temprature=1)  # type: ignore[call-arg]  # the point


async def test_leaving_early_closes_the_connection_and_is_recorded(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(SLOW)
    async with router.stream("fast", "Hi") as stream:
        async for _ in stream.text_stream:
            break
    await all_gone(sandbox)
    assert sandbox.chat_requests[0].disconnected
    snapshot = stream.snapshot()
    assert snapshot.text == "one"
    assert [a.status for a in snapshot.attempts] == ["cancelled"]
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.completion
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_exception_of_the_application_closes_the_connection(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(SLOW)
    with pytest.raises(ZeroDivisionError):
        async with router.stream("fast", "Hi") as stream:
            async for _ in stream:
                _ = 1 // 0
    await all_gone(sandbox)
    assert sandbox.chat_requests[0].disconnected


@pytest.mark.parametrize("fault", ["slow_headers", "stalled_stream"])
async def test_cancelling_the_task_closes_the_connection(
    router: Router, sandbox: Sandbox, fault: str
) -> None:
    """Before the first content, and in the middle."""
    sandbox.fail(fault)
    begun: list[str] = []

    async def read() -> None:
        async with router.stream("fast", "Hi") as stream:
            async for text in stream.text_stream:
                begun.append(text)

    task = asyncio.create_task(read())
    await until(lambda: sandbox.in_flight and (begun or fault == "slow_headers"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_gone(sandbox)
    assert sandbox.chat_requests[0].disconnected


async def test_a_wait_that_was_given_up_does_not_end_the_stream(
    router: Router, sandbox: Sandbox
) -> None:
    """`wait_for(anext(stream))` cancels one wait: the stream goes on, and is whole at its end."""
    sandbox.reply(text="one two three", chunks=3, chunk_delay=0.1)
    given_up = 0
    texts: list[str] = []
    async with router.stream("fast", "Hi") as stream:
        while True:
            try:
                event = await asyncio.wait_for(anext(stream), 0.03)
            except TimeoutError:
                given_up += 1
            except StopAsyncIteration:
                break
            else:
                texts += [event.text] if isinstance(event, TextDelta) else []
    assert given_up > 1
    assert "".join(texts) == stream.completion.text == "one two three"
    assert stream.completion.cost.total == sandbox.total_billed


async def test_a_forgotten_stream_is_closed_when_it_is_collected(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stalled_stream")
    stream = await router.stream("fast", "Hi").__aenter__()
    assert isinstance(await anext(stream), TextDelta)
    assert sandbox.in_flight >= 1
    del stream
    gc.collect()
    await asyncio.sleep(0)
    await all_gone(sandbox)
    assert sandbox.chat_requests[0].disconnected


@pytest.mark.parametrize("fault", ["http_502", "stream_error_first", "garbage", "dropped"])
async def test_an_error_before_the_first_content_is_tried_again(
    router: Router, sandbox: Sandbox, fault: str
) -> None:
    sandbox.fail(fault)
    async with router.stream("fast", "Hi") as stream:
        reply = await stream.collect()
    assert [a.status for a in reply.attempts] == ["failed", "succeeded"]
    assert len(sandbox.chat_requests) == 2


async def test_an_error_before_the_first_content_falls_back(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_endpoints", match="gpt-4o-mini")
    async with router.stream("safe", "Hi") as stream:
        reply = await stream.collect()
    assert reply.requested_model == CLAUDE
    assert [a.deployment for a in reply.attempts] == [GPT, CLAUDE]


async def test_an_error_before_the_first_content_has_its_own_class(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("bad_request")
    with pytest.raises(InvalidRequestError) as caught:
        async with router.stream("fast", "Hi"):
            raise AssertionError("never entered")
    assert (caught.value.status_code, caught.value.alias) == (400, "fast")
    sandbox.fail("http_503", times=8)
    with pytest.raises(AllDeploymentsFailedError):
        async with router.stream("safe", "Hi"):
            raise AssertionError("never entered")
    await all_gone(sandbox)


async def test_a_wrong_key_is_an_authentication_error_of_the_stream(routed: Build) -> None:
    router = routed(key=WRONG_KEY)
    with pytest.raises(AuthenticationError):
        async with router.stream("fast", "Hi"):
            raise AssertionError("never entered")


async def test_the_deadline_covers_everything_up_to_the_first_content(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("slow_body", times=9)
    with pytest.raises(DeadlineExceededError):
        async with router.stream("fast", "Hi", deadline=0.2):
            raise AssertionError("never entered")
    await all_gone(sandbox)
    sandbox.reset()
    sandbox.reply(SLOW)
    async with router.stream("fast", "Hi", deadline=0.1, timeout=0.1) as stream:
        assert (await stream.collect()).text == SLOW.text


@pytest.mark.parametrize(
    ("fault", "status", "cause"),
    [
        ("stream_error", 502, LLMRouterError),
        ("stream_error_bare", 502, LLMRouterError),
        ("cut_stream", None, LLMRouterError),
        ("ended_stream", None, LLMRouterError),
    ],
)
async def test_an_error_after_the_first_content_keeps_what_came(
    router: Router,
    sandbox: Sandbox,
    fault: str,
    status: int | None,
    cause: type[LLMRouterError],
) -> None:
    sandbox.fail(fault, after=2)
    texts = []
    with pytest.raises(StreamInterruptedError) as caught:
        async with router.stream("safe", "one two three four") as stream:
            async for text in stream.text_stream:
                texts.append(text)
    error = caught.value
    assert error.partial.text == "".join(texts) != ""
    assert error.status_code == status
    assert isinstance(error.__cause__, cause)
    assert not isinstance(error.__cause__, StreamInterruptedError)
    assert error.message == error.__cause__.message
    assert (error.alias, error.model, error.upstream_provider) == ("safe", GPT, "OpenAI")
    assert error.response_id == error.partial.response_id is not None
    assert [a.status for a in error.attempts or ()] == ["failed"]
    assert len(sandbox.chat_requests) == 1
    assert stream.snapshot().text == error.partial.text
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.completion
    await all_gone(sandbox)


async def test_a_cut_names_the_lost_connection(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("cut_stream")
    with pytest.raises(StreamInterruptedError) as caught:
        async with router.stream("fast", "Hi") as stream:
            await stream.collect()
    chain: BaseException | None = caught.value
    classes = []
    while chain is not None:
        classes.append(type(chain))
        chain = chain.__cause__
    assert ProviderConnectionError in classes


async def test_a_stalled_stream_ends_when_it_has_been_idle_too_long(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stalled_stream")
    with pytest.raises(StreamInterruptedError, match=r"No data event came for 0\.1 s") as caught:
        async with router.stream("fast", "Hi", idle_timeout=0.1) as stream:
            await stream.collect()
    assert isinstance(caught.value.__cause__, ProviderTimeoutError)
    await all_gone(sandbox)
    assert sandbox.chat_requests[0].disconnected


async def test_two_hundred_streams_cancelled_anywhere_leave_nothing_open(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed()
    sandbox.on(None, SLOW)
    await router.complete("fast", "Hi")  # the catalogue is fetched beside the first call
    await settled_to(1)
    chance = random.Random(5)

    async def read() -> Any:
        async with router.stream("fast", "Hi") as stream:
            return await stream.collect()

    async def leave(seconds: float) -> str:
        task = asyncio.create_task(read())
        await asyncio.sleep(seconds)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "ended"

    ends = await asyncio.gather(*(leave(chance.uniform(0, 0.6)) for _ in range(200)))
    assert ends.count("cancelled") > 50
    await all_gone(sandbox)
    await settled_to(1)
    # What one stream left behind would disturb the next.
    async with router.stream("fast", "Hi") as stream:
        assert (await stream.collect()).text == SLOW.text
    await router.aclose()
    gc.collect()
