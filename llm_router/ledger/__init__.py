"""The ledger: a row for every request and every attempt, in the application's own database.

Names are imported when they are first used; `metadata` is for the application's own migrations.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_router.config.model import LedgerConfig
    from llm_router.ledger.ledger import Ledger
    from llm_router.ledger.migrate import SchemaStatus
    from llm_router.ledger.results import (
        AttemptRow,
        PayloadRow,
        Purged,
        Reconciled,
        ReportRow,
        RequestDetail,
        RequestRow,
    )
    from llm_router.ledger.tables import metadata

__all__ = [
    "AttemptRow",
    "Ledger",
    "LedgerConfig",
    "PayloadRow",
    "Purged",
    "Reconciled",
    "ReportRow",
    "RequestDetail",
    "RequestRow",
    "SchemaStatus",
    "metadata",
]

_HOMES = {
    "Ledger": "ledger.ledger",
    "LedgerConfig": "config.model",
    "SchemaStatus": "ledger.migrate",
    "metadata": "ledger.tables",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"llm_router.{_HOMES.get(name, 'ledger.results')}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
