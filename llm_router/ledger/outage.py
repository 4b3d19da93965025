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


HINTS = {
    **dict.fromkeys(("missing_schema", "old_schema"), "Run `llm-router db upgrade`."),
    "newer_schema": "Update llm_router.",
}


class UnavailableError(Exception):
    """The database cannot take rows now; `reason` is one word for the event."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or HINTS.get(reason)


class RefusedError(Exception):
    """The database will never take these rows: something in them is wrong."""


_SQLITE_REASONS = {
    "SQLITE_READONLY_DBMOVED": "replaced",
    "SQLITE_FULL": "disk_full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_PERM": "not_permitted",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_INTERRUPT": "slow",
    "SQLITE_CANTOPEN": "cannot_open",
    "SQLITE_IOERR": "io_error",
    "SQLITE_CORRUPT": "corrupt",
    "SQLITE_NOTADB": "corrupt",
}
# States and classes of states in which no row would be taken; every other one is about the row.
_POSTGRES_REASONS = {
    "08": "unreachable",
    "25006": "read_only",
    "28": "not_permitted",
    "40": "locked",
    "42501": "not_permitted",
    "42703": "old_schema",
    "42P01": "old_schema",
    "53": "overloaded",
    "53100": "disk_full",
    "55": "locked",
    "57": "unreachable",
    "57014": "slow",
    "58": "io_error",
    "XX001": "corrupt",
    "XX002": "corrupt",
}
_OLD_SCHEMA = ("no such table", "has no column", "no such column")
"""How SQLite says it, which has no code of its own for that."""


_OTHER_REASONS = {
    # Only a driver that lost its server, or never had it, has no code to give.
    "OperationalError": "unreachable",
    "InterfaceError": "unreachable",
    "TimeoutError": "slow",  # of the pool
}


def reason_of_error(error: BaseException) -> str | None:
    """Return in a word why an error means "not now"; None when the rows themselves are wrong."""
    error = getattr(error, "orig", None) or error  # SQLAlchemy's, of the driver's
    if isinstance(error, OSError):
        return _reason_of_file_error(error)
    name: str | None = getattr(error, "sqlite_errorname", None)
    if name == "SQLITE_ERROR":
        return "old_schema" if any(words in str(error) for words in _OLD_SCHEMA) else None
    if name is not None:
        return _SQLITE_REASONS.get(name, _SQLITE_REASONS.get("_".join(name.split("_")[:2])))
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return _POSTGRES_REASONS.get(state, _POSTGRES_REASONS.get(state[:2]))
    return _OTHER_REASONS.get(type(error).__name__)


def _reason_of_file_error(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "disk_full"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "read_only"
    return "locked" if isinstance(error, TimeoutError) else "io_error"
