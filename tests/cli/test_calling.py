"""What `complete` and `parse` can be told: prompts, pipes, options, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llm_router.testing import Sandbox
from tests.cli.conftest import Run
from tests.cli.test_commands import environment
from tests.router.setup import GPT

PNG = bytes.fromhex("89504e470d0a1a0a")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def asked(sandbox: Sandbox) -> str:
    prompt: str = sandbox.chat_requests[-1].body["messages"][-1]["content"]
    return prompt


def test_the_prompt_and_what_is_piped_in_are_joined(run: Run, sandbox: Sandbox) -> None:
    run("complete", "fast", "Review this:", stdin="a diff\n")
    assert asked(sandbox) == "Review this:\n\na diff\n"
    run("complete", "fast", "Alone", stdin="")
    assert asked(sandbox) == "Alone"


@pytest.mark.parametrize("piped", ["a diff", None])
def test_a_real_pipe_is_joined_and_no_pipe_is_not_waited_for(
    folder: Path, sandbox: Sandbox, piped: str | None
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_router", "complete", "fast", "Review this:"],
        env=environment(**sandbox.env),
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL if piped is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.communicate(piped, timeout=60)
    assert asked(sandbox) == "Review this:" + (f"\n\n{piped}" if piped else "")


@pytest.mark.parametrize("prompt", [(), ("",), (" \n",), ("-",)])
def test_an_empty_prompt_is_not_sent(run: Run, sandbox: Sandbox, prompt: tuple[str, ...]) -> None:
    done = run("complete", "fast", *prompt, stdin=" \n")
    assert done.exit_code == 2
    assert "the prompt is empty" in done.stderr
    assert not sandbox.requests


def test_parameters_tags_and_the_user_reach_the_call(run: Run, sandbox: Sandbox) -> None:
    done = run(
        "complete", "openai/gpt-4o-mini", "Hi", "--provider", "openrouter", "--user", "u-1",
        "--param", "top_p=0.5", "-p", "stop=END", "-t", "team=search", "--tag", "q=a=b",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    body = sandbox.chat_requests[0].body
    assert (body["top_p"], body["stop"], body["user"]) == (0.5, "END", "u-1")
    detail = json.loads(run("show", "last", "--json").stdout)["request"]
    assert (detail["tags"], detail["user"]) == ({"team": "search", "q": "a=b"}, "u-1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--param", "top_q=1"), "did you mean 'top_p'"),
        (("--param", "top_p"), "--param takes NAME=VALUE"),
        (("--param", "top_p=high"), "top_p must be a number"),
        (("--tag", "team"), "--tag takes NAME=VALUE"),
        (("--attach", "absent.png"), "absent.png"),
        (("--schema", "absent.json"), "--schema cannot be read"),
        (("--schema", "{"), "--schema is no JSON"),
    ],
)
def test_what_no_call_can_be_made_of_is_exit_code_2(
    run: Run, sandbox: Sandbox, arguments: tuple[str, ...], said: str
) -> None:
    done = run("complete", "fast", "Hi", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not sandbox.requests


def test_files_go_along_as_what_they_are(run: Run, folder: Path, sandbox: Sandbox) -> None:
    (folder / "a.png").write_bytes(PNG)
    (folder / "b.pdf").write_bytes(b"%PDF-1.4 ...")
    done = run("complete", GPT, "What is this?", "-a", "a.png", "--attach", "b.pdf")
    assert done.exit_code == 0, done.stderr
    parts = sandbox.chat_requests[0].body["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "file"]
    assert parts[2]["file"]["filename"] == "b.pdf"


def test_an_object_of_a_schema_is_printed_as_json(run: Run, folder: Path, sandbox: Sandbox) -> None:
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    for command in (
        ("parse", "fast", "How many?", "--schema", "schema.json"),
        ("complete", "fast", "How many?", "--schema", json.dumps(SCHEMA)),
    ):
        sandbox.reply(text='{"n": 7}')
        done = run(*command)
        assert json.loads(done.stdout) == {"n": 7}
        assert "tokens, $" in done.stderr
    sandbox.reply(text='{"n": 7}')
    whole = json.loads(run("parse", "fast", "How many?", "--schema", "{}", "--json").stdout)
    assert (whole["parsed"], whole["alias"]) == ({"n": 7}, "fast")
    assert "--schema" in run("parse", "fast", "Hi").stderr
