"""The ledger under attack: killed, delayed, damaged, out of step, and in two versions at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from llm_router.ledger import migrate
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.spool import Spool
from tests.ledger.calls import DAY, NOON, call
from tests.ledger.conftest import PostgresServer
from tests.ledger.test_faults import events, until
from tests.ledger.test_files import delete_with_its_log

ROOT = Path(__file__).parents[2]


def test_no_row_is_lost_beyond_the_promise_or_there_twice_when_processes_are_killed(
    url: str,
) -> None:
    """Ten kills on each database; `benchmarks/kill_rounds.py` makes 500 of them."""
    script = ["benchmarks/kill_rounds.py", "--rounds", "10", "--url", url]
    command = [sys.executable, "-W", "ignore", *script]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@asynccontextmanager
async def slow_proxy(socket: Path, delay: float) -> AsyncIterator[int]:
    """Stand before a server and let everything through *delay* seconds late."""

    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(socket)
        writers.extend((writer, forth))
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in writers:
            each.close()
        await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
        await asyncio.sleep(0.3)  # who was in a delay finds its connection closed


@pytest.mark.postgres
async def test_every_row_is_there_and_no_call_waits_when_postgresql_is_far_away(
    postgres: PostgresServer, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    near = make_url(postgres.new_database())
    folder = near.query["host"]
    open_ledger(near.render_as_string(hide_password=False)).close()
    async with slow_proxy(Path(f"{folder}/.s.PGSQL.{near.port or 5432}"), 0.1) as port:
        far = near.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        url = far.render_as_string(hide_password=False)
        ledger = open_ledger(url, upgrade=False, flush_interval=0.02)
        told = [call() for _ in range(50)]
        begun = time.monotonic()
        for each in told:
            each.tell(ledger)
        assert time.monotonic() - begun < 0.1
        await ledger.flush()
        kept = await asyncio.to_thread(ledger.logs, limit=100)
        assert {row.id for row in kept} == {each.id for each in told}
        assert events(log) == []
        await ledger.aclose()


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(os.urandom(file.stat().st_size - 4096))


def no_database(file: Path) -> None:
    file.write_bytes(b"This is no database. " * 500)


@pytest.mark.parametrize("damage", [truncated, overwritten, no_database])
async def test_the_spool_keeps_what_a_damaged_file_does_not_take(
    tmp_path: Path,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    damage: Callable[[Path], None],
) -> None:
    file = tmp_path / "calls.db"
    first = open_ledger(f"sqlite:///{file}")
    for _ in range(50):
        call(user="u" * 500).tell(first)
    first.close()
    damage(file)
    ledger = open_ledger(f"sqlite:///{file}", upgrade=False, flush_interval=0.02)
    told = [call() for _ in range(5)]
    for each in told:
        each.tell(ledger)
    await ledger.flush()
    assert events(log) == [("unavailable", "corrupt")]
    assert Spool(Path(str(ledger.config.spool))).pending()
    delete_with_its_log(file)  # the way out: a new file takes the rows
    await until(lambda: not Spool(Path(str(ledger.config.spool))).pending())
    assert {row.id for row in ledger.logs()} == {each.id for each in told}


@pytest.mark.parametrize("jump", [-3650 * DAY, -1.0, 3650 * DAY])
async def test_rows_of_a_clock_that_jumps_are_kept_and_reported(
    url: str, open_ledger: Callable[..., Ledger], jump: float
) -> None:
    now = [NOON]
    ledger = open_ledger(url, clock=lambda: now[0])
    before, after = call(at=now[0]), call(at=now[0] + jump)
    before.tell(ledger)
    await ledger.flush()
    now[0] += jump
    after.tell(ledger)
    await ledger.flush()
    kept = {row.id for row in ledger.logs()}
    assert kept == {before.id, after.id}
    assert sum(row.attempts for row in ledger.report(by=("day",))) == 2


async def test_an_older_release_stops_at_newer_tables_and_loses_nothing(
    url: str, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    """Two versions on one database: the newer one upgrades while the older one records."""
    older, newer = open_ledger(url, flush_interval=0.02), open_ledger(url, flush_interval=0.02)
    first, second = call(), call()
    first.tell(older)
    await older.flush()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE llm_attempts ADD COLUMN of_tomorrow TEXT")
        sql = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"
        connection.exec_driver_sql(sql)
    engine.dispose()
    second.tell(older)  # open already: columns that were added do not hinder it
    await older.flush()
    assert {row.id for row in newer.logs()} == {first.id, second.id}
    assert older.status().state == "newer"
    late = open_ledger(url, upgrade=False, flush_interval=0.02)
    call().tell(late)
    await late.flush()
    assert events(log) == [("unavailable", "newer_schema")]
    assert Spool(Path(str(late.config.spool))).pending()
