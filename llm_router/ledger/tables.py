"""The tables. `metadata` may be part of the metadata of the application's own migrations.

There are no foreign keys: rows reach the database in batches, from several processes and from the
spool, and a row that came first must not be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from llm_router.ledger.columns import JsonText, Usd, UtcTime
from llm_router.ledger.results import (
    AttemptRow,
    ConfigRow,
    Label,
    PayloadRow,
    RequestRow,
    Tokens,
    columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

metadata = MetaData()

_TYPES: dict[Any, Any] = {
    str: Text,
    Label: Text,
    bool: Boolean,
    int: Integer,
    Tokens: BigInteger,
    float: Float,
    Decimal: Usd,
    datetime: UtcTime,
    Mapping[str, str]: JSON().with_variant(JSONB(), "postgresql"),
    Any: JsonText,
}


def _columns(row: type) -> Iterator[Column[Any]]:
    for place, (name, kind) in enumerate(columns(row).items()):
        nullable = NoneType in get_args(kind)
        known = get_args(kind)[0] if nullable else kind
        yield Column(name, _TYPES[known], nullable=nullable, primary_key=place == 0)


requests = Table(
    "llm_requests", metadata, *_columns(RequestRow), Index("ix_llm_requests_day", "day")
)
attempts = Table(
    "llm_attempts",
    metadata,
    *_columns(AttemptRow),
    Index("ix_llm_attempts_request_id", "request_id"),
    # Everything `reports.report` reads, so that a report never touches the table itself.
    Index(
        "ix_llm_attempts_report",
        *("day", "alias", "upstream_provider", "number", "status", "input_tokens"),
        *("output_tokens", "cache_read_tokens", "cost_total", "cost_computed"),
        *("request_id", "latency_ms", "time_to_first_token_ms"),
    ),
)
payloads = Table(
    "llm_payloads",
    metadata,
    *_columns(PayloadRow),
    Index("ix_llm_payloads_request_id", "request_id"),
    Index("ix_llm_payloads_day", "day"),
)
configs = Table("llm_configs", metadata, *_columns(ConfigRow))
