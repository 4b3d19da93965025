"""What operations count beside tokens: images, seconds of sound, characters, search units."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
_TABLES = ("llm_requests", "llm_attempts")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("units", sa.Float))
        op.add_column(table, sa.Column("unit", sa.Text))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "unit")
        op.drop_column(table, "units")
