"""Calls of every kind in one process, and what must hold of them: nothing is lost, nothing stays.

    python benchmarks/mixed_calls.py --calls 50000 [--seed 1]

Texts, streams, objects and embeddings, 64 at once, against the sandbox of `faulty_server.py`,
where one request in five fails; with slots, short deadlines, cancellations at random moments,
streams left early, and a ledger in SQLite. Prints the figures and exits with 1 when one of these
does not hold: a call ends in an answer or one of our errors; at most `max_attempts` attempts;
no call lasts 50 ms longer than its deadline, nor a cancelled one than its cancellation; one row
for each attempt; each answer's row has the sandbox's bill; no slot, task, thread or descriptor is
left, and at most 5 MB of memory.

Lateness is counted in the loop's own time: what it needed for one turn beyond 10 ms, which 64 calls
at once on a busy machine make it need, is no call's own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults_under_load import FIRST, SECOND, answer, prompt, resident_mb
from pydantic import BaseModel
from sqlalchemy import create_engine, func, select

from llm_router import Router, errors
from llm_router.ledger import tables

CONCURRENCY = 64
MAX_ATTEMPTS = 4
LATE_S = 0.05
LONGEST_TURN_S = 0.01
GROWTH_MB = 5.0
LIMITS = {"timeout": 0.6, "idle_timeout": 0.6, "deadline": 5.0, "max_attempts": MAX_ATTEMPTS}
ALIASES = {
    "wide": {"model": FIRST, "fallbacks": [SECOND], **LIMITS},
    "narrow": {"model": SECOND, "fallbacks": [FIRST], "concurrency": 12, **LIMITS},
    "vectors": {"model": "openrouter/openai/text-embedding-3-small", **LIMITS},
}


class Count(BaseModel):
    n: int


class LoopTime:
    """Seconds of a loop, of each of its turns 10 ms at most."""

    def __init__(self) -> None:
        self.now = 0.0
        self._last = time.perf_counter()
        self._beat()

    def _beat(self) -> None:
        moment = time.perf_counter()
        self.now += min(moment - self._last, LONGEST_TURN_S)
        self._last = moment
        self._timer = asyncio.get_running_loop().call_later(0.002, self._beat)

    def stop(self) -> None:
        self._timer.cancel()


class Account:
    """An observer: what the ledger must have in the end."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.attempts = 0

    def request_started(self, _record: Any) -> None:
        self.requests["started"] += 1

    def attempt_finished(self, _record: Any) -> None:
        self.attempts += 1

    def request_finished(self, record: Any) -> None:
        self.requests[record.status] += 1


@dataclass
class Tally:
    """What became of the calls."""

    ends: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    latest: float = 0.0
    """Seconds of the loop beyond a deadline or a cancellation, at most."""


class Caller:
    """Makes the calls; the seed and its number decide what one is."""

    def __init__(self, router: Router, seed: int) -> None:
        self._router = router
        self._seed = seed
        self._time = LoopTime()
        self.tally = Tally()

    def stop(self) -> None:
        self._time.stop()

    async def make(self, numbers: range) -> None:
        left = iter(numbers)

        async def worker() -> None:
            for number in left:
                await self._one(number)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))

    async def _one(self, number: int) -> None:
        dice = random.Random(f"{self._seed}-{number}")
        deadline = dice.uniform(0.01, 0.2) if dice.random() < 0.1 else LIMITS["deadline"]
        cancelled = dice.uniform(0.0, 0.1) if dice.random() < 0.1 else None
        task = asyncio.create_task(self._ask(number, dice, deadline))
        if cancelled is not None:
            await asyncio.wait([task], timeout=cancelled)
            task.cancel()
            began = self._time.now
            await asyncio.wait([task])
            self._late(began, "cancelled")
        try:
            end = await task
        except asyncio.CancelledError:
            end = "cancelled" if cancelled is not None else "strange: cancelled by nobody"
        except errors.LLMRouterError as error:
            end = type(error).__name__
        except Exception as error:  # whatever it is, it is a finding
            end = f"strange: {error!r}"
        self.tally.ends[end] += 1
        if end.startswith(("strange", "wrong")):
            self.tally.problems[end] += 1

    async def _ask(self, number: int, dice: random.Random, deadline: float) -> str:
        kind = dice.choices(["text", "stream", "parse", "embed"], [35, 30, 20, 15])[0]
        alias = "vectors" if kind == "embed" else dice.choice(["wide", "narrow"])
        began = self._time.now
        try:
            end: str = await getattr(self, f"_{kind}")(alias, number, dice, deadline, began)
            return end
        finally:
            if kind != "stream":
                self._late(began + deadline, kind)

    async def _text(self, alias: str, number: int, _dice: Any, deadline: float, _: Any) -> str:
        given = await self._router.complete(alias, prompt(number), deadline=deadline)
        return "text" if given.text == answer(prompt(number)) else f"wrong: {given.text}"

    async def _stream(
        self, alias: str, number: int, dice: random.Random, deadline: float, began: float
    ) -> str:
        stream = self._router.stream(alias, prompt(number), deadline=deadline)
        try:
            await stream.__aenter__()
        finally:  # the deadline is that of the first content
            self._late(began + deadline, "stream")
        async with _entered(stream):
            if dice.random() < 0.1:
                await anext(aiter(stream.text_stream), None)
                return "left"
            given = await stream.collect()
        return "stream" if given.text == answer(prompt(number)) else f"wrong: {given.text}"

    async def _parse(self, alias: str, number: int, _dice: Any, deadline: float, _: Any) -> str:
        await self._router.parse(alias, prompt(number), schema=Count, deadline=deadline)
        return "parse"

    async def _embed(
        self, alias: str, number: int, dice: random.Random, deadline: float, _: Any
    ) -> str:
        texts = [prompt(number)] * dice.randint(1, 4)
        given = await self._router.embed(alias, texts, deadline=deadline)
        return "embed" if len(given.vectors) == len(texts) else "wrong: another count"

    def _late(self, due: float, what: str) -> None:
        late = self._time.now - due
        self.tally.latest = max(self.tally.latest, late)
        if late > LATE_S:
            self.tally.problems[f"late: {what}"] += 1


class _entered:  # noqa: N801 - the second half of `async with`
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *raised: Any) -> None:
        await self._stream.__aexit__(*raised)


async def measure(env: dict[str, str], url: str, calls: int, seed: int) -> dict[str, Any]:
    """Make the calls; return what is told of them, and what is left while the Router is open."""
    account = Account()
    row = {"api_key": env["OPENROUTER_API_KEY"], "base_url": env["OPENROUTER_BASE_URL"]}
    config: dict[str, Any] = {
        "providers": {"openrouter": row | {"concurrency": 56}},
        "aliases": ALIASES,
        "ledger": {"url": url},
    }
    async with Router.from_dict(config, observers=[account]) as router:
        assert router.ledger is not None
        caller = Caller(router, seed)
        warm = max(calls // 10, 2_000)
        await caller.make(range(warm))
        await router.ledger.flush()
        before = settled_mb()
        began, cpu = time.perf_counter(), time.process_time()
        await caller.make(range(warm, warm + calls))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        await router.ledger.flush()
        growth = settled_mb() - before
        caller.stop()
        left = await what_is_left(router)
        reconciled = await router.reconcile(limit=10_000_000)
    return {
        "calls": warm + calls,
        "calls a second": calls / wall,
        "CPU ms a call": 1000 * cpu / calls,
        "ends": dict(caller.tally.ends.most_common()),
        "requests": dict(account.requests),
        "attempts": account.attempts,
        "latest, ms": 1000 * caller.tally.latest,
        "memory growth, MB": growth,
        "reconciled": str(reconciled),
        "left": left,
        "problems": dict(caller.tally.problems),
    }


async def what_is_left(router: Router) -> list[str]:
    """Return the slots and tasks that are still there a moment after the last call."""
    await asyncio.sleep(0.5)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    engine = router._engine
    slots = (engine.gates._gates[0]._slots, engine.state._slots)  # type: ignore[attr-defined]  # the memory's, of both
    held = [names for found in slots for names in found.values()]
    return [*map(repr, tasks), *(repr(names) for names in held if names)]


def settled_mb() -> float:
    gc.collect()
    return resident_mb()


def of_the_process() -> Counter[str]:
    """Return what the process holds: its threads and its descriptors, by what they are."""
    held = Counter(f"thread {thread.name}" for thread in threading.enumerate())
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            held[f"descriptor of {descriptor.readlink()}"] += 1
    return held


def recorded(url: str, bills: dict[str, Decimal]) -> dict[str, Any]:
    """Return what the ledger has, beside the sandbox's bills."""
    attempts = tables.attempts.c
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            select(attempts.response_id, attempts.cost_total, attempts.status)
        ).all()
        most = connection.execute(select(func.max(attempts.number))).scalar()
        totals = tables.requests.c
        states = connection.execute(select(totals.status, func.count()).group_by(totals.status))
        requests = {row[0]: row[1] for row in states}
    engine.dispose()
    billed = {row.response_id: row.cost_total for row in rows if row.response_id in bills}
    return {
        "rows": len(rows),
        "most attempts": most,
        "requests": requests,
        "sum of the rows, USD": sum(filter(None, billed.values()), Decimal(0)),
        "sum of their bills, USD": sum((bills[id] for id in billed), Decimal(0)),
        "wrong bills": sum(cost != bills[id] for id, cost in billed.items()),
        # Their heads never came: nobody can know these ids.
        "bills of answers nobody saw": len(bills) - len(billed),
        "attempts without an id": sum(not r.response_id and r.status != "succeeded" for r in rows),
    }


def broken(told: dict[str, Any], books: dict[str, Any]) -> list[str]:
    """Return the laws that do not hold."""
    ended = {k: v for k, v in told["requests"].items() if k != "started"}
    laws = {
        f"calls: {told['problems']}": not told["problems"],
        "each call begins and ends": told["requests"]["started"] == sum(ended.values()),
        "one row a call": books["requests"] == ended and sum(ended.values()) == told["calls"],
        "one row an attempt": books["rows"] == told["attempts"],
        "attempts": books["most attempts"] <= MAX_ATTEMPTS,
        "requests sent": told["received"] <= told["attempts"],
        "bills": books["wrong bills"] == 0
        and books["sum of the rows, USD"] == books["sum of their bills, USD"],
        "unseen": books["bills of answers nobody saw"] <= books["attempts without an id"],
        f"left: {told['left']}": not told["left"],
        "memory": told["memory growth, MB"] <= GROWTH_MB,
    }
    return [law for law, holds in laws.items() if not holds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    script = Path(__file__).with_name("faulty_server.py")
    command = [sys.executable, str(script), str(options.seed), "--mixed"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it,
    ):
        assert it.stdout and it.stdin
        env, url = json.loads(it.stdout.readline()), f"sqlite:///{folder}/calls.db"
        held = of_the_process()
        try:
            told = asyncio.run(measure(env, url, options.calls, options.seed))
        finally:
            it.stdin.close()
        gc.collect()
        told["left"] += [f"{n} {what}" for what, n in (of_the_process() - held).items()]
        seen = json.loads(it.stdout.read())
        told["received"], told["faults"] = seen["requests"], seen["faults"]
        books = recorded(url, {id: Decimal(bill) for id, bill in seen["bills"].items()})
    for name, figure in [*told.items(), *books.items()]:
        print(f"{name:28} {figure}")
    found = broken(told, books)
    print("\n".join(f"BROKEN {law}" for law in found) or "all laws hold")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
