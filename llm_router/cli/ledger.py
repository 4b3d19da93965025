"""The ledger's commands: `logs`, `show`, `report`, `reconcile`, `purge` and `db`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.terminal import Format, config_option, say, say_json, show_rows
from llm_router.config import loading
from llm_router.errors import ConfigurationError
from llm_router.ledger.ledger import Ledger
from llm_router.router import Router

if TYPE_CHECKING:
    from llm_router.ledger.migrate import SchemaStatus
    from llm_router.ledger.results import ReportRow

format_option = click.option(
    "--format", "style", type=click.Choice(["table", "csv", "json"]), default="table"
)
_LOGGED = (
    "id", "started_at", "requested", "operation", "status", "error", "attempts",
    "input_tokens", "output_tokens", "cost_total", "latency_ms",
)  # fmt: skip
_DAYS = click.IntRange(min=0)
"""Whole UTC days: 0 keeps today. A negative number would reach the calls in flight."""


def _ledger(config: str | None) -> Ledger:
    found = loading.load(config)
    if found.ledger is None:
        raise ConfigurationError(
            "this configuration records nothing",
            hint="Add `ledger: {url: sqlite:///llm_router.db}` to it.",
        )
    return Ledger(found.ledger)


@click.command()
@config_option
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@click.option("--alias")
@click.option("--limit", type=int, default=20, show_default=True)
@format_option
def logs(config: str | None, failed: bool, alias: str | None, limit: int, style: Format) -> None:
    """List recorded calls, the newest first."""
    rows = _ledger(config).logs(failed=failed, alias=alias, limit=limit)
    show_rows([{name: getattr(row, name) for name in _LOGGED} for row in rows], style)


@click.command()
@click.argument("identity", metavar="ID")
@config_option
def show(identity: str, config: str | None) -> None:
    """Show one call whole: ID is a request's, an attempt's, or the provider's response id."""
    detail = _ledger(config).show(identity)
    say_json(asdict(detail))


@click.command()
@config_option
@click.option("--by", default="alias", show_default=True, help="alias,day,upstream,tag:feature,…")
@click.option("--since", help="A date (2026-05-03), or so far back: 7d, 12h.")
@click.option("--until", help="A date, or so far back.")
@format_option
def report(
    config: str | None, by: str, since: str | None, until: str | None, style: Format
) -> None:
    """Sum up what was asked, who served it and what it cost."""
    groups = [name.strip() for name in by.split(",") if name.strip()]
    rows = _ledger(config).report(by=groups, since=_day(since), until=_day(until))
    show_rows([report_line(row) for row in rows], style)


def report_line(row: ReportRow) -> dict[str, Any]:
    """Return a report's row with its groups as columns."""
    figures = asdict(row)
    return {**figures.pop("group"), **figures}


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    back = re.fullmatch(r"(\d{1,5})([dh])", text)
    if back:
        span = timedelta(**{{"d": "days", "h": "hours"}[back[2]]: int(back[1])})
        return (datetime.now(UTC) - span).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a date (2026-05-03) nor a span (7d, 12h)"
        raise click.BadParameter(message) from None


@click.command()
@config_option
@click.option("--limit", type=int, default=100, show_default=True)
def reconcile(config: str | None, limit: int) -> None:
    """Complete calls of unknown cost from OpenRouter's records."""

    async def run() -> str:
        async with Router.from_yaml(config) as router:
            done = await router.reconcile(limit=limit)
        return f"{done.completed} completed, {done.missing} not known yet, {done.failed} failed"

    say(asyncio.run(run()))


@click.command()
@config_option
@click.option("--payloads-days", type=_DAYS, help="Delete content older than so many days.")
@click.option("--rows-days", type=_DAYS, help="Delete whole records older than so many days.")
def purge(config: str | None, payloads_days: int | None, rows_days: int | None) -> None:
    """Delete what is old, in whole UTC days; without options by the file's `retention`."""
    done = _ledger(config).purge(payloads_days=payloads_days, rows_days=rows_days)
    say(", ".join(f"{count} {name}" for name, count in asdict(done).items()))


@click.group()
def db() -> None:
    """The ledger's tables: upgrade, status, sql."""


@db.command()
@config_option
def upgrade(config: str | None) -> None:
    """Create the tables, or bring them to this release's version."""
    _say(_ledger(config).upgrade())


@db.command()
@config_option
def status(config: str | None) -> None:
    """Say which version of the tables the database has."""
    _say(_ledger(config).status())


@db.command()
@config_option
@click.option("--from", "start", help="Begin at this version instead of at nothing.")
def sql(config: str | None, start: str | None) -> None:
    """Print the SQL of an upgrade, for those who run it themselves."""
    say(_ledger(config).sql(start))


def _say(state: SchemaStatus) -> None:
    fields = asdict(state).items()
    say(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in fields))
