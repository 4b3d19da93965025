"""Calls through the Router at a steady rate while the ledger's database goes and comes.

In the end the books of both sides are compared: what the Router told its observers and the Sandbox
charged, and what is in the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, select

from llm_router import Router, errors
from llm_router.config.model import LedgerConfig
from llm_router.ledger import tables
from llm_router.ledger.database import database_url
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.spool import Spool
from llm_router.testing import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
    from llm_router.ledger.results import Reconciled

FIRST, SECOND = "openrouter/openai/gpt-4o-mini", "openrouter/anthropic/claude-haiku-4.5"
ALIASES = {
    "fast": {"model": FIRST, "fallbacks": [SECOND]},
    "smart": {"model": SECOND, "fallbacks": [FIRST]},
}
FAULTS = {
    "http_502": 0.02,
    "http_503": 0.02,
    "upstream_rate_limit": 0.01,
    "error_in_200": 0.01,
    "choice_error": 0.01,
    "dropped": 0.01,
    # These are billed and do not say how much: reconciliation must find out.
    "cut_stream": 0.01,
    "truncated_json": 0.01,
}


@dataclass
class Books:
    """What there was: calls by their end, attempts (each must be there once), paid answers."""

    requests: dict[str, str] = field(default_factory=dict)
    attempts: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    bills: dict[str | None, Decimal] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """USD."""
        return sum(self.bills.values(), Decimal(0))


class Account:
    """An observer that keeps the books which the ledger must have in the end."""

    def __init__(self) -> None:
        self.books = Books()

    def request_started(self, record: RequestStarted) -> None:
        self.books.requests[record.request_id] = "started"

    def attempt_finished(self, record: AttemptFinished) -> None:
        attempt = record.attempt
        self.books.attempts[record.request.request_id, attempt.number, attempt.status] += 1

    def request_finished(self, record: RequestFinished) -> None:
        self.books.requests[record.request.request_id] = record.status


class TimedLedger(Ledger):
    """Knows the longest time that a call spent in it at a stretch, in seconds."""

    longest = 0.0

    @contextmanager
    def _timed(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.longest = max(self.longest, time.perf_counter() - before)

    def request_started(self, record: RequestStarted) -> None:
        with self._timed():
            super().request_started(record)

    def attempt_finished(self, record: AttemptFinished) -> None:
        with self._timed():
            super().attempt_finished(record)

    def request_finished(self, record: RequestFinished) -> None:
        with self._timed():
            super().request_finished(record)

    async def settle(self, request_id: str) -> None:
        with self._timed():
            await super().settle(request_id)


@dataclass(frozen=True)
class Outage:
    """How a database goes and comes back."""

    begin: Callable[[], object]
    end: Callable[[], object]

    async def play(self, seconds: float, times: int) -> None:
        """Be away for a third of the time."""
        for _ in range(times):
            await asyncio.sleep(seconds / times / 2)
            await asyncio.to_thread(self.begin)
            await asyncio.sleep(seconds / times / 3)
            await asyncio.to_thread(self.end)


@dataclass(frozen=True)
class Outcome:
    told: Books
    recorded: Books
    received: int
    """Requests that the Sandbox saw."""
    reconciled: Reconciled
    longest_wait: float
    """Seconds."""


async def run(
    url: str, spool: Path, outage: Outage, *, seconds: float, rate: int, outages: int
) -> Outcome:
    """Make *rate* calls a second, and return both sides' books when the ledger has caught up."""
    ledger = TimedLedger(LedgerConfig(url=url, spool=str(spool)))
    ledger.upgrade()
    account = Account()
    async with Sandbox(keep_requests=1_000_000) as sandbox:
        sandbox.fault_rates(FAULTS)
        row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
        config: dict[str, Any] = {"providers": {"openrouter": row}, "aliases": ALIASES}
        async with Router.from_dict(config, ledger=ledger, observers=[account]) as router:
            await asyncio.gather(_load(router, seconds, rate), outage.play(seconds, outages))
            await _caught_up(ledger, Spool(spool))
            reconciled = await router.reconcile(limit=1_000_000)
        told = account.books
        told.bills = {id: bill.total for id, bill in sandbox.bills.items()}
        received = len(sandbox.chat_requests)
    recorded = await asyncio.to_thread(_recorded, url)
    return Outcome(told, recorded, received, reconciled, ledger.longest)


async def _load(router: Router, seconds: float, rate: int) -> None:
    """Begin a call at each tick, however long those before it take."""
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        for number in range(int(seconds * rate)):
            calls.create_task(_ask(router, number))
            await asyncio.sleep(max(0.0, begin + (number + 1) / rate - time.perf_counter()))


async def _ask(router: Router, number: int) -> None:
    """Every third call is a stream; what fails is to be recorded like the rest."""
    alias = "fast" if number % 2 else "smart"
    prompt = f"Call {number}:" + " why?" * (number % 50)
    with suppress(errors.LLMRouterError):
        if number % 3:
            await router.complete(alias, prompt)
            return
        async with router.stream(alias, prompt) as stream:
            await stream.collect()


async def _caught_up(ledger: Ledger, spool: Spool) -> None:
    async with asyncio.timeout(60):
        await ledger.flush()
        while spool.pending():
            await asyncio.sleep(0.1)
        await ledger.flush()


def _recorded(url: str) -> Books:
    requests, attempts = tables.requests.c, tables.attempts.c
    columns = (attempts.request_id, attempts.number, attempts.status)
    paid = select(attempts.response_id, attempts.cost_total).where(attempts.cost_total.is_not(None))
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        books = Books(
            {
                row.id: row.status
                for row in connection.execute(select(requests.id, requests.status))
            },
            Counter(tuple(row) for row in connection.execute(select(*columns))),
            {row.response_id: row.cost_total for row in connection.execute(paid)},
        )
    engine.dispose()
    return books
