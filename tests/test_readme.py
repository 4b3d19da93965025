"""Every code block of the README and of `docs/`, run: Python, YAML and commands."""

from __future__ import annotations

import ast
import asyncio
import inspect
import pathlib
import re
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from llm_router import Router
from llm_router.cli.main import main
from llm_router.config import loading
from llm_router.ledger.ledger import Ledger
from llm_router.testing import Sandbox

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
BLOCKS = [
    (f"{name}:{text.count(chr(10), 0, found.start()) + 1}", found[1], found[2])
    for name, text in DOCUMENTS.items()
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.S | re.M)
]


def blocks(language: str) -> list[Any]:
    return [pytest.param(text, id=place) for place, lang, text in BLOCKS if lang == language]


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder of the reader's own, with the configuration that `llm-router init` writes."""
    text = (
        loading.builtin_file().read_text(encoding="utf-8")
        + "\nledger: {url: sqlite:///llm_router.db}\n"
    )
    (tmp_path / "llm_router.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Sandbox() as sandbox:
        for name, value in sandbox.env.items():
            monkeypatch.setenv(name, value)
        yield sandbox


def test_every_block_names_a_language_that_is_tried() -> None:
    assert sum(text.count("```") for text in DOCUMENTS.values()) == 2 * len(BLOCKS)
    assert {language for _, language, _ in BLOCKS} == {"python", "yaml", "bash"}


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs_as_it_stands(
    code: str, home: pathlib.Path, environment: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile(code, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not compiled.co_flags & inspect.CO_COROUTINE:
        exec(compiled, {"__name__": "__main__"})
        return

    async def inside_a_router() -> None:
        async with Router.from_yaml() as router:
            scope = {"__name__": "readme", "Router": Router, "Ledger": Ledger, "router": router}
            await eval(compiled, scope)

    asyncio.run(inside_a_router())


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_is_a_configuration_without_a_mistake(text: str) -> None:
    report = loading.check_text(text, "README.md")
    assert report.problems == () and report.config is not None
    assert "concurrency" not in text or report.config.aliases["fast"].concurrency == 50


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_work(text: str, home: pathlib.Path, environment: Sandbox) -> None:
    for line in text.splitlines():
        if line.startswith("python3 -m venv"):
            check_installation(line)
            continue
        arguments = shlex.split(line)
        assert arguments.pop(0) == "llm-router"
        if arguments[0] in ("logs", "report"):
            record_a_call()
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output


def check_installation(line: str) -> None:
    """The installation itself is what `.ci/run` does first: the commands must be the same."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in re.findall(r"(pip install [^&]*?) (?:&&|$)", f"{line} "):
        wanted = command.replace("pip install", "pip install --quiet").replace(
            " -e ", " --editable "
        )
        assert wanted.strip() in ci, wanted


def record_a_call() -> None:
    async def call() -> None:
        async with Router.from_yaml() as router:
            await router.complete("fast", "hello")

    asyncio.run(call())


def test_the_table_of_changes_names_files_that_are_there_and_no_more_than_four() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Ten changes")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 10
    for row in rows:
        files = re.findall(r"`(llm_router/[^`]+)`", row)
        assert 1 <= len(files) <= 4, row
        assert [name for name in files if not (ROOT / name).exists()] == [], row
