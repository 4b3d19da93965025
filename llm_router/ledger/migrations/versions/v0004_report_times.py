"""The index that reports read, with what they say since: distinct calls and times."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_NAME, _TABLE = "ix_llm_attempts_report", "llm_attempts"
_BEFORE = [
    *("day", "alias", "upstream_provider", "number", "status", "input_tokens"),
    *("output_tokens", "cache_read_tokens", "cost_total", "cost_computed"),
]


def upgrade() -> None:
    op.drop_index(_NAME, _TABLE)
    op.create_index(_NAME, _TABLE, [*_BEFORE, "request_id", "latency_ms", "time_to_first_token_ms"])


def downgrade() -> None:
    op.drop_index(_NAME, _TABLE)
    op.create_index(_NAME, _TABLE, _BEFORE)
