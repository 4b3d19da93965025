"""What a project that depends on this one counts on: a version, a command, objects that print."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from importlib.metadata import metadata, version
from pathlib import Path

from sqlalchemy import create_engine

import llm_router
from llm_router import Router, SyncRouter, format_usd
from llm_router.ledger import Ledger, LedgerConfig
from llm_router.testing import Sandbox

ROOT = Path(__file__).parents[1]
GPT = "openrouter/openai/gpt-4o-mini"


def test_the_version_is_the_distributions() -> None:
    assert llm_router.__version__ == version("llm-router-litellm")


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm_router", "--version"],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[-1] == llm_router.__version__


def test_supported_pythons_are_those_that_are_declared() -> None:
    declared = metadata("llm-router-litellm")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert declared["Requires-Python"] == ">=3.11" and "Python 3.11" in readme
    assert declared["Name"] in readme


async def test_a_stream_says_where_it_stands() -> None:
    with Sandbox() as sandbox:
        row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
        async with Router.from_dict({"providers": {"openrouter": row}}) as router:
            sandbox.reply(text="a b", chunks=["a ", "b"])
            stream = router.stream(GPT, "Hi")
            assert repr(stream) == f"<CompletionStream of {GPT!r}, not entered>"
            async with stream:
                await anext(stream)
                assert repr(stream).startswith("<CompletionStream, open: <Completion 'a ")
                await stream.collect()
            assert repr(stream).startswith("<CompletionStream, ended: <Completion 'a b' (")
            left = router.stream(GPT, "Hi")
            async with left:
                await anext(left)
            assert repr(left).startswith("<CompletionStream, left: <Completion ")


def test_a_stream_without_a_loop_prints_as_its_twin() -> None:
    row = {"api_key": "a key"}
    stream = SyncRouter.from_dict({"providers": {"openrouter": row}}).stream(GPT, "Hi")
    assert repr(stream) == f"<SyncCompletionStream of {GPT!r}, not entered>"


def test_a_ledger_names_its_database_without_the_password() -> None:
    own = Ledger(LedgerConfig(url="postgresql://me:secret@db/calls", store="full"))
    assert repr(own).startswith("<Ledger postgresql://") and repr(own).endswith(", store=full>")
    assert "db/calls" in repr(own) and "secret" not in repr(own)
    assert repr(Ledger(engine=create_engine("sqlite://"))) == "<Ledger sqlite://, store=metadata>"


def test_a_sandbox_says_where_it_listens_and_what_it_got() -> None:
    sandbox = Sandbox()
    assert repr(sandbox) == "<Sandbox not running: 0 requests, 0 replies queued>"
    with sandbox:
        sandbox.reply(text="x", times=2)
        shown = f"<Sandbox at {sandbox.base_url}: 0 requests, 2 replies queued>"
        assert repr(sandbox) == shown


def test_money_is_written_plainly() -> None:
    assert format_usd(Decimal("3.9E-6")) == "0.0000039"
