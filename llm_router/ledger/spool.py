"""The spool: a file that keeps rows while the database is away, for this process or the next.

One JSON line a row, appended and fsynced under a file lock. Rows are written to the database
again under the same lock, and only then is the file emptied: a crash in between writes some of
them twice, which the database ignores by their id.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llm_router.ledger.rows import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llm_router.ledger.rows import Rows

_LOCK_SECONDS = 5.0
_CHUNK = 2_000


class Spool:
    """Rows in a file. Every method may raise OSError (TimeoutError when others hold the lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def rejects(self) -> Path:
        """Where lines go that no database takes: kept for a human, tried no more."""
        return self.path.with_name(self.path.name + ".rejected")

    def pending(self) -> bool:
        """Return whether rows are waiting."""
        try:
            return self.path.stat().st_size > 0
        except OSError:
            return False

    def append(self, rows: Rows) -> None:
        """Add rows; when it returns they are on the disk, and when it raises none of them is."""
        lines = [_line(table, row) for table, found in rows.items() for row in found]
        _append(self.path, "".join(lines).encode())

    def reject(self, table: str, row: object) -> None:
        """Put a row aside for ever."""
        _append(self.rejects, _line(table, row).encode())

    def replay(self, write: Callable[[Rows], None]) -> int:
        """Hand all rows to *write* and empty the file; return how many there were.

        When *write* raises, the file stays as it is.
        """
        if not self.pending():
            return 0
        count = 0
        with _locked(self.path) as descriptor:
            with self.path.open("rb") as lines:
                for rows, torn in _chunks(lines):
                    write(rows)
                    count += sum(map(len, rows.values()))
                    if torn:
                        _append(self.rejects, b"".join(torn))
            os.ftruncate(descriptor, 0)
            os.fsync(descriptor)
        return count


def _line(table: str, row: object) -> str:
    return json.dumps([table, row], separators=(",", ":"), default=str) + "\n"


def _chunks(lines: Iterator[bytes]) -> Iterator[tuple[Rows, list[bytes]]]:
    """Yield rows by table, and lines that are none: a crash can tear the last line of a write."""
    rows: Rows = {}
    torn: list[bytes] = []
    size = 0
    for line in lines:
        try:
            table, row = json.loads(line)
            rows.setdefault(TABLES[TABLES.index(table)], []).append(dict(row))
        except (ValueError, TypeError):
            torn.append(line.rstrip(b"\n") + b"\n")
        size += 1
        if size >= _CHUNK:
            yield rows, torn
            rows, torn, size = {}, [], 0
    yield rows, torn


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path) as descriptor:
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a private file to append to, alone among all processes."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    # Imported here: Windows has no fcntl, and an application without a ledger does not care.
    import fcntl

    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError("the spool is locked by another process") from None
            time.sleep(0.02)
