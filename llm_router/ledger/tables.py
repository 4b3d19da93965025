"""The tables. `metadata` may be part of the metadata of the application's own migrations.

There are no foreign keys: rows reach the database in batches, from several processes and from the
spool, and a row that came first must not be refused.
"""

from __future__ import annotations

from typing import Any

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

from llm_router.ledger.columns import Usd, UtcTime

metadata = MetaData()


def _bill() -> list[Column[Any]]:
    tokens = ("input", "output", "total", "cache_read", "cache_write", "reasoning")
    money = ("total", "reported", "upstream", "computed")
    return [
        *(Column(f"{name}_tokens", BigInteger) for name in tokens),
        *(Column(f"cost_{name}", Usd) for name in money),
        Column("cost_source", Text),
        Column("is_byok", Boolean),
    ]


requests = Table(
    "llm_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("day", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("alias", Text),
    Column("requested", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("error_code", Text),
    Column("status_code", Integer),
    Column("attempts", Integer),
    Column("latency_ms", Float),
    Column("user", Text),
    Column("tags", JSON().with_variant(JSONB(), "postgresql")),
    Column("config_fingerprint", Text),
    *_bill(),
    Index("ix_llm_requests_day", "day"),
)

attempts = Table(
    "llm_attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("day", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("alias", Text),
    Column("deployment", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("served_model", Text),
    Column("upstream_provider", Text),
    Column("response_id", Text),
    Column("stream", Boolean, nullable=False),
    Column("mode_used", Text),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("error_code", Text),
    Column("status_code", Integer),
    Column("finish_reason", Text),
    Column("native_finish_reason", Text),
    Column("latency_ms", Float),
    Column("time_to_first_token_ms", Float),
    Column("reconciled_at", UtcTime),
    *_bill(),
    Index("ix_llm_attempts_request_id", "request_id"),
    # Everything `reports.report` reads, so that a report never touches the table itself.
    Index(
        "ix_llm_attempts_report",
        *("day", "alias", "upstream_provider", "number", "status", "input_tokens"),
        *("output_tokens", "cache_read_tokens", "cost_total", "cost_computed"),
    ),
)

payloads = Table(
    "llm_payloads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("attempt_id", Text),
    Column("day", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # JSON as ASCII text: PostgreSQL's own JSON types refuse U+0000, which models do write.
    Column("body", Text, nullable=False),
    Index("ix_llm_payloads_request_id", "request_id"),
    Index("ix_llm_payloads_day", "day"),
)

configs = Table(
    "llm_configs",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
)
