"""What the commands print. All of it passes here, for much of it was written by strangers.

Answers, sentences of errors, names of models and upstreams, tags and texts of a file may hold
escapes that retitle a terminal, write its clipboard or turn a line around, markup of rich, and
formulas of a spreadsheet. Here they become characters that only look like what they are.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Format = Literal["table", "csv", "json"]
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


def say_json(value: Any, default: Callable[[Any], str] = str, indent: int | None = 2) -> None:
    """Print *value* as JSON, *default* writing what JSON has no form for; it says what came."""
    say(json.dumps(value, indent=indent, default=default, ensure_ascii=False))


def show_rows(rows: Sequence[Mapping[str, Any]], style: Format, title: str | None = None) -> None:
    """Print *rows*, whose keys are the columns; nothing known is shown as nothing."""
    if style == "json":
        say_json(list(rows), _text)
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows(map(_cell, row) for row in [*rows[:1], *(row.values() for row in rows)])
    else:
        _show_table(rows, title)


def _cell(value: Any) -> str:
    """Return a cell of CSV: numbers as they are, text that no spreadsheet calculates."""
    text = _text(value)
    quote = "'" if isinstance(value, str) and _FORMULA.match(text) else ""
    return quote + visible(text)


def _show_table(rows: Sequence[Mapping[str, Any]], title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say("no rows")
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        number = any(isinstance(row[name], int | float | Decimal) for row in rows)
        head = Text(on_one_line(name.replace("_", " ")))
        table.add_column(head, justify="right" if number else "left")
    for row in rows:
        # As Text: in a str rich would look for markup.
        table.add_row(*(Text(on_one_line(_text(value))) for value in row.values()))
    # In a pipe there is no width to fit: cut no figure.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format_usd(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else str(value)
