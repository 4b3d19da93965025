"""Tables on real terminals of several widths: columns go, figures stay whole."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import tty
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from llm_router.cli.terminal import show_rows
from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from tests.cli.test_commands import environment
from tests.cli.test_hostile_words import _OWN_STYLES
from tests.ledger.calls import NOON, call, failed_call, retried_call

COSTS = ("0.0000039", "12.3456789012", "0.0001")
ALIASES = ("fast", "the-long-name-of-an-alias-of-the-search-team", "extract")


@pytest.fixture
def recorded(folder: Path) -> list[str]:
    """Calls of long names and costs in the folder's ledger; their ids, the newest first."""
    ledger = Ledger(LedgerConfig(url=f"sqlite:///{folder}/calls.db"))
    told = [
        call(alias=alias, requested=alias, cost=cost, at=NOON + place)
        for place, (alias, cost) in enumerate(zip(ALIASES, COSTS, strict=True))
    ]
    told += [failed_call(at=NOON + 10), retried_call(at=NOON + 11)]
    for each in told:
        each.tell(ledger)
    ledger.close()
    return [each.id for each in reversed(told)]


def on_a_terminal(columns: int, *arguments: str, cwd: Path) -> tuple[list[str], str]:
    """Return the lines that a command writes to a terminal so wide, and its standard error."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_router", *arguments],
        env=environment(TERM="xterm-256color"),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(slave)
    written = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as terminal:
        while piece := terminal.read(65536):
            written += piece
    _, said = process.communicate(timeout=60)
    return _OWN_STYLES.sub("", written.decode()).splitlines(), said


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_logs_keep_ids_costs_and_status_whole_at_any_width(
    folder: Path, recorded: list[str], columns: int
) -> None:
    lines, said = on_a_terminal(columns, "logs", cwd=folder)
    assert max(map(cell_len, lines)) <= columns
    text = "\n".join(lines)
    for whole in (*recorded, *COSTS, "succeeded", "failed"):
        assert whole in text
    assert "…" not in text
    assert "Without room for operation" in said


@pytest.mark.parametrize("columns", [80, 120, 160])
@pytest.mark.parametrize("by", ["alias", "alias,upstream,day,status"])
def test_reports_keep_costs_whole_and_end_with_the_total(
    folder: Path, recorded: list[str], columns: int, by: str
) -> None:
    lines, _ = on_a_terminal(columns, "report", "--by", by, cwd=folder)
    assert max(map(cell_len, lines)) <= columns
    text = "\n".join(lines)
    for whole in ("12.3456789012", "0.0001", "requests", "cost"):
        assert whole in text
    total = next(line for line in lines if "total" in line)
    assert total.split()[:2] == ["total", "5"]


def test_a_call_is_shown_whole_at_80_columns(folder: Path, recorded: list[str]) -> None:
    lines, _ = on_a_terminal(80, "show", "last", cwd=folder)
    text = "\n".join(lines)
    assert recorded[0] in text and "0.0000039" in text and "RateLimitError" in text
    assert max(map(cell_len, lines)) <= 80


def test_a_pipe_gets_every_column_and_an_empty_table_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row: dict[str, Any] = {f"column_{n}": "x" * 40 for n in range(30)}
    show_rows([{**row, "cost": Decimal("1E-9")}], "table", first_to_go=tuple(row))
    captured = capsys.readouterr()
    assert captured.out.count("x" * 40) == 30 and "0.000000001" in captured.out
    assert captured.err == ""
    show_rows([], "table")
    assert capsys.readouterr().out == "no rows\n"
