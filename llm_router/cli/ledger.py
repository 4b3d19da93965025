"""The ledger's commands: `logs`, `show`, `report`, `reconcile`, `purge` and `db`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.terminal import (
    Format,
    config_option,
    json_option,
    on_one_line,
    rows_options,
    say,
    say_json,
    show_rows,
    shown,
)
from llm_router.config import loading
from llm_router.errors import ConfigurationError, LedgerError
from llm_router.ledger.ledger import Ledger
from llm_router.options.request import did_you_mean
from llm_router.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.ledger.results import ReportRow, RequestDetail

_LOGGED = (
    "id", "started_at", "requested", "operation", "status", "error", "attempts",
    "input_tokens", "output_tokens", "cost_total", "latency_ms",
)  # fmt: skip
_LOGS_LEAVE = (
    "operation", "attempts", "latency_ms", "input_tokens", "output_tokens", "started_at", "error",
)  # fmt: skip
REPORT_LEAVES = (
    "computed", "cached_share", "first_token_p95_ms", "first_token_p50_ms", "cache_read_tokens",
    "latency_p50_ms",
    "cancelled", "without_cost", "latency_p95_ms", "attempts", "input_tokens", "output_tokens",
)  # fmt: skip
_TRIED = (
    "number", "deployment", "upstream_provider", "status", "error", "status_code", "input_tokens",
    "output_tokens", "cost_total", "latency_ms",
)  # fmt: skip
_TRIED_LEAVE = ("input_tokens", "output_tokens", "latency_ms", "upstream_provider", "status_code")
_DAYS = click.IntRange(min=0)
"""Whole UTC days: 0 keeps today. A negative number would reach the calls in flight."""
_COUNT = click.IntRange(min=1)
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


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
@click.option("--alias", help="Only calls of this alias.")
@click.option("--limit", type=_COUNT, default=20, show_default=True, help="At most so many.")
@rows_options
def logs(config: str | None, failed: bool, alias: str | None, limit: int, style: Format) -> None:
    """List recorded calls, the newest first."""
    rows = _ledger(config).logs(failed=failed, alias=alias, limit=limit)
    lines = [{name: getattr(row, name) for name in _LOGGED} for row in rows]
    show_rows(lines, style, first_to_go=_LOGS_LEAVE)


@click.command()
@click.argument("identity", metavar="ID|last")
@config_option
@json_option
def show(identity: str, config: str | None, as_json: bool) -> None:
    """Show one call whole.

    ID is a request's, an attempt's or the provider's response id, or how one of them begins;
    `last` is the newest call.
    """
    ledger = _ledger(config)
    if identity == "last":
        newest = ledger.logs(limit=1)
        if not newest:
            raise LedgerError("nothing is recorded yet")
        identity = newest[0].id
    detail = ledger.show(identity)
    if as_json:
        say_json(asdict(detail))
    else:
        _say_detail(detail)


def _say_detail(detail: RequestDetail) -> None:
    facts = {name: value for name, value in asdict(detail.request).items() if value is not None}
    facts.pop("day")
    width = max(map(len, facts))
    for name, value in facts.items():
        say(f"{name.replace('_', ' '):{width}}  {on_one_line(shown(value))}")
    say("")
    tried = [{name: getattr(row, name) for name in _TRIED} for row in detail.attempts]
    show_rows(tried, "table", first_to_go=_TRIED_LEAVE)
    for payload in detail.payloads:
        say(f"\n{payload.kind}:")
        say_json(payload.body)


@click.command()
@config_option
@click.option(
    "--by",
    default="alias",
    show_default=True,
    callback=lambda _c, _p, text: _groups(text),
    help='Group by these: alias,day,upstream,tag:NAME,…; by nothing ("") for the total.',
)
@click.option("--since", help="A UTC date (2026-05-03), whole UTC days back (7d), hours (12h).")
@click.option("--until", help="Up to that, left out; written in the same ways.")
@rows_options
def report(
    config: str | None, by: list[str], since: str | None, until: str | None, style: Format
) -> None:
    """Sum up what was asked, who served it and what it cost."""
    ledger, window = _ledger(config), {"since": _moment(since), "until": _moment(until)}
    rows = [report_line(row) for row in ledger.report(by=by, **window)]
    total = None
    if len(rows) > 1 and style == "table":  # calls and times are no sums of their groups'
        (whole,) = ledger.report(by=(), **window)
        total = {by[0]: "total"} | report_line(whole)
    show_rows(rows, style, total=total, first_to_go=REPORT_LEAVES)


def report_line(row: ReportRow) -> dict[str, Any]:
    """Return a report's row with its groups as columns."""
    figures = asdict(row)
    return {**figures.pop("group"), **figures}


def _groups(text: str) -> list[str]:
    from llm_router.ledger.reports import GROUPS

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in GROUPS and not name.startswith("tag:"):
            known = f"{', '.join(GROUPS)}{did_you_mean(name, GROUPS)}"
            raise click.BadParameter(f"{name!r} is none of {known}")
    return names


def _moment(text: str | None) -> date | None:
    """Return the UTC day or, for hours, the moment that *text* means."""
    if text is None:
        return None
    now = datetime.now(UTC)
    if back := re.fullmatch(r"(\d{1,5})([dh])", text):
        count = int(back[1])
        return now - timedelta(hours=count) if back[2] == "h" else (now - timedelta(count)).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a date (2026-05-03) nor a span (7d, 12h)"
        raise click.BadParameter(message) from None


@click.command()
@config_option
@click.option("--limit", type=_COUNT, default=100, show_default=True, help="At most so many.")
@json_option
def reconcile(config: str | None, limit: int, as_json: bool) -> None:
    """Complete calls of unknown cost from OpenRouter's records."""

    async def run() -> dict[str, int]:
        async with Router.from_yaml(config) as router:
            return asdict(await router.reconcile(limit=limit))

    done = asyncio.run(run())
    words = {"completed": "completed", "missing": "not known yet", "failed": "failed"}
    _say(done, as_json, ", ".join(f"{done[name]} {said}" for name, said in words.items()))


@click.command()
@config_option
@click.option("--payloads-days", type=_DAYS, help="Delete content older than so many days.")
@click.option("--rows-days", type=_DAYS, help="Delete whole records older than so many days.")
@_yes_option
@json_option
def purge(
    config: str | None, payloads_days: int | None, rows_days: int | None, yes: bool, as_json: bool
) -> None:
    """Delete what is old, in whole UTC days; without options by the file's `retention`."""
    ledger = _ledger(config)
    if payloads_days is None and rows_days is None:
        kept = ledger.config.retention
        payloads_days, rows_days = kept.payloads_days, kept.rows_days
    limits = {"content": payloads_days, "whole records": rows_days}
    older = [f"{what} older than {days} days" for what, days in limits.items() if days is not None]
    if older and not yes:
        click.confirm(f"Delete {' and '.join(older)} from {on_one_line(repr(ledger))}?", abort=True)
    done = asdict(ledger.purge(payloads_days=payloads_days, rows_days=rows_days))
    _say(done, as_json, ", ".join(f"{count} {name}" for name, count in done.items()))


@click.group()
def db() -> None:
    """The ledger's tables: upgrade, status, sql."""


@db.command()
@config_option
@json_option
def upgrade(config: str | None, as_json: bool) -> None:
    """Create the tables, or bring them to this release's version."""
    _say(asdict(_ledger(config).upgrade()), as_json)


@db.command()
@config_option
@json_option
def status(config: str | None, as_json: bool) -> None:
    """Say which version of the tables the database has."""
    _say(asdict(_ledger(config).status()), as_json)


@db.command()
@config_option
@click.option("--from", "start", help="Begin at this version instead of at nothing.")
@json_option
def sql(config: str | None, start: str | None, as_json: bool) -> None:
    """Print the SQL of an upgrade, for those who run it themselves."""
    text = _ledger(config).sql(start)
    _say({"sql": text}, as_json, text)


def _say(facts: Mapping[str, Any], as_json: bool, sentence: str | None = None) -> None:
    """Print *facts* as JSON, or as a *sentence*."""
    if as_json:
        say_json(facts)
    else:
        named = (f"{name.replace('_', ' ')}: {value}" for name, value in facts.items())
        say(", ".join(named) if sentence is None else sentence)
