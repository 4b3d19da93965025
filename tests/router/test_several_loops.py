"""One Router on several event loops, one after the other and at once; nothing is left unclosed."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

from llm_router.router import Router
from llm_router.testing import FaultPlan, Reply, Sandbox
from tests.router.setup import EAGER, configuration, until


async def ask(router: Router, text: str = "Hi") -> str:
    return (await router.complete("fast", text)).text


async def ask_streaming(router: Router) -> str:
    async with router.stream("fast", "Hi") as stream:
        return (await stream.collect()).text


def test_each_asyncio_run_works_although_nothing_is_ever_closed(sandbox: Sandbox) -> None:
    router = Router.from_dict(configuration(sandbox), clock=EAGER)
    for _ in range(3):
        assert asyncio.run(ask(router))
        assert asyncio.run(ask_streaming(router))
    del router
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    sandbox.wait_idle()


def test_a_stream_left_open_at_the_end_of_its_loop_is_closed(sandbox: Sandbox) -> None:
    sandbox.on(None, Reply(text="a b c d", chunks=4, chunk_delay=0.5))
    router = Router.from_dict(configuration(sandbox), clock=EAGER)

    async def begin() -> None:
        stream = await router.stream("fast", "Hi").__aenter__()
        await anext(stream)

    asyncio.run(begin())
    gc.collect()
    sandbox.wait_idle()
    assert sandbox.chat_requests[0].disconnected


def test_loops_in_several_threads_share_a_router(sandbox: Sandbox) -> None:
    router = Router.from_dict(configuration(sandbox), clock=EAGER)
    texts: list[str] = []
    barrier = threading.Barrier(4)

    async def several(n: int) -> None:
        barrier.wait()
        texts.extend(await asyncio.gather(*(ask(router, f"{n}.{m}") for m in range(5))))

    threads = [threading.Thread(target=asyncio.run, args=(several(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(text[-3:] for text in texts) == sorted(
        f"{n}.{m}" for n in range(4) for m in range(5)
    )
    gc.collect()


def test_a_limit_of_concurrency_holds_on_each_loop(sandbox: Sandbox) -> None:
    aliases = {"fast": {"model": "openrouter/openai/gpt-4o-mini", "concurrency": 2}}
    router = Router.from_dict(configuration(sandbox, aliases=aliases), clock=EAGER)
    sandbox.on(None, FaultPlan(fault="slow_headers"))

    async def many() -> None:
        before = len(sandbox.chat_requests)
        calls = [asyncio.create_task(ask(router)) for _ in range(8)]
        await until(lambda: len(sandbox.chat_requests) >= before + 2)
        await asyncio.sleep(0.05)
        assert len(sandbox.chat_requests) == before + 2
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    for _ in range(2):
        asyncio.run(many())
    sandbox.wait_idle()
