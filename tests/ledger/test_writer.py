"""The writer under what a process does to it: finalisers, forks, a database that stands still."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_router.ledger import writer
from llm_router.ledger.spool import Spool
from tests.ledger.calls import call, hold_transactions, started
from tests.ledger.test_faults import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from llm_router.ledger.ledger import Ledger


def trace_lines(act: Callable[[], object]) -> Callable[..., Any]:
    """Return a trace function that calls *act* some times at every line that handles a lock."""
    files = {module.__file__ for module in (writer, threading, queue)}
    visits: Counter[tuple[str, int, str]] = Counter()

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        place = (frame.f_code.co_filename, frame.f_lineno, threading.current_thread().name)
        visits[place] += 1
        if visits[place] <= 4:
            act()
        return trace

    return trace


def test_nothing_stands_still_and_no_record_is_lost_when_finalisers_record_at_any_line(
    tmp_path: Path, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.01)
    told: list[str] = []
    done = threading.Event()

    def finalise() -> None:
        if not done.is_set():
            record = started()
            ledger.request_started(record)
            told.append(record.request_id)

    def work() -> None:
        sys.settrace(trace)
        for _ in range(2):
            finalise()
            ledger._writer.flush(10)
        ledger.close()
        finalise()
        sys.settrace(None)
        done.set()

    trace = trace_lines(finalise)
    before = threading.gettrace()
    threading.settrace(trace)
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    threading.settrace(before)
    assert not worker.is_alive()
    assert len(told) > 100
    ledger.close()
    assert {row.id for row in ledger.logs(limit=10_000)} == set(told)


async def test_a_flush_returns_after_the_rows_before_it_when_a_relief_empties_the_queue(
    tmp_path: Path, open_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_router.ledger.writer.MOST_WAITING", 30)
    monkeypatch.setattr("llm_router.ledger.writer._BATCH", 5)
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", flush_interval=0.01)
    held, go_on = hold_transactions(ledger)
    first = call()
    first.tell(ledger)
    await asyncio.to_thread(held.wait, 10)
    flushing = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    for _ in range(40):
        call().tell(ledger)
    await until(Spool(Path(str(ledger.config.spool))).pending)
    await asyncio.sleep(0.2)
    assert not flushing.done()
    go_on.set()
    await flushing
    with sqlite3.connect(tmp_path / "calls.db") as reader:
        assert (first.id,) in reader.execute("SELECT id FROM llm_requests").fetchall()
    reader.close()


def test_a_child_records_when_it_was_forked_while_the_writer_imported_its_driver(
    url: str, open_ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    reader = open_ledger(url)
    code = (
        "import os, sys, threading, time\n"
        "from llm_router.config.model import LedgerConfig\n"
        "from llm_router.ledger.ledger import Ledger\n"
        "from tests.ledger.calls import call\n"
        "importing = threading.Event()\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'alembic': importing.set(); time.sleep(0.5)\n"
        "sys.meta_path.insert(0, Slow())\n"
        f"ledger = Ledger(LedgerConfig(url={url!r}, spool={str(tmp_path / 's')!r}))\n"
        "call().tell(ledger); importing.wait()\n"
        "child = os.fork()\n"
        "begin = time.monotonic()\n"
        "call().tell(ledger); ledger.close()\n"
        "assert time.monotonic() - begin < 8\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "else: os._exit(0)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    assert len(reader.logs()) == 3


def test_a_call_goes_on_when_no_thread_can_be_started(
    tmp_path: Path, open_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db")
    monkeypatch.setattr("llm_router.ledger.writer.MOST_WAITING", 2)
    monkeypatch.setattr("llm_router.ledger.writer._BATCH", 1)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    told = call()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        told.tell(ledger)
    assert [row.id for row in ledger.logs()] == [told.id]


async def test_a_strict_call_waits_as_long_as_was_said_when_the_database_is_locked(
    tmp_path: Path, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", durability="strict")
    holder = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    told = call()
    told.tell(ledger)
    async with asyncio.timeout(2 + 1.5):
        await ledger.settle(told.id)
    assert Spool(Path(str(ledger.config.spool))).pending()
    holder.close()
