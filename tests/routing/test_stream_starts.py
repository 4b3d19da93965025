"""Streams retry and fall back until their first content, and never after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from llm_router.errors import (
    DeadlineExceededError,
    EmptyResponseError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    StreamInterruptedError,
)
from llm_router.router import Router
from llm_router.testing import Fault, Sandbox
from tests.router.setup import CLAUDE, GPT

Build = Callable[..., Router]


async def read(router: Router, alias: str, **options: float) -> list[str]:
    async with router.stream(alias, "Hi", **options) as stream:  # type: ignore[arg-type]  # limits
        return [text async for text in stream.text_stream]


@pytest.mark.parametrize(
    ("fault", "after", "error"),
    [
        ("stream_error_first", 0, ProviderUnavailableError),
        ("stream_error_bare", 0, ProviderUnavailableError),
        ("cut_stream", 0, ProviderConnectionError),
        ("blank", 0, EmptyResponseError),
        ("http_502", 0, ProviderUnavailableError),
        ("dropped", 0, ProviderConnectionError),
    ],
)
async def test_a_stream_is_tried_again_when_it_fails_before_its_first_content(
    router: Router, sandbox: Sandbox, fault: Fault, after: int, error: type[ProviderError]
) -> None:
    sandbox.fail(fault, after=after)
    sandbox.reply(text="one two")
    async with router.stream("fast", "Hi") as stream:
        texts = [text async for text in stream.text_stream]
    assert texts == ["one", " two"], "nothing of the failed stream is seen"
    failed, answered = stream.completion.attempts
    assert isinstance(failed.error, error) and answered.status == "succeeded"
    assert len(sandbox.chat_requests) == 2


async def test_the_fallback_streams_when_the_first_model_cannot_begin(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stream_error_first", times=2, match="gpt-4o-mini")
    async with router.stream("safe", "Hi") as stream:
        await stream.collect()
    assert stream.completion.requested_model == CLAUDE
    assert [a.deployment for a in stream.completion.attempts] == [GPT, GPT, CLAUDE]


async def test_the_error_has_its_own_class_when_no_stream_begins(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stream_error_first", times=9)
    with pytest.raises(ProviderUnavailableError) as caught:
        await read(router, "fast", max_attempts=3)
    assert caught.value.status_code == 502
    assert len(sandbox.chat_requests) == 3


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("stream_error", ProviderUnavailableError),
        ("stream_error_bare", ProviderUnavailableError),
        ("cut_stream", ProviderConnectionError),
        ("ended_stream", ProviderConnectionError),
    ],
)
async def test_nothing_is_tried_again_when_a_stream_fails_after_its_first_content(
    router: Router, sandbox: Sandbox, fault: Fault, cause: type[ProviderError]
) -> None:
    sandbox.fail(fault, after=2)
    seen: list[str] = []
    with pytest.raises(StreamInterruptedError) as caught:
        async with router.stream("safe", "Hi") as stream:
            async for text in stream.text_stream:
                seen.append(text)
    assert "".join(seen) == caught.value.partial.text == "This is"
    assert len(sandbox.chat_requests) == 1
    (attempt,) = caught.value.attempts or ()
    assert attempt.status == "failed" and attempt.deployment == GPT
    assert isinstance(caught.value.__cause__, cause)


async def test_a_stall_before_content_is_a_timeout_and_the_fallback_streams(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stalled_stream", after=0)
    async with router.stream("safe", "Hi", timeout=0.2) as stream:
        await stream.collect()
    first = stream.completion.attempts[0]
    assert isinstance(first.error, ProviderTimeoutError)
    assert stream.completion.requested_model == CLAUDE


async def test_a_stall_after_content_ends_after_the_idle_timeout(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("stalled_stream", after=2)
    with pytest.raises(StreamInterruptedError) as caught:
        await read(router, "safe", idle_timeout=0.1)
    assert isinstance(caught.value.__cause__, ProviderTimeoutError)
    assert len(sandbox.chat_requests) == 1
    await asyncio.to_thread(sandbox.wait_idle)


async def test_neither_timeout_nor_deadline_ends_a_stream_that_has_begun(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text="a b c d e f g h", chunk_delay=0.05)
    texts = await read(router, "fast", timeout=0.2, deadline=0.2)
    assert "".join(texts) == "a b c d e f g h"


async def test_the_deadline_bounds_all_starts_together(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("stream_error_first", retry_after=0.1)
    sandbox.fail("stalled_stream", after=0, times=9)
    with pytest.raises(DeadlineExceededError) as caught:
        await read(router, "fast", deadline=0.3)
    assert len(caught.value.attempts or ()) == len(sandbox.chat_requests) == 2
