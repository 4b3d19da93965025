"""What the commands print. All of it passes here, for much of it was written by strangers.

Answers, sentences of errors, names of models and upstreams, tags and texts of a file may hold
escapes that retitle a terminal, write its clipboard or turn a line around, markup of rich, and
formulas of a spreadsheet. Here they become characters that only look like what they are.
"""

from __future__ import annotations

import csv
import functools
import json
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(),
    help="The configuration file (else LLM_ROUTER_CONFIG, …); builtin: the sample.",
)
Format = Literal["table", "csv", "json"]
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_WIDE = 10_000
"""Columns of a page that is none: a pipe's."""
_NARROW = 20
"""Where texts are folded when a table does not fit."""
# C0 without tab and line feed, DEL and C1; separators of lines and paragraphs; embeddings,
# overrides and isolates of direction; halves of surrogate pairs, which no stream takes.
# Joiners and the marks of one direction stay: scripts and emoji need them, and they turn no line.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKS = re.compile("[\t\n]")
# Also in the full width that some spreadsheets take, and behind blanks, which some cut off.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")  # noqa: RUF001 - they are meant


def visible(text: str) -> str:
    r"""Return *text* with every character that acts on a terminal as `\u001b`.

    That is JSON's way to write it too, so that JSON stays the same JSON.
    """
    return _ACTIVE.sub(_written, text)


def on_one_line(text: str) -> str:
    """Return *text* as `visible` does, with its tabs and line feeds written out as well."""
    return _BREAKS.sub(_written, visible(text))


def _written(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print *text*, to standard error if *err*; without *nl* it is a piece of more."""
    click.echo(visible(text), err=err, nl=nl)


def say_json(value: Any, indent: int | None = 2) -> None:
    """Print *value* as JSON; money is decimal text and moments are UTC, as in tables."""
    say(json.dumps(value, indent=indent, default=shown, ensure_ascii=False))


def rows_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that prints rows `--format` and `--json`, together its argument *style*."""

    @functools.wraps(command)
    def run(*, style: Format, as_json: bool, **arguments: Any) -> None:
        command(style="json" if as_json else style, **arguments)

    choice = click.Choice(["table", "csv", "json"])
    return json_option(
        click.option("--format", "style", type=choice, default="table", show_default=True)(run)
    )


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    style: Format,
    title: str | None = None,
    *,
    total: Mapping[str, Any] | None = None,
    first_to_go: Sequence[str] = (),
) -> None:
    """Print *rows*, whose keys are the columns; nothing known is shown as nothing.

    *total* stands below the rows of a table. In a table that is wider than the terminal texts are
    folded; then the columns *first_to_go* are left out, in their order, until it fits, and that is
    said. No figure, id, status or time is ever cut.
    """
    if style == "json":
        say_json(list(rows))
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows(map(_cell, row) for row in [*rows[:1], *(row.values() for row in rows)])
    else:
        _show_table(rows, title, total, first_to_go)


def _cell(value: Any) -> str:
    """Return a cell of CSV: numbers as they are, text that no spreadsheet calculates."""
    text = shown(value)
    quote = "'" if isinstance(value, str) and _FORMULA.match(text) else ""
    return quote + visible(text)


def _show_table(
    rows: Sequence[Mapping[str, Any]],
    title: str | None,
    total: Mapping[str, Any] | None,
    first_to_go: Sequence[str],
) -> None:
    from rich.console import Console
    from rich.measure import Measurement

    if not rows:
        say("no rows")
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    unbounded = console.options.update(width=_WIDE)
    columns, gone = list(rows[0]), []
    leaving = [name for name in first_to_go if name in columns]

    def fits(table: Table) -> bool:
        return Measurement.get(console, unbounded, table).maximum <= console.width

    table = _table(rows, columns, title, total)
    if not fits(table):
        table = _table(rows, columns, title, total, _NARROW)
    while leaving and not fits(table):
        gone.append(leaving.pop(0))
        columns.remove(gone[-1])
        table = _table(rows, columns, title, total, _NARROW)
    console.print(table)
    if gone:
        say(f"Without room for {', '.join(gone)}; --format csv and --json have them.", err=True)


def _table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    title: str | None,
    total: Mapping[str, Any] | None,
    fold_at: int | None = None,
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for name in columns:
        values = [row.get(name) for row in rows]
        number = any(isinstance(value, int | float | Decimal) for value in values)
        # A word a line: figures are narrower than their names. A group's name may hold anything.
        head = on_one_line(name) if ":" in name else name.replace("_", "\n")
        whole = number or _stays_whole(name, values)
        table.add_column(
            Text(head),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=whole,
            max_width=None if whole else fold_at,
        )
    for row in [*rows, *([total] if total else [])]:
        if row is total:
            table.add_section()
        # As Text: in a str rich would look for markup.
        table.add_row(*(Text(on_one_line(shown(row.get(name)))) for name in columns))
    return table


def _stays_whole(name: str, values: Sequence[Any]) -> bool:
    named = name in ("id", "status", "day") or name.endswith("_id")
    return named or any(isinstance(value, datetime) for value in values)


def shown(value: Any) -> str:
    """Return a cell: money in plain decimals, moments in UTC to the second."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format_usd(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return str(value)
