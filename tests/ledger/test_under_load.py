"""The database goes and comes back while the Router is busy; `benchmarks/ledger_faults.py` does
the same for a minute.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from llm_router.ledger.outage import LEDGER_UNAVAILABLE
from tests.ledger.under_load import Outage, Outcome, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ledger.conftest import PostgresServer


def outages(log: list[dict[str, Any]]) -> set[str]:
    return {e["reason"] for e in log if e["event"] == LEDGER_UNAVAILABLE}


def assert_equal_to_the_last_digit(outcome: Outcome) -> None:
    assert outcome.told == outcome.recorded
    assert outcome.received == outcome.recorded.attempts.total() > len(outcome.told.requests)
    assert set(outcome.told.requests.values()) <= {"succeeded", "failed"}
    assert outcome.reconciled.completed > 0
    assert outcome.longest_wait < 0.5


@pytest.mark.postgres
async def test_every_attempt_is_there_once_when_postgresql_is_stopped_and_started(
    postgres: PostgresServer, tmp_path: Path, log: list[dict[str, Any]]
) -> None:
    outage = Outage(postgres.stop, postgres.start)
    url = postgres.new_database()
    outcome = await run(url, tmp_path / "spool", outage, seconds=3, rate=50, outages=1)
    assert_equal_to_the_last_digit(outcome)
    assert "unreachable" in outages(log)


async def test_every_attempt_is_there_once_when_another_program_locks_the_sqlite_file(
    tmp_path: Path, log: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_router.ledger.database._BUSY_MS", 100)
    file = tmp_path / "calls.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    outage = Outage(lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK"))
    url = f"sqlite:///{file}"
    outcome = await run(url, tmp_path / "spool", outage, seconds=3, rate=50, outages=1)
    other.close()
    assert_equal_to_the_last_digit(outcome)
    assert outages(log) == {"locked"}
