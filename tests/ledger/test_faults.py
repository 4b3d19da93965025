"""What is lost when something breaks: as little as promised, and never a call."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from sqlalchemy import create_engine, event

from llm_router.config.model import LedgerConfig
from llm_router.errors import ConfigurationError, LedgerError
from llm_router.ledger import migrate
from llm_router.ledger.ledger import Ledger, spool_path
from llm_router.ledger.spool import Spool
from tests.ledger.calls import call, hold_transactions, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import PostgresServer

ROOT = Path(__file__).parents[2]


def events(log: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(e["event"].removeprefix("llm_router.ledger_"), e["reason"]) for e in log]


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("durability", ["batched", "strict"])
async def test_a_killed_process_loses_what_its_mode_allows(
    url: str, tmp_path: Path, durability: str, open_ledger: Callable[..., Ledger]
) -> None:
    reader = open_ledger(url)
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "tests.ledger.crash", url, str(tmp_path / "spool"), durability],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    answered: list[tuple[float, str]] = []
    while len(answered) < 150:
        answered.append((time.monotonic(), process.stdout.readline().strip()))
    os.kill(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    rest, _ = process.communicate()
    answered += [(killed, line) for line in rest.split()]
    kept = {row.id for row in reader.logs(limit=10_000) if row.status == "succeeded"}
    lost = [at for at, id in answered if id not in kept]
    if durability == "strict":
        assert lost == []
    else:
        # One interval (0.1 s), and the commit that was under way on a busy machine.
        assert all(killed - at < 1.0 for at in lost)
        assert len(kept) > 10


async def test_the_next_process_replays_the_spool_of_one_that_was_killed(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    away = f"sqlite:////proc/nowhere/{tmp_path.name}.db"
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "tests.ledger.crash", away, str(spool.path), "strict"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    answered = {process.stdout.readline().strip() for _ in range(20)}
    process.kill()
    process.communicate()
    assert spool.path.stat().st_mode & 0o777 == 0o600
    with spool.path.open("ab") as file:
        file.write(b'["attempts",{"id":"torn in the mid')
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db")
    call().tell(ledger)
    await ledger.flush()
    assert answered <= {row.id for row in ledger.logs(limit=1000)}
    assert not spool.pending()
    assert ("recovered", "spool_found") in events(log)
    assert spool.rejects.read_bytes().startswith(b'["attempts",{"id":"torn')


def test_a_row_behind_a_torn_line_is_not_lost_with_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    spool.path.write_bytes(b'["attempts",{"id":"torn in the mid')
    spool.append([("attempts", {"id": "whole"})])
    written: list[Any] = []
    spool.replay(written.append)
    assert "whole" in str(written) and "torn" not in str(written)
    assert spool.rejects.read_bytes() == b'["attempts",{"id":"torn in the mid\n'


async def test_two_processes_share_one_file(
    tmp_path: Path, open_ledger: Callable[..., Ledger]
) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    command = [sys.executable, "-m", "tests.ledger.crash", url, str(tmp_path / "spool"), "strict"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: ASYNC220
        for _ in range(2)
    ]
    answered = set()
    for _ in range(40):
        for process in processes:
            assert process.stdout is not None
            answered.add(process.stdout.readline().strip())
    for process in processes:
        process.kill()
        process.communicate()
    ledger = open_ledger(url)
    assert answered <= {row.id for row in ledger.logs(limit=10_000)}
    assert len(answered) == 80


async def test_a_full_disk_is_an_event_and_the_spool_keeps_the_rows(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.02)
    limit = [40]

    assert ledger._database is not None

    @event.listens_for(ledger._database.engine, "checkout")
    def _limit(driver: Any, *_: Any) -> None:
        driver.execute(f"PRAGMA max_page_count={limit[0]}")

    told = [call(user="u" * 2000) for _ in range(100)]
    for each in told:
        each.tell(ledger)
    await ledger.flush()
    assert ("unavailable", "disk_full") in events(log)
    limit[0] = 100_000
    await until(lambda: not Spool(Path(str(ledger.config.spool))).pending())
    assert {row.id for row in ledger.logs(limit=200)} == {each.id for each in told}


async def test_a_locked_database_is_an_event_and_the_rows_come_later(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.02)
    holder = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    told = call()
    told.tell(ledger)
    await ledger.flush()
    assert events(log) == [("unavailable", "locked")]
    holder.execute("ROLLBACK")
    holder.close()
    await until(lambda: ("recovered", "locked") in events(log))
    assert ledger.logs()[0].id == told.id


async def test_a_read_only_database_is_an_event_and_the_spool_keeps_the_rows(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    open_ledger(f"sqlite:///{tmp_path}/calls.db").close()
    url = f"sqlite:///file:{tmp_path}/calls.db?mode=ro&uri=true"
    ledger = open_ledger(url, upgrade=False)
    call().tell(ledger)
    await ledger.flush()
    await ledger.flush()
    assert ("unavailable", "read_only") in events(log)
    assert Spool(Path(str(ledger.config.spool))).pending()
    assert ledger.logs() == []


@pytest.mark.postgres
@pytest.mark.parametrize(("found", "reason"), [("", "missing"), ("0001", "old"), ("9", "newer")])
async def test_an_old_schema_is_an_event_and_an_upgrade_brings_the_rows(
    postgres: PostgresServer,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    found: str,
    reason: str,
) -> None:
    url = postgres.new_database()
    engine = create_engine(url)
    with engine.begin() as connection:
        if found:
            migrate.upgrade(connection, "0001" if found == "0001" else "head")
            sql = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{found}'"
            connection.exec_driver_sql(sql)
    ledger = open_ledger(url, upgrade=False, flush_interval=0.02)
    await ledger.open()
    told = call()
    told.tell(ledger)
    await ledger.flush()
    assert events(log) == [("unavailable", f"{reason}_schema")]
    assert "llm" in log[0]["hint"]
    with engine.begin() as connection:
        if found == "9":
            connection.exec_driver_sql(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '0002'")
    engine.dispose()
    ledger.upgrade()
    await until(lambda: ("recovered", f"{reason}_schema") in events(log))
    assert ledger.logs()[0].id == told.id


async def test_tables_that_vanish_are_noticed_and_made_again(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.02)
    with sqlite3.connect(tmp_path / "calls.db") as other:
        for table in ("llm_attempts", "llm_requests", "llm_payloads", "llm_configs"):
            other.execute(f"DROP TABLE {table}")
        other.execute(f"DROP TABLE {migrate.VERSION_TABLE}")
    other.close()
    call().tell(ledger)
    await ledger.flush()
    await until(lambda: ("recovered", "old_schema") in events(log))
    assert len(ledger.logs()) == 1


async def test_memory_keeps_the_rows_when_neither_database_nor_spool_can_be_written(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    blocked = tmp_path / "not a folder"
    blocked.write_text("")
    url, spool = f"sqlite:///{blocked}/calls.db", str(blocked / "spool")
    ledger = open_ledger(url, upgrade=False, spool=spool, flush_interval=0.02)
    told = [call() for _ in range(3)]
    for each in told:
        each.tell(ledger)
        await ledger.flush()
    assert events(log) == [("unavailable", "io_error"), ("spool_failed", "io_error")] or events(
        log
    ) == [("spool_failed", "io_error"), ("unavailable", "io_error")]
    blocked.unlink()
    await until(lambda: ("recovered", "io_error") in events(log))
    assert {row.id for row in ledger.logs()} == {each.id for each in told}


async def test_what_could_not_be_kept_is_counted_at_the_end(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    blocked = tmp_path / "not a folder"
    blocked.write_text("")
    url, spool = f"sqlite:///{blocked}/calls.db", str(blocked / "spool")
    ledger = open_ledger(url, upgrade=False, spool=spool)
    call().tell(ledger)
    await ledger.aclose()
    assert log[-1]["event"] == "llm_router.ledger_dropped"
    assert log[-1]["rows"] == 2


async def test_memory_is_bounded_while_nothing_can_be_written(
    tmp_path: Path,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_router.ledger.store._MOST_KEPT", 10)
    blocked = tmp_path / "not a folder"
    blocked.write_text("")
    ledger = open_ledger(
        f"sqlite:///{blocked}/calls.db", upgrade=False, spool=str(blocked / "spool")
    )
    for _ in range(8):
        call().tell(ledger)
    await ledger.flush()
    assert ("dropped", "io_error") in events(log)
    blocked.unlink()
    await until(lambda: ("recovered", "io_error") in events(log))
    kept = len(ledger.logs()) + sum(row.attempts for row in ledger.report(by=()))
    assert kept == 10


async def test_records_go_to_the_spool_when_the_database_is_so_slow_that_memory_fills(
    tmp_path: Path, open_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_router.ledger.writer.MOST_WAITING", 30)
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.01)
    held, go_on = hold_transactions(ledger)
    monkeypatch.setattr("llm_router.ledger.writer._BATCH", 5)
    told = [call() for _ in range(40)]
    told[0].tell(ledger)
    await asyncio.to_thread(held.wait, 10)
    for each in told[1:]:
        each.tell(ledger)
    spool = Spool(Path(str(ledger.config.spool)))
    await until(spool.pending)
    go_on.set()
    await ledger.flush()
    await until(lambda: not spool.pending())
    await ledger.flush()
    assert {row.id for row in ledger.logs(limit=100)} == {each.id for each in told}


def test_leaving_the_interpreter_writes_what_is_queued(
    url: str, open_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    reader = open_ledger(url)
    code = (
        "import sys\n"
        "from llm_router.config.model import LedgerConfig\n"
        "from llm_router.ledger.ledger import Ledger\n"
        "from tests.ledger.calls import call\n"
        f"config = LedgerConfig(url={url!r}, flush_interval=30, spool={str(tmp_path / 's')!r})\n"
        "ledger = Ledger(config)\n"
        "for _ in range(7): call().tell(ledger)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert len(reader.logs()) == 7


def test_a_forked_process_records_on_connections_of_its_own(
    url: str, open_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    reader = open_ledger(url)
    code = (
        "import os\n"
        "from llm_router.config.model import LedgerConfig\n"
        "from llm_router.ledger.ledger import Ledger\n"
        "from tests.ledger.calls import call\n"
        f"ledger = Ledger(LedgerConfig(url={url!r}, spool={str(tmp_path / 's')!r}))\n"
        "call().tell(ledger); ledger._writer.flush()\n"
        "child = os.fork()\n"
        "call().tell(ledger); ledger.close()\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "else: os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)
    assert len(reader.logs()) == 3


async def test_one_odd_record_does_not_take_the_others_with_it(
    url: str, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    ledger = open_ledger(url)
    odd = started(tags=None)
    ledger.request_started(odd)
    call().tell(ledger)
    await ledger.flush()
    assert events(log) == [("dropped", "AttributeError")]
    assert len(ledger.logs()) == 1


async def test_a_missing_driver_is_said_when_the_ledger_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[dict[str, Any]]
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    config = LedgerConfig(url="postgres://me:pw@127.0.0.1/db", spool=str(tmp_path / "spool"))
    ledger = Ledger(config)
    with pytest.raises(ConfigurationError, match=r"llm-router-litellm\[postgres\]"):
        await ledger.open()
    call().tell(ledger)
    await ledger.aclose()
    assert events(log) == [("unavailable", "configuration")]
    assert Spool(tmp_path / "spool").pending()


def test_the_spool_is_where_every_process_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = spool_path(LedgerConfig(url="postgresql://me:old@db/calls"))
    second = spool_path(LedgerConfig(url="postgresql://me:new@db/calls"))
    assert first == second is not None
    assert tmp_path in second.parents
    assert spool_path(LedgerConfig(url="sqlite:///a.db")) == Path("a.db-spool.jsonl")
    assert spool_path(LedgerConfig(), create_engine("sqlite://")) is None
    assert spool_path(LedgerConfig(spool="/x")) == Path("/x")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "calls.db"])
def test_a_database_that_cannot_serve_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"ledger in memory|must be a sqlite"):
        LedgerConfig(url=url)


async def test_a_spool_that_another_process_holds_is_tried_later(
    tmp_path: Path,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_router.ledger.spool._LOCK_SECONDS", 0.05)
    monkeypatch.setattr("llm_router.ledger.store._LONGEST_WAIT", 0.1)
    spool = Spool(tmp_path / "spool.jsonl")
    spool.append([("configs", {"fingerprint": "f", "first_seen_at": 0.0, "text": "{}"})])
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db")
    with FileLock(f"{spool.path}.lock"):
        call().tell(ledger)
        await ledger.flush()
        assert ("spool_failed", "locked") in events(log)
    await until(lambda: not spool.pending())


async def test_a_spool_without_room_is_left_as_it_was(tmp_path: Path) -> None:
    code = (
        "import resource, sys, signal\n"
        "from pathlib import Path\n"
        "from llm_router.ledger.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "spool.append([('configs', {'fingerprint': 'a'})])\n"
        "try: spool.append([('configs', {'fingerprint': 'b' * 5000})])\n"
        "except OSError: print(spool.path.read_text(), end='')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "spool")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: ASYNC221
    assert done.stdout == '["configs",{"fingerprint":"a"}]\n'


async def test_a_command_against_a_database_that_is_away_is_a_ledger_error(
    open_ledger: Callable[..., Ledger],
) -> None:
    ledger = open_ledger("postgresql://me:secret-word@127.0.0.1:9/x", upgrade=False)
    with pytest.raises(LedgerError) as caught:
        ledger.status()
    assert "secret-word" not in str(caught.value)
    with pytest.raises(LedgerError):
        ledger.purge(rows_days=1)
