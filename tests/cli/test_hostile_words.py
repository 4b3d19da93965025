"""Words of strangers on the command line: shown as what they are, and never obeyed."""

from __future__ import annotations

import ast
import asyncio
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import tty
from contextlib import redirect_stdout, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_router.cli
from llm_router.cli.terminal import on_one_line, show_rows, visible
from llm_router.errors import ProviderError
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.cli.conftest import Run
from tests.cli.test_commands import environment

TITLE, CLIPBOARD = "\x1b]0;owned\x07", "\x1b]52;c;ZXZpbA==\x07"
HOSTILE = f"{TITLE}{CLIPBOARD}\x1b[2J\x9b31m\u202etxt.exe\u2066\r\x08\x7f [red]bold[/] [/] :smile:"
FORMULA = '=HYPERLINK("http://x.example")'
_OWN_STYLES = re.compile(r"\x1b\[[\d;]*m")
"""Bold and colours, which rich sets around the words on a terminal."""
ACTIVE = {
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
} - {"\n", "\t"}

FILE = """\
version: 1
aliases:
  fast: {model: openrouter/openai/gpt-4o-mini}
  "a[red]\\e[31m\\u202e": {model: openrouter/openai/gpt-4o-mini}
ledger: {url: "sqlite:///calls.db"}
"""


def on_a_terminal(*arguments: str, env: dict[str, str], cwd: Path) -> str:
    """Return every byte that a command writes to the terminal it runs on."""
    master, slave = pty.openpty()
    tty.setraw(slave)  # as written: no carriage returns of the terminal's own
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_router.cli.main", *arguments],
        env=environment(**env, TERM="xterm-256color", COLUMNS="900"),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as terminal:
        while piece := terminal.read(65536):
            written += piece
    process.wait(timeout=60)
    return written.decode()


def assert_harmless(written: str) -> None:
    assert "Traceback" not in written
    assert not ACTIVE.intersection(_OWN_STYLES.sub("", written))


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "llm_router.yaml").write_text(FILE)
    return folder


@pytest.fixture
def recorded(folder: Path, sandbox: Sandbox) -> Path:
    """A ledger of an answer and a failure, all of whose names are hostile."""
    (hostile_alias,) = [alias for alias in Router.from_yaml().aliases if alias != "fast"]

    async def call() -> None:
        async with Router.from_yaml() as router:
            for tag in (HOSTILE, FORMULA, "-2+3", "\t=1", "\r=1", " @SUM(1)", "plain"):
                sandbox.reply(text=HOSTILE, provider=HOSTILE)
                await router.complete(hostile_alias, HOSTILE, tags={"feature": tag}, store="full")
            sandbox.fail("bad_request", message=HOSTILE)
            with pytest.raises(ProviderError):
                await router.complete("fast", "Hi", store="full")

    asyncio.run(call())
    return folder


@pytest.mark.parametrize("how", ["--no-stream", "--stream", "--json"])
def test_an_answer_acts_on_no_terminal_when_it_is_printed(
    folder: Path, sandbox: Sandbox, how: str
) -> None:
    sandbox.reply(text=HOSTILE, chunks=[*HOSTILE], provider=HOSTILE)
    written = on_a_terminal("complete", "fast", "Hi", how, env=sandbox.env, cwd=folder)
    assert_harmless(written)
    assert "\\u001b]0;owned\\u0007" in written and "[red]bold[/] [/] :smile:" in written
    if how == "--json":
        reply = json.loads(written)
        assert (reply["text"], reply["upstream_provider"]) == (HOSTILE, HOSTILE)


def test_the_sentence_of_an_error_acts_on_no_terminal(folder: Path, sandbox: Sandbox) -> None:
    sandbox.fail("bad_request", message=HOSTILE)
    written = on_a_terminal("complete", "fast", "Hi", env=sandbox.env, cwd=folder)
    assert_harmless(written)
    assert ": 400: \\u001b]0;owned" in written


COMMANDS = (
    "logs",
    "logs --failed --format csv",
    "logs --format json",
    "report --by alias,upstream,tag:feature",
    "report --by alias,upstream,tag:feature --format csv",
    "report --by tag:[/]\x1b[31m",
    "report --by nonsense\x1b[31m",
    "show gen-\x1b[31m",
    "explain fast \x1b]0;owned\x07\x9b31m",
    "explain absent\x1b[31m",
    "check",
    "check absent\x1b[31m.yaml",
    "db status",
    "purge",
)


def test_no_command_acts_on_a_terminal_when_names_and_words_are_hostile(
    recorded: Path, sandbox: Sandbox
) -> None:
    for command in COMMANDS:
        written = on_a_terminal(*command.split(" "), env=sandbox.env, cwd=recorded)
        assert written, command
        assert_harmless(written)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


def test_what_was_recorded_is_shown_as_it_is(recorded: Path, run: Run, sandbox: Sandbox) -> None:
    table = run("report", "--by", "upstream,tag:feature").stdout
    assert "[red]bold[/] [/] :smile:" in table and "\\u001b]0;owned" in table
    rows = json.loads(run("logs", "--format", "json").stdout)
    shown = run("show", rows[-1]["id"]).stdout
    assert_harmless(shown)
    assert HOSTILE in texts_in(json.loads(shown))


def test_a_mistake_in_a_file_is_quoted_harmlessly(folder: Path, sandbox: Sandbox) -> None:
    (folder / "bad.yaml").write_text(
        'version: 1\n"defa\\e]0;owned\\a\\u202elts": {}\naliases: {}\n'
    )
    written = on_a_terminal("check", "bad.yaml", env=sandbox.env, cwd=folder)
    assert_harmless(written)
    assert "owned" in written and "bad.yaml:2" in written


def test_no_spreadsheet_calculates_what_the_csv_holds(
    recorded: Path, run: Run, sandbox: Sandbox
) -> None:
    done = run("report", "--by", "tag:feature", "--format", "csv").stdout
    assert_harmless(done)
    rows = list(csv.DictReader(io.StringIO(done)))
    tags = {row["tag:feature"] for row in rows}
    assert {f"'{FORMULA}", "'-2+3", "'\t=1", "'\\u000d=1", "' @SUM(1)", "plain"} <= tags
    assert sum(Decimal(row["cost"] or 0) for row in rows) == sandbox.total_billed


# --- laws -----------------------------------------------------------------------------------

WORDS = st.text() | st.lists(st.sampled_from([*ACTIVE, *"=+-@\t\n\r ;[]/'\"a1"])).map("".join)
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=6)


def written(row: dict[str, Any], style: Any) -> str:
    with redirect_stdout(io.StringIO()) as out:
        show_rows([row], style)
    return out.getvalue()


@given(WORDS, WORDS)
def test_no_active_character_is_left_and_all_others_stay(one: str, other: str) -> None:
    assert not ACTIVE.intersection(visible(one))
    assert visible(one + other) == visible(one) + visible(other)  # a stream comes in pieces
    assert visible(visible(one)) == visible(one)
    assert not ({*ACTIVE, "\n", "\t"} & {*on_one_line(one)})
    visible(one).encode()
    if not ACTIVE.intersection(one) and not re.search("[\u2028\u2029\ud800-\udfff]", one):
        assert visible(one) == one


@given(WORDS, NUMBERS)
def test_json_says_exactly_what_came(text: str, number: int | Decimal) -> None:
    assert json.loads(visible(json.dumps([text], ensure_ascii=False))) == [text]
    shown = written({"a": text, "b": number}, "json")
    assert not ACTIVE.intersection(shown)
    assert json.loads(shown)[0]["a"] == text


@given(WORDS, NUMBERS)
def test_no_cell_of_text_begins_a_formula_and_numbers_stay_numbers(
    text: str, number: int | Decimal
) -> None:
    shown = written({"a": text, "b": number}, "csv")
    _, (cell, figure) = csv.reader(io.StringIO(shown, newline=""))
    assert not ACTIVE.intersection(shown)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\n")
    assert cell in (visible(text), "'" + visible(text))
    assert Decimal(figure) == number


@given(st.text(alphabet="[]/ab:=#,\\ \x1b\u202e", max_size=30))
def test_a_table_shows_a_cell_letter_by_letter(text: str) -> None:
    shown = written({"a": f"<{text}>", "[b]": text}, "table")
    assert not ACTIVE.intersection(shown)
    assert f"<{on_one_line(text)}>" in shown


def test_everything_the_commands_print_passes_one_module() -> None:
    (folder,) = llm_router.cli.__path__
    for file in Path(folder).glob("*.py"):
        if file.name == "terminal.py":
            continue
        names = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Name | ast.Attribute)
        }
        banned = {"print", "click.echo", "click.secho", "sys.stdout", "sys.stderr"}
        assert not names & banned, f"{file.name} prints past cli.terminal"
