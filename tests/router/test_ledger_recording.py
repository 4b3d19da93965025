"""What the Router leaves in the ledger: every attempt of every call, and its true cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_router.errors import (
    AuthenticationError,
    InvalidRequestError,
    LedgerError,
    SchemaValidationError,
    StreamInterruptedError,
)
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.results import RequestDetail
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Reply, Sandbox
from tests.router.setup import CLAUDE, GPT, WRONG_KEY, until

Build = Callable[..., Router]


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


IMPATIENT = Clock(random=lambda: 0.0, sleep=_at_once)


@pytest.fixture
def recorded(routed: Build, tmp_path: Path) -> Router:
    return routed(ledger={"url": f"sqlite:///{tmp_path}/calls.db"}, clock=IMPATIENT)


def ledger_of(router: Router) -> Ledger:
    assert router.ledger is not None
    return router.ledger


async def latest(router: Router) -> RequestDetail:
    """Return the newest recorded call, whole."""
    ledger = ledger_of(router)
    await ledger.flush()
    (row,) = await asyncio.to_thread(ledger.logs, limit=1)
    return await asyncio.to_thread(ledger.show, row.id)


async def test_an_answer_has_a_request_row_and_an_attempt_row(
    recorded: Router, sandbox: Sandbox
) -> None:
    reply = await recorded.complete(
        "fast", "Secret question", tags={"feature": "search"}, user="customer-17"
    )
    detail = await latest(recorded)
    request, (attempt,) = detail.request, detail.attempts
    assert (request.id, request.alias, request.requested) == (reply.request_id, "fast", "fast")
    assert (request.operation, request.status, request.stream) == ("complete", "succeeded", False)
    assert (request.tags, request.user) == ({"feature": "search"}, "customer-17")
    assert request.cost_total == attempt.cost_total == reply.cost.total == sandbox.total_billed
    assert request.input_tokens == reply.usage.input_tokens
    assert (attempt.deployment, attempt.upstream_provider) == (GPT, reply.upstream_provider)
    assert attempt.response_id == reply.response_id
    assert attempt.served_model == reply.model
    assert detail.payloads == ()
    assert detail.config is not None and '"fast"' in detail.config
    assert sandbox.api_key not in detail.config


async def test_failed_attempts_have_rows_too(recorded: Router, sandbox: Sandbox) -> None:
    sandbox.fail("no_endpoints")
    await recorded.complete("safe", "Hi")
    detail = await latest(recorded)
    assert [(a.deployment, a.status, a.status_code) for a in detail.attempts] == [
        (GPT, "failed", 404),
        (CLAUDE, "succeeded", None),
    ]
    assert detail.attempts[0].error == "NoEndpointError"
    assert detail.request.attempts == 2


async def test_a_failed_call_is_recorded_with_its_error(recorded: Router, sandbox: Sandbox) -> None:
    sandbox.fail("bad_request")
    with pytest.raises(InvalidRequestError):
        await recorded.complete("fast", "Hi")
    request = (await latest(recorded)).request
    assert (request.status, request.error, request.status_code) == (
        "failed",
        "InvalidRequestError",
        400,
    )


async def test_a_parse_records_its_mode_and_each_question(
    recorded: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text="no number")
    reply = await recorded.parse("fast", "How many?", schema=int)
    detail = await latest(recorded)
    assert detail.request.operation == "parse"
    assert [(a.status, a.mode_used) for a in detail.attempts] == [
        ("failed", "json_schema"),
        ("succeeded", "json_schema"),
    ]
    assert detail.request.cost_total == reply.cost.total == sandbox.total_billed
    for _ in range(3):
        sandbox.reply(text="no number")
    with pytest.raises(SchemaValidationError):
        await recorded.parse("fast", "How many?", schema=int)
    detail = await latest(recorded)
    assert (detail.request.status, detail.request.error) == ("failed", "SchemaValidationError")
    assert len(detail.attempts) == 3


async def test_a_stream_is_recorded_at_its_end(recorded: Router, sandbox: Sandbox) -> None:
    async with recorded.stream("fast", "Hi") as stream:
        reply = await stream.collect()
    detail = await latest(recorded)
    assert (detail.request.stream, detail.request.status) == (True, "succeeded")
    (attempt,) = detail.attempts
    assert attempt.cost_total == reply.cost.total == sandbox.total_billed
    assert attempt.time_to_first_token_ms is not None


async def test_a_cancelled_call_is_recorded(recorded: Router, sandbox: Sandbox) -> None:
    sandbox.fail("slow_headers")
    task = asyncio.create_task(recorded.complete("fast", "Hi"))
    await until(lambda: sandbox.in_flight)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    detail = await latest(recorded)
    assert detail.request.status == "cancelled"
    assert [a.status for a in detail.attempts] == ["cancelled"]


async def test_what_was_cut_is_completed_afterwards_to_the_last_digit(
    recorded: Router, sandbox: Sandbox
) -> None:
    """A cut stream, and one that was left: both are billed, and neither could say how much."""
    sandbox.fail("cut_stream")
    with pytest.raises(StreamInterruptedError):
        async with recorded.stream("fast", "Hi") as stream:
            await stream.collect()
    cut = await latest(recorded)
    assert (cut.request.status, cut.attempts[0].cost_total) == ("failed", None)
    sandbox.reply(Reply(text="a b c d", chunks=4, chunk_delay=0.05))
    async with recorded.stream("fast", "Hi") as stream:
        await anext(stream)
    left = await latest(recorded)
    assert (left.request.status, left.attempts[0].cost_total) == ("cancelled", None)
    await recorded.complete("fast", "Hi")
    await asyncio.to_thread(sandbox.wait_idle)

    done = await recorded.reconcile()
    assert (done.completed, done.missing, done.failed) == (2, 0, 0)
    (row,) = await recorded.report()
    assert row.cost == sandbox.total_billed
    assert row.without_cost == 0
    detail = await asyncio.to_thread(ledger_of(recorded).show, cut.request.id)
    bill = sandbox.bills[detail.attempts[0].response_id or ""]
    assert detail.attempts[0].cost_total == detail.request.cost_total == bill.total
    assert detail.attempts[0].output_tokens == bill.tokens.completion
    assert detail.attempts[0].reconciled_at is not None
    again = await recorded.reconcile()
    assert (again.completed, again.missing, again.failed) == (0, 0, 0)


async def test_the_report_of_a_busy_day_equals_the_servers_accounts(
    recorded: Router, sandbox: Sandbox
) -> None:
    sandbox.fault_rates({"http_502": 0.1, "blank": 0.1, "choice_error": 0.05}, seed=3)
    calls = [
        recorded.complete("safe" if n % 2 else "fast", f"Say {n}", tags={"team": f"t{n % 3}"})
        for n in range(40)
    ]
    replies = await asyncio.gather(*calls, return_exceptions=True)
    answered = [r for r in replies if not isinstance(r, BaseException)]
    assert len(answered) >= 39
    rows = await recorded.report(by=("alias", "tag:team"))
    assert len(rows) == 6
    assert sum(row.requests for row in rows) == 40
    assert sum(row.attempts for row in rows) == len(sandbox.chat_requests)
    total = sum((row.cost for row in rows if row.cost is not None), Decimal(0))
    assert total == sandbox.total_billed


async def test_the_content_is_kept_only_where_it_is_wanted(
    routed: Build, sandbox: Sandbox, tmp_path: Path
) -> None:
    router = routed(ledger={"url": f"sqlite:///{tmp_path}/calls.db", "store": "full"})
    await router.complete("fast", f"My key is {sandbox.api_key}")
    detail = await latest(router)
    assert {payload.kind for payload in detail.payloads} == {"request", "response"}
    assert "My key is [redacted]" in str(detail.payloads)
    await router.complete("fast", "Hi", store="none")
    assert (await latest(router)).request.id == detail.request.id


async def test_a_strict_ledger_has_the_row_when_the_call_returns(
    routed: Build, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    router = routed(ledger={"url": url, "durability": "strict"})
    reply = await router.complete("fast", "Hi")
    detail = await asyncio.to_thread(ledger_of(router).show, reply.request_id)
    assert detail.request.status == "succeeded"


async def test_nothing_is_recorded_and_said_so_without_a_ledger(router: Router) -> None:
    assert router.ledger is None
    for call in (router.report(), router.reconcile()):
        with pytest.raises(LedgerError, match="no `ledger:`"):
            await call


async def test_reconciling_with_a_wrong_key_says_so(
    routed: Build, sandbox: Sandbox, tmp_path: Path
) -> None:
    ledger: dict[str, Any] = {"url": f"sqlite:///{tmp_path}/calls.db"}
    good = routed(ledger=ledger)
    sandbox.fail("cut_stream")
    with pytest.raises(StreamInterruptedError):
        async with good.stream("fast", "Hi") as stream:
            await stream.collect()
    await good.aclose()
    bad = routed(ledger=ledger, key=WRONG_KEY)
    with pytest.raises(AuthenticationError):
        await bad.reconcile()


async def test_reconciling_with_nothing_unknown_does_nothing(
    recorded: Router, sandbox: Sandbox
) -> None:
    await recorded.complete("fast", "Hi")
    before = len(sandbox.requests)
    done = await recorded.reconcile()
    assert (done.completed, done.missing, done.failed) == (0, 0, 0)
    assert [r.path for r in sandbox.requests[before:] if "generation" in r.path] == []
