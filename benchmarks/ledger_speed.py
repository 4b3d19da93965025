"""What the ledger costs: on the event loop, in CPU, in rows a second, and to read a million.

python benchmarks/ledger_speed.py [attempts in the large file, 1000000]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.ledger.calls

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.rows import RowBuilder
from tests.ledger.calls import DAY, NOON, Call, call

SECRETS = ("sk-or-v1-0a1b2c3d4e5f60718293a4b5c6d7e8f9",)


async def loop_cost(folder: Path, calls: int = 4_000) -> None:
    """Paced as an application would be; the cost of the loop is measured around each call."""
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{folder}/loop.db"), secrets=SECRETS)
    await ledger.open()
    told = [call(response_id=f"gen-{n}", user=f"customer-{n}") for n in range(calls)]
    on_loop, cpu = [], time.process_time()
    for each in told:
        begin = time.perf_counter()
        each.tell(ledger)
        on_loop.append(time.perf_counter() - begin)
        if len(on_loop) % 20 == 0:
            await asyncio.sleep(0.002)
    await ledger.flush()
    cpu = time.process_time() - cpu
    on_loop.sort()
    median, p99, mean = on_loop[calls // 2], on_loop[calls * 99 // 100], sum(on_loop) / calls
    print(
        f"on the loop, a call: median {median * 1e6:.1f} µs, mean {mean * 1e6:.1f} µs, "
        f"p99 {p99 * 1e6:.1f} µs; CPU in all {cpu / calls * 1e6:.0f} µs (pacing included)"
    )
    await ledger.aclose()


async def sustained(folder: Path, seconds: float = 10.0) -> None:
    """As fast as the writer takes them, for a while."""
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{folder}/fast.db"), secrets=SECRETS)
    await ledger.open()
    told = [call(response_id=f"gen-{n}", user=f"customer-{n}") for n in range(1_000)]
    count, begin, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        for number, each in enumerate(told):
            _renamed(each, f"{count}-{number}").tell(ledger)
        count += len(told)
        await ledger.flush()
    elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
    (row,) = ledger.report(by=())
    assert row.attempts == count
    print(
        f"sustained: {count / elapsed:,.0f} attempts/s over {elapsed:.0f} s, "
        f"{cpu / count * 1e6:.0f} µs CPU a call (making the records included)"
    )
    await ledger.aclose()


def _renamed(told: Call, name: str) -> Call:
    request = replace(told.started, request_id=name)
    attempts = tuple(replace(record, request=request) for record in told.attempts)
    return Call(request, attempts, replace(told.finished, request=request))


def read_a_million(folder: Path, count: int) -> None:
    """Thirty days and five aliases, each cost another."""
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{folder}/large.db"))
    ledger.upgrade()
    _fill(ledger, count)
    size = (folder / "large.db").stat().st_size / 2**20
    for by in (("day", "alias"), ("alias",), ("day",), ("upstream",), ("tag:feature",)):
        begin = time.perf_counter()
        rows = ledger.report(by=by)
        elapsed = time.perf_counter() - begin
        assert sum(row.attempts for row in rows) == count
        total = sum((row.cost or Decimal(0)) for row in rows)
        print(f"report by {', '.join(by)}: {elapsed:.2f} s, {len(rows)} rows, USD {total}")
    print(f"{count:,} attempts are {size:,.0f} MiB")
    ledger.close()


def _fill(ledger: Ledger, count: int) -> None:
    build = RowBuilder(store="metadata").build
    told = call()
    (_, attempt), (_, request) = build([told.started, *told.attempts, told.finished])
    for start in range(0, count, 20_000):
        numbers = range(start, min(start + 20_000, count))
        found = [_variant(number) for number in numbers]
        rows = [
            ("requests", request | one | {"id": f"r{n:09}"})
            for n, one in zip(numbers, found, strict=True)
        ]
        rows += [
            ("attempts", attempt | one | {"id": f"r{n:09}-1", "request_id": f"r{n:09}"})
            for n, one in zip(numbers, found, strict=True)
        ]
        ledger._connect().write(rows)


def _variant(number: int) -> dict[str, object]:
    at = NOON + number % 30 * DAY
    day = time.strftime("%Y-%m-%d", time.gmtime(at))
    cost = f"0.{number % 9_973:07}"
    alias = ("fast", "smart", "extract", "vision", "cheap")[number % 5]
    return {"started_at": at, "day": day, "alias": alias, "cost_total": cost, "cost_computed": cost}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(loop_cost(Path(name)))
        asyncio.run(sustained(Path(name)))
        read_a_million(Path(name), count)


if __name__ == "__main__":
    main()
