"""What the ledger promises, on every database that it runs on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, create_engine

from llm_router.answers.answer import Answer
from llm_router.answers.records import Generation
from llm_router.errors import (
    AuthenticationError,
    LedgerError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.ledger import migrate
from llm_router.ledger.database import Database, database_url
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.results import Purged, Reconciled
from llm_router.ledger.tables import metadata
from llm_router.usage import Cost, Usage
from tests.ledger.calls import (
    DAY,
    NOON,
    answered,
    call,
    failed_call,
    finished,
    retried_call,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_every_figure_comes_back_as_it_was_told(ledger: Ledger) -> None:
    told = call()
    told.tell(ledger)
    await ledger.flush()
    detail = ledger.show(told.id)
    request, (attempt,) = detail.request, detail.attempts
    assert (request.status, request.alias, request.user) == ("succeeded", "fast", "customer-17")
    assert request.tags == {"feature": "search"}
    assert request.started_at == datetime.fromtimestamp(NOON, UTC)
    assert request.cost_total == Decimal("0.0000039")
    assert (request.attempts, request.latency_ms) == (1, 900.0)
    assert attempt.id == f"{told.id}-1"
    assert (attempt.model, attempt.served_model) == (
        "openai/gpt-4o-mini",
        "openai/gpt-4o-mini-2024-07-18",
    )
    assert (attempt.upstream_provider, attempt.response_id) == ("Azure", "gen-1")
    assert (attempt.finish_reason, attempt.native_finish_reason) == ("stop", "end_turn")
    assert (attempt.input_tokens, attempt.output_tokens, attempt.cache_read_tokens) == (12, 5, 3)
    assert attempt.reasoning_tokens is None
    assert (attempt.cost_reported, attempt.cost_computed) == (
        Decimal("0.0000039"),
        Decimal("0.000004"),
    )
    assert (attempt.cost_source, attempt.cost_upstream) == ("provider", None)
    assert (attempt.latency_ms, attempt.time_to_first_token_ms) == (812.5, 120.25)
    assert detail.payloads == ()
    answer = told.attempts[0].answer
    assert answer is not None
    assert (attempt.usage, attempt.cost) == (answer.usage, answer.cost)
    assert (request.usage, request.cost) == (answer.usage, answer.cost)


@pytest.mark.parametrize("operation", ["embed", "generate_image", "an operation of tomorrow"])
async def test_an_operation_of_any_name_is_recorded(ledger: Ledger, operation: str) -> None:
    call(operation=operation).tell(ledger)
    (row,) = ledger.report(by=("operation",))
    assert row.group == {"operation": operation}


async def test_an_answer_without_content_has_no_response_payload(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, store="full")
    request = started(operation="embed")
    attempt = replace(answered(request), answer=Answer(model="vectors"))
    ledger.request_started(request)
    ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, attempt))
    detail = ledger.show(request.request_id)
    assert [payload.kind for payload in detail.payloads] == ["request"]
    assert detail.attempts[0].served_model == "vectors"
    assert detail.attempts[0].finish_reason is None


async def test_failed_attempts_have_rows_of_their_own_when_a_retry_succeeds(
    ledger: Ledger,
) -> None:
    told = retried_call()
    told.tell(ledger)
    await ledger.flush()
    detail = ledger.show(told.id)
    first, second = detail.attempts
    assert (first.status, first.error, first.error_code, first.status_code) == (
        "failed",
        "RateLimitError",
        "rate_limit_exceeded",
        429,
    )
    assert first.cost_total is None
    assert first.cost_source is None
    assert second.status == "succeeded"
    assert detail.request.cost_total == second.cost_total


async def test_a_request_is_visible_while_it_is_in_flight(ledger: Ledger) -> None:
    told = call()
    ledger.request_started(told.started)
    await ledger.flush()
    assert [row.status for row in ledger.logs()] == ["started"]
    ledger.request_finished(told.finished)
    await ledger.flush()
    assert [row.status for row in ledger.logs()] == ["succeeded"]


async def test_nothing_changes_when_the_same_records_come_again(ledger: Ledger) -> None:
    told = retried_call()
    for _ in range(3):
        told.tell(ledger)
        await ledger.flush()
    ledger.request_started(told.started)
    await ledger.flush()
    (row,) = ledger.report()
    assert (row.requests, row.attempts, row.failed) == (1, 2, 1)
    assert [r.status for r in ledger.logs()] == ["succeeded"]


async def test_a_report_groups_by_what_was_asked_for(ledger: Ledger) -> None:
    call(tags={"feature": "search"}, cost="0.1").tell(ledger)
    call(tags={"feature": "chat"}, cost="0.2", at=NOON + DAY).tell(ledger)
    call(tags={}, alias="smart", requested="smart", cost=None).tell(ledger)
    failed_call(user=None).tell(ledger)
    rows = ledger.report(by=("day", "alias", "upstream", "tag:feature"))
    found = {tuple(row.group.values()): row for row in rows}
    assert set(found) == {
        ("2026-09-21", "fast", "Azure", "search"),
        ("2026-09-22", "fast", "Azure", "chat"),
        ("2026-09-21", "smart", "Azure", None),
        ("2026-09-21", "fast", None, "search"),
    }
    assert found["2026-09-22", "fast", "Azure", "chat"].cost == Decimal("0.2")
    unknown = found["2026-09-21", "smart", "Azure", None]
    assert (unknown.cost, unknown.without_cost, unknown.input_tokens) == (None, 1, 12)
    assert found["2026-09-21", "fast", None, "search"].failed == 1


async def test_a_report_without_groups_sums_everything_up(ledger: Ledger) -> None:
    for _ in range(3):
        retried_call().tell(ledger)
    (row,) = ledger.report(by=())
    assert (row.requests, row.attempts, row.output_tokens) == (3, 6, 15)
    assert row.cost == Decimal("0.0000117")


@pytest.mark.parametrize("name", ["user", "operation", "requested", "config", "model", "error"])
async def test_a_report_goes_by_any_of_its_groups(ledger: Ledger, name: str) -> None:
    call().tell(ledger)
    (row,) = ledger.report(by=(name,))
    assert row.attempts == 1


async def test_an_unknown_group_is_an_error_that_names_the_known_ones(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"'colour'.*day, alias, upstream"):
        ledger.report(by=("colour",))


async def test_logs_show_the_newest_first_and_only_the_failed_when_asked(ledger: Ledger) -> None:
    old, new = failed_call(at=NOON), call(at=NOON + 60, alias="smart")
    old.tell(ledger)
    new.tell(ledger)
    assert [row.id for row in ledger.logs()] == [new.id, old.id]
    assert [row.id for row in ledger.logs(limit=1)] == [new.id]
    assert [row.id for row in ledger.logs(failed=True)] == [old.id]
    assert [row.id for row in ledger.logs(alias="smart")] == [new.id]


async def test_a_call_is_found_by_any_of_its_ids(ledger: Ledger) -> None:
    told = call(response_id="gen-found")
    ledger.remember_config("f00d", '{"aliases": {"fast": 1}}')
    told.tell(ledger)
    for name in (told.id, f"{told.id}-1", "gen-found"):
        detail = ledger.show(name)
        assert detail.request.id == told.id
        assert detail.config == '{"aliases": {"fast": 1}}'
    with pytest.raises(LedgerError, match="no request 'gen-lost'"):
        ledger.show("gen-lost")


async def test_content_is_kept_apart_when_the_policy_is_full(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, store="full")
    told = retried_call()
    told.tell(ledger)
    bodies = {row.kind: row.body for row in ledger.show(told.id).payloads}
    assert bodies["request"]["messages"][0]["content"] == "Why is the sky blue?"
    assert bodies["response"]["content"] == "Rayleigh scattering."
    assert bodies["error"]["message"] == "Slow down"


async def test_a_call_of_its_own_policy_has_no_row_when_it_is_none(ledger: Ledger) -> None:
    call(store="none").tell(ledger)
    full = call(store="full")
    full.tell(ledger)
    assert [row.id for row in ledger.logs()] == [full.id]
    assert {row.kind for row in ledger.show(full.id).payloads} == {"request", "response"}


async def test_odd_characters_do_not_stop_a_row(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, store="full")
    odd = call(
        user="a\0b\ud800", tags={"k\0": "\U0001f600"}, asked={"messages": [{"content": "\0\ud83d"}]}
    )
    odd.tell(ledger)
    request = ledger.show(odd.id).request
    assert (request.user, request.tags) == ("a\ufffdb?", {"k\ufffd": "\U0001f600"})
    (body,) = (p.body for p in ledger.show(odd.id).payloads if p.kind == "request")
    assert body["messages"][0]["content"] == "\0\ud83d"


async def test_a_row_that_no_database_takes_is_put_aside_and_the_others_are_kept(
    ledger: Ledger, log: list[dict[str, Any]]
) -> None:
    good = [call() for _ in range(4)]
    request = started()
    huge = replace(answered(request).attempt, usage=Usage(input_tokens=2**70))
    for told in good:
        told.tell(ledger)
    ledger.attempt_finished(replace(answered(request), attempt=huge))
    await ledger.flush()
    assert {row.id for row in ledger.logs()} == {told.id for told in good}
    (event,) = (e for e in log if e["event"] == "llm_router.ledger_rejected")
    assert event["table"] == "attempts"
    aside = ledger_rejects(ledger)
    assert [row["input_tokens"] for _, row in aside] == [2**70]


def ledger_rejects(ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    with open(f"{ledger.config.spool}.rejected") as lines:  # noqa: PTH123
        return [json.loads(line) for line in lines]


async def test_many_loops_and_threads_write_to_one_ledger(ledger: Ledger) -> None:
    def work() -> None:
        async def run() -> None:
            for _ in range(50):
                call().tell(ledger)
                await asyncio.sleep(0)
            await ledger.flush()

        asyncio.run(run())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    (row,) = ledger.report()
    assert row.requests == 200


async def test_a_strict_call_is_committed_when_it_returns(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, durability="strict", flush_interval=30)
    told = call()
    told.tell(ledger)
    await ledger.settle(told.id)
    reader = open_ledger(url, upgrade=False)
    assert reader.show(told.id).request.status == "succeeded"


async def test_closing_writes_what_is_queued(url: str, open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(url, flush_interval=30)
    told = call()
    told.tell(ledger)
    await ledger.aclose()
    await ledger.aclose()
    assert open_ledger(url, upgrade=False).logs()[0].id == told.id


async def test_a_closed_ledger_takes_records_again(ledger: Ledger) -> None:
    await ledger.aclose()
    call().tell(ledger)
    await ledger.flush()
    assert len(ledger.logs()) == 1


async def test_old_rows_and_payloads_go_apart_when_they_are_purged(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    now = NOON + 10 * DAY
    ledger = open_ledger(url, store="full", clock=lambda: now)
    for age in (0, 3, 8):
        call(at=now - age * DAY).tell(ledger)
    await ledger.flush()
    assert ledger.purge(payloads_days=2) == Purged(payloads=4)
    assert ledger.purge(rows_days=5) == Purged(attempts=1, requests=1)
    assert ledger.purge() == Purged()
    assert len(ledger.logs()) == 2


async def test_retention_is_applied_by_itself(url: str, open_ledger: Callable[..., Ledger]) -> None:
    old = call()
    first = open_ledger(url)
    old.tell(first)
    await first.aclose()
    ledger = open_ledger(url, retention={"rows_days": 30}, clock=lambda: NOON + 31 * DAY)
    new = call(at=NOON + 31 * DAY)
    new.tell(ledger)
    await ledger.flush()
    assert [row.id for row in ledger.logs()] == [new.id]


async def test_unknown_costs_are_completed_from_the_provider(ledger: Ledger) -> None:
    cut, known, lost = (
        call(cost=None, response_id="gen-cut"),
        call(cost="0.5", response_id="gen-known"),
        call(cost=None, response_id="gen-lost"),
    )
    for told in (cut, known, lost):
        told.tell(ledger)
    asked: list[str] = []
    slept: list[float] = []

    async def fetch(response_id: str) -> Generation | None:
        asked.append(response_id)
        if response_id == "gen-lost" or asked.count("gen-cut") < 3:
            return None
        bill = Cost.from_report(Decimal("0.000123"))
        usage = Usage(input_tokens=100, output_tokens=7)
        return Generation(response_id=response_id, usage=usage, cost=bill, model="other")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    result = await ledger.reconcile(fetch, sleep=sleep)
    assert result == Reconciled(completed=1, missing=1)
    assert asked.count("gen-known") == 0
    assert slept == [0.0, 1.0, 2.0, 4.0, 8.0]
    detail = ledger.show(cut.id)
    (attempt,) = detail.attempts
    assert (attempt.cost_total, attempt.input_tokens) == (Decimal("0.000123"), 100)
    assert (attempt.served_model, attempt.total_tokens) == ("openai/gpt-4o-mini-2024-07-18", 17)
    assert attempt.cost_computed == Decimal("0.000004")
    assert attempt.reconciled_at is not None
    assert (detail.request.cost_total, detail.request.cost_source) == (
        Decimal("0.000123"),
        "provider",
    )
    cut.tell(ledger)
    assert ledger.show(cut.id).request.cost_total == Decimal("0.000123")


async def test_a_look_up_that_fails_is_counted_and_a_wrong_key_ends_it(ledger: Ledger) -> None:
    call(cost=None).tell(ledger)

    async def fails(_: str) -> Generation | None:
        raise ProviderUnavailableError("down")

    async def refuses(_: str) -> Generation | None:
        raise AuthenticationError("no such key")

    assert await ledger.reconcile(fails) == Reconciled(failed=1)
    assert await ledger.reconcile(fails, providers=("other",)) == Reconciled()
    with pytest.raises(AuthenticationError):
        await ledger.reconcile(refuses)


async def test_opening_makes_a_file_ready_and_says_that_tables_are_missing(
    url: str, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    ledger = open_ledger(url, upgrade=False)
    await ledger.open()
    if url.startswith("sqlite"):
        assert ledger.status().usable
        assert log == []
    else:
        (event,) = log
        assert event["event"] == "llm_router.ledger_unavailable"
        assert event["reason"] == "missing_schema"


def test_the_migrations_make_the_tables_that_the_code_describes(url: str, ledger: Ledger) -> None:
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        options = {"version_table": migrate.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_upgrading_leads_from_any_version_to_this_one(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, upgrade=False)
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        migrate.upgrade(connection, "0001")
        assert migrate.status(connection).state == "old"
    engine.dispose()
    assert ledger.upgrade() == ledger.upgrade() == ledger.status()
    assert (ledger.status().state, ledger.status().usable) == ("current", True)


async def test_the_applications_own_engine_and_migrations_are_enough(
    url: str, tmp_path: Any
) -> None:
    """The host includes our metadata in its own; its version table is the only one."""
    host = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(host)
    engine = create_engine(database_url(url))
    host.create_all(engine)
    ledger = Ledger(engine=engine)
    await ledger.open()
    told = call()
    told.tell(ledger)
    await ledger.aclose()
    assert ledger.show(told.id).request.cost_total == Decimal("0.0000039")
    assert ledger.status().current is None
    assert ledger.upgrade().state == "current"
    ledger.purge(rows_days=0)
    await ledger.aclose()
    engine.dispose()


async def test_tables_that_miss_a_column_are_called_old(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    host = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(host)
    host.tables["llm_attempts"]._columns.remove(host.tables["llm_attempts"].c.is_byok)
    engine = create_engine(database_url(url))
    host.create_all(engine)
    engine.dispose()
    assert open_ledger(url, upgrade=False).status().state == "old"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    amounts=st.lists(
        st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=30), min_size=1
    )
)
def test_sums_are_exact_to_the_last_digit(url: str, ledger: Ledger, amounts: list[Decimal]) -> None:
    alias = f"a{id(amounts)}-{len(amounts)}-{hash(tuple(amounts))}"
    for amount in amounts:
        request = started(alias=alias)
        attempt = answered(request, cost=f"{amount:f}")
        ledger.attempt_finished(attempt)
        ledger.request_finished(finished(request, attempt))
    rows = {row.group["alias"]: row for row in ledger.report()}
    from decimal import Context

    exact = Context(prec=100)
    total = Decimal(0)
    for amount in amounts:
        total = exact.add(total, amount)
    assert rows[alias].cost == total


def test_an_error_names_the_way_out_when_the_tables_are_missing(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url, upgrade=False)
    if url.startswith("sqlite"):
        with pytest.raises(LedgerError, match="nothing is recorded yet"):
            ledger.logs()
        create_engine(url).connect().close()
    else:
        with pytest.raises(LedgerError, match="llm-router db upgrade"):
            ledger.logs()


def test_other_databases_are_refused() -> None:
    class Other:
        class dialect:  # noqa: N801
            name = "mysql"

    with pytest.raises(Exception, match="not on mysql"):
        Database(Other(), owned=False)  # type: ignore[arg-type]  # the engine of another database


def test_the_sql_of_an_upgrade_can_be_read_before(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    text = open_ledger(url, upgrade=False).sql()
    assert "CREATE TABLE llm_attempts" in text
    assert "cost_total TEXT" in text if url.startswith("sqlite") else "cost_total NUMERIC" in text
    assert "CREATE TABLE" not in open_ledger(url, upgrade=False).sql("0001")


def test_public_names_load_no_database_before_they_are_used() -> None:
    code = (
        "import llm_router.ledger as room, sys\n"
        "from llm_router.ledger import Ledger, RequestRow, ReportRow, Reconciled, LedgerConfig\n"
        "assert not {'sqlalchemy', 'alembic', 'psycopg'} & set(sys.modules)\n"
        "assert all(hasattr(room, name) for name in room.__all__)\n"
        "assert set(room.__all__) <= set(dir(room)) and not hasattr(room, 'Lodger')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


async def test_a_sentence_of_an_error_is_no_code(ledger: Ledger) -> None:
    failed_call(RateLimitError("no", status_code=429, code="you said: my secret")).tell(ledger)
    assert ledger.logs(failed=True)[0].error_code is None
