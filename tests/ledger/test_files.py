"""The ledger's files: a SQLite file that is taken away, a spool that others have prepared."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from llm_router.ledger.spool import Spool
from tests.ledger.calls import call
from tests.ledger.test_faults import events, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.ledger.ledger import Ledger


def delete(file: Path) -> None:
    file.unlink()


def delete_with_its_log(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        if "spool" not in path.name:
            path.unlink()


def delete_the_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def move(file: Path) -> None:
    file.rename(file.with_name("moved.db"))


def copy_of(file: Path) -> Path:
    copy = file.with_name("copy.db")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def replace(file: Path) -> None:
    copy_of(file).rename(file)


def replace_by_another(file: Path) -> None:
    """Put a database of other tables and rows in its place."""
    other = file.with_name("other.db")
    with closing(sqlite3.connect(other)) as target, target:
        target.execute("CREATE TABLE llm_other (text TEXT)")
        target.executemany("INSERT INTO llm_other VALUES (?)", [("x" * 500,)] * 500)
    other.rename(file)


def recorded(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {id for (id,) in reader.execute("SELECT id FROM llm_requests")}


ACTS = [delete, delete_with_its_log, delete_the_folder, move, replace, replace_by_another]


@pytest.mark.parametrize("durability", ["batched", "strict"])
@pytest.mark.parametrize("act", ACTS)
async def test_no_later_row_is_lost_when_the_file_is_taken_away(
    tmp_path: Path,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    act: Callable[[Path], None],
    durability: str,
) -> None:
    file = tmp_path / "data" / "calls.db"
    ledger = open_ledger(f"sqlite:///{file}", durability=durability, flush_interval=0.02)
    spool = Spool(Path(str(ledger.config.spool)))
    before, after = [call() for _ in range(20)], [call() for _ in range(50)]
    for each in before:
        each.tell(ledger)
    await ledger.flush()
    act(file)
    for each in after:
        each.tell(ledger)
        await ledger.settle(each.id)
    await ledger.flush()
    assert events(log).count(("unavailable", "replaced")) == 1
    await until(lambda: not spool.pending() and ("recovered", "replaced") in events(log))
    assert recorded(file) >= {each.id for each in after}
    if act in (move, replace):
        old = file if act is replace else file.with_name("moved.db")
        assert recorded(old) >= {each.id for each in before}


async def test_a_reader_sees_the_file_that_is_there_now(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    file = tmp_path / "calls.db"
    ledger = open_ledger(f"sqlite:///{file}")
    older = copy_of(file)
    call().tell(ledger)
    assert len(ledger.logs()) == 1
    older.rename(file)
    assert ledger.logs() == []
    call().tell(ledger)
    await ledger.flush()
    assert ("unavailable", "replaced") in events(log)
    await until(lambda: len(ledger.logs()) == 1)


@pytest.mark.parametrize("name", ["spool.jsonl", "spool.jsonl.lock"])
async def test_a_symbolic_link_in_place_of_the_spool_is_not_followed(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]], name: str
) -> None:
    victim = tmp_path / "precious"
    victim.write_text("mine\n")
    (tmp_path / name).symlink_to(victim)
    ledger = open_ledger(f"sqlite:////proc/nowhere/{tmp_path.name}.db", upgrade=False)
    call().tell(ledger)
    await ledger.flush()
    assert "spool_failed" in dict(events(log))
    assert victim.read_text() == "mine\n"


def test_the_spool_is_private_even_where_a_file_was_not(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    for path in (spool.path, tmp_path / "spool.jsonl.lock"):
        path.touch(0o666)
        path.chmod(0o666)
    spool.append([("configs", {"fingerprint": "a"})])
    spool.reject([("configs", {"fingerprint": "a"})])
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4


async def test_the_lock_of_the_spool_is_waited_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_router.ledger.spool._LOCK_SECONDS", 0.1)
    spool = Spool(tmp_path / "spool.jsonl")
    with FileLock(f"{spool.path}.lock"):
        async with asyncio.timeout(3):
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(spool.append, [("configs", {"fingerprint": "a"})])
    spool.append([("configs", {"fingerprint": "a"})])
    assert spool.replay(lambda rows: None) == 1
