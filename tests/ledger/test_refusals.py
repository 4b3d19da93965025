"""What the database or the spool does not take: it is put aside, and everything else goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llm_router.answers.records import Generation
from llm_router.ledger.outage import reason_of_error
from llm_router.ledger.spool import Spool
from llm_router.usage import Cost, Usage
from tests.ledger.calls import answered, call, finished, started
from tests.ledger.test_faults import events, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.ledger.ledger import Ledger
    from tests.ledger.conftest import PostgresServer

NOISE = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=12_000))
"""A name that no compression makes small."""


@pytest.mark.parametrize(
    "row",
    [
        {"id": "r-1", "request_id": "r", "upstream_provider": NOISE},
        {"id": "r-1", "request_id": "r", "upstream_provider": "a\0b"},
        {"id": "r-1", "request_id": "r", "input_tokens": 2**70},
        {"id": "r-1", "request_id": "r", "started_at": "yesterday"},
        {"id": "r-1", "request_id": "r", "started_at": 1e300},
        {"id": "r-1", "request_id": "r", "cost_total": "much"},
        {"id": "r-1", "request_id": {"a": ["nested"]}},
        {"id": "r-1", "request_id": None},
        {f"name{number}": number for number in range(35)},
        {},
    ],
    ids=lambda row: next(reversed(row), "empty"),
)
async def test_a_row_that_cannot_be_stored_is_put_aside_when_the_spool_has_it(
    url: str, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]], row: dict[str, Any]
) -> None:
    ledger = open_ledger(url, flush_interval=0.02)
    spool = Spool(Path(str(ledger.config.spool)))
    spool.append([("attempts", NORMAL | row if "id" in row else row)])
    told = call()
    told.tell(ledger)
    await ledger.flush()
    await until(lambda: not spool.pending())
    assert [r.id for r in ledger.logs()] == [told.id]
    assert "unavailable" not in dict(events(log))
    stored = len(ledger.report(by=("upstream",))) == 2
    assert spool.rejects.exists() != stored


NORMAL = {
    **dict.fromkeys(("deployment", "provider", "model", "status", "day"), "x"),
    "number": 1,
    "started_at": 1_790_000_000.0,
    "stream": False,
}


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'["attempts", ' + b"[" * 100_000 + b"]" * 100_000 + b"]",
        b'["attempts", {"id": ' + b"[" * 900 + b"]" * 900 + b"}]",
        b'["attempts"]',
        b'["llm_attempts", {}]',
        b'[["attempts"], {}]',
        b'["attempts", 5]',
        b'["attempts", {"id": "\xff"}]',
        b'["attempts", {"number": ' + b"9" * 5_000 + b"}]",
        b"null",
        b"",
    ],
    ids=range(11),
)
async def test_a_line_that_is_no_row_is_put_aside_when_the_spool_has_it(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]], line: bytes
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.02)
    spool = Spool(Path(str(ledger.config.spool)))
    spool.path.write_bytes(line + b"\n")
    told = call()
    told.tell(ledger)
    await ledger.flush()
    await until(lambda: not spool.pending())
    assert [row.id for row in ledger.logs()] == [told.id]
    assert "unavailable" not in dict(events(log))


async def test_names_of_any_length_are_cut_when_they_are_recorded(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url)
    request = started(user=NOISE, tags={NOISE: NOISE}, alias="\U0001f600" * 9_000)
    attempt = answered(request, upstream_provider=NOISE, response_id=NOISE, model=NOISE)
    ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, attempt))
    detail = ledger.show(request.request_id)
    kept = NOISE[:512]
    assert (detail.request.user, detail.request.tags) == (kept, {kept: kept})
    row = detail.attempts[0]
    assert (row.upstream_provider, row.response_id, row.model) == (kept, kept, kept)
    assert row.alias == "\U0001f600" * 512


async def test_names_found_afterwards_are_cut_too(
    url: str, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(url)
    request = started()
    attempt = answered(request, cost=None, response_id="gen-cut", upstream_provider=None)
    ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, attempt))
    key = "sk-or-v1-0a1b2c3d4e5f60718293a4b5c6d7e8f9"

    async def fetch(response_id: str) -> Generation:
        return Generation(
            response_id=response_id,
            usage=Usage(),
            cost=Cost.from_report(None),
            upstream_provider=f"{key} {NOISE}",
            native_finish_reason=NOISE,
        )

    assert (await ledger.reconcile(fetch)).completed == 1
    (row,) = ledger.show(request.request_id).attempts
    assert row.upstream_provider == f"[redacted] {NOISE}"[:512]
    assert row.native_finish_reason == "end_turn"


@pytest.mark.postgres
async def test_an_index_that_a_row_does_not_fit_is_no_outage(
    postgres: PostgresServer, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    """SQLSTATE 54000, in this process and, through the spool, in the next one."""
    ledger = open_ledger(postgres.new_database(), flush_interval=0.02)
    huge = ("attempts", NORMAL | {"id": "r-1", "request_id": "r", "upstream_provider": NOISE})
    ledger._store.save([huge])
    assert [e["table"] for e in log if e["event"] == "llm_router.ledger_rejected"] == ["attempts"]
    call().tell(ledger)
    await ledger.flush()
    assert len(ledger.logs()) == 1
    assert "unavailable" not in dict(events(log))
    rejects = Spool(Path(str(ledger.config.spool))).rejects.read_text()
    assert json.loads(rejects)[1]["upstream_provider"] == NOISE


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        *((state, "unreachable") for state in ("08006", "57P01", "57P03")),
        *((state, "old_schema") for state in ("42P01", "42703")),
        *((state, "locked") for state in ("40001", "40P01", "55P03")),
        ("53100", "disk_full"),
        ("53300", "overloaded"),
        ("25006", "read_only"),
        ("42501", "not_permitted"),
        ("57014", "slow"),
        *((state, None) for state in ("54000", "22P05", "23502", "21000", "42804", "XX000")),
        *((state, None) for state in ("P0001", "ZZ999", "0A000")),
    ],
)
def test_an_outage_is_what_no_row_would_survive(state: str, reason: str | None) -> None:
    error: Any = SimpleNamespace(sqlstate=state)
    assert reason_of_error(error) == reason
