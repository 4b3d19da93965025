"""`llm-router demo`: the whole of the library, on this machine, without a key."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from tests.cli.conftest import Run


def test_the_demo_shows_every_kind_of_call_with_its_figures(run: Run) -> None:
    done = run("demo")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    for alias, model in (
        ("fast", "openrouter/openai/gpt-4o-mini"),
        ("smart", "openrouter/anthropic/claude-haiku-4.5"),
        ("extract", "openrouter/openai/gpt-4o-mini"),
    ):
        row = next(line for line in lines if re.search(rf"\b{alias}\b.*{model}", line))
        assert re.search(r"\b0\.0000?\d+\b", row), row
        assert re.search(r"OpenAI|Azure|Anthropic|Amazon Bedrock|Google", row)
    assert "answered, after openrouter/demo/always-down (503)" in done.stdout
    assert not re.search(r"\dE-\d", done.stdout)
    for part in ("stream: ", "tool: stock_of(", "from the cache", "parse: Book("):
        assert part in done.stdout
    cached = next(line for line in lines if "cache, second" in line)
    assert not re.search(r"│\s+0\s+│", cached)
    assert "127.0.0.1" in done.stdout
    assert "sk-or" not in done.output


@pytest.mark.skipif(find_spec("xllamacpp") is not None, reason="the local model is installed")
def test_the_demo_with_a_real_model_says_how_to_install_it_when_it_is_not(run: Run) -> None:
    done = run("demo", "--local")
    assert done.exit_code == 2
    assert "pip install" in done.stderr
