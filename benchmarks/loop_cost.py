"""CPU of the attempt loop for a call that succeeds at once.

    python benchmarks/loop_cost.py [--rounds 60] [--calls 500] [--profile]

A provider in memory answers at once. What `Router.complete` costs over asking that provider
directly (plan, question, budget, deadline, attempt, cooldown, record) is the price of the loop.
The two are measured in turn, round after round. The verdict goes by the best round: what a busy
machine adds (caches and clock shared with others) is not ours, and the median shows how much.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_router import Router
from llm_router.answers.completion import Completion
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GOAL_US = 60.0
KEY = "sk-or-v1-benchmark"
MESSAGES = [{"role": "user", "content": "Why is the sky blue? " * 60}]
PARAMS: dict[str, Any] = {"temperature": 0.2, "max_tokens": 512}
ANSWER = Completion(
    text="Rayleigh scattering.",
    finish_reason="stop",
    provider="openrouter",
    usage=Usage(input_tokens=300, output_tokens=5, total_tokens=305),
    cost=Cost(),
)


class Ready:
    """A provider that has its answer ready: what remains of a call is the Router's own work."""

    name = "openrouter"

    async def open(self) -> None:
        """Nothing to import."""

    async def complete(self, request: ProviderRequest) -> Completion:
        return ANSWER

    def known(self, model: str) -> None:
        return None

    async def aclose(self) -> None:
        """Nothing to close."""


def paths() -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]:
    """Return a call through the Router, and the same call of its provider."""
    model = "openrouter/openai/gpt-4o-mini"
    fallbacks = ["openrouter/anthropic/claude-haiku-4.5"]
    alias = {"model": model, "params": PARAMS, "fallbacks": fallbacks}
    router = Router.from_dict(
        {"providers": {"openrouter": {"api_key": KEY}}, "aliases": {"fast": alias}}
    )
    provider = Ready()
    router._engine.providers["openrouter"] = provider
    deployment = Deployment(provider="openrouter", model="openai/gpt-4o-mini")
    request = ProviderRequest(deployment=deployment, messages=MESSAGES, params=PARAMS)
    return lambda: router.complete("fast", MESSAGES), lambda: provider.complete(request)


async def cpu_us(call: Callable[[], Awaitable[object]], calls: int) -> float:
    before = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - before) * 1e6 / calls


async def measure(rounds: int, calls: int) -> tuple[list[float], list[float]]:
    routed, direct = paths()
    await cpu_us(routed, calls)
    pairs = [(await cpu_us(routed, calls), await cpu_us(direct, calls)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(asyncio.run, measure(1, options.calls))
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    routed, direct = asyncio.run(measure(options.rounds, options.calls))
    loop = [a - b for a, b in zip(routed, direct, strict=True)]
    print(f"{'µs CPU a call':18}{'best':>8}{'median':>8}")
    for name, taken in (("Router.complete", routed), ("provider alone", direct), ("loop", loop)):
        print(f"{name:18}{min(taken):8.1f}{statistics.median(taken):8.1f}")
    print(f"goal: {GOAL_US:g} or less: {'met' if min(loop) <= GOAL_US else 'MISSED'}")


if __name__ == "__main__":
    main()
