"""What a report says: distinct calls, times, sums that know what they do not know, moments."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from llm_router.config.model import LedgerConfig
from llm_router.ledger.columns import nearest_ranks
from llm_router.ledger.ledger import Ledger
from llm_router.usage import Cost
from tests.ledger.calls import (
    DAY,
    NOON,
    answered,
    call,
    failed_call,
    finished,
    refused,
    retried_call,
    started,
)


async def test_a_report_keeps_to_whole_days_when_its_limits_are_dates(ledger: Ledger) -> None:
    for days in range(4):
        call(at=NOON + days * DAY).tell(ledger)
    rows = ledger.report(by=("day",), since=date(2026, 9, 22), until=date(2026, 9, 24))
    assert [row.group["day"] for row in rows] == ["2026-09-22", "2026-09-23"]


async def test_a_report_keeps_to_the_moment_when_its_limits_are_moments(ledger: Ledger) -> None:
    for hours in range(6):
        call(at=NOON + hours * 3600).tell(ledger)
    since, until = (datetime.fromtimestamp(NOON + hours * 3600, UTC) for hours in (1, 4))
    (row,) = ledger.report(by=(), since=since, until=until)
    assert row.requests == 3
    elsewhere = timezone(timedelta(hours=-7))
    assert ledger.report(by=(), since=since.astimezone(elsewhere), until=until) == [row]


async def test_a_call_counts_once_in_every_group_that_it_touched(ledger: Ledger) -> None:
    request = started()
    tries = [
        refused(request, number=1),
        answered(request, number=2, upstream_provider="Azure", status="cancelled"),
        answered(request, number=3, upstream_provider="OpenAI"),
        answered(request, number=4, upstream_provider="Azure"),
    ]
    for attempt in tries:
        ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, *tries))
    call().tell(ledger)
    by_upstream = {row.group["upstream"]: row for row in ledger.report(by=("upstream",))}
    assert {name: row.requests for name, row in by_upstream.items()} == {
        None: 1, "Azure": 2, "OpenAI": 1,
    }  # fmt: skip
    assert (by_upstream["Azure"].attempts, by_upstream["Azure"].cancelled) == (3, 1)
    (total,) = ledger.report(by=())
    assert (total.requests, total.attempts, total.cancelled, total.failed) == (2, 5, 1, 1)
    for group in ("status", "tag:feature", "user", "day", "error", "model", "config"):
        rows = ledger.report(by=(group,))
        assert sum(row.attempts for row in rows) == 5
        assert all(1 <= row.requests <= 2 for row in rows)


async def test_a_call_counts_though_its_first_attempt_is_before_the_window(ledger: Ledger) -> None:
    request = started()
    late = answered(request, number=2, started_at=NOON + DAY)
    for attempt in (refused(request), late):
        ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, late))
    (row,) = ledger.report(by=(), since=date(2026, 9, 22))
    assert (row.requests, row.attempts) == (1, 1)


async def test_computed_is_unknown_where_it_is_for_a_part_that_was_billed(ledger: Ledger) -> None:
    retried_call().tell(ledger)  # what was refused has no bill, and is no such part
    assert [row.computed for row in ledger.report()] == [Decimal("0.000004")]
    request = started()
    bill = Cost.from_report(Decimal("0.1"))
    attempt = answered(request, cost="0.1")
    attempt = replace(attempt, attempt=replace(attempt.attempt, cost=bill))
    ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, attempt))
    (row,) = ledger.report()
    assert (row.cost, row.computed) == (Decimal("0.1000039"), None)


async def test_a_report_knows_how_long_it_took(ledger: Ledger) -> None:
    for number in range(1, 21):
        request = started()
        attempt = answered(
            request, latency_ms=number * 10.4, time_to_first_token_ms=5.0 if number < 3 else None
        )
        second = replace(attempt, attempt=replace(attempt.attempt, number=2))
        for record in (refused(request), second):
            ledger.attempt_finished(record)
        ledger.request_finished(finished(request, attempt))
    (row,) = ledger.report()
    assert (row.latency_p50_ms, row.latency_p95_ms) == (104, 197)
    assert (row.first_token_p50_ms, row.first_token_p95_ms) == (5, 5)
    failed_call(alias="smart").tell(ledger)
    rows = {row.group["alias"]: row for row in ledger.report()}
    assert rows["smart"].latency_p95_ms is None


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_a_percentile_is_the_nearest_rank(values: list[int]) -> None:
    said = nearest_ranks(" ".join(map(str, values)))
    ranks = [sorted(values)[math.ceil(part * len(values) / 100) - 1] for part in (50, 95)]
    assert said == f"{ranks[0]} {ranks[1]}"


def test_a_report_reads_its_index_alone(tmp_path: Path) -> None:
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{tmp_path}/calls.db"))
    call().tell(ledger)
    seen: list[str] = []

    @event.listens_for(ledger._connect().engine, "before_cursor_execute")
    def _see(_c: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "usd_sum" in statement and not statement.startswith("EXPLAIN"):
            steps = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            seen.extend(str(row[-1]) for row in steps)

    ledger.report(by=("day", "alias", "upstream"), since=date(2026, 1, 1))
    assert any("COVERING INDEX ix_llm_attempts_report" in step for step in seen), seen
    assert not any(step == "SCAN llm_attempts" for step in seen)
    ledger.close()
