"""The spool: a file that keeps rows while the database is away, for this process or the next.

One JSON line a row, appended and fsynced under a lock file. Rows are written to the database
again under the same lock, and only then is the file emptied: a crash in between writes some of
them twice, which the database ignores by their id.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from llm_router.answers.answer import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from llm_router.ledger.rows import Row, Rows

_LOCK_SECONDS = 5.0
_CHUNK = 2_000
_TABLES = ("configs", "requests", "attempts", "payloads")


class Spool:
    """Rows in a file. Every method may raise OSError (TimeoutError when others hold the lock).

    The file and its lock are private (mode 0600), and a symbolic link in their place is an error.
    """

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
        _append(self.path, _lines(rows))

    def reject(self, rows: Rows) -> None:
        """Put rows aside for ever."""
        _append(self.rejects, _lines(rows))

    def replay(self, write: Callable[[Rows], None]) -> int:
        """Hand all rows to *write* and empty the file; return how many there were.

        When *write* raises, the file stays as it is.
        """
        if not self.pending():
            return 0
        count = 0
        with _locked(self.path) as descriptor:
            with os.fdopen(descriptor, "rb", closefd=False) as lines:
                for rows, torn in _chunks(lines):
                    write(rows)
                    count += len(rows)
                    if torn:
                        _append(self.rejects, b"".join(torn))
            os.ftruncate(descriptor, 0)
            os.fsync(descriptor)
        return count


def _lines(rows: Rows) -> bytes:
    lines = (json.dumps(pair, separators=(",", ":"), default=plain) + "\n" for pair in rows)
    return "".join(lines).encode()


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[Rows, list[bytes]]]:
    """Yield rows, and lines that are none: a crash can tear the last line of a write."""
    rows: Rows = []
    torn: list[bytes] = []
    for line in lines:
        try:
            rows.append(_row(json.loads(line)))
        except (ValueError, TypeError, AttributeError, RecursionError):
            torn.append(line.rstrip(b"\n") + b"\n")
        if len(rows) + len(torn) >= _CHUNK:
            yield rows, torn
            rows, torn = [], []
    yield rows, torn


def _row(data: Any) -> tuple[str, Row]:
    table, row = data
    values = [value for name, value in row.items() if name != "tags"]
    if any(
        isinstance(value, list | dict) for value in (*values, *(row.get("tags") or {}).values())
    ):
        raise ValueError("a row is flat")
    return _TABLES[_TABLES.index(table)], row


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path) as descriptor:
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a private file to append to, alone among all processes."""
    lock = path.with_name(f"{path.name}.lock")
    with FileLock(lock, timeout=_LOCK_SECONDS, mode=0o600):
        lock.chmod(0o600)  # one that was there keeps its mode otherwise, from filelock 4 on
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            yield descriptor
        finally:
            os.close(descriptor)
