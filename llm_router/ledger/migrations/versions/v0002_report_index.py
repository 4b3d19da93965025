"""The index that reports read. A step of its own: on a large table it is the slow one."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "ix_llm_attempts_report",
        "llm_attempts",
        [
            *("day", "alias", "upstream_provider", "number", "status", "input_tokens"),
            *("output_tokens", "cache_read_tokens", "cost_total", "cost_computed"),
        ],
    )


def downgrade() -> None:
    op.drop_index("ix_llm_attempts_report", "llm_attempts")
