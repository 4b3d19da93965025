"""The database behind the ledger: its engine, and one way to write rows, on two dialects."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from llm_router.errors import ConfigurationError
from llm_router.ledger import migrate, tables
from llm_router.ledger.columns import exact_sum
from llm_router.ledger.outage import (
    RefusedError,
    UnavailableError,
    reason_of_database_error,
    reason_of_os_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Table

    from llm_router.config.model import LedgerConfig
    from llm_router.ledger.rows import Row, Rows

_BUSY_MS = 2_000
_STATEMENT_MS = 10_000
UPGRADE_HINT = "Run `llm-router db upgrade`."


class Database:
    """An engine with the ledger's tables in it. Safe on several threads."""

    def __init__(self, engine: Engine, *, owned: bool) -> None:
        if engine.dialect.name not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"the ledger runs on SQLite and PostgreSQL, not on {engine.dialect.name}"
            )
        self.engine = engine
        self._owned = owned
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._checked = False

    @classmethod
    def from_config(cls, config: LedgerConfig) -> Database:
        """Build the ledger's own engine; ConfigurationError when its driver is missing."""
        url = database_url(config.url)
        if url.get_backend_name() == "sqlite":
            return cls(_sqlite_engine(url, config.durability == "strict"), owned=True)
        limits = {"connect_timeout": 5, "tcp_user_timeout": _STATEMENT_MS}
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=limits)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "a PostgreSQL ledger needs a driver: pip install 'llm-router-litellm[postgres]'"
            ) from error
        return cls(engine, owned=True)

    def reading(self) -> Connection:
        """Return a connection with the exact sum in place. Close it."""
        connection = self.engine.connect()
        if self._is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.create_function("llm_usd_sum", 1, exact_sum, deterministic=True)
        return connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction, and commit it.

        Raises UnavailableError, or RefusedError when what is written is the trouble.
        """
        try:
            self._make_ready()
            with self._immediate() as connection, connection.begin():
                if not self._is_sqlite:
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_STATEMENT_MS}")
                yield connection
        except DBAPIError as error:
            self._raise_from(error)
        except PoolTimeoutError as error:
            raise UnavailableError("slow") from error
        except OSError as error:
            raise UnavailableError(reason_of_os_error(error)) from error
        except (SQLAlchemyError, ArithmeticError, ValueError) as error:
            raise RefusedError(type(error).__name__) from error

    def write(self, rows: Rows) -> None:
        """Write rows in one transaction; rows that are there already stay as they are."""
        with self.writing() as connection:
            for statement, values in self._statements(rows):
                connection.execute(statement, values)

    def status(self) -> migrate.SchemaStatus:
        """Compare the tables with what this release needs."""
        with self.engine.connect() as connection:
            return migrate.status(connection)

    def upgrade(self) -> None:
        """Bring the tables to this release's version."""
        with self._immediate() as connection, connection.begin():
            if not self._is_sqlite:
                # Two processes that upgrade at once would both create the tables.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7365321004)")
            if not migrate.status(connection).usable:
                migrate.upgrade(connection)
        self._checked = True

    def checkpoint(self) -> None:
        """Move SQLite's write-ahead log, which still holds purged content, into the file."""
        if self._is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                driver: Any = connection.driver_connection
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        """Close the connections, unless the engine is the application's."""
        if self._owned:
            self.engine.dispose()

    def forget_connections(self) -> None:
        """Leave the connections to the process that was forked from."""
        self.engine.dispose(close=False)

    def _immediate(self) -> Connection:
        """Connect to write: SQLite takes its lock at once, where waiting for it is possible."""
        return self.engine.connect().execution_options(llm_router_write=True)

    def _make_ready(self) -> None:
        if self._checked:
            return
        found = self.status()
        if found.state in ("missing", "old") and self._is_sqlite and self._owned:
            self.upgrade()
        elif not found.usable:
            hint = "Update llm_router." if found.state == "newer" else UPGRADE_HINT
            raise UnavailableError(f"{found.state}_schema", hint)
        self._checked = True

    def _raise_from(self, error: DBAPIError) -> None:
        reason = reason_of_database_error(error.orig or error)
        if reason is None:
            raise RefusedError(type(error.orig).__name__) from error
        if reason == "old_schema":
            self._checked = False
        raise UnavailableError(reason, UPGRADE_HINT if reason == "old_schema" else None) from error

    def _statements(self, rows: Rows) -> Iterator[tuple[Any, list[Row]]]:
        insert = sqlite.insert if self._is_sqlite else postgresql.insert
        for table in (tables.configs, tables.requests, tables.attempts, tables.payloads):
            given = rows.get(table.name.removeprefix("llm_"), [])
            # A request has a row before it ends; everything else is written once.
            begun = [row for row in given if table is not tables.requests or _has_begun(row)]
            if begun:
                yield insert(table).on_conflict_do_nothing(), _complete(table, begun)
            ended = [row for row in given if table is tables.requests and not _has_begun(row)]
            if ended:
                statement = insert(table)
                values = {c.name: statement.excluded[c.name] for c in table.columns}
                # An end is written once: what came later (reconciliation) stays.
                upsert = statement.on_conflict_do_update(
                    index_elements=["id"], set_=values, where=table.c.status == "started"
                )
                yield upsert, _complete(table, ended)


def _has_begun(row: Row) -> bool:
    return row.get("status") == "started"


def _complete(table: Table, rows: list[Row]) -> list[Row]:
    """Give every row the same columns: those of an older release's spool have fewer."""
    names = table.columns.keys()
    return [
        row if len(row) == len(names) else {name: row.get(name) for name in names} for row in rows
    ]


def database_url(text: str) -> URL:
    """Return the URL with the driver that is used; passwords stay masked in its `str`."""
    url = make_url(text)
    if url.get_backend_name() in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for other databases and for memory."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:":
        return None
    return Path(name.removeprefix("file:"))


def _sqlite_engine(url: URL, strict: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000})
    path = sqlite_path(url)

    @event.listens_for(engine, "do_connect")
    def _create_private(*_: Any) -> None:
        # Created here because SQLite would make it readable to all; -wal and -shm copy its mode.
        if path is not None and not path.exists() and "mode" not in url.query:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    @event.listens_for(engine, "connect")
    def _set_up(driver: Any, _record: Any) -> None:
        # The driver would begin transactions by itself, but not before DDL.
        driver.isolation_level = None
        driver.execute("PRAGMA journal_mode=WAL")
        driver.execute(f"PRAGMA synchronous={'FULL' if strict else 'NORMAL'}")
        # Purged content is overwritten, not only unlinked.
        driver.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("llm_router_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
