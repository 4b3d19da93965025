"""The command line before a sandbox, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llm_router.cli.main import main
from llm_router.testing import Sandbox

FILE = """\
version: 1
aliases:
  fast:
    model: openrouter/openai/gpt-4o-mini
    params: {max_tokens: 64}
  safe:
    model: openrouter/demo/always-down
    fallbacks: [openrouter/openai/gpt-4o-mini]
ledger: {url: "sqlite:///calls.db"}
"""
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a configuration in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llm_router.yaml").write_text(FILE)
    return tmp_path


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        for name, value in sandbox.env.items():
            monkeypatch.setenv(name, value)
        yield sandbox


@pytest.fixture
def run(folder: Path) -> Run:
    """Run a command in this process; a traceback is a failed test."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
