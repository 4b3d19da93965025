"""What a ledger says through `logging`, where structlog is not configured."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from tests.ledger.calls import call


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [record for record in caplog.records if record.name == "llm_router"]
    return [(record.levelname, record.getMessage()) for record in records]


async def test_rows_in_the_spool_are_a_warning_and_lost_ones_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "calls.db").mkdir()  # a folder in its place: no database
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{tmp_path}/calls.db", flush_interval=0.02))
    call().tell(ledger)
    await ledger.flush()
    ((level, line),) = said(caplog)
    assert level == "WARNING"
    assert line.startswith("llm_router.ledger_unavailable reason=cannot_open spool=")
    (tmp_path / "calls.db-spool.jsonl").unlink()
    (tmp_path / "calls.db-spool.jsonl").mkdir()
    call().tell(ledger)
    await ledger.aclose()
    assert [level for level, _ in said(caplog)] == ["WARNING", "ERROR", "ERROR"]
    assert said(caplog)[-1][1].startswith("llm_router.ledger_dropped reason=")


async def test_the_schema_is_made_without_a_word_of_alembics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{tmp_path}/calls.db"))
    ledger.upgrade()
    assert ledger.sql() and ledger.status().usable
    ledger.close()
    assert [record for record in caplog.records if record.name.startswith("alembic")] == []
    logging.getLogger("alembic.runtime.migration").info("the application's own migrations")
    assert caplog.records[-1].name == "alembic.runtime.migration"
