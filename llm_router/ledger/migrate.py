"""The schema's versions: what the database has, what this release needs, and the way there.

Alembic with a version table of its own, so that the application's Alembic never notices.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import inspect

from llm_router.events import hushed
from llm_router.ledger.tables import metadata

with hushed("alembic.runtime.plugins"):  # it tells of each of its plugins
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION_TABLE = "llm_router_alembic_version"
_PROGRESS = "alembic.runtime.migration"
_SCRIPTS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """Which version of the tables a database has."""

    state: Literal["current", "missing", "old", "newer"]
    current: str | None
    """None also where the application's own migrations made the tables."""
    head: str

    @property
    def usable(self) -> bool:
        return self.state == "current"


@hushed(_PROGRESS)
def status(connection: Connection) -> SchemaStatus:
    """Compare the tables of a database with what this release needs."""
    scripts = ScriptDirectory.from_config(_config())
    head = scripts.get_current_head() or ""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    current = context.get_current_revision()
    state: Literal["current", "missing", "old", "newer"]
    if current is None:
        state = _state_without_version(connection)
    elif current == head:
        state = "current"
    else:
        known = {script.revision for script in scripts.walk_revisions()}
        state = "old" if current in known else "newer"
    return SchemaStatus(state=state, current=current, head=head)


@hushed(_PROGRESS)
def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to *revision*. The caller commits."""
    command.upgrade(_config(connection=connection), revision)


@hushed(_PROGRESS)
def sql(dialect: str, start: str | None = None) -> str:
    """Return the statements of an upgrade from *start* (nothing) to head, for a reviewer's eye."""
    buffer = io.StringIO()
    config = _config(dialect=dialect)
    config.output_buffer = buffer
    command.upgrade(config, f"{start}:head" if start else "head", sql=True)
    return buffer.getvalue()


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    # `%` starts an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _state_without_version(connection: Connection) -> Literal["current", "missing", "old"]:
    """Judge tables that the application's own migrations made, by their columns."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    if not present & set(metadata.tables):
        return "missing"
    for name, table in metadata.tables.items():
        columns = {c["name"] for c in inspector.get_columns(name)} if name in present else set()
        if not columns.issuperset(table.columns.keys()):
            return "old"
    return "current"
