"""One of many processes that share a state. Run as a script: it prints a line of JSON.

`python -m tests.state.processes STORY URL NAMESPACE NUMBER ARGUMENTS…`
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from typing import Any

from llm_router.config.model import StateConfig
from llm_router.state.base import Ask, Claim, Rate, Slot
from llm_router.state.shared import Shared

FOR_EVER = float("inf")
COST = 20_000
"""Bills are between nothing and this; money has no smaller meaning here."""
AT_ONCE = 2
TENTHS = {"exact": 10, "low": 9}
"""Of its bill a call reserves so many; `worst` reserves the highest bill there is."""


def say(**found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


async def spend(
    state: Shared, number: int, limit: str, calls: str, estimate: str, mortal: str
) -> None:
    """Reserve and settle, each bill twice; a mortal process is killed between the two."""
    chance = random.Random(number)
    dies_at = chance.randrange(20) if mortal == "yes" else -1
    billed, beyond = [0], [0]

    async def one(place: int) -> None:
        bill = chance.randrange(COST)
        reserved = COST if estimate == "worst" else bill * TENTHS[estimate] // 10
        claims = tuple(Claim(key, int(limit), reserved, FOR_EVER) for key in ("day", "month"))
        ask = Ask(f"{number}:{place}", claims=claims)
        verdict = await state.enter(ask)
        if verdict.short:
            return
        billed[0] += bill
        beyond[0] = max(beyond[0], bill - reserved)
        if place == dies_at:
            say(billed=billed[0], beyond=beyond[0], killed=True)
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(chance.random() * 0.002)
        for _ in range(2):
            state.leave(ask, verdict, bill, [])

    for place in range(0, int(calls), AT_ONCE):
        await asyncio.gather(*(one(place + n) for n in range(AT_ONCE)))
    await state.aclose()
    say(billed=billed[0], beyond=beyond[0], killed=False)


async def hurry(state: Shared, number: int, per_minute: str, seconds: str, patience: str) -> None:
    """Book as much of a rate as there is."""
    asked: list[tuple[float, float]] = []
    passed = 0
    ends = time.monotonic() + float(seconds)
    while (began := time.monotonic()) < ends:
        rate = Rate("requests", int(per_minute), 1)
        verdict = await state.enter(Ask(f"{passed}", rates=(rate,), patience=float(patience)))
        asked.append((began, time.monotonic()))
        passed += verdict.short is None
        if verdict.short:
            await asyncio.sleep(0.005)
    await state.aclose()
    say(passed=passed, first=asked[0], last=asked[-1])


async def hold(state: Shared, number: int, count: str, times: str, mortal: str) -> None:
    """Hold a slot for a moment, often; a mortal process dies while it holds one."""
    spans: list[tuple[float, float]] = []
    for turn in range(int(times)):
        ask = Ask(f"{number}:{turn}", slots=(Slot("alias", f"{number}:{turn}", int(count)),))
        while (verdict := await state.enter(ask)).short:
            await asyncio.sleep(0.005)
        began = time.monotonic()
        if mortal == "yes":
            say(spans=spans)
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.01)
        spans.append((began, time.monotonic()))
        state.leave(ask, verdict)
    await state.aclose()
    say(spans=spans)


async def main(story: str, url: str, namespace: str, number: str, *arguments: str) -> None:
    config = StateConfig(url=url, namespace=namespace, timeout=30, on_loss="refuse")
    state = Shared(config, time.monotonic, time.time, lease=1.0)
    await state.open()
    say(ready=True)
    sys.stdin.readline()  # all begin at once
    stories: dict[str, Any] = {"spend": spend, "hurry": hurry, "hold": hold}
    await stories[story](state, int(number), *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
