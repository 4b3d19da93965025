"""The four tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from llm_router.ledger.columns import Usd, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_requests()
    _create_attempts()
    op.create_table(
        "llm_payloads",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt_id", sa.Text),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("ix_llm_payloads_request_id", "llm_payloads", ["request_id"])
    op.create_index("ix_llm_payloads_day", "llm_payloads", ["day"])
    op.create_table(
        "llm_configs",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("first_seen_at", UtcTime, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("llm_configs", "llm_payloads", "llm_attempts", "llm_requests"):
        op.drop_table(table)


def _create_requests() -> None:
    op.create_table(
        "llm_requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("alias", sa.Text),
        sa.Column("requested", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("status_code", sa.Integer),
        sa.Column("attempts", sa.Integer),
        sa.Column("latency_ms", sa.Float),
        sa.Column("user", sa.Text),
        sa.Column("tags", sa.JSON().with_variant(JSONB(), "postgresql")),
        sa.Column("config_fingerprint", sa.Text),
        *_bill(),
    )
    op.create_index("ix_llm_requests_day", "llm_requests", ["day"])


def _create_attempts() -> None:
    op.create_table(
        "llm_attempts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("started_at", UtcTime, nullable=False),
        sa.Column("alias", sa.Text),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("served_model", sa.Text),
        sa.Column("upstream_provider", sa.Text),
        sa.Column("response_id", sa.Text),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("mode_used", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("status_code", sa.Integer),
        sa.Column("finish_reason", sa.Text),
        sa.Column("native_finish_reason", sa.Text),
        sa.Column("latency_ms", sa.Float),
        sa.Column("time_to_first_token_ms", sa.Float),
        sa.Column("reconciled_at", UtcTime),
        *_bill(),
    )
    op.create_index("ix_llm_attempts_request_id", "llm_attempts", ["request_id"])


def _bill() -> list[sa.Column[Any]]:
    tokens = ("input", "output", "total", "cache_read", "cache_write", "reasoning")
    money = ("total", "reported", "upstream", "computed")
    return [
        *(sa.Column(f"{name}_tokens", sa.BigInteger) for name in tokens),
        *(sa.Column(f"cost_{name}", Usd) for name in money),
        sa.Column("cost_source", sa.Text),
        sa.Column("is_byok", sa.Boolean),
    ]
