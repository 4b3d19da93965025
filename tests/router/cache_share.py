"""How much of the input is read from caches, with sessions and without.

`python -m tests.router.cache_share` prints both.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import GPT

CONVERSATIONS, TURNS = 200, 3
AT_ONCE = 20


async def share(sandbox: Sandbox, alias: str) -> float:
    """Return the cached share of all turns after the first, over many conversations."""
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    aliases = {
        "with": {"model": GPT, "cache": "auto", "stick": "1h"},
        "without": {"model": GPT},
    }
    config = {"providers": {"openrouter": row}, "aliases": aliases}
    async with Router.from_dict(config) as router:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> tuple[int, int]:
            async with slots:
                return await _conversation(router, alias, f"{alias} {number}")

        sums = await asyncio.gather(*(one(number) for number in range(CONVERSATIONS)))
    return sum(read for read, _ in sums) / sum(given for _, given in sums)


async def _conversation(router: Router, alias: str, name: str) -> tuple[int, int]:
    """Return tokens read from a cache and tokens given, of all turns after the first."""
    messages: list[Any] = [
        {"role": "system", "content": f"The rules of {name}. " * 400},
        {"role": "user", "content": f"What does rule 1 of {name} say?"},
    ]
    read = given = 0
    for turn in range(TURNS):
        reply = await router.complete(alias, messages, max_tokens=16)
        if turn:
            read += reply.usage.cache_read_tokens or 0
            given += reply.usage.input_tokens or 0
        messages += [reply, {"role": "user", "content": f"And rule {turn + 2}?"}]
    return read, given


async def main() -> None:
    for alias in ("with", "without"):
        with Sandbox(balance=True) as sandbox:
            cached = await share(sandbox, alias)
        what = f"{CONVERSATIONS} conversations of {TURNS} turns, {alias} sessions"
        sys.stdout.write(f"{what}: {cached:.3f} of the input after the first turn was cached\n")


if __name__ == "__main__":
    asyncio.run(main())
