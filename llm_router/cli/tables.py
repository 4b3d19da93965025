"""Rows as a table, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Format = Literal["table", "csv", "json"]
format_option = click.option(
    "--format", "style", type=click.Choice(["table", "csv", "json"]), default="table"
)


def show_rows(rows: Sequence[Mapping[str, Any]], style: Format, title: str | None = None) -> None:
    """Print *rows*, whose keys are the columns; nothing known is shown as nothing."""
    if style == "json":
        click.echo(json.dumps(list(rows), indent=2, default=_text, ensure_ascii=False))
    elif style == "csv":
        click.echo(_csv(rows), nl=False)
    else:
        _show_table(rows, title)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _show_table(rows: Sequence[Mapping[str, Any]], title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        click.echo("no rows")
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        number = any(isinstance(row[name], int | float | Decimal) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        # In a pipe there is no width to fit: cut no figure.
        console = Console(width=240)
    console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format_usd(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else str(value)
