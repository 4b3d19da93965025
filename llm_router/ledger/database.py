"""The database behind the ledger: its engine, and one way to write rows, on two dialects."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from llm_router.errors import ConfigurationError
from llm_router.ledger import migrate, tables
from llm_router.ledger.columns import SQLITE_FUNCTIONS
from llm_router.ledger.outage import RefusedError, UnavailableError, reason_of_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, PoolProxiedConnection

    from llm_router.config.model import LedgerConfig
    from llm_router.ledger.rows import Rows

_BUSY_MS = 2_000
_STATEMENT_MS = 10_000


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
        path = sqlite_path(engine.url)
        self._path = path and path.absolute()
        self._checked = False
        self._replaced = False

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
        """Return a connection with the functions of reports in place. Close it."""
        connection = self._connect()
        if self._is_sqlite:
            driver: Any = connection.connection.driver_connection
            for name, function in SQLITE_FUNCTIONS.items():
                driver.create_function(name, 1, function, deterministic=True)
        return connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction, and commit it.

        Raises UnavailableError, or RefusedError when what is written is the trouble: whatever is
        wrong after the transaction began and is no known outage.
        """
        with self._begin() as connection:
            try:
                yield connection
                connection.commit()
            except Exception as error:
                raise self._failure(error) from error
            if not self._is_current(connection):
                self._leave_file(connection)
        self._tell_replaced()

    def write(self, rows: Rows) -> None:
        """Write rows in one transaction; rows that are there already stay as they are."""
        with self.writing() as connection:
            for statement, values in self._statements(rows):
                connection.execute(statement, values)

    def make_ready(self) -> None:
        """Look at the tables, once, and make them in a SQLite file; UnavailableError if unfit."""
        if self._checked:
            return
        try:
            found = self.status()
            if found.state in ("missing", "old") and self._is_sqlite and self._owned:
                self.upgrade()
        except (SQLAlchemyError, OSError) as error:
            raise UnavailableError(reason_of_error(error) or "unreachable") from error
        if not (self._checked or found.usable):
            raise UnavailableError(f"{found.state}_schema")
        self._checked = True

    def status(self) -> migrate.SchemaStatus:
        """Compare the tables with what this release needs."""
        with self._connect() as connection:
            return migrate.status(connection)

    def upgrade(self) -> None:
        """Bring the tables to this release's version."""
        with self._connect(write=True) as connection, connection.begin():
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
                _empty_log(connection)

    def close(self) -> None:
        """Close the connections, unless the engine is the application's."""
        if self._owned:
            self.engine.dispose()

    def forget_connections(self) -> None:
        """Leave the connections to the process that was forked from."""
        self.engine.dispose(close=False)

    def _connect(self, *, write: bool = False) -> Connection:
        """Connect to the file that has the name now.

        To write, SQLite takes its lock at once, where waiting for it is possible.
        """
        connection = self.engine.connect()
        if not self._is_current(connection):
            self._leave_file(connection)
            connection.close()
            connection = self.engine.connect()
            self._is_current(connection)
        return connection.execution_options(llm_router_write=write)

    def _begin(self) -> Connection:
        """Begin a transaction. No row was sent yet: what goes wrong here is an outage."""
        self.make_ready()
        try:
            connection = self._connect(write=True)
            try:
                self._tell_replaced()
                connection.begin()
                if not self._is_sqlite:
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_STATEMENT_MS}")
            except BaseException:
                connection.close()
                raise
        except (SQLAlchemyError, OSError) as error:
            raise UnavailableError(reason_of_error(error) or "unreachable") from error
        return connection

    def _is_current(self, connection: Connection) -> bool:
        """Return whether a connection's file still has its name: SQLite would not notice."""
        if self._path is None:
            return True
        try:
            found = self._path.stat()
            identity = (found.st_dev, found.st_ino)
        except OSError:
            identity = None
        known = connection.info.setdefault("llm_router_file", identity)
        return bool(known == identity)

    def _leave_file(self, connection: Connection) -> None:
        """Part from a file that was deleted, moved or replaced, with all that was written to it."""
        self._replaced, self._checked = True, False
        with suppress(Exception):  # else a new file of that name would find the old one's log
            _empty_log(connection.connection)
        connection.invalidate()
        self.engine.dispose()

    def _tell_replaced(self) -> None:
        if self._replaced:
            self._replaced = False
            raise UnavailableError("replaced")

    def _failure(self, error: Exception) -> UnavailableError | RefusedError:
        """Tell an outage from rows that no database takes."""
        lost = getattr(error, "connection_invalidated", False)
        reason = "unreachable" if lost else reason_of_error(error)
        if reason is None:
            return RefusedError(type(getattr(error, "orig", None) or error).__name__)
        if reason == "old_schema":
            self._checked = False
        return UnavailableError(reason)

    def _statements(self, rows: Rows) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
        insert = sqlite.insert if self._is_sqlite else postgresql.insert
        for table in (tables.configs, tables.requests, tables.attempts, tables.payloads):
            once: list[dict[str, Any]] = []
            ends: list[dict[str, Any]] = []
            names = table.columns.keys()
            for name, row in rows:
                if table.name == f"llm_{name}":
                    # A request has a row before it ends; everything else is written once.
                    ended = table is tables.requests and row.get("status") != "started"
                    # A row of an older release's spool has fewer columns.
                    (ends if ended else once).append({c: row.get(c) for c in names})
            if once:
                yield insert(table).on_conflict_do_nothing(), once
            if ends:
                yield _end(insert(table)), ends


def _empty_log(connection: PoolProxiedConnection) -> None:
    driver: Any = connection.driver_connection
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _end(statement: Any) -> Any:
    """Return the insertion of an end, which is written once: reconciliation came later."""
    table = statement.table
    return statement.on_conflict_do_update(
        index_elements=["id"],
        set_={column.name: statement.excluded[column.name] for column in table.columns},
        where=table.c.status == "started",
    )


def database_url(text: str) -> URL:
    """Return the URL with the driver that is used; passwords stay masked in its `str`.

    Raises ConfigurationError for what is no URL.
    """
    url: URL | None = None
    with suppress(ArgumentError, ValueError):
        url = make_url(text)
    if url is None:  # outside of the block: the parser quotes what it cannot read
        raise ConfigurationError(
            "the ledger's URL cannot be read",
            hint="Is its port a number? A `:`, `/` or `@` in the password is %3A, %2F or %40.",
        )
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
