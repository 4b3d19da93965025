"""CPU time per call of this library against raw aiohttp + json and against LiteLLM.

    python benchmarks/overhead.py [--rounds 7] [--calls 100]

All paths are measured in one run, round after round in turn, so that a busy machine disturbs all
alike; the figures are medians over the rounds. The server is another process, on another CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from pydantic import SecretStr

from llm_router import Router
from llm_router.config.model import ProviderConfig
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers import importing
from llm_router.providers.openrouter.provider import OpenRouterProvider

KEY = "sk-or-v1-benchmark"
MODEL = "openai/gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "Why is the sky blue? " * 60}]
PARAMS: dict[str, Any] = {"temperature": 0.2, "max_tokens": 512}
TARGET = {"text": 2.0, "stream": 2.0}
Call = Callable[[bool], Awaitable[None]]


def raw(url: str, session: aiohttp.ClientSession) -> Call:
    """The floor: what any client must do, and no more."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    async def call(stream: bool) -> None:
        body = {"model": MODEL, "messages": MESSAGES, **PARAMS} | (
            {"stream": True} if stream else {}
        )
        data = json.dumps(body).encode()
        async with session.post(f"{url}/chat/completions", data=data, headers=headers) as response:
            if not stream:
                json.loads(await response.read())
                return
            async for line in response.content:
                if line.startswith(b"data: {"):
                    json.loads(line[6:])

    return call


def provider_path(provider: OpenRouterProvider) -> Call:
    def request(stream: bool) -> ProviderRequest:
        deployment = Deployment(provider="openrouter", model=MODEL)
        return ProviderRequest(
            deployment=deployment, messages=MESSAGES, params=PARAMS,
            stream=stream,
        )  # fmt: skip

    async def call(stream: bool) -> None:
        if not stream:
            await provider.complete(request(False))
            return
        answer = await provider.stream(request(True))
        async for _ in answer:
            pass
        answer.snapshot()

    return call


def router_path(router: Router) -> Call:
    async def call(stream: bool) -> None:
        if not stream:
            await router.complete("fast", MESSAGES)
            return
        async with router.stream("fast", MESSAGES) as answer:
            async for _ in answer:
                pass
        assert answer.completion.text

    return call


def litellm_path(ask: Callable[..., Awaitable[Any]], **fixed: Any) -> Call:
    async def call(stream: bool) -> None:
        answer = await ask(messages=MESSAGES, stream=stream, **PARAMS, **fixed)
        if stream:
            async for _ in answer:
                pass

    return call


async def cpu_ms(call: Call, stream: bool, calls: int) -> float:
    before = time.process_time()
    for _ in range(calls):
        await call(stream)
    return (time.process_time() - before) * 1000 / calls


async def measure(url: str, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    litellm = await asyncio.to_thread(importing.load_here)
    provider = OpenRouterProvider(
        "openrouter", ProviderConfig(api_key=SecretStr(KEY), base_url=url)
    )
    row = {"api_key": KEY, "base_url": url}
    model = f"openrouter/{MODEL}"
    router = Router.from_dict(
        {"providers": {"openrouter": row}, "aliases": {"fast": {"model": model, "params": PARAMS}}}
    )
    other_way = Router.from_dict(
        {
            "providers": {"openrouter": row | {"path": "acompletion"}},
            "aliases": {"fast": {"model": model, "params": PARAMS}},
        }
    )
    theirs = litellm.Router(
        model_list=[
            {
                "model_name": "fast",
                "litellm_params": {"model": model, "api_base": url, "api_key": KEY},
            }
        ],
        num_retries=0,
    )
    async with aiohttp.ClientSession() as session, router, other_way:
        paths = {
            "aiohttp + json": raw(url, session),
            "OpenRouterProvider": provider_path(provider),
            "llm_router.Router": router_path(router),
            "path: acompletion": router_path(other_way),
            "litellm.acompletion": litellm_path(
                litellm.acompletion, model=model, api_base=url, api_key=KEY, num_retries=0
            ),
            "litellm.Router": litellm_path(theirs.acompletion, model="fast"),
        }
        figures = await interleaved(paths, rounds, calls)
        await provider.aclose()
        await litellm.close_litellm_async_clients()
    return figures


async def interleaved(
    paths: dict[str, Call], rounds: int, calls: int
) -> dict[str, dict[str, float]]:
    """Return the median CPU time of a call in ms, by kind and path, the paths taking turns."""
    figures: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds + 1):
        for name, call in paths.items():
            for kind in ("text", "stream"):
                number = calls if kind == "text" else max(calls // 5, 1)
                taken = await cpu_ms(call, kind == "stream", number)
                if turn:  # the first round warms up
                    figures.setdefault(kind, {}).setdefault(name, []).append(taken)
    return {
        kind: {name: statistics.median(taken) for name, taken in rows.items()}
        for kind, rows in figures.items()
    }


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Run the canned server on a CPU of its own; yield its address."""
    script = Path(__file__).with_name("canned_server.py")
    pinned = hasattr(os, "sched_setaffinity")
    all_cpus = os.sched_getaffinity(0) if pinned else set()
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        port = server.stdout.readline().strip()
        if pinned:
            os.sched_setaffinity(0, {min(all_cpus)})
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def report(figures: dict[str, dict[str, float]]) -> None:
    for kind, rows in figures.items():
        floor, theirs = rows["aiohttp + json"], rows["litellm.acompletion"]
        print(f"\n{kind}{' of 100 chunks' if kind == 'stream' else ' call'}, CPU per call")
        print(f"  {'':22}{'ms':>8}{'x floor':>10}{'x acompletion':>16}")
        for name, taken in rows.items():
            print(f"  {name:22}{taken:8.3f}{taken / floor:10.2f}{taken / theirs:16.3f}")
        met = rows["OpenRouterProvider"] / floor <= TARGET[kind]
        verdict = "met" if met else "MISSED"
        print(f"  target: OpenRouterProvider <= {TARGET[kind]:g} x floor: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100, help="texts a round; streams: a fifth")
    options = parser.parse_args()
    with served() as url:
        figures = asyncio.run(measure(f"{url}/api/v1", options.rounds, options.calls))
    report(figures)


if __name__ == "__main__":
    main()
