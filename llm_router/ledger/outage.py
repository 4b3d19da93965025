"""What can keep rows out of the database: it is unavailable now, or it refuses them for ever.

| event | what happened | fields besides `reason` |
|---|---|---|
| `llm_router.ledger_unavailable` | an outage began; rows wait in the spool | `spool hint` |
| `llm_router.ledger_recovered` | the database takes rows again | `replayed` |
| `llm_router.ledger_spool_failed` | the spool cannot be used either; memory keeps rows | |
| `llm_router.ledger_rejected` | a row no database takes is kept beside the spool | `table id` |
| `llm_router.ledger_payload_dropped` | the redactor raised; only the row is kept | `id` |
| `llm_router.ledger_dropped` | rows are lost: no database, no spool, memory full | `rows` |
"""

from __future__ import annotations

import errno

LEDGER_UNAVAILABLE = "llm_router.ledger_unavailable"
LEDGER_RECOVERED = "llm_router.ledger_recovered"
LEDGER_SPOOL_FAILED = "llm_router.ledger_spool_failed"
LEDGER_REJECTED = "llm_router.ledger_rejected"
LEDGER_PAYLOAD_DROPPED = "llm_router.ledger_payload_dropped"
LEDGER_DROPPED = "llm_router.ledger_dropped"


class UnavailableError(Exception):
    """The database cannot take rows now; `reason` is one word for the event."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class RefusedError(Exception):
    """The database will never take these rows: something in them is wrong."""


_SQLITE_REASONS = {
    "SQLITE_FULL": "disk_full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_CANTOPEN": "cannot_open",
    "SQLITE_IOERR": "io_error",
    "SQLITE_CORRUPT": "corrupt",
    "SQLITE_NOTADB": "corrupt",
    "SQLITE_ERROR": "old_schema",
}
_POSTGRES_REASONS = {
    "53100": "disk_full",
    "25006": "read_only",
    "42P01": "old_schema",
    "42703": "old_schema",
    "42501": "not_permitted",
    "55P03": "locked",
    "57014": "slow",
}


def reason_of_database_error(error: BaseException) -> str | None:
    """Return why a driver's error means "not now"; None when the rows themselves are wrong."""
    name = getattr(error, "sqlite_errorname", None)
    if name is not None:
        primary = "_".join(name.split("_")[:2])
        return _SQLITE_REASONS.get(primary)
    state = getattr(error, "sqlstate", None)
    if state is not None:
        known = _POSTGRES_REASONS.get(state)
        # Classes 22 and 23: the data; 21 and 42: the statement.
        return known or (None if state[:2] in ("21", "22", "23", "42") else "unreachable")
    # Only a driver that lost its server, or never had it, has no code to give.
    return "unreachable" if type(error).__name__ in ("OperationalError", "InterfaceError") else None


def reason_of_os_error(error: OSError) -> str:
    """Return one word for a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "disk_full"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "read_only"
    return "locked" if isinstance(error, TimeoutError) else "io_error"
