"""10,000 calls at 64 at once while one request in five fails: this library, and litellm.Router.

    python benchmarks/faults_under_load.py [--calls 10000] [--stream] [--client NAME]

The clients are `llm_router`, `litellm` (its Router) and `no cooldown` (the same with its cooldown
switched off). Each runs against its own sandbox process with the same seed (`faulty_server.py`),
with the same two deployments, at most 6 requests a call, 2 s for an attempt, 60 s for a call, and
its own back-off, unshortened. Every prompt has a number, and the sandbox answers it always in the
same words: whatever else a client returns as a success is counted as wrong. A stream that fails
after its first content cannot be answered by anyone; it counts as "cut, said so" when the client
raises, and as wrong when it ends as if it were whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_router import Router, errors
from llm_router.providers import importing

SEED = "20"
CONCURRENCY = 64
MAX_ATTEMPTS = 6
TIMEOUT, IDLE, DEADLINE = 2.0, 1.0, 60.0
FIRST, SECOND = "openrouter/openai/gpt-4o-mini", "openrouter/anthropic/claude-haiku-4.5"
Ask = Callable[[str], Awaitable[str]]


class Cut(Exception):  # noqa: N818 - an outcome, not a defect
    """A stream ended early after content, and the client said so."""


def prompt(number: int) -> str:
    return f"Call number {number:05d}: what is said of it?"


def answer(text: str) -> str:
    """Return the only right answer to the prompt *text*."""
    return f"This is the sandbox's answer to: {text}"


@dataclass
class Tally:
    """What became of the calls."""

    right: int = 0
    cut: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    async def one(self, ask: Ask, number: int) -> None:
        began = time.perf_counter()
        expected = answer(prompt(number))
        try:
            text = await ask(prompt(number))
        except Cut:
            self.cut += 1
        except Exception as error:  # whatever a client raises is a failed call here
            self.failed[type(error).__name__] += 1
        else:
            if text == expected:
                self.right += 1
            else:
                kind = "blank" if not text else "cut" if expected.startswith(text) else "other"
                self.wrong[kind] += 1
        self.seconds.append(time.perf_counter() - began)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


@contextlib.asynccontextmanager
async def ours(env: dict[str, str], stream: bool) -> AsyncIterator[Ask]:
    row = {"api_key": env["OPENROUTER_API_KEY"], "base_url": env["OPENROUTER_BASE_URL"]}
    limits = {
        "timeout": TIMEOUT, "idle_timeout": IDLE, "deadline": DEADLINE,
        "max_attempts": MAX_ATTEMPTS,
    }  # fmt: skip
    alias = {"model": FIRST, "fallbacks": [SECOND], **limits}
    config = {"providers": {"openrouter": row}, "aliases": {"fast": alias}}
    async with Router.from_dict(config) as router:

        async def ask(text: str) -> str:
            return (await router.complete("fast", text)).text

        async def ask_stream(text: str) -> str:
            try:
                async with router.stream("fast", text) as answer:
                    return (await answer.collect()).text
            except errors.StreamInterruptedError as error:
                raise Cut from error

        yield ask_stream if stream else ask


@contextlib.asynccontextmanager
async def theirs(env: dict[str, str], stream: bool, *, cooldown: bool = True) -> AsyncIterator[Ask]:
    litellm = await asyncio.to_thread(importing.load_here)  # without its download of prices
    litellm.suppress_debug_info = True
    logging.disable(logging.ERROR)

    def row(name: str, model: str) -> dict[str, Any]:
        address = {"api_base": env["OPENROUTER_BASE_URL"], "api_key": env["OPENROUTER_API_KEY"]}
        return {"model_name": name, "litellm_params": {"model": model, **address}}

    router = litellm.Router(
        model_list=[row("fast", FIRST), row("second", SECOND)],
        fallbacks=[{"fast": ["second"]}],
        # Per model group: three requests to the first, three to the second.
        num_retries=MAX_ATTEMPTS // 2 - 1,
        timeout=TIMEOUT,
        stream_timeout=TIMEOUT,
        # On, as it is by default, a deployment that rests is forbidden: calls fail unsent.
        disable_cooldowns=not cooldown,
    )

    async def ask(text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        answer: Any = await router.acompletion(model="fast", messages=messages)
        return answer.choices[0].message.content or ""

    async def ask_stream(text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        answer: Any = await router.acompletion(model="fast", messages=messages, stream=True)
        pieces: list[str] = []
        try:
            async for chunk in answer:
                pieces += [choice.delta.content or "" for choice in chunk.choices]
        except Exception as error:
            if "".join(pieces):
                raise Cut from error
            raise
        return "".join(pieces)

    try:
        yield ask_stream if stream else ask
    finally:
        await litellm.close_litellm_async_clients()


CLIENTS: dict[str, Callable[[dict[str, str], bool], AbstractAsyncContextManager[Ask]]] = {
    "llm_router": ours,
    "litellm": theirs,
    "no cooldown": functools.partial(theirs, cooldown=False),
}


async def load(ask: Ask, calls: int) -> Tally:
    """Make *calls* calls, so many at once that a new one begins when one ends."""
    tally, numbers = Tally(), iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await tally.one(ask, number)

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return tally


async def measure(client: str, env: dict[str, str], stream: bool, calls: int) -> dict[str, Any]:
    async with CLIENTS[client](env, stream) as ask:
        await ask("Warm up.")  # imports and connections are not the calls' own
        memory, cpu, wall = resident_mb(), time.process_time(), time.perf_counter()
        tally = await load(ask, calls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "answered right, %": 100 * tally.right / calls,
        "cut, said so, %": 100 * tally.cut / calls,
        "wrong answers": tally.wrong.total(),
        "failed calls": tally.failed.total(),
        "CPU ms a call": cpu * 1000 / calls,
        "wall s": wall,
        "p50 ms": tally.quantile(0.5) * 1000,
        "p99 ms": tally.quantile(0.99) * 1000,
        "memory before, MB": memory,
        "memory after, MB": resident_mb(),
        "_kinds": {"wrong": dict(tally.wrong), "failed": dict(tally.failed)},
    }


def resident_mb() -> float:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def run(client: str, stream: bool, calls: int) -> dict[str, Any]:
    """Measure one client before a sandbox of its own; what that received is added."""
    script = Path(__file__).with_name("faulty_server.py")
    command = [sys.executable, str(script), SEED, *(["--stream"] if stream else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout and server.stdin
        env = json.loads(server.stdout.readline())
        try:
            figures = asyncio.run(measure(client, env, stream, calls))
        finally:
            server.stdin.close()
        seen = json.loads(server.stdout.read())
    kinds = figures.pop("_kinds")
    share = 100 * sum(seen["faults"].values()) / seen["requests"]
    return figures | {
        "requests a call": seen["requests"] / (calls + 1),
        "requests, most of a call": seen["most_of_one_call"],
        "requests that failed, %": share,
        "_kinds": kinds,
    }


def report(rows: dict[str, dict[str, Any]], stream: bool, calls: int) -> None:
    print(f"{calls} {'streams' if stream else 'calls'}, {CONCURRENCY} at once, seed {SEED}\n")
    print(f"{'':26}" + "".join(f"{client:>14}" for client in rows))
    for name in next(iter(rows.values())):
        if name != "_kinds":
            print(f"{name:26}" + "".join(f"{row[name]:14.2f}" for row in rows.values()))
    for client, row in rows.items():
        print(f"\n{client}: {json.dumps(row['_kinds'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--client", choices=CLIENTS, help="one alone; both by default")
    parser.add_argument("--json", action="store_true", help="one client's figures, for this script")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(run(options.client, options.stream, options.calls)))
        return
    # Each client in its own process, or the second would begin with the memory of the first.
    rows = {}
    for client in [options.client] if options.client else CLIENTS:
        command = [sys.executable, __file__, "--json", "--client", client]
        command += ["--calls", str(options.calls), *(["--stream"] if options.stream else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows[client] = json.loads(done.stdout.splitlines()[-1])
    report(rows, options.stream, options.calls)


if __name__ == "__main__":
    main()
