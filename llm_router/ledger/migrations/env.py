"""Run by Alembic: on the connection that `migrate` passes in, or as SQL text for a dialect."""

from __future__ import annotations

from alembic import context

from llm_router.ledger.migrate import VERSION_TABLE
from llm_router.ledger.tables import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes.get("connection"),
    dialect_name=attributes.get("dialect"),
    version_table=VERSION_TABLE,
    target_metadata=metadata,
    literal_binds=context.is_offline_mode(),
)
with context.begin_transaction():
    context.run_migrations()
